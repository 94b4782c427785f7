package decide

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"meridian/chat"
	"meridian/config"
)

// The constants of the score, in milliseconds and kilometres.
const (
	lastMileMs = 5.0
	msPerKm    = 0.015
	// NearKm is how near a served region must be for distance alone to give it the first place.
	NearKm = 2000.0
	// noiseKm is how far data may move a place without saying that somebody has moved.
	noiseKm = 100.0
	// TieMs: scores that differ by no more are a tie, which a region of the user's home zone wins.
	TieMs = 1.0
)

// Point is a network point: a place from which round trips to the other points were measured.
type Point struct {
	Name      string
	City      string
	Country   string // ISO 3166-1 alpha-2
	Latitude  float64
	Longitude float64
}

// World is the measured network: RTTms[i][j] is the median round trip from Points[i] to Points[j] in milliseconds.
type World struct {
	Points []Point
	RTTms  [][]float64
}

// Level says how exactly the address data places a client.
type Level string

// The levels of a place.
const (
	LevelNone    Level = ""        // the data says nothing that can be used
	LevelCountry Level = "country" // the country's main network place stands for the client
	LevelCity    Level = "city"
)

// Place is where the address data puts a client. Coordinates are valid unless Level is LevelNone.
type Place struct {
	Level     Level   `json:"level"`
	Country   string  `json:"country,omitempty"` // ISO 3166-1 alpha-2; may be known where coordinates are not
	City      string  `json:"city,omitempty"`
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	// Source names the data; Detail says in words why there is no place.
	Source string `json:"source,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Override is the network of the operator's override that the client is in, as written in the configuration.
	Override string `json:"override,omitempty"`
	// ASN and ASName are the client's network by the data of autonomous systems; 0 without such data. They only explain.
	ASN    uint32 `json:"asn,omitempty"`
	ASName string `json:"as_name,omitempty"`
}

// Model is a deployment's regions, the measured network and the operator's rules, ready to decide. It never changes after
// NewModel and may be shared.
type Model struct {
	world   World
	names   []chat.Region
	regions []region
	index   map[chat.Region]int
	prefer  map[string][]int
	never   map[string][]int
	// networks are the rules of the overrides, by their networks.
	networks map[string]rules
}

// rules are regions by number: preferred ones, best first, and those that are taken out.
type rules struct{ prefer, never []int }

type region struct {
	name  chat.Region
	lat   float64
	lon   float64
	point int
	// spurMs is the way from the region to its network point; 0 where it stands at one.
	spurMs float64
	biasMs float64
}

// NewModel compiles cfg's regions and router rules against world. The error has CodeInvalid: no region or more than
// chat.MaxRegions, no network point, a table that is not square, a point or region that does not exist, or a never list
// that leaves a country no region.
func NewModel(cfg *config.Config, world World) (*Model, error) {
	if len(cfg.Regions) == 0 || len(cfg.Regions) > chat.MaxRegions {
		return nil, invalid("regions: %d given, 1 to %d allowed", len(cfg.Regions), chat.MaxRegions)
	}
	if err := world.check(); err != nil {
		return nil, err
	}
	m := &Model{world: world, index: make(map[chat.Region]int, len(cfg.Regions))}
	for i, c := range cfg.Regions {
		if _, twice := m.index[c.Name]; twice {
			return nil, invalid("region %s is named twice", c.Name)
		}
		r := region{name: c.Name, lat: c.Latitude, lon: c.Longitude, biasMs: cfg.Router.BiasMs[c.Name]}
		n, km := world.nearest(r.lat, r.lon)
		if c.Point != "" {
			if n = slices.IndexFunc(world.Points, func(p Point) bool { return p.Name == c.Point }); n < 0 {
				return nil, invalid("region %s: no network point is named %q", c.Name, c.Point)
			}
			km = distanceKm(r.lat, r.lon, world.Points[n].Latitude, world.Points[n].Longitude)
		}
		r.point, r.spurMs = n, msPerKm*km
		m.regions, m.names, m.index[c.Name] = append(m.regions, r), append(m.names, r.name), i
	}
	var err error
	if m.prefer, err = m.rules("prefer", cfg.Router.Prefer); err != nil {
		return nil, err
	}
	if m.never, err = m.rules("never", cfg.Router.Never); err != nil {
		return nil, err
	}
	for _, country := range sortedKeys(m.never) {
		if len(m.never[country]) == len(m.regions) {
			return nil, invalid("router.never.%s names every region; at least one must remain", country)
		}
	}
	if m.networks, err = m.overrides(cfg.Router.Overrides); err != nil {
		return nil, err
	}
	return m, nil
}

// overrides compiles the rules of networks. What a network may never get adds to what its country may never get.
func (m *Model) overrides(by map[string]config.Override) (map[string]rules, error) {
	out := make(map[string]rules, len(by))
	for _, network := range sortedKeys(by) {
		lists, err := m.rules("overrides", map[string][]chat.Region{network + ".prefer": by[network].Prefer, network + ".never": by[network].Never})
		if err != nil {
			return nil, err
		}
		r := rules{prefer: lists[network+".prefer"], never: lists[network+".never"]}
		if len(r.never) == len(m.regions) {
			return nil, invalid("router.overrides.%s.never names every region; at least one must remain", network)
		}
		for _, country := range sortedKeys(m.never) {
			if len(r.never) > 0 && len(union(r.never, m.never[country])) == len(m.regions) {
				return nil, invalid("router.overrides.%s.never and router.never.%s together name every region; at least one must remain", network, country)
			}
		}
		out[network] = r
	}
	return out, nil
}

// union gives a, then what of b is not in it.
func union(a, b []int) []int {
	out := slices.Clone(a)
	for _, i := range b {
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

// SameRules says that o scores every place as m does: regions, biases and the operator's rules are the same.
func (m *Model) SameRules(o *Model) bool {
	sameRules := func(a, b rules) bool { return slices.Equal(a.prefer, b.prefer) && slices.Equal(a.never, b.never) }
	return slices.Equal(m.regions, o.regions) && maps.EqualFunc(m.prefer, o.prefer, slices.Equal) &&
		maps.EqualFunc(m.never, o.never, slices.Equal) && maps.EqualFunc(m.networks, o.networks, sameRules)
}

// Regions gives the regions in the order of the configuration; the caller must not change them.
func (m *Model) Regions() []chat.Region { return m.names }

// Index gives a region's number in the order of the configuration.
func (m *Model) Index(r chat.Region) (int, bool) {
	i, ok := m.index[r]
	return i, ok
}

// RTTms is the measured round trip between two regions in milliseconds; ok is false for an unknown region.
func (m *Model) RTTms(from, to chat.Region) (ms float64, ok bool) {
	i, ok1 := m.index[from]
	j, ok2 := m.index[to]
	if !ok1 || !ok2 {
		return 0, false
	}
	a, b := m.regions[i], m.regions[j]
	return m.world.RTTms[a.point][b.point], true
}

func (m *Model) rules(name string, by map[string][]chat.Region) (map[string][]int, error) {
	out := make(map[string][]int, len(by))
	for _, country := range sortedKeys(by) {
		var list []int
		for _, r := range by[country] {
			i, ok := m.index[r]
			if !ok {
				return nil, invalid("router.%s.%s: no region is named %q", name, country, r)
			}
			if !slices.Contains(list, i) {
				list = append(list, i)
			}
		}
		out[country] = list
	}
	return out, nil
}

func (w World) check() error {
	if len(w.Points) == 0 || len(w.RTTms) != len(w.Points) {
		return invalid("round-trip table: %d rows for %d network points", len(w.RTTms), len(w.Points))
	}
	for i, row := range w.RTTms {
		if len(row) != len(w.Points) {
			return invalid("round-trip table: row %s has %d columns, want %d", w.Points[i].Name, len(row), len(w.Points))
		}
	}
	return nil
}

// nearest gives the network point nearest to a place by distance.
func (w World) nearest(lat, lon float64) (index int, km float64) {
	km = math.Inf(1)
	for i, p := range w.Points {
		if d := distanceKm(lat, lon, p.Latitude, p.Longitude); d < km {
			index, km = i, d
		}
	}
	return index, km
}

// Near says that two places are so close that the difference may be noise of the data.
func Near(a, b Place) bool {
	return a.Country == b.Country && (a.Level == LevelNone) == (b.Level == LevelNone) &&
		distanceKm(a.Latitude, a.Longitude, b.Latitude, b.Longitude) <= noiseKm
}

// distanceKm is the great-circle distance.
func distanceKm(lat1, lon1, lat2, lon2 float64) float64 {
	const earthKm, rad = 6371.0, math.Pi / 180
	dLat, dLon := (lat2-lat1)*rad, (lon2-lon1)*rad
	h := math.Pow(math.Sin(dLat/2), 2) + math.Cos(lat1*rad)*math.Cos(lat2*rad)*math.Pow(math.Sin(dLon/2), 2)
	return 2 * earthKm * math.Asin(math.Sqrt(math.Min(1, h)))
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func invalid(format string, args ...any) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "decide.NewModel", Message: fmt.Sprintf(format, args...)}
}
