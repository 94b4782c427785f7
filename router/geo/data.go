package geo

import (
	_ "embed"
	"net/netip"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

//go:embed data/country.bin
var countryTable []byte

// Data maps addresses to places. It never changes; look-ups do not allocate.
type Data struct {
	set     *ranges.Set
	places  []decide.Place // by the set's numbers
	sources []Source
}

// Source is one file that Data was made of.
type Source struct {
	Name    string `json:"name"`
	Edition string `json:"edition"`
	// Built is the day the data was made.
	Built time.Time `json:"built"`
	// Attribution is the notice owed where results are shown, with its link; "" for none known.
	Attribution string `json:"attribution,omitempty"`
	Places      int    `json:"places"`
}

// The first numbers of every Data.
const (
	noPlace = 0
	// IPv4InIPv6 is the number of the IPv6 ranges that hold IPv4 addresses. Look-ups go to the IPv4 table instead, so no
	// answer for other addresses may ever be said to cover them.
	IPv4InIPv6 = 1
)

// Load compiles the address data: the embedded country table and over it files, which are MMDB files (country or city, in
// MaxMind's nested or the flat schema); of two that know an address the earlier counts. The error has CodeInvalid and
// names the file and what is wrong with it.
func Load(files []string) (*Data, error) {
	c, err := newCompiler()
	if err != nil {
		return nil, err
	}
	layers := make([]*ranges.Set, 0, len(files)+2)
	layers = append(layers, c.reserved())
	for _, f := range files {
		set, err := c.mmdb(f)
		if err != nil {
			return nil, err
		}
		layers = append(layers, set)
	}
	embedded, err := c.embedded(countryTable)
	if err != nil {
		return nil, err
	}
	set := embedded
	for _, layer := range slices.Backward(layers) {
		set = layer.Over(set)
	}
	return &Data{set: set, places: c.places, sources: c.sources}, nil
}

// Lookup gives the place of an address and the widest prefix around it that has the same place. Without one the place's
// Level is LevelNone and its Detail says why. An IPv4-mapped address is treated as the IPv4 address, a 6to4 address as the
// IPv4 address in it; Teredo and NAT64 have no place, because their client's address does not stand in the leading bits
// that a resolver passes on.
func (d *Data) Lookup(a netip.Addr) (decide.Place, netip.Prefix) {
	if !a.IsValid() {
		return d.places[noPlace], netip.Prefix{}
	}
	a = a.WithZone("")
	plain, shift := Normalise(a)
	value, bits := d.set.Lookup(plain)
	if shift == mappedBits {
		a, shift = plain, 0
	}
	p, _ := a.Prefix(bits + shift)
	return d.places[value], p
}

// Set gives the ranges, whose numbers are indexes into Places.
func (d *Data) Set() *ranges.Set { return d.set }

// Places gives all places; the caller must not change them.
func (d *Data) Places() []decide.Place { return d.places }

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

// compiler collects places while the layers are made.
type compiler struct {
	countries map[string]country
	places    []decide.Place
	numbers   map[decide.Place]uint32
	sources   []Source
}

func newCompiler() (*compiler, error) {
	known, err := countries()
	if err != nil {
		return nil, err
	}
	c := &compiler{countries: known, numbers: map[decide.Place]uint32{}}
	c.number(decide.Place{}) // noPlace
	c.number(decide.Place{Detail: "an IPv4 address inside IPv6, or the local host"})
	return c, nil
}

// number gives a place its number, the same for the same place.
func (c *compiler) number(p decide.Place) uint32 {
	n, ok := c.numbers[p]
	if !ok {
		n = uint32(len(c.places))
		c.numbers[p], c.places = n, append(c.places, p)
	}
	return n
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

const embeddedName = "DB-IP Country Lite"

func (c *compiler) embedded(packed []byte) (*ranges.Set, error) {
	f, err := ranges.Read(packed)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInternal, Op: "geo.Load", Message: "the embedded country table is damaged", Cause: err}
	}
	numbers := make([]uint32, len(f.Names)+1)
	for i, code := range f.Names {
		numbers[i+1] = c.number(c.countryPlace(code, embeddedName))
	}
	c.sources = append(c.sources, Source{
		Name: embeddedName, Edition: f.Edition, Built: builtOf(f.Edition), Places: len(f.Names),
		Attribution: decide.Attribution + " (" + decide.AttributionURL + ")",
	})
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
