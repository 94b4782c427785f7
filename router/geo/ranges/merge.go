package ranges

import (
	"encoding/binary"
	"net/netip"
)

// Merge gives the set whose number is, at each address, combine of the numbers that sets have there, in their order; combine
// must not keep the slice. Neighbours with one number are joined.
func Merge(combine func(values []uint32) uint32, sets ...*Set) *Set {
	v4, v6 := families(sets)
	out := &Set{}
	out.v4.grow(longest(v4))
	out.v6.grow(longest(v6))
	mergeInto(&out.v4, v4, combine)
	mergeInto(&out.v6, v6, combine)
	return out
}

// Coarsen is Merge for a combine under which most neighbours have one number: room is made only as it is needed.
func Coarsen(combine func(values []uint32) uint32, sets ...*Set) *Set {
	v4, v6 := families(sets)
	out := &Set{}
	mergeInto(&out.v4, v4, combine)
	mergeInto(&out.v6, v6, combine)
	return out
}

// longest gives room for as many ranges as the longest family has, and an eighth more.
func longest[L low](in []*family[L]) int {
	n := 0
	for _, f := range in {
		n = max(n, f.len())
	}
	return n + n/8
}

// First combines by the first number that is not 0: earlier sets lie over later ones.
func First(values []uint32) uint32 {
	for _, v := range values {
		if v != 0 {
			return v
		}
	}
	return 0
}

// Piece is a run of addresses in which each of several sets has one number.
type Piece struct {
	First netip.Addr
	Size  float64 // addresses of IPv4, /64s of IPv6
	// Values are the numbers by set; they hold until the next piece.
	Values []uint32
}

// Each calls f for all pieces, IPv4 first, ascending.
func Each(f func(Piece), sets ...*Set) {
	v4, v6 := families(sets)
	walk(v4, func(first, last uint64, values []uint32) {
		f(Piece{First: address4(first), Size: float64(last-first) + 1, Values: values})
	})
	walk(v6, func(first, last uint64, values []uint32) {
		f(Piece{First: address6(first), Size: float64(last-first) + 1, Values: values})
	})
}

func address4(key uint64) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(key))
	return netip.AddrFrom4(b)
}

func address6(key uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], key)
	return netip.AddrFrom16(b)
}

func families(sets []*Set) (v4 []*family[uint16], v6 []*family[uint32]) {
	for _, s := range sets {
		v4, v6 = append(v4, &s.v4), append(v6, &s.v6)
	}
	return v4, v6
}

func mergeInto[L low](out *family[L], in []*family[L], combine func([]uint32) uint32) {
	walk(in, func(first, _ uint64, values []uint32) { out.push(first, combine(values)) })
	out.seal()
}

// walk calls each for all pieces of several families.
func walk[L low](in []*family[L], each func(first, last uint64, values []uint32)) {
	cursors := make([]cursor[L], len(in))
	values := make([]uint32, len(in))
	for i, f := range in {
		cursors[i] = f.cursor()
		values[i] = cursors[i].value()
	}
	for first := uint64(0); ; {
		last := lastKey[L]()
		for i := range cursors {
			last = min(last, cursors[i].last)
		}
		each(first, last, values)
		if last == lastKey[L]() {
			return
		}
		first = last + 1
		for i := range cursors {
			if cursors[i].last == last {
				cursors[i].next()
				values[i] = cursors[i].value()
			}
		}
	}
}

// cursor goes through the ranges of a family.
type cursor[L low] struct {
	f           *family[L]
	block, i    int
	first, last uint64 // of range i
}

func (f *family[L]) cursor() cursor[L] {
	c := cursor[L]{f: f}
	c.first, c.last = f.bounds(0, 0)
	return c
}

func (c *cursor[L]) more() bool    { return c.i < len(c.f.lows) }
func (c *cursor[L]) value() uint32 { return c.f.at(c.i) }

func (c *cursor[L]) next() {
	if c.i++; !c.more() {
		return
	}
	if c.i == int(c.f.first[c.block+1]) {
		c.block++
	}
	c.first, c.last = c.f.bounds(c.block, c.i)
}
