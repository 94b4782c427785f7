package simulate

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

// Question is what is asked.
type Question struct {
	Model    *decide.Model
	Topology chat.Topology
	// Regions give the capacities.
	Regions []config.Region
	People  *Population
	// Down are the regions that would be lost, beside what States already say.
	Down   []chat.Region
	States decide.States
	// Sockets is how many all people have together; 0: not known, then the figures are percent of them.
	Sockets float64
}

// Report is the answer. Sockets are percent of all people where the number is not known.
type Report struct {
	Down    []chat.Region `json:"down"`
	Source  string        `json:"population"`
	Sockets float64       `json:"sockets"`
	Percent bool          `json:"percent,omitempty"`
	Regions []Load        `json:"regions"`
	// Moved is how many go elsewhere, and AddedMs how much further that is for them.
	Moved   float64 `json:"moved"`
	AddedMs AddedMs `json:"added_ms"`
	Moves   []Move  `json:"moves"`
	// Lost are people whom no region may serve any more, by zone; also a zone without people is named when it is lost.
	Lost []Lost `json:"unreachable,omitempty"`
	// Problems says in words what is wrong with that, the worst first.
	Problems []string `json:"problems,omitempty"`
}

// Load is one region's.
type Load struct {
	Region   chat.Region `json:"region"`
	Down     bool        `json:"down,omitempty"`
	Before   float64     `json:"before"`
	After    float64     `json:"after"`
	Capacity int         `json:"capacity,omitempty"` // 0: not limited
	// Headroom is what is left of the capacity after; it is negative when there is too little.
	Headroom float64 `json:"headroom,omitempty"`
}

// Move is what becomes of the people of one country in one region.
type Move struct {
	Country string      `json:"country"` // "" where it is not known
	Zone    chat.Zone   `json:"zone,omitempty"`
	From    chat.Region `json:"from"`
	To      chat.Region `json:"to,omitempty"` // "": nobody may serve them
	Sockets float64     `json:"sockets"`
	AddedMs float64     `json:"added_ms"` // mean round trip that is added
}

// AddedMs are milliseconds of round trip that those who move gain, weighted by how many they are.
type AddedMs struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	Max float64 `json:"max"`
}

// Lost is a zone whose people nobody can serve.
type Lost struct {
	Zone    chat.Zone    `json:"zone"`
	Transit chat.Transit `json:"transit"`
	Sockets float64      `json:"sockets"`
	Why     string       `json:"why"`
}

// way is how one group is served: "" where it is not.
type way struct {
	region chat.Region
	ms     float64
}

// Run answers. The error has CodeInvalid: a region that there is not, all regions down, or nobody in the population.
func Run(q Question) (*Report, error) {
	s, err := newRun(q)
	if err != nil {
		return nil, err
	}
	for _, g := range q.People.Groups {
		s.add(g)
	}
	return s.report(), nil
}

type run struct {
	q             Question
	before, after decide.States
	scale         float64
	loads         map[chat.Region]*Load
	moves         map[moveKey]*Move
	lost          map[chat.Zone]float64
	added         []weighted
	out           *Report
}

type moveKey struct {
	country  string
	zone     chat.Zone
	from, to chat.Region
}

type weighted struct{ ms, weight float64 }

func newRun(q Question) (*run, error) {
	s := &run{
		q: q, before: q.States, after: maps.Clone(q.States), loads: make(map[chat.Region]*Load), moves: make(map[moveKey]*Move), lost: make(map[chat.Zone]float64),
		out: &Report{Down: slices.Sorted(slices.Values(q.Down)), Source: q.People.Source, Sockets: q.Sockets, Percent: q.Sockets <= 0, Moves: []Move{}},
	}
	if s.after == nil {
		s.after = make(decide.States)
	}
	for _, r := range q.Down {
		if _, known := q.Model.Index(r); !known {
			return nil, invalid("%q is not a region; known: %v", r, q.Model.Regions())
		}
		s.after[r] = decide.State{Health: decide.HealthDown, Why: "simulated"}
	}
	if !slices.ContainsFunc(q.Model.Regions(), func(r chat.Region) bool { return s.after[r].Health != decide.HealthDown }) {
		return nil, invalid("all %d regions would be down: nobody is left to serve", len(q.Model.Regions()))
	}
	total := 0.0
	for _, g := range q.People.Groups {
		total += g.Weight
	}
	if total <= 0 {
		return nil, invalid("the population has nobody in it")
	}
	if s.out.Percent {
		s.out.Sockets = 100
	}
	s.scale = s.out.Sockets / total
	for _, r := range q.Regions {
		s.loads[r.Name] = &Load{Region: r.Name, Capacity: r.CapacitySockets, Down: s.after[r.Name].Health == decide.HealthDown}
	}
	return s, nil
}

