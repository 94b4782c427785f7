// Package ranges maps every IP address to a number: sorted, gapless ranges of addresses, IPv4 exactly and IPv6 by /64 (one
// link is never split between two answers). A Set never changes once built; look-ups do not allocate. A range of IPv4
// takes 4 or 5 bytes, one of IPv6 6 or 7, so that whole city databases stay in memory.
package ranges

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
)

// Set is the ranges of both families. Numbers are the caller's, up to MaxValue; 0 means "nothing known", which fills all gaps.
type Set struct {
	v4 family[uint16]
	v6 family[uint32] // the top 64 bits
}

// MaxValue is the highest number that a range can have.
const MaxValue = 1<<24 - 1

// Lookup gives a's number and the length of the widest prefix around a that has no other number: up to 32 for IPv4, up to
// 64 for IPv6. IPv4-mapped addresses count as IPv6 here: unmap them first.
func (s *Set) Lookup(a netip.Addr) (value uint32, prefixBits int) {
	if a.Is4() {
		return s.v4.lookup(key4(a))
	}
	return s.v6.lookup(key6(a))
}

func key4(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}

func key6(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}

// Len gives the number of ranges of each family.
func (s *Set) Len() (v4, v6 int) { return s.v4.len(), s.v6.len() }

// Map gives the set in which each number n has become f(n), neighbours with one number joined.
func (s *Set) Map(f func(uint32) uint32) *Set {
	return Merge(func(v []uint32) uint32 { return f(v[0]) }, s)
}

// IPv6 gives the set without what it says of IPv4.
func (s *Set) IPv6() *Set {
	var b Builder
	return &Set{v4: b.v4.finish(), v6: s.v6}
}

// EachIPv4 calls f for the ranges of IPv4, ascending.
func (s *Set) EachIPv4(f func(first, last, value uint32)) {
	for c := s.v4.cursor(); c.more(); c.next() {
		f(uint32(c.first), uint32(c.last), c.value())
	}
}

// low is the trailing half of an address: ranges are kept by the leading half, their block, so that each needs only this.
type low interface{ uint16 | uint32 }

func halfBits[L low]() int {
	if uint64(^L(0)) == math.MaxUint16 {
		return 16
	}
	return 32
}

func lastKey[L low]() uint64 { return math.MaxUint64 >> (64 - 2*halfBits[L]()) }

// family holds the ranges of one family. Neighbours have different values.
type family[L low] struct {
	// heads are the leading halves in which a range starts, ascending; ranges first[b] to first[b+1]-1 start in heads[b].
	heads []uint32
	first []uint32
	lows  []L // range i starts at its block's head followed by lows[i]
	numbers
	// index[h] is the first block whose leading 16 bits are h or more.
	index []uint32
}

// numbers keeps numbers up to MaxValue in two bytes each, or three where one of them needs it.
type numbers struct {
	lo []uint16
	hi []uint8 // nil while all fit into two bytes
}

func (n *numbers) len() int { return len(n.lo) }

func (n *numbers) at(i int) uint32 {
	if n.hi == nil {
		return uint32(n.lo[i])
	}
	return uint32(n.hi[i])<<16 | uint32(n.lo[i])
}

func (n *numbers) append(v uint32) {
	if n.hi == nil && v > math.MaxUint16 {
		n.hi = make([]uint8, len(n.lo), cap(n.lo))
	}
	n.lo = append(n.lo, uint16(v))
	if n.hi != nil {
		n.hi = append(n.hi, uint8(v>>16))
	}
}

// find gives the range that x lies in, and the block in which it starts.
func (f *family[L]) find(x uint64) (block, i int) {
	half := halfBits[L]()
	head, rest := uint32(x>>half), L(x)
	h := x >> (2*half - 16)
	lo, hi := int(f.index[h]), int(f.index[h+1])
	for lo < hi { // the first block after x's
		mid := int(uint(lo+hi) >> 1)
		if f.heads[mid] <= head {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	block = lo - 1
	if f.heads[block] < head {
		return block, int(f.first[block+1]) - 1
	}
	lo, hi = int(f.first[block]), int(f.first[block+1])
	for lo < hi { // the first range that starts after x
		mid := int(uint(lo+hi) >> 1)
		if f.lows[mid] <= rest {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if i = lo - 1; i < int(f.first[block]) {
		block--
	}
	return block, i
}

func (f *family[L]) lookup(x uint64) (uint32, int) {
	block, i := f.find(x)
	first, last := f.bounds(block, i)
	return f.at(i), Widest(x, first, last, 2*halfBits[L]())
}

// bounds gives the first and the last address of range i, which starts in block.
func (f *family[L]) bounds(block, i int) (first, last uint64) {
	half := halfBits[L]()
	first = uint64(f.heads[block])<<half | uint64(f.lows[i])
	next := i + 1
	if next == len(f.lows) {
		return first, lastKey[L]()
	}
	if next == int(f.first[block+1]) {
		block++
	}
	return first, (uint64(f.heads[block])<<half | uint64(f.lows[next])) - 1
}

// Widest gives the length of the widest prefix around x that lies within first to last, all of that many bits.
func Widest(x, first, last uint64, width int) int {
	length := 0
	if first > 0 { // the prefix must not hold the address before the range …
		length = common(x, first-1, width) + 1
	}
	if last < math.MaxUint64>>(64-width) { // … nor the one after it
		length = max(length, common(x, last+1, width)+1)
	}
	return length
}

// common is the number of leading bits that x and y share.
func common(x, y uint64, width int) int { return bits.LeadingZeros64(x^y) - 64 + width }

// push appends a range that starts where the last one ended.
func (f *family[L]) push(start uint64, value uint32) {
	n := f.len()
	if n > 0 && f.at(n-1) == value {
		return
	}
	head := uint32(start >> halfBits[L]())
	if b := len(f.heads); b == 0 || f.heads[b-1] != head {
		f.heads, f.first = append(f.heads, head), append(f.first, uint32(n))
	}
	f.lows = append(f.lows, L(start))
	f.append(value)
}

func (f *family[L]) grow(ranges int) {
	f.lows, f.lo = make([]L, 0, ranges), make([]uint16, 0, ranges)
}

// seal builds the index and gives back memory that growing left over.
func (f *family[L]) seal() {
	f.first = append(f.first, uint32(f.len()))
	f.heads, f.first, f.lows, f.lo = trim(f.heads), trim(f.first), trim(f.lows), trim(f.lo)
	if f.hi != nil {
		f.hi = trim(f.hi)
	}
	f.index = make([]uint32, 1<<16+1)
	b := 0
	for h := range f.index {
		for b < len(f.heads) && int(f.heads[b]>>(halfBits[L]()-16)) < h {
			b++
		}
		f.index[h] = uint32(b)
	}
}

// trim copies what is much smaller than its room.
func trim[T any](s []T) []T {
	if len(s) > cap(s)*15/16 {
		return s
	}
	return append(make([]T, 0, len(s)), s...)
}
