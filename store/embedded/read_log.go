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
			rest, _, regions, err := logHead(v)
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
