package learned_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/geotest"
	"meridian/router/geo/ranges"
	"meridian/router/learned"
)

var three = &config.Config{Regions: []config.Region{
	{Name: "us-east", Latitude: 39.04, Longitude: -77.49}, {Name: "eu-west", Latitude: 53.35, Longitude: -6.26}, {Name: "ap-south", Latitude: 19.08, Longitude: 72.88},
}}

const good = `# meridian learned round trips, version 1
# collected 2026-11-29T15:00:00Z
network,country,asn,region,p50_ms,samples,last
81.2.64.0/20,,,eu-west,23.40,120,2026-11-29
81.2.64.0/20,,,us-east,88.00,50,2026-11-23
2a00:23c4::/36,,,eu-west,31.00,70,2026-11-28
,GB,5089,us-east,80.00,900,2026-11-29
,GB,5089,mars,1.00,900,2026-11-29
`

// A file that is read and written again is the same text, with its rows sorted, so that two can be compared by eye.
func TestFileIsItsText(t *testing.T) {
	f, err := learned.Parse("learned.csv", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(len(f.Rows), func(i, j int) { f.Rows[i], f.Rows[j] = f.Rows[j], f.Rows[i] })
	var out bytes.Buffer
	if err := f.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(good, ",GB,5089,us-east,80.00,900,2026-11-29\n,GB,5089,mars,1.00,900,2026-11-29\n", ",GB,5089,mars,1.00,900,2026-11-29\n,GB,5089,us-east,80.00,900,2026-11-29\n", 1)
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// Whatever is wrong with a file has a kind and names the file, and where it can the line: never a panic, never half of it.
func TestBadFiles(t *testing.T) {
	model := geotest.Model(t, three)
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	replace := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	for name, c := range map[string]struct {
		text  string
		fault geo.Fault
		says  string
	}{
		"empty":             {"", geo.FaultEmpty, "is an empty file"},
		"no rows":           {good[:strings.Index(good, "81.2")], geo.FaultEmpty, "holds no rows"},
		"other":             {"network,region\n", geo.FaultWrongType, "does not begin with"},
		"a database":        {"\xab\xcd\xefMaxMind.com", geo.FaultWrongType, "does not begin with"},
		"later version":     {replace("version 1", "version 2"), geo.FaultWrongType, "version 1"},
		"no date":           {replace("# collected 2026-11-29T15:00:00Z", "# collected today"), geo.FaultCorrupt, "line 2"},
		"other columns":     {replace("p50_ms,samples", "samples,p50_ms"), geo.FaultCorrupt, "line 3"},
		"cut off":           {good[:len(good)-20], geo.FaultCorrupt, "line 8"},
		"address":           {replace("81.2.64.0/20,,,eu", "81.2.69.142/32,,,eu"), geo.FaultCorrupt, "none of the networks"},
		"bits set":          {replace("81.2.64.0/20,,,eu", "81.2.65.0/20,,,eu"), geo.FaultCorrupt, "none of the networks"},
		"mapped":            {replace("2a00:23c4::/36", "::/36"), geo.FaultCorrupt, "none of the networks"},
		"6to4":              {replace("2a00:23c4::/36", "2002:5102::/36"), geo.FaultCorrupt, "none of the networks"},
		"network and ASN":   {replace("81.2.64.0/20,,,eu", "81.2.64.0/20,GB,1,eu"), geo.FaultCorrupt, "line 4"},
		"no group":          {replace(",GB,5089,us", ",,,us"), geo.FaultCorrupt, "line 7"},
		"country":           {replace(",GB,5089,us", ",uk,5089,us"), geo.FaultCorrupt, "line 7"},
		"no region":         {replace("eu-west,23", ",23"), geo.FaultCorrupt, "the region is missing"},
		"not a number":      {replace("23.40", "NaN"), geo.FaultCorrupt, "p50_ms"},
		"zero":              {replace("23.40", "0"), geo.FaultCorrupt, "p50_ms"},
		"negative":          {replace("23.40", "-1"), geo.FaultCorrupt, "p50_ms"},
		"endless":           {replace("23.40", "1e9"), geo.FaultCorrupt, "p50_ms"},
		"too few samples":   {replace(",50,", ",49,"), geo.FaultCorrupt, "samples"},
		"from the future":   {replace("120,2026-11-29", "120,2026-11-30"), geo.FaultCorrupt, "last"},
		"twice":             {replace("us-east,88.00", "eu-west,88.00"), geo.FaultCorrupt, "says twice"},
		"stale":             {strings.ReplaceAll(good, "2026-11", "2026-08"), geo.FaultStale, "max_age"},
		"another's regions": {strings.NewReplacer("us-east", "a", "eu-west", "b").Replace(good), geo.FaultWrongType, "no region"},
	} {
		file := filepath.Join(t.TempDir(), "learned.csv")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := learned.Open(config.Learned{File: file, MaxAge: 60 * 24 * time.Hour}, model, now)
		if geo.FaultOf(err) != c.fault || chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got fault %q, %v; want %q and %q", name, geo.FaultOf(err), err, c.fault, c.says)
		}
	}
	if _, err := learned.Open(config.Learned{File: filepath.Join(t.TempDir(), "none")}, model, now); geo.FaultOf(err) != geo.FaultUnreadable {
		t.Errorf("no file: got %v", err)
	}
}

// FuzzParse: no text makes Parse panic, and what it takes it writes and takes again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := learned.Parse("fuzz", raw)
		if err != nil {
			if geo.FaultOf(err) == "" {
				t.Fatalf("without a kind: %v", err)
			}
			return
		}
		var out bytes.Buffer
		if err := file.Write(&out); err != nil {
			t.Fatal(err)
		}
	})
}

// What is learned of the network comes before what is learned of the country and autonomous system, region by region.
func TestNetworkBeforeSystem(t *testing.T) {
	f, err := learned.Parse("learned.csv", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	s := learned.New(f, geotest.Model(t, three))
	if all, unknown := s.Rows(); all != 5 || unknown != 1 {
		t.Errorf("%d rows, %d of unknown regions", all, unknown)
	}
	gb := decide.Place{Country: "GB", ASN: 5089}
	for _, c := range []struct {
		addr  string
		place decide.Place
		want  string
		bits  int
	}{
		{"81.2.69.142", decide.Place{}, "eu-west 23.4, us-east 88", 20},
		{"81.2.69.142", gb, "eu-west 23.4, us-east 88, us-east 80", 20},
		{"81.2.80.1", gb, "us-east 80", 20},
		{"81.2.80.1", decide.Place{Country: "IE", ASN: 5089}, "", 20},
		{"2a00:23c4:fff::1", decide.Place{}, "eu-west 31", 36},
		{"2a00:23c4:1000::1", decide.Place{}, "", 36},
	} {
		list, bits := s.Lookup(netip.MustParseAddr(c.addr), c.place)
		var got []string
		for _, m := range list {
			got = append(got, fmt.Sprintf("%s %v", m.Region, m.P50Ms))
		}
		if strings.Join(got, ", ") != c.want || bits != c.bits {
			t.Errorf("%s: got %v, /%d", c.addr, got, bits)
		}
	}
	var none *learned.Set
	if list, _ := none.Lookup(netip.MustParseAddr("81.2.69.142"), gb); list != nil || none.Edition() != "" {
		t.Error("a set of nothing knows something")
	}
}

// The layers that tables are compiled from say of every piece of the address space what Lookup says, for random files and data.
func TestLayersAgreeWithLookup(t *testing.T) {
	model := geotest.Model(t, three)
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 7))
		networks := geotest.Networks{}
		for range 60 {
			networks[fmt.Sprintf("81.%d.%d.0/%d", rng.IntN(3), 16*rng.IntN(16), 20+rng.IntN(4))] = mmdbtype.Map{
				"autonomous_system_number": mmdbtype.Uint32(1 + rng.IntN(4)), "autonomous_system_organization": mmdbtype.String("x"),
			}
		}
		data, err := geo.Open(config.Router{ASNFiles: []string{geotest.File(t, "", "GeoLite2-ASN", 1780272000, networks)}}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		s := learned.New(random(rng), model)
		layers := s.Over(data)
		pieces := 0
		ranges.Each(func(p ranges.Piece) {
			place, _ := data.Lookup(p.First)
			plain, shift := geo.Normalise(p.First)
			if shift != 0 {
				return
			}
			want, _ := s.Lookup(plain, place)
			got := layers.Learned(layers.Number(p.Values[1], p.Values[2], data.Country(p.Values[0])))
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s: layers say %v, Lookup %v", seed, p.First, got, want)
			}
			pieces += min(len(want), 1)
		}, data.Set(), layers.Sets[0], layers.Sets[1])
		if pieces < 10 {
			t.Fatalf("seed %d: only %d pieces with something learned", seed, pieces)
		}
	}
}

// random gives a file about 81.0.0.0/14 and four systems of three countries.
func random(rng *rand.Rand) learned.File {
	at := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	f := learned.File{Collected: at}
	for i := range 16 * 3 {
		network := netip.PrefixFrom(netip.AddrFrom4([4]byte{81, byte(i / 16), byte(i % 16 * 16), 0}), 20)
		f.Rows = append(f.Rows, rows(rng, learned.Group{Network: network}, at)...)
	}
	for _, country := range []string{"DE", "FR", "GB"} {
		for asn := range uint32(4) {
			f.Rows = append(f.Rows, rows(rng, learned.Group{Country: country, ASN: asn + 1}, at)...)
		}
	}
	return f
}

func rows(rng *rand.Rand, g learned.Group, at time.Time) []learned.Row {
	var out []learned.Row
	for _, r := range three.Regions {
		if rng.IntN(3) == 0 {
			out = append(out, learned.Row{Group: g, Region: r.Name, P50Ms: 1 + float64(rng.IntN(200)), Samples: 50, Last: at})
		}
	}
	return out
}

// What several nodes of a region told is one row with the median of all, where that has enough samples; what no node should tell is refused.
func TestCollect(t *testing.T) {
	at := time.Date(2026, 11, 29, 15, 0, 0, 0, time.UTC)
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	told := []learned.Histogram{
		{Region: "eu-west", Network: "81.2.64.0/20", Last: day(27), Cells: []learned.Cell{{Ms: 20, Count: 20}, {Ms: 90, Count: 5}}},
		{Region: "eu-west", Network: "81.2.64.0/20", Last: day(28), Cells: []learned.Cell{{Ms: 10, Count: 10}, {Ms: 21.123, Count: 24}}},
		{Region: "us-east", Network: "81.2.64.0/20", Last: day(28), Cells: []learned.Cell{{Ms: 10, Count: 49}}},
		{Region: "us-east", Country: "GB", ASN: 5089, Last: day(30), Cells: []learned.Cell{{Ms: 0.0001, Count: 50}}},
	}
	c, err := learned.Collect(told, at)
	if err != nil || c.TooFew != 1 {
		t.Fatalf("%d had too few, %v", c.TooFew, err)
	}
	var out bytes.Buffer
	if err := c.File.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := "# meridian learned round trips, version 1\n# collected 2026-11-29T15:00:00Z\nnetwork,country,asn,region,p50_ms,samples,last\n" +
		"81.2.64.0/20,,,eu-west,20.00,59,2026-11-28\n,GB,5089,us-east,0.01,50,2026-11-29\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if _, err := learned.Parse("collected", out.Bytes()); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]learned.Histogram{
		"an address":    {Region: "eu-west", Network: "81.2.69.142/32", Cells: []learned.Cell{{Ms: 1, Count: 1}}},
		"nothing":       {Region: "eu-west", Cells: []learned.Cell{{Ms: 1, Count: 1}}},
		"no round trip": {Region: "eu-west", Network: "81.2.64.0/20", Cells: []learned.Cell{{Ms: 0, Count: 1}}},
		"no samples":    {Region: "eu-west", Network: "81.2.64.0/20", Cells: []learned.Cell{{Ms: 1, Count: -1}}},
	} {
		if _, err := learned.Collect([]learned.Histogram{bad}, at); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A review counts whom a new file would move, says from where to where and whether that was measured, and agrees address by address with
// what decisions would say.
func TestDiffAgreesWithDecisions(t *testing.T) {
	model, data := geotest.Model(t, three), mustLoad(t)
	rng := rand.New(rand.NewPCG(9, 9))
	old, next := learned.New(random(rng), model), learned.New(random(rng), model)
	d := learned.Diff(model, data, old, next)
	covered, moved, changed := 0.0, 0.0, 0.0
	for i := range 16 * 3 * 4096 {
		a := netip.AddrFrom4([4]byte{81, byte(i >> 16), byte(i >> 8), byte(i)})
		place, _ := data.Lookup(a)
		was, _ := old.Lookup(a, place)
		is, _ := next.Lookup(a, place)
		if was == nil && is == nil {
			continue
		}
		covered++
		if _, _, other := model.Moved(place, was, is); other {
			moved++
		}
	}
	for _, c := range d.Changes {
		if changed += c.IPv4; c.From == c.To || c.ToMs > c.FromMs {
			t.Errorf("%+v", c)
		}
	}
	if d.IPv4.Addresses != covered || d.IPv4.Moved != moved || changed != moved || moved == 0 || d.IPv6.Addresses != 0 {
		t.Errorf("diff says %+v and %v in its changes, decisions %v of %v", d.IPv4, changed, moved, covered)
	}
	if same := learned.Diff(model, data, next, next); same.IPv4.Moved != 0 || len(same.Changes) != 0 || same.IPv4.Addresses == 0 {
		t.Errorf("the same file moves %+v", same)
	}
	f, err := learned.Parse("learned.csv", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	s := learned.Summarize(f, model, data)
	if s.Rows != 5 || s.Networks != 2 || s.Systems != 1 || len(s.Regions) != 3 || s.Regions[0].Region != "eu-west" || s.Regions[0].Samples != 190 || s.Regions[0].P50Ms != 31 ||
		!s.Regions[1].Unknown || s.Regions[2].OverMs == 0 {
		t.Errorf("got %+v", s)
	}
}

func mustLoad(t *testing.T) *geo.Data {
	t.Helper()
	data, err := geo.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
