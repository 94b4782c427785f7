package table

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"meridian/router/geo/ranges"
)

func ipv4(x uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)})
}

// The tree of IPv4 gives for every address the number and the widest prefix that the ranges it was made of give, and gives
// those ranges back.
func TestTreeAgreesWithRanges(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var b ranges.Builder
		asked := []uint32{0, 1<<32 - 1, 1 << 31}
		for first, n := uint64(0), rng.IntN(200); first < 1<<32 && n > 0; n-- {
			last := min(first+uint64(rng.Uint32())>>rng.IntN(32), 1<<32-1)
			value := rng.Uint32N(4)
			if rng.IntN(7) == 0 {
				value = maxRankings - 1
			}
			b.AddIPv4(uint32(first), uint32(last), value)
			for _, x := range []uint32{uint32(first), uint32(last)} { // around the borders
				asked = append(asked, x, x-1, x+1, x^0xff, x^0xffff, x^1)
			}
			first = last + 1
		}
		for range 1000 {
			asked = append(asked, rng.Uint32())
		}
		set := b.Set()
		tr := newTree(set)
		for _, x := range asked {
			value, bits := tr.lookup(x)
			if want, wantBits := set.Lookup(ipv4(x)); value != want || bits != wantBits {
				t.Fatalf("seed %d, %s: got %d /%d, want %d /%d", seed, ipv4(x), value, bits, want, wantBits)
			}
		}
		n := 0
		ranges.Each(func(p ranges.Piece) {
			if n++; p.Values[0] != p.Values[1] {
				t.Fatalf("seed %d: at %s the tree gives %d back, not %d", seed, p.First, p.Values[1], p.Values[0])
			}
		}, set, tr.set())
		if v4, v6 := set.Len(); n != v4+v6 {
			t.Fatalf("seed %d: %d ranges came back as %d", seed, v4+v6, n)
		}
	}
}

// Equal /24s share one leaf, and /16s that are not split a page, so that a table of many of them stays small.
func TestTreeSharesLeaves(t *testing.T) {
	var b ranges.Builder
	for i := range uint32(1 << 16) {
		b.AddIPv4(i<<8, i<<8|0x7f, 1)
		b.AddIPv4(i<<8|0x80, i<<8|0xff, 2)
	}
	tr := newTree(b.Set())
	if leaves, pages := len(tr.words)/4, len(tr.pages)/256; leaves != 1 || pages != 1<<8+8 || len(tr.runs) != 1+2 || tr.bytes() > 1<<20 {
		t.Errorf("%d leaves, %d pages, %d runs, %d bytes", leaves, pages, len(tr.runs), tr.bytes())
	}
	if v, bits := tr.lookup(0x00001281); v != 2 || bits != 25 {
		t.Errorf("got %d /%d", v, bits)
	}
}

// A tree of more numbers than two bytes tell apart answers as any other; it only takes more room.
func TestTreeOfManyNumbers(t *testing.T) {
	for _, numbers := range []uint32{maxEntries - 100, maxEntries + 100, 3 * maxEntries} {
		var b ranges.Builder
		for i := range numbers {
			b.AddIPv4(i<<9, i<<9|0x1ff, i+1)
		}
		set := b.Set()
		tr := newTree(set)
		if wide := tr.wide != nil; wide != (numbers > maxEntries) {
			t.Errorf("%d numbers: wide %v", numbers, wide)
		}
		for i := range numbers {
			for _, x := range []uint32{i << 9, i<<9 | 0x1ff} {
				if v, bits := tr.lookup(x); v != i+1 || bits != 23 {
					t.Fatalf("%d numbers: %s: got %d /%d", numbers, ipv4(x), v, bits)
				}
			}
		}
		ranges.Each(func(p ranges.Piece) {
			if p.Values[0] != p.Values[1] {
				t.Fatalf("%d numbers: at %s the tree gives %d back, not %d", numbers, p.First, p.Values[1], p.Values[0])
			}
		}, set, tr.set())
	}
}

func BenchmarkNewTree(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var builder ranges.Builder
	for first := uint32(0); first < 0xe0000000; first += 1 + rng.Uint32N(2000) {
		builder.AddIPv4(first, first, rng.Uint32N(900))
	}
	set := builder.Set()
	b.ReportAllocs()
	for b.Loop() {
		newTree(set)
	}
}
