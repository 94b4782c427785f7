package cassandra

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// Sweep implements chat.Store. Inbox entries and retry rows go by the table's time to live; Sweep moves the floors below which nothing
// of them is read any more. Ops of op logs are deleted by stretches, once every destination has them.
func (s *Store) Sweep(ctx context.Context, now chat.HLC) (int, error) {
	const op = "cassandra.Sweep"
	inbox, err := s.moveFloor(ctx, selfInboxFloor, now, s.opts.Retention.Inbox)
	if err != nil {
		return 0, err
	}
	retries, err := s.moveFloor(ctx, selfRetryFloor, now, s.opts.Retention.Retries)
	if err != nil {
		return 0, err
	}
	if s.opts.Retention.OpLog <= 0 {
		return inbox + retries, nil
	}
	streams, err := s.opLogs(ctx, op)
	if err != nil {
		return 0, err
	}
	dropped := inbox + retries
	for _, stream := range streams {
		n, err := s.sweepLog(ctx, stream, now.Add(-s.opts.Retention.OpLog))
		if err != nil {
			return dropped, err
		}
		dropped += n
	}
	return dropped, nil
}

// moveFloor moves a floor to the end of the last day that is over for longer than keep, and gives by how many days.
func (s *Store) moveFloor(ctx context.Context, name string, now chat.HLC, keep time.Duration) (int, error) {
	if keep <= 0 {
		return 0, nil
	}
	floor, err := s.floor(ctx, name)
	if err != nil {
		return 0, err
	}
	day := bucketOf(now.Add(-keep), inboxBucket)
	to := bucketStart(day, inboxBucket)
	if to == 0 || to-1 <= floor {
		return 0, nil
	}
	// The day is the write's time: the larger floor stands, and no time lies ahead of the servers' clocks, which they would refuse.
	err = s.write("cassandra.Sweep", []statement{{setSelf, []any{name, int64(to - 1), gocql.UnsetValue, int64(day)}}})
	if err == nil {
		s.floors.put(name, to-1)
	}
	return max(1, day-bucketOf(floor+1, inboxBucket)), err
}

// opHead is what decides whether an op may go.
type opHead struct {
	seq     uint64
	entered chat.HLC
	to      []string
}

// sweepLog drops the stretches of an op log whose ops all entered before limit and that every region has which must have them.
func (s *Store) sweepLog(ctx context.Context, stream chat.StreamID, limit chat.HLC) (dropped int, err error) {
	const op = "cassandra.Sweep"
	buckets, err := s.logBuckets(ctx, op, stream, 0, 1<<62)
	if err != nil || len(buckets) == 0 {
		return 0, err
	}
	have, err := s.Positions(ctx, stream)
	if err != nil {
		return 0, err
	}
	for i, bucket := range buckets {
		heads, err := list(ctx, s, op, 0, func(it *gocql.Iter) (opHead, bool, error) {
			var seq, entered int64
			var to []string
			ok := it.Scan(&seq, &entered, &to)
			return opHead{uint64(seq), chat.HLC(entered), to}, ok, nil
		}, selectOpHeads, streamArgs(stream, bucket)...)
		if err != nil {
			return dropped, err
		}
		if len(heads) == 0 || slices.ContainsFunc(heads, func(h opHead) bool { return s.stays(h, have, limit) }) {
			continue
		}
		if err := s.dropOps(stream, bucket, heads, i == len(buckets)-1); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}

func (s *Store) stays(h opHead, have map[chat.Region]uint64, limit chat.HLC) bool {
	return h.entered > limit || slices.ContainsFunc(h.to, func(to string) bool {
		return chat.Region(to) != s.opts.Region && have[chat.Region(to)] < h.seq
	})
}

// dropOps deletes what a stretch was found to hold. The last stretch stays in the index: its node may add to it.
func (s *Store) dropOps(stream chat.StreamID, bucket int64, heads []opHead, last bool) error {
	end, at := heads[len(heads)-1].seq, chat.HLC(0)
	for _, h := range heads {
		at = max(at, h.entered)
	}
	all := []statement{
		{setSwept, append([]any{int64(end), int64(end), shardOne}, streamArgs(stream)...)},
		{deleteOps, append([]any{int64(at)}, streamArgs(stream, bucket, int64(end))...)},
	}
	if !last {
		all = append(all, statement{deleteLogBucket, append([]any{fixed + 1}, streamArgs(stream, bucket)...)})
		s.known.forget([]string{fmt.Sprint(logName(stream), bucket)})
	}
	return s.write("cassandra.Sweep", all)
}
