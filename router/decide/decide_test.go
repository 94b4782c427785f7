package decide_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var three = []config.Region{
	{Name: "us-east", City: "Ashburn", Country: "US", Latitude: 39.04, Longitude: -77.49},
	{Name: "eu-west", City: "Dublin", Country: "IE", Latitude: 53.35, Longitude: -6.26},
	{Name: "ap-south", City: "Mumbai", Country: "IN", Latitude: 19.08, Longitude: 72.88},
}

func world(t testing.TB) decide.World {
	t.Helper()
	w, err := geo.World()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func model(t testing.TB, cfg *config.Config) *decide.Model {
	t.Helper()
	m, err := decide.NewModel(cfg, world(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// twelve gives a region at every network point.
func twelve(t testing.TB) *config.Config {
	t.Helper()
	cfg := &config.Config{}
	for _, p := range world(t).Points {
		cfg.Regions = append(cfg.Regions, config.Region{Name: chat.Region(p.Name), Latitude: p.Latitude, Longitude: p.Longitude})
	}
	return cfg
}

func at(lat, lon float64, country string) decide.Place {
	return decide.Place{Level: decide.LevelCity, City: "somewhere", Country: country, Latitude: lat, Longitude: lon, Source: "test"}
}

func down(regions ...chat.Region) decide.States {
	s := decide.States{}
	for _, r := range regions {
		s[r] = decide.State{Health: decide.HealthDown, Why: "3 of 3 probes failed"}
	}
	return s
}

func usable(d decide.Decision) []chat.Region {
	var out []chat.Region
	for _, c := range d.Usable() {
		out = append(out, c.Region)
	}
	return out
}

var client = netip.MustParseAddr("198.18.0.1")

// Everybody goes to the region that is really nearest, also in the cases where distances on the globe mislead.
func TestNearestRegion(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   *config.Config
		place decide.Place
		down  []chat.Region
		want  chat.Region
	}{
		{"London of three", &config.Config{Regions: three}, at(51.5, -0.1, "GB"), nil, "eu-west"},
		{"Cape Town of three: by km Mumbai, by round trip Ireland", &config.Config{Regions: three}, at(-33.9, 18.4, "ZA"), nil, "eu-west"},
		{"Paris with Ireland down", &config.Config{Regions: three}, at(48.9, 2.4, "FR"), []chat.Region{"eu-west"}, "us-east"},
		{"Sydney of three", &config.Config{Regions: three}, at(-33.9, 151.2, "AU"), nil, "ap-south"},
		{"Sao Paulo", twelve(t), at(-23.5, -46.6, "BR"), nil, "sa-east-1"},
		{"Sao Paulo down: by km Cape Town, by round trip Virginia", twelve(t), at(-23.5, -46.6, "BR"), []chat.Region{"sa-east-1"}, "us-east-1"},
		{"Vienna", twelve(t), at(48.2, 16.4, "AT"), nil, "eu-central-1"},
	} {
		d, err := model(t, c.cfg).Decide(decide.Input{Address: client, Place: c.place, States: down(c.down...)})
		if err != nil || d.Region != c.want {
			t.Errorf("%s: got %s, %v, want %s\n%s", c.name, d.Region, err, c.want, d.Text())
		}
	}
}

// When a home region goes down, its people go to the region with the shortest measured round trip: wrong for none of twelve.
// By distance alone three would go wrong, and one of them far; testdata/next-region.txt shows both.
func TestNextRegionWhenHomeIsDown(t *testing.T) {
	cfg, w := twelve(t), world(t)
	m := model(t, cfg)
	var out strings.Builder
	fmt.Fprintf(&out, "%-16s %-16s %-16s %8s %-16s %8s\n", "down", "measured best", "decided", "lost ms", "by distance", "lost ms")
	wrong, wrongByKm := 0, 0
	for i, p := range w.Points {
		best, byKm := -1, -1
		for j := range w.Points {
			if j == i {
				continue
			}
			if best < 0 || w.RTTms[i][j] < w.RTTms[i][best] {
				best = j
			}
			if byKm < 0 || km(p, w.Points[j]) < km(p, w.Points[byKm]) {
				byKm = j
			}
		}
		in := decide.Input{Address: client, Place: at(p.Latitude, p.Longitude, p.Country)}
		if d, err := m.Decide(in); err != nil || string(d.Region) != p.Name {
			t.Errorf("at %s: got %s, %v", p.Name, d.Region, err)
		}
		in.States = down(chat.Region(p.Name))
		d, err := m.Decide(in)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.IndexFunc(w.Points, func(p decide.Point) bool { return p.Name == string(d.Region) })
		if got != best {
			wrong++
		}
		if byKm != best {
			wrongByKm++
		}
		fmt.Fprintf(&out, "%-16s %-16s %-16s %8.1f %-16s %8.1f\n", p.Name, w.Points[best].Name, d.Region, w.RTTms[i][got]-w.RTTms[i][best],
			w.Points[byKm].Name, w.RTTms[i][byKm]-w.RTTms[i][best])
	}
	fmt.Fprintf(&out, "wrong: %d of %d decided, %d by distance\n", wrong, len(w.Points), wrongByKm)
	if wrong != 0 || wrongByKm != 3 {
		t.Errorf("%d and %d are wrong, want 0 and 3", wrong, wrongByKm)
	}
	golden(t, "next-region", out.String())
}

// km is the distance on the globe, by the cosine rule: another way than the code's.
func km(a, b decide.Point) float64 {
	const rad = math.Pi / 180
	return 6371 * math.Acos(math.Sin(a.Latitude*rad)*math.Sin(b.Latitude*rad)+
		math.Cos(a.Latitude*rad)*math.Cos(b.Latitude*rad)*math.Cos((a.Longitude-b.Longitude)*rad))
}

// golden compares with a file of testdata; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s: got\n%s\nwant (%v)\n%s", name, got, err, want)
	}
}

var (
	zoneIn    = chat.ZoneSpec{Name: "in", Regions: []chat.Region{"ap-south"}, Policy: chat.PolicyDeny, Transit: chat.TransitDeny}
	zoneEU    = chat.ZoneSpec{Name: "eu", Regions: []chat.Region{"eu-west"}, Policy: chat.PolicyCopy, Transit: chat.TransitAllow}
	zoneWorld = chat.ZoneSpec{Name: "world", Regions: []chat.Region{"ap-south", "eu-west", "us-east"}, Transit: chat.TransitAllow}
)

// Residency beats drain, drain beats health's leftovers, health beats nearness; and the answer is empty only where a zone
// forbids transit and has no region left.
func TestOrderOfReasons(t *testing.T) {
	boston := at(42.4, -71.1, "US")
	for _, c := range []struct {
		name   string
		in     decide.Input
		want   []chat.Region
		code   chat.Code
		reason string
		by     string
	}{
		{"no token", decide.Input{}, []chat.Region{"us-east", "eu-west", "ap-south"}, "", "nearest: us-east", "nearest"},
		{"deny zone far away", decide.Input{Zone: &zoneIn}, []chat.Region{"ap-south"}, "", "zone in forbids transit", "residency"},
		{"deny zone draining still serves", decide.Input{Zone: &zoneIn, States: decide.States{"ap-south": {Draining: true}}}, []chat.Region{"ap-south"}, "", "draining", "residency"},
		{"deny zone down", decide.Input{Zone: &zoneIn, States: down("ap-south")}, nil, chat.CodeZoneUnreachable, "no region of zone in may serve", "unreachable"},
		{"deny zone taken out", decide.Input{Zone: &zoneIn, States: decide.States{"ap-south": {Forced: decide.HealthDown}}}, nil, chat.CodeZoneUnreachable, "taken out by the operator", "unreachable"},
		{"host of a down zone goes by geography", decide.Input{Host: &zoneIn, States: down("ap-south")}, []chat.Region{"ap-south"}, "", "goes by geography", "residency"},
		{"allow zone: the nearest forwards", decide.Input{Zone: &zoneEU}, []chat.Region{"us-east", "eu-west", "ap-south"}, "", "us-east forwards to it", "nearest"},
		{"host of an allow zone", decide.Input{Host: &zoneEU}, []chat.Region{"eu-west"}, "", "names only its regions", "residency"},
		{"drain", decide.Input{States: decide.States{"us-east": {Draining: true}}}, []chat.Region{"eu-west", "ap-south"}, "", "drain: us-east is draining", "drain"},
		{"down", decide.Input{States: down("us-east")}, []chat.Region{"eu-west", "ap-south"}, "", "health: us-east is down: 3 of 3", "health"},
		{"drain before down", decide.Input{States: decide.States{"us-east": {Draining: true}, "eu-west": {Health: decide.HealthDown}, "ap-south": {Health: decide.HealthDown}}}, []chat.Region{"us-east"}, "", "is draining, so they are answered", "nearest"},
		{"forced up", decide.Input{States: decide.States{"us-east": {Health: decide.HealthDown, Forced: decide.HealthUp}}}, []chat.Region{"us-east", "eu-west", "ap-south"}, "", "", "nearest"},
		{"all down", decide.Input{States: down("us-east", "eu-west", "ap-south")}, []chat.Region{"us-east", "eu-west", "ap-south"}, "", "goes by geography", "nearest"},
		{"all down, one by the operator", decide.Input{States: decide.States{"us-east": {Forced: decide.HealthDown}, "eu-west": {Health: decide.HealthDown}, "ap-south": {Health: decide.HealthDown}}}, []chat.Region{"eu-west", "ap-south"}, "", "goes by geography", "drain"},
		{"overloaded", decide.Input{States: decide.States{"us-east": {Load: 0.97, Shed: 1}}}, []chat.Region{"eu-west", "ap-south", "us-east"}, "", "load: us-east is at 97 %", "load"},
	} {
		c.in.Address, c.in.Place = client, boston
		d, err := model(t, &config.Config{Regions: three}).Decide(c.in)
		if !slices.Equal(usable(d), c.want) || chat.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, %v, want %v, %q\n%s", c.name, usable(d), err, c.want, c.code, d.Text())
		}
		if d.DecidedBy != c.by {
			t.Errorf("%s: decided by %s, want %s", c.name, d.DecidedBy, c.by)
		}
		if len(d.Regions) != len(three) {
			t.Errorf("%s: %d regions are accounted for, want all %d", c.name, len(d.Regions), len(three))
		}
		if !strings.Contains(strings.Join(d.Reasons, "\n"), c.reason) {
			t.Errorf("%s: reasons lack %q:\n%s", c.name, c.reason, strings.Join(d.Reasons, "\n"))
		}
	}
}

