package geo

import (
	"cmp"
	"maps"
	"slices"

	"meridian/chat"
	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

// Difference says what changes for clients when one Data takes the place of another. Shares are of the addresses that both
// place; IPv6 is counted by /64s.
type Difference struct {
	IPv4 Share `json:"ipv4"`
	IPv6 Share `json:"ipv6"`
	// Countries have addresses that change region, by their old country, those with most of IPv4 first.
	Countries []CountryChange `json:"countries"`
	// Moves go from one region to another, the largest of IPv4 first.
	Moves []Move `json:"moves"`
}

// Share is how many addresses there are, and what part of them changes.
type Share struct {
	Addresses float64 `json:"addresses"`
	// Region and Country are the shares, 0 to 1, that get another region, and that are placed in another country.
	Region  float64 `json:"region_changed_share"`
	Country float64 `json:"country_changed_share"`
	// Gained and Lost are addresses that only the new or only the old data places; they are not in the shares.
	Gained float64 `json:"gained"`
	Lost   float64 `json:"lost"`
}

// CountryChange is what changes for the addresses of one country.
type CountryChange struct {
	Country string `json:"country"`
	IPv4    Share  `json:"ipv4"`
	IPv6    Share  `json:"ipv6"`
}

// Move is a part of the addresses that goes from one region to another.
type Move struct {
	From chat.Region `json:"from"`
	To   chat.Region `json:"to"`
	IPv4 float64     `json:"ipv4_share"`
	IPv6 float64     `json:"ipv6_share"`
}

// Side is address data that is compared, with what was learned of its addresses.
type Side struct {
	Data *Data
	// Learned says what was learned, by the numbers of Over at an address; nil: nothing.
	Learned func(network, asn uint32, country string) []decide.Measured
	// Over are the layers of what was learned.
	Over [2]*ranges.Set
}

// Diff compares two sides under model. Only the first region counts, without health and load.
func Diff(model *decide.Model, old, next Side) Difference {
	var d Difference
	countries := map[string]*CountryChange{}
	moves := map[[2]chat.Region]*Move{}
	from, to := newFirsts(model, old), newFirsts(model, next)
	ranges.Each(func(p ranges.Piece) {
		a, b := from.at(p.Values[0], p.Values[2], p.Values[3]), to.at(p.Values[1], p.Values[4], p.Values[5])
		c := countries[a.country]
		if c == nil {
			c = &CountryChange{Country: a.country}
			countries[a.country] = c
		}
		all, one := &d.IPv4, &c.IPv4
		if p.First.Is6() {
			all, one = &d.IPv6, &c.IPv6
		}
		all.add(a, b, p.Size)
		one.add(a, b, p.Size)
		if a.placed && b.placed && a.region != b.region {
			m := moves[[2]chat.Region{a.region, b.region}]
			if m == nil {
				m = &Move{From: a.region, To: b.region}
				moves[[2]chat.Region{a.region, b.region}] = m
			}
			if p.First.Is6() {
				m.IPv6 += p.Size
			} else {
				m.IPv4 += p.Size
			}
		}
	}, old.Data.set, next.Data.set, from.over[0], from.over[1], to.over[0], to.over[1])
	for _, m := range moves {
		m.IPv4, m.IPv6 = part(m.IPv4, d.IPv4.Addresses), part(m.IPv6, d.IPv6.Addresses)
		d.Moves = append(d.Moves, *m)
	}
	slices.SortFunc(d.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.IPv4, a.IPv4), cmp.Compare(b.IPv6, a.IPv6), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	d.finish(countries)
	return d
}

// finish turns counts into shares and sorts the countries.
func (d *Difference) finish(countries map[string]*CountryChange) {
	weight := map[string]float64{} // addresses of IPv4 that change
	for _, name := range slices.Sorted(maps.Keys(countries)) {
		c := countries[name]
		weight[name] = c.IPv4.Region
		c.IPv4.finish()
		c.IPv6.finish()
		if c.IPv4.Region > 0 || c.IPv6.Region > 0 {
			d.Countries = append(d.Countries, *c)
		}
	}
	slices.SortStableFunc(d.Countries, func(a, b CountryChange) int { return cmp.Compare(weight[b.Country], weight[a.Country]) })
	d.IPv4.finish()
	d.IPv6.finish()
}

// ranked is what Diff needs of a place.
type ranked struct {
	placed  bool
	country string
	region  chat.Region
}

// firsts gives the first regions of one side.
type firsts struct {
	model   *decide.Model
	side    Side
	over    [2]*ranges.Set
	plain   []ranked
	learned map[[3]uint32]*ranked // by place and what was learned
}

func newFirsts(model *decide.Model, side Side) *firsts {
	f := &firsts{model: model, side: side, over: side.Over, plain: make([]ranked, side.Data.Count()), learned: map[[3]uint32]*ranked{}}
	for i := range f.plain {
		f.plain[i] = f.rank(uint32(i), nil)
	}
	if side.Learned == nil {
		var none ranges.Builder
		f.over = [2]*ranges.Set{none.Set(), none.Set()}
	}
	return f
}

func (f *firsts) rank(place uint32, learned []decide.Measured) ranked {
	p := f.side.Data.Place(place)
	return ranked{p.Level != decide.LevelNone, p.Country, f.model.Rank(p, learned...).Order[0].Region}
}

// at gives what is at a place of which something may have been learned.
func (f *firsts) at(place, network, asn uint32) *ranked {
	if network|asn == 0 || place == IPv4InIPv6 {
		return &f.plain[place]
	}
	key := [3]uint32{place, network, asn}
	r := f.learned[key]
	if r == nil {
		one := f.rank(place, f.side.Learned(network, asn, f.side.Data.Country(place)))
		r = &one
		f.learned[key] = r
	}
	return r
}

func (s *Share) add(old, next *ranked, size float64) {
	switch {
	case old.placed && next.placed:
		s.Addresses += size
		if old.region != next.region {
			s.Region += size
		}
		if old.country != next.country {
			s.Country += size
		}
	case next.placed:
		s.Gained += size
	case old.placed:
		s.Lost += size
	}
}

func (s *Share) finish() {
	s.Region, s.Country = part(s.Region, s.Addresses), part(s.Country, s.Addresses)
}

func part(of, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return of / whole
}
