package ranges_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"meridian/router/geo/ranges"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func build(t testing.TB, networks map[string]uint32) *ranges.Set {
	t.Helper()
	var list []netip.Prefix
	for s := range networks {
		list = append(list, prefix(s))
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	var b ranges.Builder
	for _, p := range list {
		if !b.Add(p, networks[p.String()]) {
			t.Fatalf("%s is not taken", p)
		}
	}
	return b.Set()
}

// Every address has the number of its network, 0 in gaps, with the widest prefix that nothing else is in.
func TestLookup(t *testing.T) {
	s := build(t, map[string]uint32{
		"10.0.0.0/8": 1, "11.0.0.0/8": 1, "12.0.0.0/9": 2, "255.255.255.255/32": 3,
		"2a00::/16": 4, "2a01::/64": 5, "2a01:0:0:1::/65": 6, "2a01:0:0:1:8000::/65": 7, "2a01:0:0:2:8000::/65": 8, "ffff::/16": 9,
		"192.0.2.0/24": ranges.MaxValue, "192.0.3.0/24": 1 << 16, "2001:db8::/32": 1<<16 + 1,
	})
	for _, c := range []struct {
		addr  string
		value uint32
		bits  int
	}{
		{"0.0.0.0", 0, 5},
		{"9.255.255.255", 0, 7},
		{"10.0.0.0", 1, 7},
		{"11.255.255.255", 1, 7},
		{"12.1.1.1", 2, 9},
		{"12.128.0.0", 0, 9},
		{"200.0.0.0", 0, 5},
		{"255.255.255.254", 0, 32},
		{"255.255.255.255", 3, 32},
		{"::", 0, 3},
		{"2a00:ffff::", 4, 16},
		{"2a01::1", 5, 64},
		{"2a01:0:0:1:ffff::", 6, 64}, // a /64 is not split: its first address counts
		{"2a01:0:0:2:ffff::", 0, 63},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 9, 16},
		{"192.0.2.1", ranges.MaxValue, 24},
		{"192.0.3.1", 1 << 16, 24},
		{"2001:db8::1", 1<<16 + 1, 32},
	} {
		if value, bits := s.Lookup(netip.MustParseAddr(c.addr)); value != c.value || bits != c.bits {
			t.Errorf("%s: got %d /%d, want %d /%d", c.addr, value, bits, c.value, c.bits)
		}
	}
	if v4, v6 := s.Len(); v4 != 8 || v6 != 8 {
		t.Errorf("%d and %d ranges: equal neighbours are not joined", v4, v6)
	}
}

// Networks out of order or overlapping are refused and change nothing.
func TestBuilderRefuses(t *testing.T) {
	var b ranges.Builder
	for _, c := range []struct {
		network string
		ok      bool
	}{
		{"10.0.0.0/8", true},
		{"10.0.0.0/8", false},
		{"10.1.0.0/16", false},
		{"9.0.0.0/8", false},
		{"240.0.0.0/4", true},
		{"0.0.0.0/0", false},
		{"2a00::/16", true},
		{"2a00:1::/32", false},
		{"2a00::/128", false},
	} {
		if ok := b.Add(prefix(c.network), 7); ok != c.ok {
			t.Errorf("%s: %v, want %v", c.network, ok, c.ok)
		}
	}
	if v, bits := b.Set().Lookup(netip.MustParseAddr("10.1.2.3")); v != 7 || bits != 8 {
		t.Errorf("got %d /%d", v, bits)
	}
}

// Of sets that lie over one another the first that knows an address counts.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := func(name string) *ranges.Set {
			var b ranges.Builder
			for i, v := range rapid.SliceOfN(rapid.Uint32Range(0, 3), 64, 64).Draw(t, name) {
				b.Add(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24), v)
				b.Add(netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, 0, byte(i)}), 24), v)
			}
			return b.Set()
		}
		top, under := set("top"), set("under")
		both := ranges.Merge(ranges.First, top, under)
		for i := range 70 {
			for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i), 9}), netip.AddrFrom16([16]byte{0x2a, 0, byte(i), 9})} {
				want, _ := top.Lookup(a)
				if want == 0 {
					want, _ = under.Lookup(a)
				}
				if got, _ := both.Lookup(a); got != want {
					t.Fatalf("%s: got %d, want %d", a, got, want)
				}
			}
		}
	})
}

