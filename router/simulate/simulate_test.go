package simulate

import (
	"math"
	"slices"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/geotest"
)

// world gives the built-in deployment, with capacities, and its population by the address data.
func world(t *testing.T, capacity int) (*config.Config, Question) {
	t.Helper()
	cfg := config.Default()
	for i := range cfg.Regions {
		cfg.Regions[i].CapacitySockets = capacity
	}
	return cfg, question(t, cfg)
}

func question(t *testing.T, cfg *config.Config) Question {
	t.Helper()
	data, err := geo.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	return Question{Model: geotest.Model(t, cfg), Topology: cfg.Topology(), Regions: cfg.Regions, People: FromTable(data, nil, cfg.HomeZones), Sockets: 10_000}
}

func ask(t *testing.T, q Question) *Report {
	t.Helper()
	r, err := Run(q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The population of the address data has the countries that the data has, most addresses where most are, and nobody without a place.
func TestPopulationOfTheTable(t *testing.T) {
	_, q := world(t, 0)
	weights, all := map[string]float64{}, 0.0
	for _, g := range q.People.Groups {
		if g.Place.Level == decide.LevelNone || g.Zone != "world" || g.Weight <= 0 {
			t.Fatalf("%+v", g)
		}
		weights[g.Place.Country] += g.Weight
		all += g.Weight
	}
	if len(weights) < 200 || all < 3e9 || all > math.MaxUint32 {
		t.Errorf("%d countries, %.0f addresses", len(weights), all)
	}
	if share := weights["US"] / all; share < 0.3 || share > 0.6 {
		t.Errorf("the US have %.2f of the addresses", share)
	}
}

// Losing a region moves its people and nobody else, to where the decision sends them; nobody is lost or counted twice, and the figures
// are those of the decision.
func TestLossOfARegion(t *testing.T) {
	_, q := world(t, 0)
	states := decide.States{"us-east": {Health: decide.HealthDown}}
	var moved, added, all float64
	to := map[chat.Region]float64{}
	for _, g := range q.People.Groups {
		zone, _ := q.Topology.Zone(g.Zone)
		before, err := q.Model.Decide(decide.Input{Place: g.Place, Zone: &zone})
		if err != nil {
			t.Fatal(err)
		}
		after, err := q.Model.Decide(decide.Input{Place: g.Place, Zone: &zone, States: states})
		if err != nil {
			t.Fatal(err)
		}
		all += g.Weight
		if before.Region == "us-east" {
			moved += g.Weight
			to[after.Region] += g.Weight
			added += g.Weight * (after.Regions[0].ScoreMs - before.Regions[0].ScoreMs)
		} else if before.Region != after.Region {
			t.Fatalf("%s moves although its region lives", g.Place.Country)
		}
	}
	q.Down = []chat.Region{"us-east"}
	r := ask(t, q)
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6*(1+math.Abs(b)) }
	if !near(r.Moved, 10_000*moved/all) || r.Percent {
		t.Errorf("moved %v, want %v", r.Moved, 10_000*moved/all)
	}
	var before, after, sum float64
	for _, l := range r.Regions {
		before, after = before+l.Before, after+l.After
		if l.Region == "us-east" && (l.After != 0 || !l.Down) || l.Region != "us-east" && !near(l.After-l.Before, 10_000*to[l.Region]/all) {
			t.Errorf("%+v, want %v more", l, 10_000*to[l.Region]/all)
		}
	}
	for _, m := range r.Moves {
		sum += m.Sockets * m.AddedMs
		if m.From != "us-east" || m.To == "" || m.To == "us-east" || m.AddedMs < 0 {
			t.Errorf("%+v", m)
		}
	}
	if !near(before, 10_000) || !near(after, 10_000) || !near(sum, 10_000*added/all) {
		t.Errorf("%v before, %v after, %v ms in all, want %v", before, after, sum, 10_000*added/all)
	}
	if a := r.AddedMs; !(0 < a.P50 && a.P50 <= a.P95 && a.P95 <= a.Max) || !slices.IsSortedFunc(r.Moves, func(a, b Move) int { return int(math.Copysign(1, b.Sockets-a.Sockets)) }) {
		t.Errorf("added %+v", a)
	}
}

// What is over a capacity is a problem with figures, and so is a zone that nobody serves any more, also one without people: of those who
// forbid transit, and of those whose home is gone although an edge would take them.
func TestProblems(t *testing.T) {
	cfg, q := world(t, 5000)
	q.Down = []chat.Region{"us-east"}
	if r := ask(t, q); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "more than its capacity of 5000") || len(r.Lost) != 0 {
		t.Errorf("us-east down: %q", r.Problems)
	}
	q.Down = []chat.Region{"ap-south"}
	r := ask(t, q)
	if len(r.Lost) != 1 || r.Lost[0].Zone != "in" || r.Lost[0].Sockets != 0 || !strings.Contains(strings.Join(r.Problems, "; "), "zone in cannot be reached") {
		t.Errorf("ap-south down: %+v, %q", r.Lost, r.Problems)
	}
	cfg.HomeZones.Countries = map[string]chat.Zone{"DE": "eu", "IN": "in"}
	q = question(t, cfg)
	germans := 0.0
	all := 0.0
	for _, g := range q.People.Groups {
		if all += g.Weight; g.Place.Country == "DE" {
			germans += g.Weight
		}
	}
	q.Down = []chat.Region{"eu-west"}
	r = ask(t, q)
	if len(r.Lost) != 1 || r.Lost[0].Zone != "eu" || math.Abs(r.Lost[0].Sockets-10_000*germans/all) > 1e-6 {
		t.Errorf("eu-west down: lost %+v, want %v of eu", r.Lost, 10_000*germans/all)
	}
	q.Sockets = 0
	if r = ask(t, q); !r.Percent || math.Abs(r.Lost[0].Sockets-100*germans/all) > 1e-6 {
		t.Errorf("in percent: %+v", r.Lost)
	}
}

