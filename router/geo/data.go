package geo

import (
	_ "embed"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

//go:embed data/country.bin
var countryTable []byte

// Data maps addresses to places. It never changes; look-ups do not allocate.
type Data struct {
	set      *ranges.Set
	places   places // by the set's numbers
	systems  *systems
	sources  []Source
	canaries []netip.Addr
}

// Source is one file that Data was made of.
type Source struct {
	Name    string `json:"name"`
	Edition string `json:"edition"`
	// Built is the day the data was made.
	Built time.Time `json:"built"`
	// Attribution is the notice owed where results are shown, with its link; "" for none known.
	Attribution string `json:"attribution,omitempty"`
	// Type is the database's own word on what it holds; "" for the embedded table.
	Type     string `json:"type,omitempty"`
	Bytes    int64  `json:"bytes"`
	Networks int    `json:"networks"`
	Places   int    `json:"places"` // or autonomous systems
}

// The first numbers of every Data.
const (
	noPlace = 0
	// IPv4InIPv6 is the number of the IPv6 ranges that hold IPv4 addresses. Look-ups go to the IPv4 table instead, so no
	// answer for other addresses may ever be said to cover them.
	IPv4InIPv6 = 1
)

// Load is Open with files alone.
func Load(files []string) (*Data, error) { return Open(config.Router{GeoFiles: files}, time.Time{}) }

// Open compiles the address data that r names: the embedded country table and over it the address files, which are MMDB files
// (country or city, in MaxMind's nested or the flat schema); of two that know an address the earlier counts. Over all lie
// the operator's overrides. Files older than r.GeoMaxAge at now are refused. The error has CodeInvalid and names the file and
// what is wrong with it (see FaultOf), or the override.
func Open(r config.Router, now time.Time) (*Data, error) { return openAs(r, now, nil) }

// openAs is Open; names says how files are called in errors and sources that lie elsewhere for now.
func openAs(r config.Router, now time.Time, names map[string]string) (*Data, error) {
	c, err := newCompiler(r.GeoMaxAge, now)
	if err != nil {
		return nil, err
	}
	c.called = names
	layers := make([]*ranges.Set, 1, len(r.GeoFiles)+3)
	if layers[0], err = c.overrides(r.Overrides); err != nil {
		return nil, err
	}
	layers = append(layers, c.reserved())
	for _, f := range r.GeoFiles {
		set, err := c.addresses(f)
		if err != nil {
			return nil, err
		}
		layers = append(layers, set)
		runtime.GC() // the file's bytes: the next file need not come on top of them
	}
	embedded, err := c.embedded(countryTable)
	if err != nil {
		return nil, err
	}
	d := &Data{set: ranges.Merge(c.place, append(layers, embedded)...), canaries: c.canaries}
	if d.systems, err = c.systemsOf(r.ASNFiles); err != nil {
		return nil, err
	}
	d.places, d.sources = c.names.places, c.sources
	if c.names.full {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "geo.Open", Message: fmt.Sprintf("%s have more than %d distinct places",
			strings.Join(r.GeoFiles, ", "), ranges.MaxValue), Cause: &FileError{Fault: FaultTooLarge}}
	}
	return d, nil
}

// Lookup gives the place of an address and the widest prefix around it that has the same place. Without one the place's
// Level is LevelNone and its Detail says why. An IPv4-mapped address is treated as the IPv4 address, a 6to4 address as the
// IPv4 address in it; Teredo and NAT64 have no place, because their client's address does not stand in the leading bits
// that a resolver passes on.
func (d *Data) Lookup(a netip.Addr) (decide.Place, netip.Prefix) {
	if !a.IsValid() {
		return d.places.at(noPlace), netip.Prefix{}
	}
	a = a.WithZone("")
	plain, shift := Normalise(a)
	value, bits := d.set.Lookup(plain)
	place := d.places.at(value)
	if d.systems != nil {
		bits = max(bits, d.systems.lookup(plain, &place))
	}
	if shift == mappedBits {
		a, shift = plain, 0
	}
	p, _ := a.Prefix(bits + shift)
	return place, p
}

// Set gives the ranges, whose numbers are those of the places.
func (d *Data) Set() *ranges.Set { return d.set }

// Count gives how many places there are.
func (d *Data) Count() int { return len(d.places.records) }

// Place gives place n, without its autonomous system.
func (d *Data) Place(n uint32) decide.Place { return d.places.at(n) }

// Country gives the country of place n, "" for none known.
func (d *Data) Country(n uint32) string { return d.places.country(n) }