// The operator's rules come before any score, and a bias moves the scores by what it says.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		router config.Router
		place  decide.Place
		want   []chat.Region
	}{
		{"prefer", config.Router{Prefer: map[string][]chat.Region{"US": {"ap-south", "eu-west"}}}, at(42.4, -71.1, "US"), []chat.Region{"ap-south", "eu-west", "us-east"}},
		{"prefer applies without coordinates", config.Router{Prefer: map[string][]chat.Region{"XX": {"ap-south"}}}, decide.Place{Country: "XX"}, []chat.Region{"ap-south", "eu-west", "us-east"}},
		{"never", config.Router{Never: map[string][]chat.Region{"US": {"us-east"}}}, at(42.4, -71.1, "US"), []chat.Region{"eu-west", "ap-south"}},
		{"never elsewhere", config.Router{Never: map[string][]chat.Region{"GB": {"us-east"}}}, at(42.4, -71.1, "US"), []chat.Region{"us-east", "eu-west", "ap-south"}},
		{"bias pushes away", config.Router{BiasMs: map[chat.Region]float64{"us-east": 200}}, at(42.4, -71.1, "US"), []chat.Region{"eu-west", "ap-south", "us-east"}},
		{"a small bias does not", config.Router{BiasMs: map[chat.Region]float64{"us-east": 20}}, at(42.4, -71.1, "US"), []chat.Region{"us-east", "eu-west", "ap-south"}},
	} {
		d, err := model(t, &config.Config{Regions: three, Router: c.router}).Decide(decide.Input{Address: client, Place: c.place})
		if err != nil || !slices.Equal(usable(d), c.want) {
			t.Errorf("%s: got %v, %v, want %v\n%s", c.name, usable(d), err, c.want, d.Text())
		}
	}
}

