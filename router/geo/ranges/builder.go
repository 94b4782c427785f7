package ranges

import (
	"math"
	"net/netip"
)

// Builder makes a Set of networks that come in ascending order and do not overlap, each family by itself.
type Builder struct {
	v4 builder[uint16]
	v6 builder[uint32]
}

type builder[L low] struct {
	family[L]
	next uint64 // first address not covered yet
	full bool   // the last address is covered
}

// Grow makes room for that many networks of each family, so that building copies less.
func (b *Builder) Grow(v4, v6 int) {
	b.v4.grow(v4)
	b.v6.grow(v6)
}

// Add gives all addresses of p the number value. It returns false, and does nothing, when p comes before or overlaps an
// earlier one. An IPv6 network longer than /64 counts only if it holds the first address of its /64.
func (b *Builder) Add(p netip.Prefix, value uint32) bool {
	p = p.Masked()
	if p.Addr().Is4() {
		first := key4(p.Addr())
		return b.v4.add(first, first|math.MaxUint32>>p.Bits(), value)
	}
	first := key6(p.Addr())
	if p.Bits() > 64 {
		a := p.Addr().As16()
		return [8]byte(a[8:]) != [8]byte{} || b.v6.add(first, first, value)
	}
	last := first
	if p.Bits() < 64 {
		last |= math.MaxUint64 >> p.Bits()
	}
	return b.v6.add(first, last, value)
}

// AddIPv4 is Add for a range of addresses.
func (b *Builder) AddIPv4(first, last, value uint32) bool {
	return b.v4.add(uint64(first), uint64(last), value)
}

func (b *builder[L]) add(first, last uint64, value uint32) bool {
	if b.full || first < b.next {
		return false
	}
	if first > b.next {
		b.push(b.next, 0)
	}
	b.push(first, value)
	b.next, b.full = last+1, last == lastKey[L]()
	return true
}

func (b *builder[L]) finish() family[L] {
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
