package decide

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"meridian/chat"
)

// Candidate is one region in a decision, with what spoke for and against it.
type Candidate struct {
	Region chat.Region `json:"region"`
	// Km is the distance from the client, RTTms the measured round trip from NetworkPoint; both 0 and Km unknown when the
	// data has no place for the client, where RTTms is the mean from all network points.
	Km           float64 `json:"km"`
	NetworkPoint string  `json:"network_point,omitempty"`
	RTTms        float64 `json:"rtt_ms"`
	BiasMs       float64 `json:"bias_ms"`
	ScoreMs      float64 `json:"score_ms"`
	// Learned is what the round trip was measured by, where it was by the region's own sockets; then NetworkPoint is "".
	Learned *Measured `json:"learned,omitempty"`
	// ExcludedBy is "" for a region that may serve now, otherwise what took it out.
	ExcludedBy Exclusion `json:"excluded_by,omitempty"`
	// Text says in words why the region stands where it does.
	Text string `json:"text"`

	index   int
	near    bool // first place by distance
	rank    int  // 1, 2 … in the prefer list of the network and then the country; 0: in neither
	network bool // the network's rule says so, not the country's
	held    bool // kept in the first place although another is better
}

// Exclusion names what took a region out.
type Exclusion string

// The exclusions, strongest first.
const (
	ByResidency Exclusion = "residency"
	ByRule      Exclusion = "rule" // the never list of the network or country
	ByDrain     Exclusion = "drain"
	ByHealth    Exclusion = "health"
)

// Ranking is the order of all regions for a place, before anything that changes from minute to minute: no health, no
// drain, no load, no user. Regions that a never rule takes out stand last.
type Ranking struct {
	Place        Place
	NetworkPoint string  // nearest to the place; "" without a place
	PointKm      float64 // distance to it
	Rule         string  // the country rule that applied, "" for none
	NetworkRule  string  // the override that applied, "" for none
	Order        []Candidate
}

// Rank orders the regions for a place. What was learned of the way to its clients, the weightiest first, counts before the model.
func (m *Model) Rank(p Place, learned ...Measured) Ranking {
	k := Ranking{Place: p, Order: make([]Candidate, len(m.regions))}
	prefer, never := m.prefer[p.Country], m.never[p.Country]
	own, overridden := m.networks[p.Override]
	if overridden { // what is said of the network comes before what is said of the country; never lists add up
		prefer, never = union(own.prefer, prefer), union(own.never, never)
		k.NetworkRule = m.ruleText(p.Override, own)
	}
	for i, r := range m.regions {
		k.Order[i] = Candidate{Region: r.name, BiasMs: r.biasMs, index: i, rank: slices.Index(prefer, i) + 1, network: slices.Contains(own.prefer, i)}
		if slices.Contains(never, i) {
			k.Order[i].ExcludedBy, k.Order[i].network = ByRule, slices.Contains(own.never, i)
		}
	}
	if p.Level == LevelNone {
		m.scoreByMean(k.Order)
	} else {
		m.scoreByPlace(&k)
	}
	m.learn(k.Order, learned)
	k.Rule = m.ruleText(p.Country, rules{m.prefer[p.Country], m.never[p.Country]})
	slices.SortStableFunc(k.Order, compare)
	return k
}

// compare puts a country's preferred regions first, then goes by score; never rules stand last.
func compare(a, b Candidate) int {
	return cmp.Or(
		compareBool(a.ExcludedBy != "", b.ExcludedBy != ""),
		cmp.Compare(preference(a), preference(b)),
		cmp.Compare(a.ScoreMs, b.ScoreMs),
		compareBool(!a.near, !b.near),
		cmp.Compare(a.Km, b.Km),
		cmp.Compare(a.Region, b.Region),
	)
}

func preference(c Candidate) int {
	if c.rank == 0 {
		return math.MaxInt
	}
	return c.rank
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// scoreByMean scores without a place: the region that is best reached from everywhere wins.
func (m *Model) scoreByMean(order []Candidate) {
	for i, r := range m.regions {
		var sum float64
		for from := range m.world.Points {
			sum += m.world.RTTms[from][r.point]
		}
		order[i].RTTms = sum/float64(len(m.world.Points)) + r.spurMs
		order[i].ScoreMs = lastMileMs + order[i].RTTms + r.biasMs
	}
}

func (m *Model) scoreByPlace(k *Ranking) {
	n, km := m.world.nearest(k.Place.Latitude, k.Place.Longitude)
	k.NetworkPoint, k.PointKm = m.world.Points[n].Name, km
	base := make([]float64, len(m.regions))
	first := -1
	for i, r := range m.regions {
		c := &k.Order[i]
		c.Km = distanceKm(k.Place.Latitude, k.Place.Longitude, r.lat, r.lon)
		c.NetworkPoint = m.world.Points[n].Name
		c.RTTms = m.world.RTTms[n][r.point] + r.spurMs
		base[i] = lastMileMs + msPerKm*km + c.RTTms
		if c.ExcludedBy == "" && c.Km <= NearKm && (first < 0 || c.Km < k.Order[first].Km) {
			first = i
		}
	}
	if first >= 0 {
		m.placeFirst(&k.Order[first], base, first)
	}
	for i := range k.Order {
		k.Order[i].ScoreMs = base[i] + k.Order[i].BiasMs
	}
}

// placeFirst gives the nearest region, which is within NearKm, the lowest base: its own network point stands for the
// client. For this one region only; done for all it would bring the error of distances back.
func (m *Model) placeFirst(c *Candidate, base []float64, first int) {
	r := m.regions[first]
	own := lastMileMs + msPerKm*c.Km + m.world.RTTms[r.point][r.point] + r.spurMs
	if own < base[first] {
		c.NetworkPoint = m.world.Points[r.point].Name
		c.RTTms = m.world.RTTms[r.point][r.point] + r.spurMs
		base[first] = own
	}
	for i, other := range base {
		if i != first {
			base[first] = math.Min(base[first], other)
		}
	}
	c.near = true
}

// ruleText says what an operator's rules are for a country or network; "" for none.
func (m *Model) ruleText(subject string, of rules) string {
	if len(of.prefer) == 0 && len(of.never) == 0 {
		return ""
	}
	var parts []string
	for _, rule := range []struct {
		name string
		list []int
	}{{"prefer", of.prefer}, {"never", of.never}} {
		if len(rule.list) == 0 {
			continue
		}
		names := make([]string, len(rule.list))
		for i, r := range rule.list {
			names[i] = string(m.regions[r].name)
		}
		parts = append(parts, rule.name+" "+strings.Join(names, ", "))
	}
	return subject + ": " + strings.Join(parts, "; ")
}
