//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"golang.org/x/text/language"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
)

const domain = "chat.example.org"

// world is what all servers know: a region at each network point, and which regions each country gets, best first.
type world struct {
	config    *config.Config
	data      *geo.Data
	regions   []config.Region
	countries map[string][]chat.Region
	elsewhere []chat.Region // where nothing is known
}

func newWorld() (*world, error) {
	points, err := geo.World()
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.Regions = nil
	var all []chat.Region
	for i, p := range points.Points {
		r := config.Region{
			Name: chat.Region(p.Name), City: p.City, Country: p.Country, Latitude: p.Latitude, Longitude: p.Longitude, Point: p.Name,
			HTTP: fmt.Sprintf("127.0.0.1:%d", 1000+i), Admin: fmt.Sprintf("127.0.0.1:%d", 1100+i), Backbone: fmt.Sprintf("127.0.0.1:%d", 1200+i),
			Addresses: []string{fmt.Sprintf("192.0.2.%d", i+1), fmt.Sprintf("2001:db8::%d", i+1)},
		}
		cfg.Regions, all = append(cfg.Regions, r), append(all, r.Name)
	}
	cfg.Zones = []config.Zone{{
		Name: "world", Regions: all, Policy: chat.PolicyCopy, Transit: chat.TransitAllow, Ack: chat.AckRegion, AtSignUp: true,
	}}
	w := &world{config: cfg, regions: cfg.Regions, countries: map[string][]chat.Region{}}
	model, err := decide.NewModel(cfg, points)
	if err != nil {
		return nil, err
	}
	if w.data, err = geo.Load(nil); err != nil {
		return nil, err
	}
	for _, p := range w.data.Places() {
		if p.Level == decide.LevelCountry {
			w.countries[p.Country] = names(model.Rank(p))
		}
	}
	w.elsewhere = names(model.Rank(decide.Place{}))
	return w, nil
}

func names(r decide.Ranking) []chat.Region {
	var out []chat.Region
	for _, c := range r.Order {
		out = append(out, c.Region)
	}
	return out
}

var sixToFour = netip.MustParsePrefix("2002::/16")

// eachNetwork calls f for all networks of the country table that have a country, in order.
func (w *world) eachNetwork(first netip.Addr, f func(netip.Prefix, string) error) error {
	for a := first; ; {
		place, prefix := w.data.Lookup(a)
		if sixToFour.Contains(a) { // IPv4 addresses, of which the writer takes care
			place, prefix = decide.Place{}, sixToFour
		}
		if place.Level == decide.LevelCountry {
			if err := f(prefix, place.Country); err != nil {
				return err
			}
		}
		last := lastOf(prefix)
		if a = last.Next(); !a.IsValid() {
			return nil
		}
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// writeMMDB writes the built-in country table as an MMDB file in the nested schema, as GeoIP2-Country has it, which all the
// servers read. It gives the number of networks.
func (w *world) writeMMDB(file string) (int, error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "GeoIP2-Country", RecordSize: 28, Languages: []string{"en"}, Description: map[string]string{"en": "countries, for a benchmark"},
		IncludeReservedNetworks: true,
	})
	if err != nil {
		return 0, err
	}
	records := map[string]mmdbtype.DataType{}
	networks := 0
	insert := func(p netip.Prefix, country string) error {
		record, ok := records[country]
		if !ok {
			record = mmdbtype.Map{
				"continent": mmdbtype.Map{"code": mmdbtype.String(continentOf(country))},
				"country":   mmdbtype.Map{"iso_code": mmdbtype.String(country)},
			}
			records[country] = record
		}
		networks++
		_, network, err := net.ParseCIDR(p.String())
		if err != nil {
			return err
		}
		return tree.Insert(network, record)
	}
	for _, first := range []netip.Addr{netip.IPv4Unspecified(), netip.MustParseAddr("2000::")} {
		if err := w.eachNetwork(first, insert); err != nil {
			return 0, err
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		return 0, err
	}
	return networks, os.WriteFile(file, b.Bytes(), 0o644)
}

// continents are the UN's regions and the codes that address files have for them.
var continents = []struct{ code, region string }{{"AF", "002"}, {"AS", "142"}, {"EU", "150"}, {"NA", "003"}, {"SA", "005"}, {"OC", "009"}}

// continentOf gives the continent of a country; of the few that have none, a fixed one.
func continentOf(country string) string {
	r, err := language.ParseRegion(country)
	if err != nil {
		return "EU"
	}
	for _, c := range continents {
		if language.MustParseRegion(c.region).Contains(r) {
			return c.code
		}
	}
	return "NA"
}