// in gives a place inside the network of an override, of a known autonomous system.
func in(p decide.Place, network string) decide.Place {
	p.Override, p.ASN, p.ASName = network, 64500, "Example Net"
	return p
}

// What is said of a network comes before what is said of its country and before any score; what either may never get it does
// not get, and explain names the rule that decided.
func TestNetworkRules(t *testing.T) {
	cfg := &config.Config{Regions: three, Router: config.Router{
		Prefer: map[string][]chat.Region{"US": {"eu-west"}}, Never: map[string][]chat.Region{"GB": {"us-east"}},
		Overrides: map[string]config.Override{
			"198.18.0.0/24": {Prefer: []chat.Region{"ap-south"}},
			"198.18.1.0/24": {Never: []chat.Region{"eu-west"}},
			"198.18.2.0/24": {Prefer: []chat.Region{"us-east"}},
		},
	}}
	boston, london := at(42.4, -71.1, "US"), at(51.5, -0.1, "GB")
	for _, c := range []struct {
		name   string
		place  decide.Place
		want   []chat.Region
		by     string
		reason string
	}{
		{"prefer before the country's", in(boston, "198.18.0.0/24"), []chat.Region{"ap-south", "eu-west", "us-east"}, "rule", "preferred by the network rule"},
		{"the country's stays behind", boston, []chat.Region{"eu-west", "us-east", "ap-south"}, "rule", "preferred by the country rule"},
		{"never", in(boston, "198.18.1.0/24"), []chat.Region{"us-east", "ap-south"}, "rule", "network rule 198.18.1.0/24: never eu-west"},
		{"never adds up", in(london, "198.18.1.0/24"), []chat.Region{"ap-south"}, "rule", "country rule GB: never us-east"},
		{"never beats prefer", in(london, "198.18.2.0/24"), []chat.Region{"eu-west", "ap-south"}, "rule", "network rule 198.18.2.0/24: prefer us-east"},
		{"an override that is no rule", in(boston, "198.18.3.0/24"), []chat.Region{"eu-west", "us-east", "ap-south"}, "rule", "preferred by the country rule"},
	} {
		d, err := model(t, cfg).Decide(decide.Input{Address: client, Place: c.place})
		if err != nil || !slices.Equal(usable(d), c.want) || !strings.Contains(strings.Join(d.Reasons, "\n"), c.reason) {
			t.Errorf("%s: got %v, %v, want %v and %q\n%s", c.name, usable(d), err, c.want, c.reason, d.Text())
		}
	}
}

