package geo

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"meridian/chat"
	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

// mmdb compiles one MMDB file. It reads the file whole: one that is replaced while it is read must not take the process
// down, as a mapping could.
func (c *compiler) mmdb(file string) (*ranges.Set, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, unusable(file, "cannot be read", err)
	}
	r, err := maxminddb.OpenBytes(raw)
	if err != nil {
		return nil, unusable(file, "is not an MMDB file, or damaged", err)
	}
	built := time.Unix(int64(min(r.Metadata.BuildEpoch, math.MaxInt32)), 0).UTC()
	source := Source{Name: filepath.Base(file), Edition: built.Format(time.DateOnly), Built: built}
	if strings.HasPrefix(strings.ToUpper(r.Metadata.DatabaseType), "DBIP") {
		source.Attribution = decide.Attribution + " (" + decide.AttributionURL + ")"
	}
	var b ranges.Builder
	numbers := map[uintptr]uint32{} // by the record's offset: many networks share one
	located := 0
	for network := range r.Networks() {
		if err := network.Err(); err != nil {
			return nil, unusable(file, "is damaged", err)
		}
		n, ok := numbers[network.Offset()]
		if !ok {
			var record map[string]any
			if err := network.Decode(&record); err != nil {
				return nil, unusable(file, fmt.Sprintf("has a damaged or strange record for %s", network.Prefix()), err)
			}
			p := c.place(record, source.Name)
			n = noPlace
			if p.Country != "" || p.Level != decide.LevelNone {
				n, located = c.number(p), located+1
			}
			numbers[network.Offset()] = n
		}
		if !b.Add(network.Prefix(), n) {
			return nil, unusable(file, fmt.Sprintf("has networks out of order at %s", network.Prefix()), nil)
		}
	}
	if located == 0 {
		return nil, unusable(file, fmt.Sprintf("of type %q holds neither countries nor coordinates; a country or city database is needed",
			r.Metadata.DatabaseType), nil)
	}
	source.Places = located
	c.sources = append(c.sources, source)
	return b.Set(), nil
}

// place reads a record of either schema: nested (country.iso_code, location.latitude, city.names.en) or flat
// (country_code, latitude, city). Coordinates without a city are those of the country's middle, where nobody lives: then
// the country's own network place stands in.
func (c *compiler) place(record map[string]any, source string) decide.Place {
	code := strings.ToUpper(firstText(text(record, "country", "iso_code"), text(record, "country_code"), text(record, "registered_country", "iso_code")))
	if len(code) != 2 || code == "ZZ" {
		code = ""
	}
	city := firstText(text(record, "city", "names", "en"), text(record, "city"))
	lat, ok1 := firstNumber(number(record, "location", "latitude"), number(record, "latitude"))
	lon, ok2 := firstNumber(number(record, "location", "longitude"), number(record, "longitude"))
	known := ok1 && ok2 && math.Abs(lat) <= 90 && math.Abs(lon) <= 180
	_, hasPoint := c.countries[code]
	switch {
	case known && city != "":
		return decide.Place{Level: decide.LevelCity, Country: code, City: city, Latitude: round(lat), Longitude: round(lon), Source: source}
	case known && !hasPoint:
		return decide.Place{Level: decide.LevelCountry, Country: code, Latitude: round(lat), Longitude: round(lon), Source: source}
	case code != "":
		return c.countryPlace(code, source)
	}
	return decide.Place{}
}

// round keeps a tenth of a degree, 11 km at most: more would split cities into many places that score alike.
func round(x float64) float64 { return math.Round(x*10) / 10 }

// at follows path through nested maps; nil when it leads nowhere.
func at(record map[string]any, path ...string) any {
	var v any = record
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func text(record map[string]any, path ...string) string {
	s, _ := at(record, path...).(string)
	return s
}

func firstText(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

func number(record map[string]any, path ...string) *float64 {
	switch v := at(record, path...).(type) {
	case float64:
		return &v
	case float32:
		f := float64(v)
		return &f
	}
	return nil
}

func firstNumber(all ...*float64) (float64, bool) {
	for _, f := range all {
		if f != nil && !math.IsNaN(*f) {
			return *f, true
		}
	}
	return 0, false
}

func unusable(file, what string, err error) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "geo.Load", Message: file + " " + what, Cause: err}
}
