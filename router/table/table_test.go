package table_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/table"
)

func live(t testing.TB, regions []config.Region, hosts ...chat.ZoneSpec) *table.Live {
	t.Helper()
	world, err := geo.World()
	if err != nil {
		t.Fatal(err)
	}
	if regions == nil {
		for _, p := range world.Points {
			regions = append(regions, config.Region{Name: chat.Region(p.Name), Latitude: p.Latitude, Longitude: p.Longitude})
		}
	}
	m, err := decide.NewModel(&config.Config{Regions: regions}, world)
	if err != nil {
		t.Fatal(err)
	}
	data, err := geo.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := table.New(m, data, hosts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var three = []config.Region{
	{Name: "us-east", Latitude: 39.04, Longitude: -77.49},
	{Name: "eu-west", Latitude: 53.35, Longitude: -6.26},
	{Name: "ap-south", Latitude: 19.08, Longitude: 72.88},
}

func randomAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	b := [16]byte{}
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	switch rng.IntN(4) {
	case 0:
		b[0], b[1] = 0x2a, byte(rng.IntN(16))
	case 1:
		b[0], b[1] = 0x20, 0x02
	case 2:
		b = netip.AddrFrom4([4]byte(b[:4])).As16()
	}
	return netip.AddrFrom16(b)
}

func answer(l *table.Live, host int, a netip.Addr) ([]chat.Region, int) {
	numbers, bits := l.Answer(nil, host, a)
	var out []chat.Region
	for _, n := range numbers {
		out = append(out, l.Model().Regions()[n])
	}
	return out, bits
}

// The compiled table answers what Decide decides, for every address, host and state of the regions.
func TestTableAgreesWithDecide(t *testing.T) {
	zone := chat.ZoneSpec{Name: "eu", Regions: []chat.Region{"eu-central-1", "eu-west-1"}, Transit: chat.TransitAllow}
	l := live(t, nil, zone)
	rng := rand.New(rand.NewPCG(3, 4))
	down := decide.State{Health: decide.HealthDown}
	for name, states := range map[string]decide.States{
		"all up":   nil,
		"one down": {"eu-west-1": down},
		"mixed":    {"eu-west-1": down, "us-east-1": {Draining: true}, "ap-south-1": {Forced: decide.HealthDown}},
		"eu down":  {"eu-west-1": down, "eu-central-1": down},
		"shedding": {"us-east-1": {Shed: 0.4, Load: 0.9}, "eu-west-1": {Shed: 1}},
	} {
		l.SetStates(states)
		for range 1000 {
			a := randomAddr(rng)
			for host := range 2 {
				d, err := l.Decide(table.Query{Address: a, Host: host})
				if err != nil {
					t.Fatal(err)
				}
				var want []chat.Region
				for _, c := range d.Usable() {
					want = append(want, c.Region)
				}
				if got, _ := answer(l, host, a); !slices.Equal(got, want) {
					t.Fatalf("%s, host %d, %s: table %v, decide %v", name, host, a, got, want)
				}
			}
		}
	}
}

// A scope is truthful: every address within it gets the same answer, now and in every other state of the regions.
func TestScopeIsTruthful(t *testing.T) {
	l := live(t, nil)
	rng := rand.New(rand.NewPCG(5, 6))
	for _, states := range []decide.States{nil, {"us-east-1": {Shed: 0.5}}} {
		l.SetStates(states)
		for range 1000 {
			a := randomAddr(rng)
			want, bits := answer(l, table.General, a)
			p, err := a.Prefix(bits)
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				b := p.Addr().AsSlice()
				for i := bits; i < len(b)*8; i++ {
					b[i/8] ^= byte(rng.IntN(2)) << (7 - i%8)
				}
				neighbour, _ := netip.AddrFromSlice(b)
				if got, _ := answer(l, table.General, neighbour); !slices.Equal(got, want) {
					t.Fatalf("%s and %s are both in %s: %v and %v", a, neighbour, p, want, got)
				}
			}
		}
	}
}

// No scope of an IPv6 answer covers addresses that hold IPv4 addresses, which are answered by those.
func TestScopeSparesIPv4InIPv6(t *testing.T) {
	l := live(t, nil)
	for _, s := range []string{"1000::1", "64:ff9b::1", "100::1", "2001:db8::1", "2003::1", "4000::1"} {
		a := netip.MustParseAddr(s)
		_, bits := answer(l, table.General, a)
		p, err := a.Prefix(bits)
		if err != nil {
			t.Fatal(err)
		}
		if p.Addr() == netip.IPv6Unspecified() || p.Contains(netip.MustParseAddr("2002:808:808::1")) {
			t.Errorf("%s: %s covers mapped or 6to4 addresses", s, p)
		}
	}
}

// Where the client's address cannot matter, the scope is 0, so that resolvers keep one answer for all.
func TestScopeZeroWhenOneRegionIsLeft(t *testing.T) {
	zone := chat.ZoneSpec{Name: "in", Regions: []chat.Region{"ap-south"}, Transit: chat.TransitDeny}
	l := live(t, three, zone)
	a := netip.MustParseAddr("81.2.69.142")
	if _, bits := answer(l, 1, a); bits != 0 {
		t.Errorf("host of a zone of one region: scope %d", bits)
	}
	if _, bits := answer(l, table.General, a); bits == 0 {
		t.Errorf("three regions up: scope 0")
	}
	l.SetStates(decide.States{"us-east": {Health: decide.HealthDown}, "eu-west": {Draining: true}})
	if got, bits := answer(l, table.General, a); bits != 0 || !slices.Equal(got, []chat.Region{"ap-south"}) {
		t.Errorf("one region left: %v, scope %d", got, bits)
	}
}

// The addresses that a newcomer tries go where they should, with their reasons and generations.
func TestKnownAddresses(t *testing.T) {
	l := live(t, three)
	for addr, want := range map[string]chat.Region{
		"81.2.69.142": "eu-west", "8.8.8.8": "us-east", "49.36.0.1": "ap-south", "2a00:23c4::1": "eu-west", "2600::1": "us-east",
		"192.0.2.1": "eu-west", "::ffff:49.36.0.1": "ap-south",
	} {
		d, err := l.Decide(table.Query{Address: netip.MustParseAddr(addr)})
		if err != nil || d.Region != want {
			t.Errorf("%s: got %s, %v, want %s", addr, d.Region, err, want)
		}
	}
	if l.SetStates(nil) {
		t.Error("the same states count as a change")
	}
	l.SetStates(decide.States{"us-east": {Draining: true}})
	if err := l.Replace(l.Model(), l.Data(), nil); err != nil {
		t.Fatal(err)
	}
	d, _ := l.Decide(table.Query{Address: netip.MustParseAddr("8.8.8.8")})
	if d.Region != "eu-west" || d.Gen.Config != 2 || d.Gen.Health != 2 || d.Gen.Data != "DB-IP Country Lite 2.3.2026060120" {
		t.Errorf("after a reload states must stay: %s, %+v", d.Region, d.Gen)
	}
}

// An answer costs no memory, whichever way it is found.
func TestAnswerDoesNotAllocate(t *testing.T) {
	l := live(t, nil)
	var room [chat.MaxRegions]uint8
	v4, v6 := netip.MustParseAddr("81.2.69.142"), netip.MustParseAddr("2a00:23c4::1")
	for _, states := range []decide.States{nil, {"us-east-1": {Shed: 0.5}}} {
		l.SetStates(states)
		if n := testing.AllocsPerRun(100, func() { l.Answer(room[:0], 0, v4); l.Answer(room[:0], 0, v6) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	l := live(b, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	var v4, v6 [4096]netip.Addr
	for i := range v4 {
		v4[i] = netip.AddrFrom4([4]byte{byte(1 + rng.IntN(223)), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
		v6[i] = netip.AddrFrom16([16]byte{0x2a, byte(rng.IntN(16)), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	b.Logf("%d rankings", l.Rankings())
	for name, list := range map[string]*[4096]netip.Addr{"IPv4": &v4, "IPv6": &v6} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var room [chat.MaxRegions]uint8
			i := 0
			for b.Loop() {
				l.Answer(room[:0], 0, list[i&4095])
				i++
			}
		})
	}
}

// BenchmarkBuild compiles the built-in country table for twelve regions.
func BenchmarkBuild(b *testing.B) {
	l := live(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := table.New(l.Model(), l.Data(), nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSwap takes new data while the old serves: what Build does, and what is held on to between builds.
func BenchmarkSwap(b *testing.B) {
	l := live(b, nil)
	next, err := geo.Load(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Replace(l.Model(), next, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHealthChange(b *testing.B) {
	l := live(b, nil)
	states := [2]decide.States{{"us-east-1": {Health: decide.HealthDown}}, {}}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		l.SetStates(states[i&1])
		i++
	}
}