// A configuration that cannot be decided with is refused with a message that names the key.
func TestModelRefuses(t *testing.T) {
	never := map[string][]chat.Region{"US": {"us-east", "eu-west", "ap-south"}}
	override := func(network string, o config.Override) config.Router {
		return config.Router{Never: map[string][]chat.Region{"GB": {"us-east"}}, Overrides: map[string]config.Override{network: o}}
	}
	for want, cfg := range map[string]*config.Config{
		"regions: 0 given":                              {},
		"named twice":                                   {Regions: append(slices.Clone(three), three[0])},
		"no network point is named \"mars\"":            {Regions: []config.Region{{Name: "a", Point: "mars"}}},
		"router.never.US names every":                   {Regions: three, Router: config.Router{Never: never}},
		"router.overrides.10.0.0.0/8.never names every": {Regions: three, Router: override("10.0.0.0/8", config.Override{Never: never["US"]})},
		"router.overrides.10.0.0.0/8.never and router.never.GB together name every": {Regions: three, Router: override("10.0.0.0/8",
			config.Override{Never: []chat.Region{"eu-west", "ap-south"}})},
		"no region is named \"pluto\"": {Regions: three, Router: override("10.0.0.0/8", config.Override{Prefer: []chat.Region{"pluto"}})},
		"router.prefer.US: no region":  {Regions: three, Router: config.Router{Prefer: map[string][]chat.Region{"US": {"mars"}}}},
	} {
		_, err := decide.NewModel(cfg, world(t))
		if chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want invalid with %q", err, want)
		}
	}
	if _, err := decide.NewModel(&config.Config{Regions: three}, decide.World{}); !errors.Is(err, &chat.Error{Code: chat.CodeInvalid}) {
		t.Errorf("no network points: got %v", err)
	}
}

// A region of the home zone wins a tie: where two are equally near, nobody's messages take a detour.
func TestTieGoesToTheHomeZone(t *testing.T) {
	cfg := &config.Config{Regions: []config.Region{
		{Name: "a", Latitude: 53.35, Longitude: -6.26}, {Name: "b", Latitude: 53.36, Longitude: -6.26},
	}}
	zone := chat.ZoneSpec{Name: "z", Regions: []chat.Region{"b"}, Transit: chat.TransitAllow}
	in := decide.Input{Address: client, Place: at(53.35, -6.26, "IE")}
	m := model(t, cfg)
	if d, _ := m.Decide(in); d.Region != "a" {
		t.Errorf("without a zone: got %s, want a", d.Region)
	}
	in.Zone = &zone
	if d, _ := m.Decide(in); d.Region != "b" || d.DecidedBy != "residency" {
		t.Errorf("with b's zone: got %s by %s, want b", d.Region, d.DecidedBy)
	}
}

