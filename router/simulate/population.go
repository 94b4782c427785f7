// Package simulate says what the loss of regions would do: who goes where, how much further that is, and what it makes of the load. It
// asks the decision that DNS, discovery and the edge ask, once for each group of people who are alike.
package simulate

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/ranges"
	"meridian/router/learned"
)

// Group is people who are alike: they are at one place, the same was learned of the way to them, and they have one home zone.
type Group struct {
	Place   decide.Place
	Learned []decide.Measured
	Zone    chat.Zone
	// Weight is how many they are, in whatever unit all groups share.
	Weight float64
}

// Population is all people.
type Population struct {
	Groups []Group
	// Source says in words where the weights come from.
	Source string
	rule   config.HomeZones
	data   *geo.Data
	set    *learned.Set
	// byCountry are the places of a country, with the addresses that each has.
	byCountry map[string][]Group
}

// TableRule is how the address data stands for people, who are not in it.
const TableRule = "each IPv4 address of the address data counts once, at its place, with the home zone that home_zones gives its country"

// kind is what the decision knows of people: where they are, and by its number what was learned of the way to them.
type kind struct {
	place   decide.Place
	learned uint64
}

// FromTable makes a population of the address data by TableRule, with what was learned of the addresses.
func FromTable(data *geo.Data, set *learned.Set, rule config.HomeZones) *Population {
	weights := make(map[kind]float64)
	layers := set.Over(data)
	ranges.Each(func(piece ranges.Piece) {
		number := piece.Values[0]
		place := data.Place(number)
		if !piece.First.Is4() || place.Level == decide.LevelNone {
			return
		}
		k := kind{place: place}
		if piece.Values[1]|piece.Values[2] != 0 {
			k.learned = layers.Number(piece.Values[1], piece.Values[2], place.Country)
		}
		weights[k] += piece.Size
	}, data.Set(), layers.Sets[0], layers.Sets[1])
	p := &Population{Source: data.Edition() + ": " + TableRule, rule: rule, data: data, set: set, byCountry: make(map[string][]Group)}
	if set != nil {
		p.Source += "; " + set.Edition()
	}
	for _, k := range slices.SortedFunc(maps.Keys(weights), byPlace) {
		g := Group{Place: k.place, Learned: layers.Learned(k.learned), Zone: p.home(k.place.Country), Weight: weights[k]}
		p.Groups = append(p.Groups, g)
		p.byCountry[k.place.Country] = append(p.byCountry[k.place.Country], g)
	}
	return p
}

func byPlace(a, b kind) int {
	return cmp.Or(cmp.Compare(a.place.Country, b.place.Country), cmp.Compare(a.place.City, b.place.City),
		cmp.Compare(a.place.Latitude, b.place.Latitude), cmp.Compare(a.place.Longitude, b.place.Longitude), cmp.Compare(a.learned, b.learned))
}

func (p *Population) home(country string) chat.Zone {
	if zone, ok := p.rule.Countries[country]; ok {
		return zone
	}
	return p.rule.Default
}

// With gives a population of the same places without people.
func (p *Population) With(source string) *Population {
	return &Population{Source: source, rule: p.rule, data: p.data, set: p.set, byCountry: p.byCountry}
}

// Add adds people of a country, at its places by their addresses; zone "" is the one of the rule. A country that the data does not
// know has no place, like an address without data.
func (p *Population) Add(country string, zone chat.Zone, weight float64) {
	if zone == "" {
		zone = p.home(country)
	}
	groups := p.byCountry[country]
	if len(groups) == 0 {
		groups = []Group{{Place: decide.Place{Country: country}, Weight: 1}}
	}
	all := 0.0
	for _, g := range groups {
		all += g.Weight
	}
	for _, g := range groups {
		p.Groups = append(p.Groups, Group{Place: g.Place, Learned: g.Learned, Zone: zone, Weight: weight * g.Weight / all})
	}
}

// csvRowsMax bounds a file of an operator's own population.
const csvRowsMax = 1 << 20

// ReadCSV adds what an operator's own file says: rows "where,share" or "where,share,zone", where a country's two letters, an address or
// a network. A first row whose share is no number is a header. The error has CodeInvalid and names the row.
func (p *Population) ReadCSV(r io.Reader, topology chat.Topology) error {
	rows := csv.NewReader(r)
	rows.FieldsPerRecord, rows.TrimLeadingSpace, rows.Comment = -1, true, '#'
	for n := 1; ; n++ {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && n > csvRowsMax {
			err = fmt.Errorf("more than %d rows", csvRowsMax)
		}
		if err == nil {
			err = p.addRow(row, n == 1, topology)
		}
		if err != nil {
			return &chat.Error{Code: chat.CodeInvalid, Op: "simulate.ReadCSV", Message: fmt.Sprintf("population, row %d: %v", n, err)}
		}
	}
	if len(p.Groups) == 0 {
		return &chat.Error{Code: chat.CodeInvalid, Op: "simulate.ReadCSV", Message: "population: nobody is in it"}
	}
	return nil
}

func (p *Population) addRow(row []string, first bool, topology chat.Topology) error {
	if len(row) != 2 && len(row) != 3 {
		return fmt.Errorf("%d fields; want where,share or where,share,zone", len(row))
	}
	share, err := strconv.ParseFloat(strings.TrimSpace(row[1]), 64)
	switch {
	case err != nil && first:
		return nil
	case err != nil || !(share >= 0) || share > 1e12:
		return fmt.Errorf("%q is no share; want a number of 0 or more", row[1])
	}
	var zone chat.Zone
	if len(row) == 3 {
		zone = chat.Zone(strings.TrimSpace(row[2]))
	}
	if _, known := topology.Zone(zone); zone != "" && !known {
		return fmt.Errorf("%q is not a zone", zone)
	}
	where := strings.TrimSpace(row[0])
	if len(where) == 2 {
		if _, known := p.byCountry[strings.ToUpper(where)]; !known {
			return fmt.Errorf("%q is not a country that the address data knows", where)
		}
		p.Add(strings.ToUpper(where), zone, share)
		return nil
	}
	addr, err := netip.ParseAddr(where)
	if prefix, prefixErr := netip.ParsePrefix(where); prefixErr == nil {
		addr, err = prefix.Addr(), nil
	}
	if err != nil {
		return fmt.Errorf("%q is neither a country (two letters) nor an address or network", where)
	}
	place, _ := p.data.Lookup(addr)
	if zone == "" {
		zone = p.home(place.Country)
	}
	plain, _ := geo.Normalise(addr)
	measured, _ := p.set.Lookup(plain, place)
	p.Groups = append(p.Groups, Group{Place: place, Learned: measured, Zone: zone, Weight: share})
	return nil
}
