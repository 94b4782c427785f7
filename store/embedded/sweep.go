package embedded

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// Sweep implements chat.Store. It is one durable step, and it is taken on a full disk too.
func (s *Store) Sweep(ctx context.Context, now chat.HLC) (int, error) {
	const op = "embedded.Sweep"
	dropped := make(chan int, 1)
	err := s.decide(ctx, op, true, func(g *group) error {
		keep := s.opts.Retention
		inbox, floor, err := g.expired(tagInbox, now, keep.Inbox, inboxBucket)
		if err != nil {
			return readError(op, err)
		}
		retries, _, err := g.expired(tagRetry, now, keep.Retries, retryBucket)
		if err != nil {
			return readError(op, err)
		}
		ops, err := g.expiredOps(now, keep.OpLog)
		if err != nil {
			return readError(op, err)
		}
		for _, b := range inbox {
			g.drop(key(tagInbox, be32(b)))
		}
		for _, b := range retries {
			g.drop(key(tagRetry, be32(b)))
		}
		if len(inbox) > 0 {
			g.set(selfKey(selfInboxFloor), packNumber(uint64(floor)))
		}
		for _, b := range ops {
			g.dropOps(b)
		}
		g.swept = func() {
			if len(inbox) > 0 {
				s.inbox.without(inbox[len(inbox)-1])
			}
			if len(retries) > 0 {
				s.retries.without(retries[len(retries)-1])
			}
		}
		dropped <- len(inbox) + len(retries) + len(ops)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return <-dropped, nil
}

// drop deletes every key with a prefix.
func (g *group) drop(prefix []byte) { _ = g.batch.DeleteRange(prefix, after(prefix), nil) }

// expired gives the buckets of a table that ended more than keep before now, and the last time in them.
func (g *group) expired(tag byte, now chat.HLC, keep, width time.Duration) (buckets []uint32, last chat.HLC, err error) {
	if keep <= 0 {
		return nil, 0, nil
	}
	it, err := g.s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tag}, UpperBound: []byte{tag + 1}})
	if err != nil {
		return nil, 0, err
	}
	limit := now.Add(-keep)
	for ok := it.First(); ok; {
		b := binary.BigEndian.Uint32(it.Key()[1:])
		end := bucketStart(b+1, width)
		if end > limit {
			break
		}
		buckets, last = append(buckets, b), end-1
		ok = it.SeekGE(key(tag, be32(b+1)))
	}
	return buckets, last, it.Close()
}

// opBucket is a stretch of an op log.
type opBucket struct {
	stream chat.StreamID
	number uint64
	seq    uint64 // the largest it holds
}

// expiredOps gives the stretches whose ops all entered longer than keep ago and that every region is known to have which must
// have them: it has acknowledged them, or told that it has so much of the foreign stream. What is owed stays, however old.
func (g *group) expiredOps(now chat.HLC, keep time.Duration) (expired []opBucket, err error) {
	if keep <= 0 {
		return nil, nil
	}
	limit := now.Add(-keep)
	var stream chat.StreamID
	var have map[chat.Region]uint64
	err = scan(g.s.db, []byte{tagLogBucket}, []byte{tagLogBucket + 1}, func(k, v []byte) (bool, error) {
		of, rest, ok := parseStream(k)
		l, err := unpackLogBucket(v)
		if err != nil || !ok || len(rest) != 8 {
			return true, (&reader{bad: true}).end("oplog buckets")
		}
		if of != stream || have == nil {
			stream = of
			if have, err = positions(g.s.db, stream); err != nil {
				return true, err
			}
		}
		stays := l.time > limit
		for _, region := range l.to {
			stays = stays || region != g.s.opts.Region && have[region] < l.seq
		}
		if !stays {
			expired = append(expired, opBucket{stream, binary.BigEndian.Uint64(rest), l.seq})
		}
		return false, nil
	})
	return expired, err
}

// dropOps deletes what a stretch was found to hold, but nothing that this group adds to it; the largest sequence stays
// known, so that it is never given again.
func (g *group) dropOps(b opBucket) {
	_ = g.batch.DeleteRange(streamSeqKey(tagLog, b.stream, b.number*opBucketOps), streamSeqKey(tagLog, b.stream, b.seq+1), nil)
	_ = g.batch.Delete(streamSeqKey(tagLogBucket, b.stream, b.number), nil)
	_ = g.batch.Merge(streamKey(tagSwept, b.stream), packNumber(b.seq), nil)
}
