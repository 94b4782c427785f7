package embedded

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// buckets knows which time buckets of a table may have rows, so that a look-up need not seek for them. Only the committer
// changes it: it grows before rows become readable and shrinks after they are gone.
type buckets struct {
	bounds atomic.Uint64 // first << 32 | the one after the last; 0: none
}

// span gives the first bucket and the one after the last.
func (b *buckets) span() (first, end uint32) {
	v := b.bounds.Load()
	return uint32(v >> 32), uint32(v)
}

func (b *buckets) set(first, end uint32) { b.bounds.Store(uint64(first)<<32 | uint64(end)) }

// grow takes in all of [first, end).
func (b *buckets) grow(first, end uint32) {
	if first >= end {
		return
	}
	if have, last := b.span(); have < last {
		first, end = min(first, have), max(end, last)
	}
	b.set(first, end)
}

// without says that the buckets up to and with last are gone.
func (b *buckets) without(last uint32) {
	if first, end := b.span(); first <= last {
		b.set(min(last+1, end), end)
	}
}

// load finds the buckets of a table when the store is opened.
func (b *buckets) load(r pebble.Reader, tag byte) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{tag}, UpperBound: []byte{tag + 1}})
	if err != nil {
		return err
	}
	if it.First() {
		first := binary.BigEndian.Uint32(it.Key()[1:])
		it.Last()
		b.set(first, binary.BigEndian.Uint32(it.Key()[1:])+1)
	}
	return it.Close()
}

// spans are the buckets that a batch or a group writes to.
type spans struct{ inbox, retries span }

type span struct{ first, end uint32 }

func (s *span) add(first, end uint32) {
	switch {
	case first >= end:
	case s.first >= s.end:
		s.first, s.end = first, end
	default:
		s.first, s.end = min(s.first, first), max(s.end, end)
	}
}

func (s *spans) add(o spans) {
	s.inbox.add(o.inbox.first, o.inbox.end)
	s.retries.add(o.retries.first, o.retries.end)
}
