package route53_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"meridian/chat"
	"meridian/config"
	"meridian/router"
	"meridian/router/decide"
	"meridian/router/dns"
	"meridian/router/geo"
	"meridian/router/geo/geotest"
	"meridian/router/route53"
	"meridian/router/route53/route53test"
	"meridian/router/table"
)

var update = flag.Bool("update", false, "write the golden files anew")

// deployment makes one of a configuration, with its address data.
func deployment(t testing.TB, cfg *config.Config) (route53.Deployment, *geo.Data) {
	t.Helper()
	data, err := geo.Open(cfg.Router, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	model := geotest.Model(t, cfg)
	d := route53.Deployment{
		Owner: route53.OwnerOf(cfg.Name, cfg.Router.Domain), Domain: cfg.Router.Domain, Model: model, Countries: route53.CountriesOf(model, data),
		URLs: make(map[chat.Region][]string), TTL: cfg.Router.TTL, TTLDegraded: cfg.Router.TTLDegraded, Config: cfg.Router.Route53,
		Zones: []route53.HostedZone{{ID: "Z1", Name: "meridian.test."}},
	}
	regions, err := router.RegionsOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range regions {
		d.Regions = append(d.Regions, dns.Region{Name: r.Name, Addresses: r.Addresses, URL: r.URLs[0]})
		d.URLs[r.Name] = r.URLs
	}
	for _, z := range cfg.Zones {
		if z.Host != "" {
			spec, _ := cfg.Topology().Zone(z.Name)
			d.Hosts = append(d.Hosts, route53.Host{Name: z.Host, Zone: spec})
		}
	}
	return d, data
}

func render(t testing.TB, d route53.Deployment) *route53.Records {
	t.Helper()
	out, err := route53.Render(d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// twelve is a deployment with a region at every network point, and a zone of two of them with a host of its own.
func twelve(t testing.TB) *config.Config {
	t.Helper()
	cfg := config.Default()
	world, err := geo.World()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Regions, cfg.Zones = nil, []config.Zone{{Name: "eu", Regions: []chat.Region{"eu-central-1", "eu-west-1"}, Host: "eu.chat.meridian.test"}}
	for i, p := range world.Points {
		name := chat.Region(p.Name)
		cfg.Regions = append(cfg.Regions, config.Region{
			Name: name, Latitude: p.Latitude, Longitude: p.Longitude, URL: "https://" + p.Name + ".example.org",
			Addresses: []string{fmt.Sprintf("198.51.100.%d", i+1)}, HTTP: "10.0.0.1:80", Admin: "10.0.0.1:81",
		})
	}
	return cfg
}

// addresses gives one of each country that Route 53 has records for, and one without a place.
func addresses(data *geo.Data) map[string]netip.Addr {
	out := map[string]netip.Addr{"": netip.MustParseAddr("192.0.2.1")}
	for a := netip.IPv4Unspecified(); a.IsValid(); {
		place, prefix := data.Lookup(a)
		if _, ok := out[place.Country]; !ok && route53.ContinentOf(place.Country) != "" {
			out[place.Country] = a
		}
		a = geo.Last(prefix).Next()
	}
	return out
}

// world is a deployment both as our name servers and as Route 53 have it.
type world struct {
	t        *testing.T
	d        route53.Deployment
	live     *table.Live
	people   map[string]netip.Addr
	resolver *route53test.Resolver
	byValue  map[string]chat.Region
}

func newWorld(t *testing.T, cfg *config.Config, hosts bool) *world {
	t.Helper()
	d, data := deployment(t, cfg)
	if !hosts {
		d.Hosts = nil
	}
	w := &world{t: t, d: d, people: addresses(data), byValue: make(map[string]chat.Region)}
	var zones []chat.ZoneSpec
	for _, h := range d.Hosts {
		zones = append(zones, h.Zone)
	}
	var err error
	if w.live, err = table.New(d.Model, data, zones); err != nil {
		t.Fatal(err)
	}
	for _, r := range d.Regions {
		w.byValue[r.Addresses[0].String()] = r.Name
	}
	return w
}

// set brings both to a state of the regions.
func (w *world) set(states decide.States) {
	w.t.Helper()
	w.live.SetStates(states)
	w.d.States = states
	records := render(w.t, w.d)
	w.resolver = route53test.New(route53.Sets(records.Records, records.Checks))
	w.resolver.Down = make(map[string]bool)
	for _, r := range w.d.Regions {
		s := states[r.Name]
		w.resolver.Down["health of "+string(r.Name)] = s.Health == decide.HealthDown && s.Forced != decide.HealthUp || s.Forced == decide.HealthDown
	}
}

// compare holds what Route 53 answers somebody against what explain says that names answer.
func (w *world) compare(where, name string, host int, country string, a netip.Addr) {
	w.t.Helper()
	decision, err := w.live.Decide(table.Query{Address: a, Host: host})
	if err != nil {
		w.t.Fatal(err)
	}
	values, err := w.resolver.Answer(name, "A", route53test.Client{Country: country, Continent: route53.ContinentOf(country)})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(values) != 1 || w.byValue[values[0]] != decision.Names[0] {
		w.t.Errorf("%s: %s asks for %s from %q: Route 53 answers %v (%v), explain says %v", where, a, name, country, values, w.byValue[values[0]], decision.Names)
	}
}

// From every country, and from nowhere, Route 53 answers by its documentation what explain says: while all is well, with any region down,
// with any two, with any drained out, with any forced down or up, with all down; for the deployment's name and for a zone's own.
func TestRoute53AgreesWithExplain(t *testing.T) {
	for name, cfg := range map[string]*config.Config{"three": config.Default(), "twelve": twelve(t)} {
		w := newWorld(t, cfg, true)
		if len(w.people) < 200 {
			t.Fatalf("addresses of %d countries only", len(w.people))
		}
		down, all := decide.State{Health: decide.HealthDown}, decide.States{}
		cases := map[string]decide.States{"all well": {}, "all down": all}
		for i, r := range w.d.Regions {
			next := w.d.Regions[(i+1)%len(w.d.Regions)].Name
			all[r.Name] = down
			cases[string(r.Name)+" down"] = decide.States{r.Name: down}
			cases[string(r.Name)+" and the next down"] = decide.States{r.Name: down, next: down}
			cases[string(r.Name)+" drained"] = decide.States{r.Name: {Draining: true}}
			cases[string(r.Name)+" drained, the next down"] = decide.States{r.Name: {Draining: true}, next: down}
			cases[string(r.Name)+" forced down"] = decide.States{r.Name: {Forced: decide.HealthDown}}
			cases[string(r.Name)+" forced up"] = decide.States{r.Name: {Forced: decide.HealthUp, Health: decide.HealthDown}}
		}
		for where, states := range cases {
			w.set(states)
			for country, a := range w.people {
				w.compare(name+", "+where, w.d.Domain, table.General, country, a)
				for i, h := range w.d.Hosts {
					w.compare(name+", "+where, h.Name, i+1, country, a)
				}
			}
		}
	}
}

// While a region drains, Route 53 leads so many of a hundred there as the drain's step says, and the others to their next region; nobody
// while it is down.
func TestDrainsAreWeights(t *testing.T) {
	w := newWorld(t, config.Default(), true)
	for _, want := range []int{75, 50, 25} {
		w.set(decide.States{"eu-west": {Draining: true, DrainWeight: float64(want) / 100}})
		count := func() map[chat.Region]int {
			out := make(map[chat.Region]int)
			for i := range 100 {
				values, err := w.resolver.Answer(w.d.Domain, "A", route53test.Client{Continent: "EU", Country: "FR", Chance: (float64(i) + 0.5) / 100})
				if err != nil {
					t.Fatal(err)
				}
				out[w.byValue[values[0]]]++
			}
			return out
		}
		if got := count(); got["eu-west"] != want || got["us-east"] != 100-want {
			t.Errorf("of a hundred %v, want %d in eu-west and the rest in us-east", got, want)
		}
		w.resolver.Down["health of eu-west"] = true
		if got := count(); got["us-east"] != 100 {
			t.Errorf("eu-west is down: of a hundred %v", got)
		}
	}
}

// What is rendered for the built-in deployment, type A, is as the golden file says; so a change of it is seen.
func TestGolden(t *testing.T) {
	d, _ := deployment(t, config.Default())
	d.States = decide.States{"ap-south": {Draining: true, DrainWeight: 0.5}}
	records := render(t, d)
	var b strings.Builder
	for _, c := range records.Checks {
		fmt.Fprintln(&b, c)
	}
	for _, r := range records.Records {
		if r.Type == "A" || r.Type == "SRV" && strings.HasPrefix(r.Name, "_") {
			fmt.Fprintln(&b, r)
		}
	}
	file := filepath.Join("testdata", "three-regions.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("not as in %s (-update writes it anew):\n%s", file, diff)
	}
}

// A never rule holds also when all that it leaves is down: Route 53 must not go on to the wider geography. What no record can say is an
// error that names it.
func TestRulesHold(t *testing.T) {
	cfg := config.Default()
	cfg.Router.Never = map[string][]chat.Region{"FR": {"us-east", "ap-south"}, "US": {"eu-west"}}
	w := newWorld(t, cfg, false) // a host would have no region for FR
	down := decide.State{Health: decide.HealthDown}
	for where, states := range map[string]decide.States{
		"eu-west down": {"eu-west": down}, "two down": {"us-east": down, "ap-south": down}, "all well": {},
	} {
		w.set(states)
		for _, country := range []string{"FR", "US", "DE", "IN"} {
			w.compare(where, w.d.Domain, table.General, country, w.people[country])
		}
	}
	for why, change := range map[string]func(*route53.Deployment){
		"us-east-1-us-east-1": func(d *route53.Deployment) { // 255 bytes are a name's limit
			long := config.Default()
			for i := range long.Regions {
				long.Regions[i].Name = chat.Region(strings.Repeat("us-east-1-", 6) + string(rune('a'+i)))
			}
			long.Zones, long.Router.Domain = nil, strings.Repeat("d", 60)+".meridian.test"
			*d, _ = deployment(t, long)
		},
		"the never rules leave FR no region at in.chat.meridian.test": func(d *route53.Deployment) {
			spec, _ := cfg.Topology().Zone("in")
			d.Hosts = []route53.Host{{Name: "in.chat.meridian.test", Zone: spec}}
		},
		"lies in none of router.route53.hosted_zones": func(d *route53.Deployment) { d.Zones = []route53.HostedZone{{ID: "Z2", Name: "example.org."}} },
		"nor all an IPv6 address": func(d *route53.Deployment) {
			d.Regions = slices.Clone(d.Regions)
			d.Regions[0].Addresses, d.Regions[1].Addresses = d.Regions[0].Addresses[:1], d.Regions[1].Addresses[1:]
		},
	} {
		bad := w.d
		change(&bad)
		if _, err := route53.Render(bad); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %q", err, why)
		}
	}
}

// Where the data places people of one country apart, Route 53 leads all of them where most of its addresses are led, and Lost tells how
// many addresses that moves.
func TestLostIsCounted(t *testing.T) {
	cfg := config.Default()
	d, _ := deployment(t, cfg)
	if lost := render(t, d).Lost["chat.meridian.test"]; lost != (route53.Lost{}) {
		t.Errorf("with the built-in country table %+v is lost", lost)
	}
	cfg.Router.Overrides = map[string]config.Override{"2.0.0.0/12": {Prefer: []chat.Region{"ap-south"}}} // Orange, France
	d, data := deployment(t, cfg)
	lost := render(t, d).Lost["chat.meridian.test"]
	var placed float64
	for a := netip.IPv4Unspecified(); a.IsValid(); {
		place, prefix := data.Lookup(a)
		if place.Country != "" {
			placed += float64(uint64(1) << (32 - prefix.Bits()))
		}
		a = geo.Last(prefix).Next()
	}
	if want := float64(1<<20) / placed; lost.First != want || lost.Order != want {
		t.Errorf("lost %+v, want %v", lost, want)
	}
}

// Where the address data knows cities, states of the USA that are nearer to other regions get records of their own, and what is lost is
// counted by state: here a network whose state is led elsewhere because of a larger one in it.
func TestStatesOfTheUSA(t *testing.T) {
	cfg := twelve(t)
	cfg.Router.GeoFiles = []string{geotest.File(t, "", "City", 1_760_000_000, geotest.Networks{
		"4.0.0.0/8":    geotest.Nested("US", "Ashburn", 39.04, -77.49),
		"8.8.0.0/16":   geotest.Nested("US", "Seattle", 47.61, -122.33),
		"8.9.0.0/24":   geotest.Nested("US", "Portland", 45.52, -122.68),
		"8.10.0.0/24":  geotest.Nested("US", "Spokane", 47.66, -117.43),
		"13.32.0.0/16": geotest.Nested("US", "Richmond", 37.54, -77.44),
	})}
	cfg.Router.Overrides = map[string]config.Override{"8.10.0.0/24": {Prefer: []chat.Region{"us-east-1"}}}
	w := newWorld(t, cfg, false)
	w.set(nil)
	for address, state := range map[string]string{"4.4.4.4": "VA", "8.8.8.8": "WA", "8.9.0.1": "OR", "13.32.0.1": "VA", "12.1.1.1": ""} {
		decision, err := w.live.Decide(table.Query{Address: netip.MustParseAddr(address)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.resolver.Answer(w.d.Domain, "A", route53test.Client{Continent: "NA", Country: "US", State: state})
		if err != nil || w.byValue[got[0]] != decision.Names[0] {
			t.Errorf("%s in %q: Route 53 answers %v (%s, %v), explain says %s", address, state, got, w.byValue[got[0]], err, decision.Names[0])
		}
	}
	records := render(t, w.d)
	var states []string
	for _, r := range records.Records {
		if r.Name == "chat.meridian.test." && r.Type == "A" && strings.HasPrefix(r.Location, "US-") {
			states = append(states, r.Location)
		}
	}
	if !slices.Equal(states, []string{"US-OR", "US-WA"}) {
		t.Errorf("records of states: %v", states)
	}
	a := &account{t: t, d: w.d}
	a.apply(a.plan())
	if again := a.plan(); len(again.Changes) > 0 {
		t.Errorf("planned again there are %d changes", len(again.Changes))
	}
	lost := records.Lost[w.d.Domain].First
	cfg.Router.Overrides = nil
	without, _ := deployment(t, cfg)
	if less := render(t, without).Lost[w.d.Domain].First; lost <= less || lost-less > 1e-6 {
		t.Errorf("lost %v with the override of a network in WA, %v without", lost, less)
	}
}
