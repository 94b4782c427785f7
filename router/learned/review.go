package learned

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"meridian/chat"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/ranges"
)

// Summary is what a person wants to know of a file first.
type Summary struct {
	Collected time.Time `json:"collected"`
	Rows      int       `json:"rows"`
	Networks  int       `json:"networks"`
	Systems   int       `json:"systems"`
	Regions   []Share   `json:"regions"`
}

// Share is what a file says of one region.
type Share struct {
	Region  chat.Region `json:"region"`
	Unknown bool        `json:"unknown,omitempty"` // not a region of this deployment: its rows are left out
	Rows    int         `json:"rows"`
	Samples int         `json:"samples"`
	// P50Ms is the middle of what was measured of networks, OverMs the middle of how much longer that is than the model's estimate.
	P50Ms  float64 `json:"p50_ms"`
	OverMs float64 `json:"over_estimate_ms"`
}

// Summarize reads a file for a person, beside the model and data that it is to be used with.
func Summarize(f File, model *decide.Model, data *geo.Data) Summary {
	s := Summary{Collected: f.Collected, Rows: len(f.Rows), Regions: []Share{}}
	groups := map[Group]bool{}
	by := map[chat.Region][]Row{}
	for _, r := range f.Rows {
		groups[r.Group] = true
		by[r.Region] = append(by[r.Region], r)
	}
	for g := range groups {
		if g.Network.IsValid() {
			s.Networks++
		} else {
			s.Systems++
		}
	}
	for _, region := range slices.Sorted(maps.Keys(by)) {
		_, known := model.Index(region)
		one := Share{Region: region, Unknown: !known, Rows: len(by[region])}
		var p50s, over []float64
		for _, r := range by[region] {
			one.Samples += r.Samples
			if !r.Network.IsValid() {
				continue
			}
			p50s = append(p50s, r.P50Ms)
			place, _ := data.Lookup(r.Network.Addr())
			for _, c := range model.Rank(place).Order {
				if c.Region == region && place.Level != decide.LevelNone {
					over = append(over, r.P50Ms-(c.ScoreMs-c.BiasMs))
				}
			}
		}
		one.P50Ms, one.OverMs = middle(p50s), middle(over)
		s.Regions = append(s.Regions, one)
	}
	return s
}

func middle(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// Difference says what changes for clients when one Set takes the place of another.
type Difference struct {
	IPv4    Covered  `json:"ipv4"`
	IPv6    Covered  `json:"ipv6"`
	Changes []Change `json:"changes"` // those with most addresses of IPv4 first
}

// Covered is how many addresses there are of which something was learned, in either set, and how many of them get another first region;
// IPv6 is counted by /64s.
type Covered struct {
	Addresses float64 `json:"addresses"`
	Moved     float64 `json:"moved"`
}

// Change is the clients of one group in one country who would get another first region. Round trips are those by which the new set
// decides, the means of all of them.
type Change struct {
	Of      string      `json:"of"`
	Country string      `json:"country"`
	From    chat.Region `json:"from"`
	To      chat.Region `json:"to"`
	FromMs  float64     `json:"from_ms"`
	ToMs    float64     `json:"to_ms"`
	// Measured says whether the new first region's round trip was measured; else it is an estimate.
	Measured bool    `json:"measured"`
	IPv4     float64 `json:"ipv4_addresses"`
	IPv6     float64 `json:"ipv6_networks"` // /64s
}

// Diff compares two Sets over the same model and data, without what holds networks where they are for some builds. Only the first region
// counts.
func Diff(model *decide.Model, data *geo.Data, old, next *Set) Difference {
	d := &differ{model: model, data: data, before: old.Over(data), after: next.Over(data), known: map[[3]uint64]*outcome{}, changes: map[Change]*Change{}}
	ranges.Each(d.piece, data.Set(), d.before.Sets[0], d.before.Sets[1], d.after.Sets[0], d.after.Sets[1])
	for _, c := range d.changes {
		weight := c.IPv4 + c.IPv6
		c.FromMs, c.ToMs = c.FromMs/weight, c.ToMs/weight
		d.out.Changes = append(d.out.Changes, *c)
	}
	slices.SortFunc(d.out.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.IPv4, a.IPv4), cmp.Compare(b.IPv6, a.IPv6), cmp.Compare(a.Of, b.Of), cmp.Compare(a.Country, b.Country), cmp.Compare(a.From, b.From))
	})
	return d.out
}

// differ walks through both sets.
type differ struct {
	model         *decide.Model
	data          *geo.Data
	before, after Layers
	known         map[[3]uint64]*outcome // by place and what either set says
	changes       map[Change]*Change     // by themselves, without figures
	out           Difference
}

// outcome is what becomes of some clients.
type outcome struct {
	moved    bool
	change   Change // without figures
	from, to float64
}

func (d *differ) piece(p ranges.Piece) {
	place := p.Values[0]
	country := d.data.Country(place)
	old, next := d.before.Number(p.Values[1], p.Values[2], country), d.after.Number(p.Values[3], p.Values[4], country)
	if old == 0 && next == 0 || place == geo.IPv4InIPv6 {
		return
	}
	key := [3]uint64{uint64(place), old, next}
	o := d.known[key]
	if o == nil {
		o = d.outcome(place, old, next)
		d.known[key] = o
	}
	covered := &d.out.IPv4
	if p.First.Is6() {
		covered = &d.out.IPv6
	}
	covered.Addresses += p.Size
	if !o.moved {
		return
	}
	covered.Moved += p.Size
	c := d.changes[o.change]
	if c == nil {
		copied := o.change
		c = &copied
		d.changes[o.change] = c
	}
	c.FromMs, c.ToMs = c.FromMs+p.Size*o.from, c.ToMs+p.Size*o.to
	if p.First.Is6() {
		c.IPv6 += p.Size
	} else {
		c.IPv4 += p.Size
	}
}

func (d *differ) outcome(place uint32, old, next uint64) *outcome {
	at := d.data.Place(place)
	was, is := d.before.Learned(old), d.after.Learned(next)
	from, to, moved := d.model.Moved(at, was, is)
	o := &outcome{moved: moved, from: from.ScoreMs - from.BiasMs, to: to.ScoreMs - to.BiasMs}
	o.change = Change{Country: at.Country, From: from.Region, To: to.Region, Measured: to.Learned != nil}
	switch {
	case to.Learned != nil:
		o.change.Of = to.Learned.Of
	case from.Learned != nil:
		o.change.Of = from.Learned.Of
	default: // what was learned before is learned no more
		o.change.Of = slices.Concat(was, is)[0].Of
	}
	return o
}