// Nobody is moved for a gain that is small or only a moment old, and everybody is once it has lasted three builds.
func TestHysteresis(t *testing.T) {
	m := model(t, &config.Config{Regions: three})
	in := decide.Input{Address: client, Place: at(42.4, -71.1, "US"), Held: decide.Held{Region: "eu-west"}}
	var got []chat.Region
	for range 4 {
		d, err := m.Decide(in)
		if err != nil {
			t.Fatal(err)
		}
		got, in.Held = append(got, d.Region), d.Held
	}
	if want := []chat.Region{"eu-west", "eu-west", "us-east", "us-east"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	in.Held, in.States = decide.Held{Region: "eu-west"}, down("eu-west")
	if d, _ := m.Decide(in); d.Region != "us-east" {
		t.Errorf("a region that is down was held: got %s", d.Region)
	}
	ruled := model(t, &config.Config{Regions: three, Router: config.Router{Prefer: map[string][]chat.Region{"US": {"us-east"}}}})
	in.States = nil
	if d, _ := ruled.Decide(in); d.Region != "us-east" {
		t.Errorf("held against an operator's rule: got %s", d.Region)
	}
	small := model(t, &config.Config{Regions: three, Router: config.Router{BiasMs: map[chat.Region]float64{"us-east": 60}}})
	in.Held, in.States = decide.Held{Region: "eu-west"}, nil
	for range 5 {
		d, _ := small.Decide(in)
		if in.Held = d.Held; d.Region != "eu-west" {
			t.Fatalf("moved for less than 10 ms:\n%s", d.Text())
		}
	}
}

// Load is shed by whole networks, for the share asked, and the share grows and shrinks without flapping.
func TestShed(t *testing.T) {
	m := model(t, &config.Config{Regions: three})
	board := m.Board(decide.States{"us-east": {Shed: 0.3}})
	moved := 0
	for i := range 10_000 {
		a := netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 1})
		first := board.Pick(nil, []uint8{0, 1, 2}, decide.All, decide.ShedHash(a))
		if first[0] == 1 {
			moved++
		}
		neighbour := a.Next()
		if decide.ShedHash(a) != decide.ShedHash(neighbour) || decide.ShedHash(a) != decide.ShedHash(netip.AddrFrom16(a.As16())) {
			t.Fatalf("%s and its neighbour differ", a)
		}
	}
	if moved < 2800 || moved > 3200 {
		t.Errorf("moved %d of 10,000 networks, want about 3,000", moved)
	}
	share := 0.0
	var got []float64
	for _, load := range []float64{0.80, 0.86, 0.90, 0.80, 0.71, 0.69, 0.5, 0.5} {
		share = decide.Shed(share, load)
		got = append(got, float64(int(share*100+0.5)))
	}
	if want := []float64{0, 10, 20, 20, 20, 10, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("shares: got %v, want %v", got, want)
	}
}

// Explain's text accounts for every region with its numbers and its reason. Rewrite with -update and read the difference.
func TestExplainText(t *testing.T) {
	until := time.Date(2026, 5, 4, 10, 20, 0, 0, time.UTC)
	cfg := &config.Config{Regions: three, Router: config.Router{
		BiasMs: map[chat.Region]float64{"us-east": 5}, Never: map[string][]chat.Region{"BR": {"ap-south"}},
		Overrides: map[string]config.Override{"81.2.69.0/24": {Prefer: []chat.Region{"us-east"}, Never: []chat.Region{"ap-south"}}},
	}}
	gen := decide.Generations{Data: "DB-IP Country Lite 2.3", Config: 2, Health: 7}
	london := decide.Place{Level: decide.LevelCountry, Country: "GB", Latitude: 51.51, Longitude: -0.13, Source: "DB-IP Country Lite"}
	for name, in := range map[string]decide.Input{
		"nearest":     {Place: london},
		"city":        {Place: at(-23.5, -46.6, "BR"), Zone: &zoneWorld, Simulated: true},
		"no-data":     {Place: decide.Place{Detail: "an address for documentation"}},
		"drain-down":  {Place: london, States: decide.States{"eu-west": {Draining: true, DrainUntil: until}, "us-east": {Health: decide.HealthDown, Why: "connection refused"}}},
		"pinned":      {Place: london, Zone: &zoneIn},
		"unreachable": {Place: london, Zone: &zoneIn, States: down("ap-south")},
		"network":     {Place: in(london, "81.2.69.0/24")},
		"held":        {Place: london, Held: decide.Held{Region: "us-east"}},
		"learned":     {Place: london, Learned: learned("us-east", 9, "eu-west", 61.5), Now: until},
		"learned-2nd": {Place: london, Learned: learned("us-east", 95.25)},
		"learned-new": {Place: decide.Place{}, Learned: learned("eu-west", 12), Held: decide.Held{Region: "eu-west"}},
	} {
		in.Address, in.Prefix, in.Generations = netip.MustParseAddr("81.2.69.142"), netip.MustParsePrefix("81.2.64.0/18"), gen
		d, _ := model(t, cfg).Decide(in)
		golden(t, name, d.Text())
	}
}

func BenchmarkDecide(b *testing.B) {
	m := model(b, twelve(b))
	in := decide.Input{Address: client, Place: at(48.2, 16.4, "AT")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Decide(in); err != nil {
			b.Fatal(err)
		}
	}
}
