package decide

import (
	"cmp"
	"fmt"
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
}

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
	return m, nil
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