// Merging agrees with asking each set, for ranges of any length, numbers of two and three bytes, and any number of sets; the
// prefixes that look-ups give are the widest truthful ones.
func TestMergeOfRandomSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := []uint32{0, 1, 65535, 65536, ranges.MaxValue}
		set := func(name string) *ranges.Set {
			var b ranges.Builder
			for _, x := range sorted(rapid.SliceOfN(rapid.Uint32(), 0, 20).Draw(t, name)) {
				bits := rapid.IntRange(8, 32).Draw(t, "bits")
				v := rapid.SampledFrom(values).Draw(t, "value")
				b.Add(netip.PrefixFrom(v4(x), bits), v) // what overlaps is left out
				b.Add(netip.PrefixFrom(v6(x), 2*bits), v)
			}
			return b.Set()
		}
		sets := []*ranges.Set{set("a"), set("b"), set("c")}
		sum := func(v []uint32) uint32 { return (v[0] ^ v[1] ^ v[2]) & ranges.MaxValue }
		merged := ranges.Merge(sum, sets...)
		for _, x := range rapid.SliceOfN(rapid.Uint32(), 20, 20).Draw(t, "asked") {
			for _, a := range []netip.Addr{v4(x), v6(x)} {
				var each []uint32
				for _, s := range sets {
					v, _ := s.Lookup(a)
					each = append(each, v)
				}
				got, bits := merged.Lookup(a)
				if want := sum(each); got != want {
					t.Fatalf("%s: got %d, want %d", a, got, want)
				}
				checkPrefix(t, merged, a, got, bits)
			}
		}
	})
}

// checkPrefix looks at the ends of the prefix, which must have the number, and for another number in the next wider one.
func checkPrefix(t *rapid.T, s *ranges.Set, a netip.Addr, value uint32, bits int) {
	ends := func(bits int) (first, last uint32) {
		p, _ := a.Prefix(bits)
		b := p.Addr().AsSlice()
		first, _ = s.Lookup(p.Addr())
		for i := bits; i < len(b)*8; i++ {
			b[i/8] |= 0x80 >> (i % 8)
		}
		end, _ := netip.AddrFromSlice(b)
		last, _ = s.Lookup(end)
		return first, last
	}
	if first, last := ends(bits); first != value || last != value {
		t.Fatalf("%s/%d: ends have %d and %d, want %d", a, bits, first, last, value)
	}
	if bits == 0 {
		return
	}
	wider, _ := a.Prefix(bits - 1)
	n := 0 // ranges that begin inside; neighbours differ, so with none it has one number
	ranges.Each(func(p ranges.Piece) {
		if wider.Contains(p.First) && p.First != wider.Addr() {
			n++
		}
	}, s)
	if n == 0 {
		t.Fatalf("%s: %s has one number too", a, wider)
	}
}

func sorted(x []uint32) []uint32 { slices.Sort(x); return x }

func v4(x uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)})
}

func v6(x uint32) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20 | byte(x>>28), byte(x >> 20), byte(x >> 12), byte(x >> 4), byte(x << 4), byte(x), byte(x >> 3), byte(x)})
}

// Each gives every address once, with the numbers that look-ups give.
func TestEach(t *testing.T) {
	a := build(t, map[string]uint32{"10.0.0.0/8": 1, "2a00::/16": 2})
	b := build(t, map[string]uint32{"10.128.0.0/9": 3})
	var got []string
	v4, v6 := 0.0, 0.0
	ranges.Each(func(p ranges.Piece) {
		got = append(got, fmt.Sprint(p.First, p.Values))
		if p.First.Is4() {
			v4 += p.Size
		} else {
			v6 += p.Size
		}
	}, a, b)
	want := []string{"0.0.0.0 [0 0]", "10.0.0.0 [1 0]", "10.128.0.0 [1 3]", "11.0.0.0 [0 0]", ":: [0 0]", "2a00:: [2 0]", "2a01:: [0 0]"}
	if !slices.Equal(got, want) || v4 != 1<<32 || v6 != 1<<64 {
		t.Errorf("got %v, %g and %g addresses", got, v4, v6)
	}
}

func packed(t testing.TB) []byte {
	t.Helper()
	f := ranges.File{Edition: "2026-06", Names: []string{"GB", "IN"}, Set: build(t, map[string]uint32{"81.2.64.0/18": 1, "2405:201::/32": 2})}
	var b bytes.Buffer
	if n, err := f.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d bytes, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// A file comes back as it was, the same bytes for the same content.
func TestFile(t *testing.T) {
	f, err := ranges.Read(packed(t))
	if err != nil || f.Edition != "2026-06" || !slices.Equal(f.Names, []string{"GB", "IN"}) {
		t.Fatalf("%+v, %v", f, err)
	}
	if v, bits := f.Set.Lookup(netip.MustParseAddr("81.2.69.142")); v != 1 || bits != 18 {
		t.Errorf("got %d /%d", v, bits)
	}
	if v, bits := f.Set.Lookup(netip.MustParseAddr("2405:201::1")); v != 2 || bits != 32 {
		t.Errorf("got %d /%d", v, bits)
	}
	if v, _ := f.Set.Lookup(netip.MustParseAddr("255.255.255.255")); v != 0 {
		t.Errorf("the end: got %d", v)
	}
	if !bytes.Equal(packed(t), packed(t)) {
		t.Error("the same content gave other bytes")
	}
}

// Any damage is noticed: no changed or missing byte is read as if nothing were wrong.
func TestDamagedFile(t *testing.T) {
	good := packed(t)
	for i := range good {
		if _, err := ranges.Read(good[:i]); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
		if i < 10 { // the gzip header holds times and flags that do not matter
			continue
		}
		bad := slices.Clone(good)
		bad[i] ^= 0x40
		if _, err := ranges.Read(bad); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
	}
}