// add counts one group before and after.
func (s *run) add(g Group) {
	sockets := g.Weight * s.scale
	before, after := s.serve(g, s.before), s.serve(g, s.after)
	if before.region != "" {
		s.loads[before.region].Before += sockets
	}
	if after.region != "" {
		s.loads[after.region].After += sockets
	} else {
		s.lost[g.Zone] += sockets
	}
	if before.region == after.region && before.ms == after.ms {
		return
	}
	added := 0.0
	if after.region != "" {
		added = after.ms - before.ms
		s.added = append(s.added, weighted{added, sockets})
	}
	s.out.Moved += sockets
	key := moveKey{g.Place.Country, g.Zone, before.region, after.region}
	if s.moves[key] == nil {
		s.moves[key] = &Move{Country: g.Place.Country, Zone: g.Zone, From: before.region, To: after.region}
	}
	m := s.moves[key]
	m.AddedMs = (m.AddedMs*m.Sockets + added*sockets) / (m.Sockets + sockets)
	m.Sockets += sockets
}

// serve decides for a group: the region where its sockets end, and the round trip to it, with the way on to its home where that is
// another region.
func (s *run) serve(g Group, states decide.States) way {
	in := decide.Input{Place: g.Place, Learned: g.Learned, States: states}
	spec, known := s.q.Topology.Zone(g.Zone)
	if known {
		in.Zone = &spec
	}
	d, err := s.q.Model.Decide(in)
	if err != nil {
		return way{}
	}
	w := way{d.Region, d.Regions[0].ScoreMs - d.Regions[0].BiasMs}
	if !known || spec.Has(d.Region) && states[d.Region].Health != decide.HealthDown {
		return w
	}
	home := math.Inf(1)
	for _, r := range spec.Regions {
		if ms, ok := s.q.Model.RTTms(d.Region, r); ok && states[r].Health != decide.HealthDown {
			home = min(home, ms)
		}
	}
	if math.IsInf(home, 1) {
		return way{}
	}
	return way{w.region, w.ms + home}
}

func (s *run) report() *Report {
	r := s.out
	for _, name := range s.q.Model.Regions() {
		l := *s.loads[name]
		if l.Capacity > 0 {
			l.Headroom = float64(l.Capacity) - l.After
		}
		r.Regions = append(r.Regions, l)
	}
	for _, m := range s.moves {
		r.Moves = append(r.Moves, *m)
	}
	slices.SortFunc(r.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Sockets, a.Sockets), cmp.Compare(a.Country, b.Country), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	r.AddedMs = AddedMs{P50: quantile(s.added, 0.50), P95: quantile(s.added, 0.95), Max: quantile(s.added, 1)}
	s.zones()
	for _, l := range r.Regions {
		if !r.Percent && l.Capacity > 0 && l.Headroom < 0 && !l.Down {
			r.Problems = append(r.Problems, fmt.Sprintf("%s would have %.0f sockets, %.0f more than its capacity of %d", l.Region, l.After, -l.Headroom, l.Capacity))
		}
	}
	return r
}

// zones names the zones that nobody can serve any more.
func (s *run) zones() {
	for _, name := range slices.Sorted(maps.Keys(s.q.Topology.Zones)) {
		zone := s.q.Topology.Zones[name]
		alive := slices.ContainsFunc(zone.Regions, func(r chat.Region) bool { return s.after[r].Health != decide.HealthDown })
		if alive && s.lost[name] == 0 {
			continue
		}
		why := fmt.Sprintf("all of its regions are down (%v)", zone.Regions)
		s.out.Lost = append(s.out.Lost, Lost{Zone: name, Transit: zone.Transit, Sockets: s.lost[name], Why: why})
		s.out.Problems = append(s.out.Problems, fmt.Sprintf("zone %s cannot be reached: %s; its data stays there, and nobody stands in", name, why))
	}
}

// quantile gives the value up to which share of the weight lies; 0 of nobody.
func quantile(list []weighted, share float64) float64 {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b weighted) int { return cmp.Compare(a.ms, b.ms) })
	all := 0.0
	for _, w := range sorted {
		all += w.weight
	}
	sum := 0.0
	for _, w := range sorted {
		if sum += w.weight; sum >= share*all*(1-1e-12) {
			return w.ms
		}
	}
	return 0
}

func invalid(format string, args ...any) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "simulate.Run", Message: fmt.Sprintf(format, args...)}
}
