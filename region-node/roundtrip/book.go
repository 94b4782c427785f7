package roundtrip

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"meridian/config"
)

// Group is a group of clients: a network, or else a country and an autonomous system.
type Group struct {
	Network string `json:"network,omitempty"`
	Country string `json:"country,omitempty"`
	ASN     uint32 `json:"asn,omitempty"`
}

// Word is what is told of one group.
type Word struct {
	Group
	// Last is the day of the last sample.
	Last time.Time `json:"last"`
	// Cells are round trips in milliseconds, each with how many samples were about so long.
	Cells []Cell `json:"cells"`
}

// Cell is a number of samples of about the same length.
type Cell struct {
	Ms    float64 `json:"ms"`
	Count int     `json:"count"`
}

// The histograms: bucket i holds round trips from shortest*2^(i/8), so that the middle of one is within 4.5 % of all that it holds.
const (
	shortest  = 10 * time.Microsecond
	perOctave = 8
	octaves   = 20 // to 10 s
	buckets   = perOctave * octaves
)

// generation is half of the time for which samples count: those of the one under way and of the one before are told, so none is older
// than seven days.
const generation = 84 * time.Hour

// histogram counts the samples of a group.
type histogram struct {
	last   time.Time
	counts [buckets]uint16
}

// add counts one more; where a bucket is full, all are halved.
func (h *histogram) add(d time.Duration, now time.Time) {
	b := bucketOf(d)
	if h.counts[b] == math.MaxUint16 {
		for i := range h.counts {
			h.counts[i] /= 2
		}
	}
	h.counts[b]++
	h.last = now
}

func bucketOf(d time.Duration) int {
	return min(buckets-1, max(0, int(perOctave*math.Log2(float64(d)/float64(shortest)))))
}

// middleMs is the round trip that stands for all of a bucket.
func middleMs(bucket int) float64 {
	ms := shortest.Seconds() * 1e3 * math.Exp2((float64(bucket)+0.5)/perOctave)
	return math.Round(ms*1e4) / 1e4
}

// Book remembers round trips. Its memory is bounded: at most networks networks and systems systems, in each of two generations.
type Book struct {
	networks, systems int

	mu          sync.Mutex
	began       time.Time // of the generation under way
	now, before page
}

// page is one generation.
type page struct {
	networks map[netip.Prefix]*histogram
	systems  map[system]*histogram
}

type system struct {
	country string
	asn     uint32
}

// NewBook makes a Book for at most that many networks, and a quarter as many systems.
func NewBook(networks int) *Book { return &Book{networks: networks, systems: (networks + 3) / 4} }

// Add remembers how far a client at addr, whom the address data puts into this country and autonomous system ("" and 0: unknown), is. It
// gives false when there is no room, or the address belongs to no network.
func (b *Book) Add(addr netip.Addr, country string, asn uint32, d time.Duration, now time.Time) bool {
	network, ok := config.LearnedNetwork(addr)
	if !ok {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	kept := note(&b.now.networks, network, b.networks, d, now)
	if country != "" && asn != 0 {
		kept = note(&b.now.systems, system{country, asn}, b.systems, d, now) || kept
	}
	return kept
}

func note[K comparable](in *map[K]*histogram, key K, most int, d time.Duration, now time.Time) bool {
	h := (*in)[key]
	if h == nil {
		if len(*in) >= most {
			return false
		}
		if *in == nil {
			*in = make(map[K]*histogram)
		}
		h = &histogram{}
		(*in)[key] = h
	}
	h.add(d, now)
	return true
}

// turn begins a new generation when it is time.
func (b *Book) turn(now time.Time) {
	switch age := now.Sub(b.began); {
	case age < generation && age >= 0:
		return
	case age < 2*generation && age >= 0:
		b.before, b.began = b.now, b.began.Add(generation) // not now: what is told would get older than two generations
	default: // nothing was added for long, or the clock went back
		b.before, b.began = page{}, now
	}
	b.now = page{}
}

// Networks gives how many networks are known.
func (b *Book) Networks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.now.networks)
}

// Words gives what is known at now, sorted.
func (b *Book) Words(now time.Time) []Word {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	out := []Word{}
	for key, w := range words(b.now.networks, b.before.networks) {
		w.Network = key.String()
		out = append(out, w)
	}
	for key, w := range words(b.now.systems, b.before.systems) {
		w.Country, w.ASN = key.country, key.asn
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b Word) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Country, b.Country), cmp.Compare(a.ASN, b.ASN))
	})
	return out
}

// words joins two generations.
func words[K comparable](now, before map[K]*histogram) map[K]Word {
	out := make(map[K]Word, len(now))
	for _, one := range []map[K]*histogram{before, now} {
		for key := range maps.Keys(one) {
			if _, done := out[key]; !done {
				out[key] = word(now[key], before[key])
			}
		}
	}
	return out
}

// word tells of one group's histograms, of which one may be nil.
func word(now, before *histogram) Word {
	var sum [buckets]int
	var w Word
	for _, h := range []*histogram{before, now} {
		if h == nil {
			continue
		}
		w.Last = h.last.UTC().Truncate(24 * time.Hour)
		for i, n := range h.counts {
			sum[i] += int(n)
		}
	}
	for i, n := range sum {
		if n > 0 {
			w.Cells = append(w.Cells, Cell{Ms: middleMs(i), Count: n})
		}
	}
	return w
}