// Places gives all places, written out.
func (d *Data) Places() []decide.Place {
	out := make([]decide.Place, d.Count())
	for i := range out {
		out[i] = d.Place(uint32(i))
	}
	return out
}

// Sources gives the files that the data was made of, the weightiest first.
func (d *Data) Sources() []Source { return d.sources }

// Edition names the data's files and their editions in one line.
func (d *Data) Edition() string {
	names := make([]string, len(d.sources))
	for i, s := range d.sources {
		names[i] = s.Name + " " + s.Edition
	}
	return strings.Join(names, " + ")
}

const (
	mappedBits = 96
	sixToFour  = 16
)

// Normalise gives the address under which a is looked up, and by how many bits a prefix of it is shorter than the same
// prefix of a: 96 for an IPv4-mapped address, 16 for 6to4, else 0.
func Normalise(a netip.Addr) (plain netip.Addr, shift int) {
	switch {
	case a.Is4():
		return a, 0
	case a.Is4In6():
		return a.Unmap(), mappedBits
	}
	b := a.As16()
	if b[0] == 0x20 && b[1] == 0x02 {
		return netip.AddrFrom4([4]byte(b[2:6])), sixToFour
	}
	return a, 0
}

// Last gives the last address of an IPv4 prefix.
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(b)
}

// compiler collects places while the layers are made.
type compiler struct {
	countries map[string]country
	names     *numbering
	sources   []Source
	canaries  []netip.Addr
	oldest    time.Time         // files made before are stale
	called    map[string]string // how errors call files; without an entry by their name

	overriding []override
	overridden map[[2]uint32]uint32 // override and place under it → place
}

func newCompiler(maxAge time.Duration, now time.Time) (*compiler, error) {
	known, err := countries()
	if err != nil {
		return nil, err
	}
	c := &compiler{countries: known, names: newNumbering(), overridden: map[[2]uint32]uint32{}}
	if maxAge > 0 {
		c.oldest = now.Add(-maxAge)
	}
	c.names.number(decide.Place{}) // noPlace
	c.names.number(decide.Place{Detail: "an IPv4 address inside IPv6, or the local host"})
	return c, nil
}

// place combines the layers: the first that knows the address counts, with what the override, which is the uppermost, says.
func (c *compiler) place(layers []uint32) uint32 {
	under := ranges.First(layers[1:])
	if layers[0] == 0 {
		return under
	}
	key := [2]uint32{layers[0], under}
	number, ok := c.overridden[key]
	if !ok {
		number = c.overriding[layers[0]-1].over(c.names, under)
		c.overridden[key] = number
	}
	return number
}

// countryPlace is the place of an address of which only the country is known.
func (c *compiler) countryPlace(code, source string) decide.Place {
	p := decide.Place{Country: code, Source: source}
	if at, ok := c.countries[code]; ok {
		p.Level, p.Latitude, p.Longitude = decide.LevelCountry, at.lat, at.lon
	} else {
		p.Detail = "a country without a network place"
	}
	return p
}

// EmbeddedName is the name of the embedded country table.
const EmbeddedName = "DB-IP Country Lite"

func (c *compiler) embedded(packed []byte) (*ranges.Set, error) {
	f, err := ranges.Read(packed)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInternal, Op: "geo.Open", Message: "the embedded country table is damaged", Cause: err}
	}
	numbers := make([]uint32, len(f.Names)+1)
	for i, code := range f.Names {
		numbers[i+1] = c.names.number(c.countryPlace(code, EmbeddedName))
	}
	v4, v6 := f.Set.Len()
	c.sources = append(c.sources, Source{
		Name: EmbeddedName, Edition: f.Edition, Built: builtOf(f.Edition), Places: len(f.Names), Bytes: int64(len(packed)), Networks: v4 + v6,
		Attribution: decide.Attribution + " (" + decide.AttributionURL + ")",
	})
	c.canaries = canariesOf(f.Set, len(f.Names))
	return f.Set.Map(func(v uint32) uint32 { return numbers[v] }), nil
}

// builtOf reads the day from the embedded table's edition, like 2.3.2026060120; the zero time when it has another form.
func builtOf(edition string) time.Time {
	day := edition[strings.LastIndexByte(edition, '.')+1:]
	built, err := time.Parse("20060102", day[:min(8, len(day))])
	if err != nil {
		return time.Time{}
	}
	return built
}

// Files gives the files that the data of r is made of.
func Files(r config.Router) []string { return slices.Concat(r.GeoFiles, r.ASNFiles) }
