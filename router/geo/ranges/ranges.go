// Package ranges maps every IP address to a number: sorted, gapless ranges of addresses, IPv4 exactly and IPv6 by /64 (one
// link is never split between two answers), with an index over the first 16 bits. A Set never changes once built; look-ups
// do not allocate.
package ranges

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
)

// Set is the ranges of both families. Numbers are the caller's; 0 means "nothing known", which fills all gaps.
type Set struct {
	v4 family[uint32]
	v6 family[uint64] // the top 64 bits
}

type key interface{ uint32 | uint64 }

// family holds range i as starts[i] up to starts[i+1]-1, all of it numbered values[i]. Neighbours have different values.
type family[K key] struct {
	starts []K
	values []uint32
	// index[h] is the first range that starts at or after the addresses whose top 16 bits are h.
	index []uint32
}

// Lookup gives a's number and the length of the widest prefix around a that has no other number: up to 32 for IPv4, up to
// 64 for IPv6. IPv4-mapped addresses count as IPv6 here: unmap them first.
func (s *Set) Lookup(a netip.Addr) (value uint32, prefixBits int) {
	if a.Is4() {
		b := a.As4()
		return s.v4.lookup(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return s.v6.lookup(binary.BigEndian.Uint64(b[:8]))
}

// Len gives the number of ranges of each family.
func (s *Set) Len() (v4, v6 int) { return len(s.v4.starts), len(s.v6.starts) }

// Map gives the set in which each number n has become f(n), neighbours with one number joined.
func (s *Set) Map(f func(uint32) uint32) *Set {
	return &Set{v4: s.v4.mapped(f), v6: s.v6.mapped(f)}
}

// Over lays s over under: where s has 0, under's number stands.
func (s *Set) Over(under *Set) *Set {
	return &Set{v4: overlay(s.v4, under.v4), v6: overlay(s.v6, under.v6)}
}

func width[K key]() int {
	if uint64(^K(0)) == math.MaxUint32 {
		return 32
	}
	return 64
}

func (f *family[K]) find(x K) int {
	h := int(x >> (width[K]() - 16))
	lo, hi := int(f.index[h]), int(f.index[h+1])
	for lo < hi { // the first range that starts after x
		mid := int(uint(lo+hi) >> 1)
		if f.starts[mid] <= x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

func (f *family[K]) lookup(x K) (uint32, int) {
	i := f.find(x)
	length := 0
	if f.starts[i] > 0 { // the prefix must not hold the address before the range …
		length = common(x, f.starts[i]-1) + 1
	}
	if i+1 < len(f.starts) { // … nor the one after it
		length = max(length, common(x, f.starts[i+1])+1)
	}
	return f.values[i], length
}

// common is the number of leading bits that x and y share.
func common[K key](x, y K) int {
	return bits.LeadingZeros64(uint64(x^y)) - 64 + width[K]()
}

// push appends a range that starts where the last one ended.
func (f *family[K]) push(start K, value uint32) {
	if n := len(f.values); n > 0 && f.values[n-1] == value {
		return
	}
	f.starts, f.values = append(f.starts, start), append(f.values, value)
}

// seal builds the index and gives back memory that growing left over.
func (f *family[K]) seal() {
	if n := len(f.starts); n < cap(f.starts)*3/4 {
		f.starts, f.values = append(make([]K, 0, n), f.starts...), append(make([]uint32, 0, n), f.values...)
	}
	f.index = make([]uint32, 1<<16+1)
	i := 0
	for h := range 1 << 16 {
		for i < len(f.starts) && int(f.starts[i]>>(width[K]()-16)) < h {
			i++
		}
		f.index[h] = uint32(i)
	}
	f.index[1<<16] = uint32(len(f.starts))
}

func (f *family[K]) mapped(fn func(uint32) uint32) family[K] {
	out := family[K]{starts: make([]K, 0, len(f.starts)), values: make([]uint32, 0, len(f.values))}
	for i, v := range f.values {
		out.push(f.starts[i], fn(v))
	}
	out.seal()
	return out
}

func overlay[K key](top, under family[K]) family[K] {
	n := len(top.starts) + len(under.starts)
	out := family[K]{starts: make([]K, 0, n), values: make([]uint32, 0, n)}
	for i, j := 0, 0; ; { // ranges i and j are those that hold the current start
		v := top.values[i]
		if v == 0 {
			v = under.values[j]
		}
		out.push(max(top.starts[i], under.starts[j]), v)
		moreTop, moreUnder := i+1 < len(top.starts), j+1 < len(under.starts)
		switch {
		case !moreTop && !moreUnder:
			out.seal()
			return out
		case !moreUnder || moreTop && top.starts[i+1] < under.starts[j+1]:
			i++
		case !moreTop || under.starts[j+1] < top.starts[i+1]:
			j++
		default:
			i, j = i+1, j+1
		}
	}
}

// Builder makes a Set of networks that come in ascending order and do not overlap, each family by itself.
type Builder struct {
	v4 builder[uint32]
	v6 builder[uint64]
}

type builder[K key] struct {
	family[K]
	next K    // first address not covered yet
	full bool // the last address is covered
}

// Add gives all addresses of p the number value. It returns false, and does nothing, when p comes before or overlaps an
// earlier one. An IPv6 network longer than /64 counts only if it holds the first address of its /64.
func (b *Builder) Add(p netip.Prefix, value uint32) bool {
	p = p.Masked()
	if p.Addr().Is4() {
		a := p.Addr().As4()
		first := binary.BigEndian.Uint32(a[:])
		return b.v4.add(first, first|uint32(uint64(math.MaxUint32)>>p.Bits()), value)
	}
	a := p.Addr().As16()
	first := binary.BigEndian.Uint64(a[:8])
	if p.Bits() > 64 {
		return binary.BigEndian.Uint64(a[8:]) != 0 || b.v6.add(first, first, value)
	}
	last := first
	if p.Bits() < 64 {
		last |= math.MaxUint64 >> p.Bits()
	}
	return b.v6.add(first, last, value)
}

func (b *builder[K]) add(first, last K, value uint32) bool {
	if b.full || first < b.next {
		return false
	}
	if first > b.next {
		b.push(b.next, 0)
	}
	b.push(first, value)
	b.next, b.full = last+1, last == ^K(0)
	return true
}

func (b *builder[K]) finish() family[K] {
	if !b.full {
		b.push(b.next, 0)
	}
	b.seal()
	return b.family
}

// Set gives what was added; the builder is used up.
func (b *Builder) Set() *Set {
	return &Set{v4: b.v4.finish(), v6: b.v6.finish()}
}
