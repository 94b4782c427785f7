package table

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/geotest"
	"meridian/router/learned"
)

// told gives what one region has measured of a network.
func told(model *decide.Model, network string, region chat.Region, ms float64) *learned.Set {
	day := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	return learned.New(learned.File{Collected: day, Rows: []learned.Row{
		{Group: learned.Group{Network: netip.MustParsePrefix(network)}, Region: region, P50Ms: ms, Samples: 50, Last: day},
	}}, model)
}

// What is learned moves a network as data does: at once where nothing was before, else when it has been clearly better for three builds;
// and its neighbours stay.
func TestLearnedIsHeld(t *testing.T) {
	model := geotest.Model(t, ends(config.Router{}))
	data := town(t, "US", 43.5, -97.5)
	at := netip.MustParseAddr("81.2.69.142")
	fast := told(model, "81.2.64.0/20", "ap-northeast", 20)
	live, err := NewLearned(model, data, fast, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first(t, live, at) != "ap-northeast" {
		t.Fatal("a table that is new does not go by what was learned")
	}
	if live, err = New(model, data, nil); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		set  *learned.Set
		want chat.Region
	}{
		{nil, "eu-west"},
		{fast, "eu-west"},
		{nil, "eu-west"},
		{fast, "eu-west"},
		{fast, "eu-west"},
		{fast, "ap-northeast"},
		{told(model, "81.2.64.0/20", "ap-northeast", 25), "ap-northeast"},
		{nil, "ap-northeast"},
	} {
		if err := live.ReplaceLearned(model, data, step.set, nil); err != nil {
			t.Fatal(err)
		}
		if got := first(t, live, at); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
		if got := first(t, live, netip.MustParseAddr("2a00:23c4::1")); got != "eu-west" {
			t.Errorf("step %d: IPv6, of which nothing was learned, goes to %s", i, got)
		}
	}
	if err := live.Replace(model, data, nil); err != nil || live.Learned() != nil {
		t.Errorf("new data must keep what is learned: %v", err)
	}
}

// first gives the first region for an address, which table and Decide must agree on.
func first(t *testing.T, l *Live, a netip.Addr) chat.Region {
	t.Helper()
	numbers, _ := l.Answer(nil, General, a)
	d, err := l.Decide(Query{Address: a})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range d.Usable() {
		if got := l.Model().Regions()[numbers[i]]; got != c.Region {
			t.Fatalf("%s: place %d of the table is %s, of Decide %s\n%s", a, i+1, got, c.Region, d.Text())
		}
	}
	return d.Region
}

// With round trips learned of networks and of systems, before and after swaps, the table answers what Decide decides, and each address
// within an answer's scope gets the same answer.
func TestLearnedTableAgreesWithDecide(t *testing.T) {
	model := geotest.Model(t, ends(config.Router{}))
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 8))
		systems := geotest.Networks{}
		for i := range 40 {
			record := mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(1 + rng.IntN(4)), "autonomous_system_organization": mmdbtype.String("x")}
			systems[fmt.Sprintf("81.2.%d.0/%d", 4*i, 22+rng.IntN(3))], systems[fmt.Sprintf("2a00:23c4:%x00::/40", i)] = record, record
		}
		data, err := geo.Open(config.Router{ASNFiles: []string{geotest.File(t, "", "GeoLite2-ASN", 1780272000, systems)}}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		live, err := NewLearned(model, data, random(rng, model), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			moved := map[chat.Region]int{}
			for range 500 {
				a := netip.AddrFrom4([4]byte{81, 2, byte(rng.IntN(256)), byte(rng.IntN(256))})
				if rng.IntN(2) == 0 {
					a = netip.AddrFrom16([16]byte{0x2a, 0, 0x23, 0xc4, byte(rng.IntN(40)), byte(rng.IntN(256))})
				}
				moved[first(t, live, a)]++
				want, bits := live.Answer(nil, General, a)
				scope, _ := a.Prefix(bits)
				for range 5 {
					b := scope.Addr().AsSlice()
					for i := bits; i < len(b)*8; i++ {
						b[i/8] ^= byte(rng.IntN(2)) << (7 - i%8)
					}
					neighbour, _ := netip.AddrFromSlice(b)
					if got, _ := live.Answer(nil, General, neighbour); !slices.Equal(got, want) {
						t.Fatalf("seed %d: %s and %s are both in %s: %v and %v", seed, a, neighbour, scope, want, got)
					}
				}
			}
			if len(moved) < 2 {
				t.Errorf("seed %d: everybody goes to %v", seed, moved)
			}
			if err := live.ReplaceLearned(model, data, random(rng, model), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// random gives what was learned of networks in 81.2.0.0/16 and 2a00:23c4::/32, and of systems of their countries.
func random(rng *rand.Rand, model *decide.Model) *learned.Set {
	day := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	f := learned.File{Collected: day}
	add := func(g learned.Group) {
		for _, r := range model.Regions() {
			if rng.IntN(2) == 0 {
				f.Rows = append(f.Rows, learned.Row{Group: g, Region: r, P50Ms: 1 + float64(rng.IntN(300)), Samples: 50, Last: day})
			}
		}
	}
	for i := range 16 {
		add(learned.Group{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{81, 2, byte(16 * i), 0}), 20)})
	}
	for i := range 16 {
		add(learned.Group{Network: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, 0, 0x23, 0xc4, byte(16 * i)}), 36)})
	}
	for _, country := range []string{"DE", "GB", "NL"} {
		for asn := range uint32(3) {
			add(learned.Group{Country: country, ASN: asn + 1})
		}
	}
	return learned.New(f, model)
}