// Somebody whose home is in another region than the one that takes their socket pays for the way home too.
func TestTheWayHomeCounts(t *testing.T) {
	_, q := world(t, 0)
	people := q.People.With("one person of zone eu in Boston")
	people.Groups = []Group{{Place: decide.Place{Level: decide.LevelCity, Country: "US", Latitude: 42.4, Longitude: -71.1}, Zone: "eu", Weight: 1}}
	q.People, q.Down = people, []chat.Region{"us-east"}
	r := ask(t, q)
	home, _ := q.Model.RTTms("us-east", "eu-west")
	d, err := q.Model.Decide(decide.Input{Place: people.Groups[0].Place})
	if err != nil {
		t.Fatal(err)
	}
	direct, before := 0.0, d.Regions[0].ScoreMs+home
	for _, c := range d.Regions {
		if c.Region == "eu-west" {
			direct = c.ScoreMs
		}
	}
	if len(r.Moves) != 1 || r.Moves[0].To != "eu-west" || math.Abs(r.Moves[0].AddedMs-(direct-before)) > 1e-6 {
		t.Errorf("%+v, want %v ms added", r.Moves, direct-before)
	}
}

// An operator's own population is read by country, address and network, with a zone or the rule's; what is wrong in it is named by its
// row.
func TestReadCSV(t *testing.T) {
	cfg, q := world(t, 0)
	topology := cfg.Topology()
	good := q.People.With("own")
	if err := good.ReadCSV(strings.NewReader("where,share\n# comment\nde,10\n81.2.69.142, 20 ,eu\n2a01:e0a::/32,5\n192.0.2.1,1\n"), topology); err != nil {
		t.Fatal(err)
	}
	shares := map[string]float64{}
	for _, g := range good.Groups {
		shares[g.Place.Country+" "+string(g.Zone)] += g.Weight
	}
	for who, want := range map[string]float64{"DE world": 10, "GB eu": 20, "FR world": 5, " world": 1} {
		if math.Abs(shares[who]-want) > 1e-9 {
			t.Errorf("%q has %v, want %v (of %v)", who, shares[who], want, shares)
		}
	}
	for text, says := range map[string]string{
		"":                         "nobody is in it",
		"where,share\n":            "nobody is in it",
		"DE\n":                     "row 1: 1 fields",
		"DE,1\nDE,many\n":          `row 2: "many" is no share`,
		"DE,-1\n":                  "is no share",
		"DE,NaN\n":                 "is no share",
		"DE,1e300\n":               "is no share",
		"QQ,1\n":                   "not a country",
		"Berlin,1\n":               "neither a country",
		"DE,1,moon\n":              `"moon" is not a zone`,
		"DE,1,eu,more\n":           "4 fields",
		"DE,\"1\n":                 "row 1",
		"81.2.69.0/33,1\n":         "neither a country",
		strings.Repeat("x", 10000): "1 fields",
	} {
		if err := q.People.With("own").ReadCSV(strings.NewReader(text), topology); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q", text, err, says)
		}
	}
	for name, change := range map[string]func(*Question){
		"is not a region": func(q *Question) { q.Down = []chat.Region{"moon"} },
		"nobody is left":  func(q *Question) { q.Down = []chat.Region{"us-east", "eu-west", "ap-south"} },
		"nobody in it":    func(q *Question) { q.People = q.People.With("empty") },
	} {
		_, q := world(t, 0)
		change(&q)
		if _, err := Run(q); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
