package geo

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

// maxFileBytes bounds an address file: twice the largest city database known.
const maxFileBytes = 512 << 20

// table is an open MMDB file.
type table struct {
	file   string
	reader *maxminddb.Reader
	source Source
}

// open reads an MMDB file whole: one that is replaced while it is read must not take the process down, as a mapping could.
func (c *compiler) open(file string) (*table, error) {
	raw, err := readFile(file)
	if err != nil {
		return nil, err
	}
	if name, ok := c.called[file]; ok {
		file = name
	}
	if len(raw) == 0 {
		return nil, unusable(file, FaultEmpty, "is an empty file", nil)
	}
	r, err := maxminddb.OpenBytes(raw)
	if err != nil {
		return nil, unusable(file, FaultCorrupt, "is not an MMDB file, or damaged", err)
	}
	built := time.Unix(int64(min(r.Metadata.BuildEpoch, math.MaxInt32)), 0).UTC()
	t := &table{file: file, reader: r, source: Source{
		Name: filepath.Base(file), Edition: built.Format(time.DateOnly), Built: built, Type: r.Metadata.DatabaseType, Bytes: int64(len(raw)),
	}}
	t.source.Attribution = attribution(t.source, r.Metadata.Description)
	if built.Before(c.oldest) {
		return nil, unusable(file, FaultStale, fmt.Sprintf("was made on %s, which is longer ago than router.geo_max_age", t.source.Edition), nil)
	}
	return t, nil
}

func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, unusable(file, FaultUnreadable, "cannot be read", err)
	}
	if info.Size() > maxFileBytes {
		return nil, unusable(file, FaultTooLarge, fmt.Sprintf("has more than %d MiB", maxFileBytes>>20), nil)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, unusable(file, FaultUnreadable, "cannot be read", err)
	}
	return raw, nil
}

// attribution gives the notice that a file owes by its type, name and description; "" for a maker that is not known.
func attribution(s Source, description map[string]string) string {
	words := s.Type + " " + s.Name
	for _, text := range description {
		words += " " + text
	}
	words = strings.ReplaceAll(strings.ToLower(words), "-", "")
	switch {
	case strings.Contains(words, "dbip"):
		return decide.Attribution + " (" + decide.AttributionURL + ")"
	case strings.Contains(words, "geolite2"):
		return "This product includes GeoLite2 data created by MaxMind, available from https://www.maxmind.com"
	}
	return ""
}

// networks makes a Set of the table's networks; number gives the number of a record, 0 for one that says nothing. It is
// asked once for each record, however many networks share it.
func (t *table) networks(number func(record map[string]any) uint32) (*ranges.Set, error) {
	var b ranges.Builder
	// A tree of n nodes has n+1 leaves at most.
	if leaves := int(min(t.reader.Metadata.NodeCount, maxFileBytes/6)) + 1; t.reader.Metadata.IPVersion == 4 {
		b.Grow(leaves, 0)
	} else {
		b.Grow(0, leaves/2) // half of them are empty, or of IPv4
	}
	numbers := map[uintptr]uint32{} // by the record's offset
	for network := range t.reader.Networks() {
		if err := network.Err(); err != nil {
			return nil, unusable(t.file, FaultCorrupt, "is damaged", err)
		}
		n, ok := numbers[network.Offset()]
		if !ok {
			var record map[string]any
			if err := network.Decode(&record); err != nil {
				return nil, unusable(t.file, FaultCorrupt, fmt.Sprintf("has a damaged or strange record for %s", network.Prefix()), err)
			}
			if n = number(record); n != 0 {
				t.source.Places++
			}
			numbers[network.Offset()] = n
		}
		t.source.Networks++
		if !b.Add(network.Prefix(), n) {
			return nil, unusable(t.file, FaultCorrupt, fmt.Sprintf("has networks out of order at %s", network.Prefix()), nil)
		}
	}
	if t.source.Networks == 0 {
		return nil, unusable(t.file, FaultEmpty, "holds no networks", nil)
	}
	return b.Set(), nil
}

// addresses compiles a file that places addresses.
func (c *compiler) addresses(file string) (*ranges.Set, error) {
	t, err := c.open(file)
	if err != nil {
		return nil, err
	}
	set, err := t.networks(func(record map[string]any) uint32 {
		p := c.placeOf(record, t.source.Name)
		if p.Country == "" && p.Level == decide.LevelNone {
			return noPlace
		}
		return c.names.number(p)
	})
	if err != nil {
		return nil, err
	}
	if t.source.Places == 0 {
		return nil, unusable(t.file, FaultWrongType, fmt.Sprintf("of type %q holds neither countries nor coordinates; a country or city database is needed",
			t.source.Type), nil)
	}
	c.sources = append(c.sources, t.source)
	return set, nil
}

// placeOf reads a record of either schema: nested (country.iso_code, location.latitude, city.names.en) or flat
// (country_code, latitude, city). Coordinates without a city are those of the country's middle, where nobody lives: then
// the country's own network place stands in.
func (c *compiler) placeOf(record map[string]any, source string) decide.Place {
	code := strings.ToUpper(firstText(text(record, "country", "iso_code"), text(record, "country_code"), text(record, "registered_country", "iso_code")))
	if !isCountry(code) || code == "ZZ" {
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
