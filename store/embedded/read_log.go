package embedded

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// ReadLog implements chat.Log.
func (s *Store) ReadLog(ctx context.Context, stream chat.StreamID, from, upTo uint64, to chat.Region, limit int) ([]chat.Op, error) {
	const op = "embedded.ReadLog"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	if from >= upTo {
		return nil, ctxError(ctx, op)
	}
	upper := append(streamSeqKey(tagLog, stream, upTo), 0)
	var ops []chat.Op
	err := s.read(ctx, op, func(r pebble.Reader) error {
		return scan(r, streamSeqKey(tagLog, stream, from+1), upper, func(_, v []byte) (bool, error) {
			rest, regions, err := logHead(v)
			if err != nil {
				return true, err
			}
			if to != "" && !slices.Contains(regions, to) {
				return false, ctxError(ctx, op)
			}
			decoded, err := s.opts.Codec.Decode(slices.Clone(rest.b))
			if err != nil {
				return true, err
			}
			ops = append(ops, decoded)
			return len(ops) == limit, nil
		})
	})
	return some(ops, err)
}

// lastSeq is the largest sequence that stream ever had here.
func lastSeq(r pebble.Reader, stream chat.StreamID) (uint64, error) {
	last := uint64(0)
	if v, ok, err := get(r, streamKey(tagSwept, stream)); err != nil {
		return 0, err
	} else if ok {
		if last, err = unpackNumber("swept", v); err != nil {
			return 0, err
		}
	}
	prefix := streamKey(tagLog, stream)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return 0, err
	}
	if it.Last() {
		last = max(last, binary.BigEndian.Uint64(it.Key()[len(prefix):]))
	}
	return last, it.Close()
}

// Streams implements chat.Log.
func (s *Store) Streams(ctx context.Context) ([]chat.StreamEnd, error) {
	var ends []chat.StreamEnd
	err := s.read(ctx, "embedded.Streams", func(r pebble.Reader) (err error) {
		ends, err = streamEnds(r)
		return err
	})
	return some(ends, err)
}

// streamEnds goes from op log to op log, two seeks for each.
func streamEnds(r pebble.Reader) (ends []chat.StreamEnd, err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{tagLog}, UpperBound: []byte{tagLog + 1}})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; {
		stream, _, good := parseStream(it.Key())
		end := after(streamKey(tagLog, stream))
		if !good || !it.SeekLT(end) {
			break
		}
		if _, rest, _ := parseStream(it.Key()); len(rest) == 8 {
			ends = append(ends, chat.StreamEnd{Stream: stream, Seq: binary.BigEndian.Uint64(rest)})
		}
		ok = it.SeekGE(end)
	}
	slices.SortFunc(ends, func(a, b chat.StreamEnd) int { return compareStreams(a.Stream, b.Stream) })
	return ends, it.Close()
}

// Parked implements chat.Log.
func (s *Store) Parked(ctx context.Context) ([]chat.ParkedRow, error) {
	all, err := rows(ctx, s, "embedded.Parked", []byte{tagParked}, func(_, v []byte) (chat.ParkedRow, error) {
		return unpackParked(v, s.opts.Codec)
	})
	slices.SortStableFunc(all, func(a, b chat.ParkedRow) int {
		return cmp.Or(compareStreams(a.Op.Stream, b.Op.Stream), cmp.Compare(a.Op.Seq, b.Op.Seq), a.Op.ID.Compare(b.Op.ID))
	})
	return all, err
}

// Positions implements chat.Log.
func (s *Store) Positions(ctx context.Context, stream chat.StreamID) (map[chat.Region]uint64, error) {
	var found map[chat.Region]uint64
	err := s.read(ctx, "embedded.Positions", func(r pebble.Reader) (err error) {
		found, err = positions(r, stream)
		return err
	})
	return found, err
}

func positions(r pebble.Reader, stream chat.StreamID) (map[chat.Region]uint64, error) {
	found := make(map[chat.Region]uint64)
	prefix := streamKey(tagPosition, stream)
	err := scan(r, prefix, after(prefix), func(k, v []byte) (bool, error) {
		seq, err := unpackNumber("positions", v)
		found[chat.Region(k[len(prefix):])] = seq
		return false, err
	})
	return found, err
}

// Applied implements chat.Log.
func (s *Store) Applied(ctx context.Context) ([]chat.AppliedRow, error) {
	return rows(ctx, s, "embedded.Applied", []byte{tagApplied}, unpackApplied)
}

// DeadLetters implements chat.Log. It reads all of them: there is one per op that could not be applied, however often it
// came.
func (s *Store) DeadLetters(ctx context.Context, limit int) ([]chat.DeadLetterRow, error) {
	const op = "embedded.DeadLetters"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	all, err := rows(ctx, s, op, []byte{tagDeadLetter}, unpackDeadLetter)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b chat.DeadLetterRow) int { return cmp.Compare(b.At, a.At) })
	return all[:min(limit, len(all))], nil
}

// maxRefusals bounds the ops whose refusals are asked for at once.
const maxRefusals = 1000

// Refusals implements chat.Log.
func (s *Store) Refusals(ctx context.Context, ops []chat.MessageID) ([]chat.RefusalRow, error) {
	const op = "embedded.Refusals"
	if len(ops) == 0 {
		return nil, ctxError(ctx, op)
	}
	if err := checkLimit(op, len(ops), maxRefusals); err != nil {
		return nil, err
	}
	ops = slices.Clone(ops)
	slices.SortFunc(ops, chat.MessageID.Compare)
	var found []chat.RefusalRow
	err := s.read(ctx, op, func(r pebble.Reader) error {
		for _, id := range slices.Compact(ops) {
			prefix := key(tagRefusal, ord(id))
			err := scan(r, prefix, after(prefix), func(k, v []byte) (bool, error) {
				row, err := unpackRefusal(k, v)
				found = append(found, row)
				return false, err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return some(found, err)
}
