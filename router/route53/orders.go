package route53

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"meridian/router/decide"
	"meridian/router/geo"
)

// rankings counts the IPv4 addresses of a country by how they rank the regions: the numbers of the regions, best first, as a string.
type rankings map[string]float64

// Countries are the rankings of each country of the address data; "" is for addresses without a country. The states of the USA, as "US-CA",
// have those of their places beside, which are in the country's too.
type Countries map[string]rankings

const statePrefix = unitedStates + "-"

// CountriesOf counts them.
func CountriesOf(model *decide.Model, data *geo.Data) Countries {
	by := make(Countries)
	type spot struct{ ranking, state string }
	known := make(map[decide.Place]spot)
	count := func(where, ranking string, addresses float64) {
		if by[where] == nil {
			by[where] = make(rankings)
		}
		by[where][ranking] += addresses
	}
	add := func(p decide.Place, addresses float64) {
		at, ok := known[p]
		if !ok {
			ranking := model.Rank(p)
			at = spot{string(ranking.Indexes()), stateOf(p)}
			known[p] = at
		}
		count(p.Country, at.ranking, addresses)
		if at.state != "" {
			count(statePrefix+at.state, at.ranking, addresses)
		}
	}
	for a := netip.IPv4Unspecified(); a.IsValid(); {
		place, prefix := data.Lookup(a)
		add(place, float64(uint64(1)<<(32-prefix.Bits())))
		a = geo.Last(prefix).Next()
	}
	for _, place := range data.Places() { // those of IPv6 alone
		if place.Override == "" {
			add(place, 0)
		}
	}
	return by
}

// most gives the ranking of most of the addresses.
func (r rankings) most() string {
	return slices.MaxFunc(slices.Sorted(maps.Keys(r)), func(a, b string) int { return cmp.Compare(r[a], r[b]) })
}

// sum gives all addresses.
func (r rankings) sum() float64 {
	all := 0.0
	for _, addresses := range r {
		all += addresses
	}
	return all
}

// sorter puts the regions of a ranking in the order in which a host answers them.
type sorter struct {
	board   decide.Board
	allowed decide.Set
	model   *decide.Model
	levels  int
	known   map[string]order
}

// order is what is rendered for a ranking.
type order struct {
	regions string // numbers, best first, at most as many as there are levels
	// strict: an operator's rule takes regions out, so that who cannot be served by these may not get what a wider geography would give.
	strict bool
}

func newSorter(model *decide.Model, board decide.Board, allowed decide.Set, levels int) *sorter {
	return &sorter{board: board, allowed: allowed, model: model, levels: levels, known: make(map[string]order)}
}

// of gives the order of a ranking: those that serve, then those that drain, then those that the operator has taken out; empty where the
// rules leave the host no region.
func (s *sorter) of(ranking string) order {
	if o, ok := s.known[ranking]; ok {
		return o
	}
	var all []uint8
	for left := s.allowed; ; {
		picked := s.board.Pick(nil, []uint8(ranking), left, 1) // 1: nobody is moved for load
		if len(picked) == 0 {
			break
		}
		all = append(all, picked...)
		for _, i := range picked {
			left &^= 1 << i
		}
	}
	o := order{strict: len(all) < s.size(), regions: string(all[:min(len(all), s.levels)])}
	s.known[ranking] = o
	return o
}

// size gives how many regions the host has.
func (s *sorter) size() int {
	n := 0
	for i := range s.model.Regions() {
		if s.allowed.Has(uint8(i)) {
			n++
		}
	}
	return n
}

// location is where a geolocation record counts: a state of the USA, a country, a continent, or anywhere without any of them.
type location struct {
	continent, country, state string
	order                     order
}

// geolocationMax is Route 53's quota of geolocation records of one name and type.
const geolocationMax = 100

// locations gives the records that lead each country to the order of most of its addresses, as few as that takes: one for anywhere, and
// those of continents and countries that differ from what stands above them. Where the quota does not allow all, those of the countries
// with the fewest addresses are left out; never one that an operator's rule needs.
func (s *sorter) locations(by Countries) []location {
	out := s.needed(by)
	for len(out) > geolocationMax {
		least := -1
		for i, l := range out {
			if l.country != "" && !l.order.strict && (least < 0 || by[l.key()].sum() < by[out[least].key()].sum()) {
				least = i
			}
		}
		if least < 0 {
			break
		}
		out = slices.Delete(out, least, least+1)
	}
	return out
}

// key gives where the rankings of a country or state are counted.
func (l location) key() string {
	if l.state != "" {
		return statePrefix + l.state
	}
	return l.country
}

func (s *sorter) needed(by Countries) []location {
	rest := s.of(by[""].most())
	out := []location{{order: rest}}
	for _, continent := range slices.Sorted(maps.Keys(continents)) {
		inside := make(map[string]order)
		votes := make(map[order]int)
		for country, r := range by {
			if continentOf[country] == continent {
				inside[country] = s.of(r.most())
				votes[inside[country]]++
			}
		}
		usual := rest
		for _, country := range slices.Sorted(maps.Keys(inside)) {
			if o := inside[country]; !o.strict && votes[o] > votes[usual] {
				usual = o
			}
		}
		if usual != rest {
			out = append(out, location{continent: continent, order: usual})
		}
		for _, country := range slices.Sorted(maps.Keys(inside)) {
			if inside[country] != usual || inside[country].strict {
				out = append(out, location{continent: continent, country: country, order: inside[country]})
			}
		}
		if whole, there := inside[unitedStates]; there {
			out = append(out, s.states(by, continent, whole)...)
		}
	}
	return out
}

// states gives those whose order differs from the country's.
func (s *sorter) states(by Countries, continent string, whole order) []location {
	var out []location
	for _, state := range slices.Sorted(maps.Keys(states)) {
		if r, there := by[statePrefix+state]; there {
			if o := s.of(r.most()); o != whole {
				out = append(out, location{continent: continent, country: unitedStates, state: state, order: o})
			}
		}
	}
	return out
}

// Lost is what Route 53 cannot say of the decision, as shares of the IPv4 addresses that the address data has a country for: of First
// another region is answered than by GeoDNS while all is well, of Order another one while some regions are down.
type Lost struct {
	First float64 `json:"first_share"`
	Order float64 `json:"order_share"`
}

// lost compares what each address would get with what its country, or its state, gets.
func (s *sorter) lost(by Countries, locations []location) Lost {
	at := make(map[string]order) // by country, state, or continent
	for _, l := range locations {
		at[cmp.Or(l.key(), continentPrefix+l.continent)] = l.order
	}
	var first, whole, all float64
	count := func(got order, r rankings, sign float64) {
		for ranking, addresses := range r {
			want := s.of(ranking)
			addresses *= sign
			all += addresses
			if want.regions == "" || got.regions == "" || want.regions[0] != got.regions[0] {
				first += addresses
			}
			if want.regions != got.regions {
				whole += addresses
			}
		}
	}
	for where, r := range by {
		if where == "" {
			continue
		}
		country, _, part := strings.Cut(where, "-")
		got := at[continentPrefix]
		for _, wider := range []string{continentPrefix + continentOf[country], country} {
			if o, ok := at[wider]; ok {
				got = o
			}
		}
		if part { // its addresses have been counted, or will be, with the country's
			count(got, r, -1)
			if o, ok := at[where]; ok {
				got = o
			}
		}
		count(got, r, 1)
	}
	if all == 0 {
		return Lost{}
	}
	return Lost{First: first / all, Order: whole / all}
}
