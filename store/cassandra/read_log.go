package cassandra

import (
	"cmp"
	"context"
	"slices"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// streamArgs are a stream's columns.
func streamArgs(s chat.StreamID, more ...any) []any {
	return append([]any{string(s.Region), string(s.Node), int64(s.Incarnation)}, more...)
}

// logBuckets gives the buckets of an op log that have, or had, rows, ascending.
func (s *Store) logBuckets(ctx context.Context, op string, stream chat.StreamID, from, upTo int64) ([]int64, error) {
	return list(ctx, s, op, 0, single[int64], selectLogBuckets, streamArgs(stream, from, upTo)...)
}

// ReadLog implements chat.Log.
func (s *Store) ReadLog(ctx context.Context, stream chat.StreamID, from, upTo uint64, to chat.Region, limit int) ([]chat.Op, error) {
	const op = "cassandra.ReadLog"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	upTo = min(upTo, 1<<63-1)
	if from >= upTo {
		return nil, s.ready(op)
	}
	buckets, err := s.logBuckets(ctx, op, stream, int64((from+1)/opBucketOps), int64(upTo/opBucketOps))
	if err != nil {
		return nil, err
	}
	var ops []chat.Op
	for _, bucket := range buckets {
		page, err := s.readBucket(ctx, op, stream, bucket, from, upTo, to, limit-len(ops))
		if err != nil {
			return nil, err
		}
		if ops = append(ops, page...); len(ops) == limit {
			break
		}
	}
	return ops, nil
}

// readBucket gives the ops of a bucket that have to among their destinations.
func (s *Store) readBucket(ctx context.Context, op string, stream chat.StreamID, bucket int64, from, upTo uint64, to chat.Region, limit int) ([]chat.Op, error) {
	return list(ctx, s, op, limit, func(it *gocql.Iter) (found chat.Op, ok bool, err error) {
		var destinations []string
		var b []byte
		for it.Scan(&destinations, &b) {
			if to == "" || slices.Contains(destinations, string(to)) {
				found, err = s.opts.Codec.Decode(b)
				return found, true, err
			}
			b = nil
		}
		return found, false, nil
	}, selectOps, streamArgs(stream, bucket, int64(from), int64(upTo))...)
}

// lastRow gives the largest sequence that an op log has a row of; 0 where there is none.
func (s *Store) lastRow(ctx context.Context, stream chat.StreamID) (uint64, error) {
	const op = "cassandra.Streams"
	last, ok, err := one(list(ctx, s, op, 1, single[int64], selectLastBucket, streamArgs(stream)...))
	if err != nil || !ok {
		return 0, err
	}
	if seq, ok, err := one(list(ctx, s, op, 1, single[int64], selectLastOp, streamArgs(stream, last)...)); ok || err != nil {
		return uint64(seq), err
	}
	earlier, err := s.logBuckets(ctx, op, stream, 0, last-1)
	if err != nil {
		return 0, err
	}
	for _, bucket := range slices.Backward(earlier) {
		if seq, ok, err := one(list(ctx, s, op, 1, single[int64], selectLastOp, streamArgs(stream, bucket)...)); ok || err != nil {
			return uint64(seq), err
		}
	}
	return 0, nil
}

// lastSeq is the largest sequence that stream ever had here.
func (s *Store) lastSeq(ctx context.Context, stream chat.StreamID) (uint64, error) {
	const op = "cassandra.Identity"
	swept, _, err := one(list(ctx, s, op, 1, single[int64], selectSwept, append([]any{shardOne}, streamArgs(stream)...)...))
	if err != nil {
		return 0, err
	}
	last, err := s.lastRow(ctx, stream)
	return max(last, uint64(swept)), err
}

// opLogs gives the op logs that there are, or were, sorted.
func (s *Store) opLogs(ctx context.Context, op string) ([]chat.StreamID, error) {
	streams, err := list(ctx, s, op, 0, func(it *gocql.Iter) (chat.StreamID, bool, error) {
		var region, node string
		var incarnation, swept int64
		ok := it.Scan(&region, &node, &incarnation, &swept)
		return streamOf(region, node, incarnation), ok, nil
	}, selectOpLogs, shardOne)
	slices.SortFunc(streams, compareStreams)
	return streams, err
}

// Streams implements chat.Log.
func (s *Store) Streams(ctx context.Context) ([]chat.StreamEnd, error) {
	const op = "cassandra.Streams"
	streams, err := s.opLogs(ctx, op)
	if err != nil {
		return nil, err
	}
	var ends []chat.StreamEnd
	for _, stream := range streams {
		last, err := s.lastRow(ctx, stream)
		if err != nil {
			return nil, err
		}
		if last > 0 {
			ends = append(ends, chat.StreamEnd{Stream: stream, Seq: last})
		}
	}
	return ends, nil
}

// Positions implements chat.Log.
func (s *Store) Positions(ctx context.Context, stream chat.StreamID) (map[chat.Region]uint64, error) {
	rows, err := list(ctx, s, "cassandra.Positions", 0, func(it *gocql.Iter) (chat.PositionRow, bool, error) {
		var to string
		var seq int64
		ok := it.Scan(&to, &seq)
		return chat.PositionRow{To: chat.Region(to), Seq: uint64(seq)}, ok, nil
	}, selectPositions, streamArgs(stream)...)
	if err != nil {
		return nil, err
	}
	found := make(map[chat.Region]uint64, len(rows))
	for _, row := range rows {
		found[row.To] = row.Seq
	}
	return found, nil
}

// Applied implements chat.Log.
func (s *Store) Applied(ctx context.Context) ([]chat.AppliedRow, error) {
	return list(ctx, s, "cassandra.Applied", 0, func(it *gocql.Iter) (chat.AppliedRow, bool, error) {
		var region, node string
		var incarnation, seq, watermark int64
		ok := it.Scan(&region, &node, &incarnation, &seq, &watermark)
		return chat.AppliedRow{Stream: streamOf(region, node, incarnation), Seq: uint64(seq), Watermark: chat.HLC(watermark)}, ok, nil
	}, selectApplied, shardOne)
}

// DeadLetters implements chat.Log. It reads month by month, newest first.
func (s *Store) DeadLetters(ctx context.Context, limit int) ([]chat.DeadLetterRow, error) {
	const op = "cassandra.DeadLetters"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	months, err := list(ctx, s, op, 0, single[int], selectDeadLetterMonths, shardOne)
	if err != nil {
		return nil, err
	}
	var all []chat.DeadLetterRow
	for _, month := range months {
		if len(all) >= limit {
			break
		}
		page, err := list(ctx, s, op, 0, scanDeadLetter, selectDeadLetters, month)
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(page, func(a, b chat.DeadLetterRow) int { return cmp.Compare(b.At, a.At) })
		all = append(all, page...)
	}
	return all[:min(limit, len(all))], nil
}

func scanDeadLetter(it *gocql.Iter) (chat.DeadLetterRow, bool, error) {
	var row chat.DeadLetterRow
	var region, node, reason string
	var incarnation, seq, at int64
	var opID gocql.UUID
	ok := it.Scan(&region, &node, &incarnation, &seq, &opID, &reason, &row.Detail, &at)
	row.Stream, row.Seq, row.Op, row.Reason, row.At = streamOf(region, node, incarnation), uint64(seq), chat.MessageID(opID), chat.Code(reason), chat.HLC(at)
	return row, ok, nil
}

// maxRefusals bounds the ops whose refusals are asked for at once.
const maxRefusals = 1000

// Refusals implements chat.Log.
func (s *Store) Refusals(ctx context.Context, ops []chat.MessageID) ([]chat.RefusalRow, error) {
	const op = "cassandra.Refusals"
	if len(ops) == 0 {
		return nil, s.ready(op)
	}
	if err := checkLimit(op, len(ops), maxRefusals); err != nil {
		return nil, err
	}
	ops = slices.Clone(ops)
	slices.SortFunc(ops, chat.MessageID.Compare)
	var found []chat.RefusalRow
	for _, id := range slices.Compact(ops) {
		rows, err := list(ctx, s, op, 0, func(it *gocql.Iter) (row chat.RefusalRow, ok bool, err error) {
			var told gocql.UUID
			var refusal string
			if ok = it.Scan(&told, &refusal); ok {
				err = decodeJSON("refusals", refusal, &row.Refusal)
			}
			row.Told = chat.MessageID(told)
			return row, ok, err
		}, selectRefusals, uid(id))
		if err != nil {
			return nil, err
		}
		found = append(found, rows...)
	}
	return found, nil
}

// Parked implements chat.Log.
func (s *Store) Parked(ctx context.Context) ([]chat.ParkedRow, error) {
	all, err := list(ctx, s, "cassandra.Parked", 0, func(it *gocql.Iter) (row chat.ParkedRow, ok bool, err error) {
		var b []byte
		var reason string
		if ok = it.Scan(&b, &reason); ok {
			row.Op, err = s.opts.Codec.Decode(b)
		}
		row.Reason = chat.Code(reason)
		return row, ok, err
	}, selectParked, shardOne)
	slices.SortStableFunc(all, func(a, b chat.ParkedRow) int {
		return cmp.Or(compareStreams(a.Op.Stream, b.Op.Stream), cmp.Compare(a.Op.Seq, b.Op.Seq), a.Op.ID.Compare(b.Op.ID))
	})
	return all, err
}
