package roundtrip

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// p50 gives the median of cells.
func p50(cells []Cell) float64 {
	n, seen := 0, 0
	for _, c := range cells {
		n += c.Count
	}
	for _, c := range cells {
		if seen += c.Count; 2*seen >= n {
			return c.Ms
		}
	}
	return 0
}

// The median that a book tells is within 5 % of the samples' own, whatever they are like, and it says how many there were.
func TestMedian(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := NewBook(10)
		var all []time.Duration
		middle, spread := math.Exp(rng.Float64()*6), rng.Float64()
		for range 51 + 2*rng.IntN(1000) {
			d := time.Duration(middle * math.Exp(spread*rng.NormFloat64()) * float64(time.Millisecond))
			all = append(all, d)
			if !b.Add(netip.MustParseAddr("81.2.69.142"), "", 0, d, noon) {
				t.Fatal("no room")
			}
		}
		slices.Sort(all)
		w := b.Words(noon)
		samples := 0
		for _, c := range w[0].Cells {
			samples += c.Count
		}
		want := all[len(all)/2].Seconds() * 1e3
		if got := p50(w[0].Cells); len(w) != 1 || samples != len(all) || math.Abs(got-want) > 0.05*want {
			t.Errorf("seed %d: got %v of %d, want %v of %d", seed, got, samples, want, len(all))
		}
	}
}

// Samples count for at least three and a half days and at most seven.
func TestSamplesAge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b := NewBook(10)
		now := noon
		var added []time.Time
		for range 300 {
			now = now.Add(time.Duration(rng.Int64N(int64(6 * time.Hour))))
			b.Add(netip.MustParseAddr("2001:db8::1"), "GB", 5089, time.Millisecond, now)
			added = append(added, now)
			told := 0
			for _, w := range b.Words(now) {
				if w.Network != "" {
					told = w.Cells[0].Count
				}
			}
			young, old := 0, 0
			for _, at := range added {
				if now.Sub(at) < generation {
					young++
				}
				if now.Sub(at) < 2*generation {
					old++
				}
			}
			if told < young || told > old {
				t.Fatalf("told %d samples, %d are younger than half a week and %d than a week", told, young, old)
			}
		}
		if b.Words(now.Add(2 * generation)); len(b.Words(now.Add(2*generation))) != 0 {
			t.Fatal("a week later something is told")
		}
	}
}

// A book holds no address, only networks, countries and systems, and days.
func TestNoAddresses(t *testing.T) {
	b := NewBook(100)
	for _, s := range []string{"81.2.69.142", "::ffff:81.2.70.1", "2a00:23c4:1234:5678::9"} {
		b.Add(netip.MustParseAddr(s), "GB", 5089, 23*time.Millisecond, noon)
	}
	for _, s := range []string{"::1", "2002:5102:458e::1"} { // looked up by an address in them, or none
		if b.Add(netip.MustParseAddr(s), "GB", 5089, time.Second, noon) {
			t.Errorf("%s is kept", s)
		}
	}
	text, err := json.Marshal(b.Words(noon.Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"country":"GB","asn":5089,"last":"2026-11-29T00:00:00Z","cells":[{"ms":22.6269,"count":3}]},` +
		`{"network":"2a00:23c4:1000::/36","last":"2026-11-29T00:00:00Z","cells":[{"ms":22.6269,"count":1}]},` +
		`{"network":"81.2.64.0/20","last":"2026-11-29T00:00:00Z","cells":[{"ms":22.6269,"count":2}]}]`
	if ms := regexp.MustCompile(`"ms":[0-9.]+`); ms.ReplaceAllString(string(text), "") != ms.ReplaceAllString(want, "") {
		t.Errorf("got %s\nwant %s", text, want)
	}
}

// A book that is full takes more of what it knows and nothing new, and stays within its memory.
func TestFullBook(t *testing.T) {
	const networks = 1000
	b := NewBook(networks)
	took := map[bool]int{}
	for i := range 3 * networks {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 4), byte(i << 4), 1})
		took[b.Add(a, "GB", uint32(i+1), time.Duration(i+1)*time.Millisecond, noon)]++
	}
	if took[true] != networks || b.Networks() != networks || len(b.now.systems) != networks/4 {
		t.Errorf("took %v; %d networks, %d systems", took, b.Networks(), len(b.now.systems))
	}
	if !b.Add(netip.MustParseAddr("10.0.0.1"), "", 0, time.Millisecond, noon) {
		t.Error("a known network is refused")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	full := NewBook(networks)
	for i := range networks {
		full.Add(netip.AddrFrom4([4]byte{10, byte(i >> 4), byte(i << 4), 1}), "", 0, time.Millisecond, noon)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / networks; each > 700 { // maps grow by doubling
		t.Errorf("a network takes %d bytes", each)
	}
	runtime.KeepAlive(full)
}

// A bucket that is full halves all, so that the middle stays where it was.
func TestHalving(t *testing.T) {
	b := NewBook(1)
	for i := range 4 * math.MaxUint16 {
		b.Add(netip.MustParseAddr("81.2.69.142"), "", 0, time.Duration(cmp.Or(i%4, 1))*50*time.Millisecond, noon)
	}
	if got := p50(b.Words(noon)[0].Cells); math.Abs(got-50) > 2.5 && math.Abs(got-100) > 5 {
		t.Errorf("p50 %v", got)
	}
}

// The kernel's word is had of a TCP connection, and through what says that it wraps one; not of what stands for another's connection,
// nor of other kinds.
func TestSmoothed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for range 10 { // there and back, so that there is a round trip
		for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
			if _, err := fmt.Fprint(pair[0], "x"); err != nil {
				t.Fatal(err)
			}
			if _, err := pair[1].Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]net.Conn{"plain": server, "wrapped": wrapped{server}, "over TLS": tls.Server(wrapped{server}, nil), "a proxy's": struct{ net.Conn }{server}, "none": nil} {
		d, peer, ok := Smoothed(c)
		want := runtime.GOOS == "linux" && (name == "plain" || name == "wrapped" || name == "over TLS")
		if ok != want || ok && (d <= 0 || d > time.Minute || peer != netip.MustParseAddr("127.0.0.1")) {
			t.Errorf("%s: %v to %v, %v", name, d, peer, ok)
		}
	}
}

type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }
