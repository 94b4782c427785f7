package geo_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"meridian/chat"
	"meridian/config"
	"meridian/router/geo"
	"meridian/router/geo/geotest"
)

func threeRegions() *config.Config {
	return &config.Config{Regions: []config.Region{
		{Name: "us-east", Latitude: 39.04, Longitude: -77.49}, {Name: "eu-west", Latitude: 53.35, Longitude: -6.26}, {Name: "ap-south", Latitude: 19.08, Longitude: 72.88},
	}, Router: config.Router{CanaryChangedShare: 0.02}}
}

// New data takes the place of old only where few well-known addresses move to another country or region, of the built-in
// list and of the operator's each; finer data and the operator's own overrides count for no move.
func TestCheckSwap(t *testing.T) {
	model := geotest.Model(t, threeRegions())
	base := load(t)
	if n := len(base.Canaries()); n < 450 {
		t.Fatalf("the built-in list has %d addresses", n)
	}
	city := write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("GB", "London", 51.5, -0.1)})
	east := write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("GB", "Nowhere", 40, -75)})
	abroad := write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("FR", "Paris", 48.9, 2.4)})
	world := write(t, "GeoLite2-Country", networks{"0.0.0.0/1": geotest.Nested("FR", "", 48.9, 2.4)})
	watched := []netip.Addr{netip.MustParseAddr("81.2.69.142")}
	overridden, err := geo.Open(config.Router{Overrides: map[string]config.Override{"81.2.69.0/24": {Place: &config.Place{Country: "US"}}}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		old, next *geo.Data
		extra     []netip.Addr
		share     float64
		want      string
	}{
		{"the same", base, load(t), watched, 0, ""},
		{"finer data", base, load(t, city), watched, 0, ""},
		{"finer data, another region", base, load(t, east), watched, 0, ""},
		{"another region", load(t, city), load(t, east), watched, 0.02, "81.2.69.142 from eu-west to us-east"},
		{"another region, nobody watches", load(t, city), load(t, east), nil, 0.02, ""},
		{"another country", load(t, city), load(t, abroad), watched, 0.02, `1 of the 1 addresses of router.canaries, more than router.canary_changed_share (0.02) allows: 81.2.69.142 from country "GB" to "FR"`},
		{"another country, allowed", load(t, city), load(t, abroad), watched, 1, ""},
		{"half the world", base, load(t, world), nil, 0.02, "of the built-in list"},
		{"the operator's override", base, overridden, watched, 0, ""},
	} {
		err := geo.CheckSwap(model, c.old, c.next, c.extra, c.share)
		if c.want == "" && err != nil {
			t.Errorf("%s: got %v", c.name, err)
		}
		if c.want != "" && (chat.CodeOf(err) != chat.CodeInvalid || geo.FaultOf(err) != geo.FaultCanaries || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want canaries with %q", c.name, err, c.want)
		}
	}
}

// A difference counts every address once: what moves from which region to which, by country, and what only one file places.
func TestDiff(t *testing.T) {
	model := geotest.Model(t, threeRegions())
	boston := write(t, "GeoLite2-City", networks{
		"81.2.69.0/24": geotest.Nested("US", "Boston", 42.4, -71.1), "2a00:23c4:1::/48": geotest.Nested("GB", "Nowhere", 40, -75), "77.0.0.0/24": geotest.Nested("DE", "Berlin", 52.5, 13.4),
	})
	d := geo.Diff(model, geo.Side{Data: load(t)}, geo.Side{Data: load(t, boston)})
	if len(d.Moves) != 1 || d.Moves[0].From != "eu-west" || d.Moves[0].To != "us-east" {
		t.Fatalf("moves: %+v", d.Moves)
	}
	near := func(got, want float64) bool { return math.Abs(got-want) < want*1e-9 }
	if !near(d.IPv4.Region*d.IPv4.Addresses, 256) || !near(d.IPv4.Country*d.IPv4.Addresses, 256) || !near(d.IPv6.Region*d.IPv6.Addresses, 1<<16) || d.IPv6.Country != 0 {
		t.Errorf("shares: %+v, %+v", d.IPv4, d.IPv6)
	}
	if d.IPv4.Addresses < 3e9 || d.IPv4.Addresses > 1<<32 || d.IPv4.Gained != 0 || d.IPv4.Lost != 0 {
		t.Errorf("addresses: %+v", d.IPv4)
	}
	if len(d.Countries) != 1 || d.Countries[0].Country != "GB" || !near(d.Countries[0].IPv4.Region*d.Countries[0].IPv4.Addresses, 256) {
		t.Errorf("countries: %+v", d.Countries)
	}
	if back := geo.Diff(model, geo.Side{Data: load(t, boston)}, geo.Side{Data: load(t)}); len(back.Moves) != 1 || back.Moves[0].From != "us-east" || back.Moves[0].To != "eu-west" {
		t.Errorf("back: %+v", back.Moves)
	}
}

func content(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func sum(raw []byte) string {
	s := sha256.Sum256(raw)
	return hex.EncodeToString(s[:])
}

// An update checks a file in every way and then replaces the old one; whatever is wrong, the old one stays, byte for byte,
// and nothing lies about.
func TestUpdate(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "city.mmdb")
	london := write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("GB", "London", 51.5, -0.1)})
	leeds := write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("GB", "Leeds", 53.8, -1.5)})
	paris := write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("FR", "Paris", 48.9, 2.4)})
	older := writeOf(t, "GeoLite2-City", 1767225600, networks{"81.2.69.0/24": geotest.Nested("GB", "London", 51.5, -0.1)})
	asn := write(t, "GeoLite2-ASN", networks{"81.2.69.0/24": {"autonomous_system_number": mmdbtype.Uint32(64500)}})
	packed := filepath.Join(dir, "leeds.mmdb.gz")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(content(t, leeds)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.mmdb.gz")
	for file, raw := range map[string][]byte{packed: z.Bytes(), broken: z.Bytes()[:z.Len()/2]} {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := threeRegions()
	cfg.Router.Canaries, cfg.Router.GeoMaxAge = []string{"81.2.69.142"}, 365*24*time.Hour
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		update geo.Update
		fault  geo.Fault
		is     string // content of the file afterwards; "" for none
	}{
		{"a first file, check only", geo.Update{From: london, CheckOnly: true}, "", ""},
		{"a first file that is too old", geo.Update{From: older, Now: now.AddDate(1, 0, 0)}, geo.FaultStale, ""},
		{"a first file", geo.Update{From: london}, "", london},
		{"wrong checksum", geo.Update{From: leeds, SHA256: sum([]byte("x"))}, geo.FaultChecksum, london},
		{"right checksum, packed", geo.Update{From: packed, SHA256: strings.ToUpper(sum(z.Bytes()))}, "", leeds},
		{"cut off while packed", geo.Update{From: broken}, geo.FaultUnreadable, leeds},
		{"not there", geo.Update{From: filepath.Join(dir, "absent")}, geo.FaultUnreadable, leeds},
		{"another type", geo.Update{From: asn}, geo.FaultWrongType, leeds},
		{"older than the old one", geo.Update{From: older}, geo.FaultStale, leeds},
		{"moves a canary", geo.Update{From: paris}, geo.FaultCanaries, leeds},
		{"the same, check only", geo.Update{From: leeds, CheckOnly: true}, "", leeds},
		{"forced", geo.Update{From: paris, Force: true}, "", paris},
		{"forced back", geo.Update{From: older, Force: true}, "", older},
		{"over a broken one", geo.Update{From: paris}, "", paris},
	} {
		if c.name == "over a broken one" {
			if err := os.WriteFile(to, []byte("rubbish"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		u := c.update
		u.To = to
		if u.Now.IsZero() {
			u.Now = now
		}
		r, err := u.Run(context.Background(), cfg)
		if geo.FaultOf(err) != c.fault || (err == nil) != (c.fault == "") || err != nil && chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%s: got %v, want %q", c.name, err, c.fault)
		}
		if r.Replaced != (err == nil && !u.CheckOnly) || u.Force == (r.Forced == "") {
			t.Errorf("%s: %+v", c.name, r)
		}
		raw, err := os.ReadFile(to)
		if c.is == "" && err == nil || c.is != "" && !bytes.Equal(raw, content(t, c.is)) {
			t.Fatalf("%s: the file is not what it should be (%v)", c.name, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A file of autonomous systems is replaced after the checks that make sense for it.
func TestUpdateOfAutonomousSystems(t *testing.T) {
	asn := write(t, "GeoLite2-ASN", networks{"81.2.69.0/24": {"autonomous_system_number": mmdbtype.Uint32(64500)}})
	city := write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("GB", "London", 51.5, -0.1)})
	u := geo.Update{From: asn, To: filepath.Join(t.TempDir(), "asn.mmdb"), ASN: true}
	for range 2 {
		if r, err := u.Run(context.Background(), threeRegions()); err != nil || !r.Replaced || r.New.Type != "GeoLite2-ASN" {
			t.Fatalf("got %+v, %v", r, err)
		}
	}
	u.From = city
	if _, err := u.Run(context.Background(), threeRegions()); geo.FaultOf(err) != geo.FaultWrongType {
		t.Errorf("got %v", err)
	}
}

// A URL is fetched by https alone, only with a checksum, never by a redirect to http, and what the server fails at is an error.
func TestUpdateFromURL(t *testing.T) {
	raw := content(t, write(t, "GeoLite2-City", networks{"81.2.69.0/24": geotest.Nested("GB", "London", 51.5, -0.1)}))
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /city.mmdb", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) })
	mux.Handle("GET /moved", http.RedirectHandler("/city.mmdb", http.StatusFound))
	mux.Handle("GET /open", http.RedirectHandler(plain.URL, http.StatusFound))
	mux.HandleFunc("GET /cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write(raw)
	})
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	to := filepath.Join(t.TempDir(), "city.mmdb")
	for _, c := range []struct {
		from, sum string
		want      string
	}{
		{server.URL + "/city.mmdb", sum(raw), ""},
		{server.URL + "/moved", sum(raw), ""},
		{server.URL + "/city.mmdb", "", "only with a checksum"},
		{server.URL + "/city.mmdb", sum([]byte("x")), "has SHA-256 " + sum(raw)},
		{plain.URL + "/city.mmdb", sum(raw), "only https"},
		{server.URL + "/open", sum(raw), "redirected to http://"},
		{server.URL + "/absent", sum(raw), "404 Not Found"},
		{server.URL + "/cut", sum(raw), "cannot be read to its end"},
		{"https://127.0.0.1:1/x", sum(raw), "cannot be fetched"},
	} {
		r, err := geo.Update{From: c.from, To: to, SHA256: c.sum, Client: server.Client()}.Run(context.Background(), threeRegions())
		if (err == nil) != (c.want == "") || err != nil && (chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.from, err, c.want)
		}
		if r.Replaced != (err == nil) {
			t.Errorf("%s: %+v", c.from, r)
		}
	}
}
