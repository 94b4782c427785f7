package router

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"go.uber.org/goleak"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/discovery"
	"meridian/router/geo"
	"meridian/router/geo/geotest"
	"meridian/router/health"
)

var key = ed25519.NewKeyFromSeed(make([]byte, 32))

func testConfig() *config.Config {
	return &config.Config{
		Regions: []config.Region{
			{Name: "us-east", Latitude: 39.04, Longitude: -77.49, HTTP: "127.0.0.11:1", Admin: "127.0.0.11:2"},
			{Name: "eu-west", Latitude: 53.35, Longitude: -6.26, HTTP: "127.0.0.12:1", Admin: "127.0.0.12:2"},
			{Name: "ap-south", Latitude: 19.08, Longitude: 72.88, HTTP: "127.0.0.13:1", Admin: "127.0.0.13:2"},
		},
		Zones: []config.Zone{
			{Name: "world", Regions: []chat.Region{"us-east", "eu-west", "ap-south"}, Policy: chat.PolicyCopy, Transit: chat.TransitAllow},
			{Name: "in", Regions: []chat.Region{"ap-south"}, Policy: chat.PolicyDeny, Transit: chat.TransitDeny, Host: "in.chat.example.org"},
		},
		Router: config.Router{
			HTTP: "127.0.0.1:0", DNS: "127.0.0.1:0", Domain: "chat.example.org", TTL: 20 * time.Second, AnswerRegions: 3,
			Health: config.Health{Interval: time.Hour, Timeout: 100 * time.Millisecond},
		},
	}
}

// start runs a router until the test ends.
func start(t *testing.T, opts Options) *Router {
	t.Helper()
	opts.Key = key
	r, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	run(t, r)
	return r
}

// run runs a router that has been made.
func run(t *testing.T, r *Router) {
	t.Helper()
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	// The first round of probes sets states, and must not come after those that a test sets.
	for deadline := time.Now().Add(time.Minute); len(r.Table().States()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no round of probes within a minute")
		}
	}
}

// asker asks one DNS server over one UDP socket.
type asker struct {
	t    *testing.T
	conn net.Conn
	buf  [4096]byte
}

func newAsker(t *testing.T, addr string) *asker {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &asker{t: t, conn: conn}
}

// ask asks for A of name with the client subnet p and gives the addresses in order and the scope.
func (a *asker) ask(name string, p netip.Prefix) (string, uint8) {
	a.t.Helper()
	m, err := a.exchange(name, p)
	if err != nil || m.Rcode != mdns.RcodeSuccess {
		a.t.Fatalf("%s: %v, %v", p, m, err)
	}
	var got []string
	for _, rr := range m.Answer {
		got = append(got, rr.(*mdns.A).A.String())
	}
	return strings.Join(got, " "), m.IsEdns0().Option[0].(*mdns.EDNS0_SUBNET).SourceScope
}

// exchange asks so and gives the answer, whatever it is.
func (a *asker) exchange(name string, p netip.Prefix) (*mdns.Msg, error) {
	q := new(mdns.Msg)
	q.SetQuestion(name, mdns.TypeA)
	q.SetEdns0(1232, false)
	family := uint16(1)
	if p.Addr().Is6() {
		family = 2
	}
	q.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_SUBNET{
		Code: mdns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: net.IP(p.Masked().Addr().AsSlice()),
	}}
	raw, err := q.Pack()
	if err != nil {
		return nil, err
	}
	if err := a.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	if _, err := a.conn.Write(raw); err != nil {
		return nil, err
	}
	n, err := a.conn.Read(a.buf[:])
	if err != nil {
		return nil, err
	}
	m := new(mdns.Msg)
	if err := m.Unpack(a.buf[:n]); err != nil {
		return nil, err
	}
	if m.Id != q.Id {
		return nil, fmt.Errorf("the answer to another query: %v", m)
	}
	return m, nil
}

func randomAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	var b [16]byte
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	if rng.IntN(8) > 0 { // where the allocations are
		b[0] = []byte{0x20, 0x24, 0x26, 0x28, 0x2a, 0x2c}[rng.IntN(6)]
		b[1] &= 0x0f
	}
	return netip.AddrFrom16(b)
}

// Explain and DNS agree on 10,000 random addresses of both families, asked in full and as the truncated subnets that
// resolvers send, in every state of the regions; and a scope never claims more than explain would confirm.
func TestExplainAndDNSAgree(t *testing.T) {
	r := start(t, Options{Config: testConfig()})
	a := newAsker(t, r.DNSAddr())
	addresses := map[chat.Region]string{"us-east": "127.0.0.11", "eu-west": "127.0.0.12", "ap-south": "127.0.0.13"}
	explain := func(addr netip.Addr, host chat.Zone) (string, netip.Prefix) {
		e, err := r.Explain(addr, "", host)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, region := range e.Names {
			out = append(out, addresses[region])
		}
		return strings.Join(out, " "), netip.MustParsePrefix(e.Prefix)
	}
	states := []decide.States{
		nil,
		{"us-east": {Health: decide.HealthDown}},
		{"eu-west": {Draining: true}},
		{"ap-south": {Shed: 0.5, Load: 0.9}},
		{"eu-west": {Draining: true, DrainWeight: 0.5}},
	}
	rng := rand.New(rand.NewPCG(7, 8))
	short := 0
	for i := range 10_000 {
		if i%2000 == 0 {
			r.Table().SetStates(states[i/2000])
		}
		addr := randomAddr(rng)
		want, record := explain(addr, "")
		full := netip.PrefixFrom(addr, addr.BitLen())
		got, scope := a.ask("chat.example.org.", full)
		if got != want {
			t.Fatalf("%s: DNS says %s, explain %s", addr, got, want)
		}
		if widest, err := addr.Prefix(int(scope)); err != nil {
			t.Fatal(err)
		} else if at, _ := explain(widest.Addr(), ""); at != want {
			t.Fatalf("%s: scope /%d, but explain gives %s for its first address, %s for this one", addr, scope, at, want)
		}
		cut := min(24, addr.BitLen())
		if addr.Is6() {
			cut = 56
		}
		if record.Bits() <= cut {
			short++
			if got, _ := a.ask("chat.example.org.", netip.PrefixFrom(addr, cut)); got != want {
				t.Fatalf("%s/%d: DNS says %s, explain %s", addr, cut, got, want)
			}
		}
	}
	if short < 5000 {
		t.Errorf("only %d subnets were asked", short)
	}
	if want, _ := explain(netip.MustParseAddr("8.8.8.8"), "in"); want != "127.0.0.13" {
		t.Errorf("explain for the zone's host: %s", want)
	}
	if got, scope := a.ask("in.chat.example.org.", netip.MustParsePrefix("8.8.8.0/24")); got != "127.0.0.13" || scope != 0 {
		t.Errorf("the zone's host: %s, scope %d", got, scope)
	}
}

// A killed region leaves the answers of discovery and DNS, found out by real probes and votes.
func TestKilledRegionLeaves(t *testing.T) {
	cfg := testConfig()
	cfg.Router.Health = config.Health{Interval: 200 * time.Millisecond, Timeout: time.Second, Down: 3, OK: 5, Up: 15}
	cfg.Router.AnswerRegions = 1
	killed := make(chan struct{})
	servers := map[chat.Region]*httptest.Server{}
	regions, err := RegionsOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range regions {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("GET /v1/peers", func(w http.ResponseWriter, _ *http.Request) {
			report := health.Report{Region: c.Name, Peers: map[chat.Region]health.Peer{}}
			for _, other := range regions {
				report.Peers[other.Name] = health.Peer{Up: true}
			}
			select {
			case <-killed:
				report.Peers["eu-west"] = health.Peer{}
			default:
			}
			_ = json.NewEncoder(w).Encode(report)
		})
		servers[c.Name] = httptest.NewServer(mux)
		defer servers[c.Name].Close()
		regions[i].URLs, regions[i].Admins = []string{servers[c.Name].URL}, []string{servers[c.Name].URL}
	}
	r := start(t, Options{Config: cfg, Regions: regions, Simulate: true})
	route := func() discovery.Route {
		resp, err := http.Get("http://" + r.HTTPAddr() + "/v1/route?as=81.2.69.142")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var out discovery.Route
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := route().Region; got != "eu-west" {
		t.Fatalf("before: %s", got)
	}
	close(killed)
	servers["eu-west"].Listener.Close() // first: no connection is made after the others are closed
	servers["eu-west"].CloseClientConnections()
	a := newAsker(t, r.DNSAddr())
	for deadline := time.Now().Add(time.Minute); ; {
		got := route()
		if addr, _ := a.ask("chat.example.org.", netip.MustParsePrefix("81.2.69.0/24")); got.Region == "us-east" && addr == "127.0.0.11" {
			if err := discovery.Verify(&got, key.Public().(ed25519.PublicKey), time.Now()); err != nil {
				t.Error(err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute still %s", got.Region)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func writeMMDB(t *testing.T, file, code, city string, lat, lon float64) {
	t.Helper()
	geotest.File(t, file, "DBIP-City-Lite", time.Now().Unix(), geotest.Networks{"81.2.69.0/24": geotest.Nested(code, city, lat, lon)})
}

// reloads counts reloads by outcome, and canaries that stopped one.
type reloads struct{ taken, refused, canaries *atomic.Int32 }

func (c *reloads) Count(name string, labels ...string) {
	if name == "geo_refused_total" && labels[0] == "canaries" {
		c.canaries.Add(1)
	}
	if name != "router_reloads_total" {
		return
	}
	if labels[0] == "taken" {
		c.taken.Add(1)
	} else {
		c.refused.Add(1)
	}
}
func (c *reloads) Add(string, float64, ...string)     {}
func (c *reloads) Set(string, float64, ...string)     {}
func (c *reloads) Remove(string, ...string)           {}
func (c *reloads) Observe(string, float64, ...string) {}

// A reload changes answers while serving, and one that fails (a corrupt file, other regions) leaves everything as it was.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "city.mmdb")
	cfg := testConfig()
	cfg.Router.GeoFiles = []string{file}
	if _, err := New(Options{Config: cfg, Key: key}); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), file) {
		t.Fatalf("a missing file: got %v", err)
	}
	writeMMDB(t, file, "IN", "Mumbai", 19, 72.8)
	var taken, refused, canaries atomic.Int32
	r := start(t, Options{Config: cfg, Metrics: &reloads{&taken, &refused, &canaries}, WatchEvery: time.Hour})
	at := func(want chat.Region) {
		t.Helper()
		e, err := r.Explain(netip.MustParseAddr("81.2.69.142"), "", "")
		if err != nil || e.Region != want {
			t.Errorf("got %s, %v, want %s", e.Region, err, want)
		}
	}
	at("ap-south")
	if err := os.WriteFile(file, []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(cfg, false); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), "city.mmdb") {
		t.Errorf("a corrupt file: got %v", err)
	}
	at("ap-south")
	writeMMDB(t, file, "US", "Boston", 42.4, -71.1)
	if err := r.Reload(cfg, false); err != nil {
		t.Error(err)
	}
	at("us-east")
	other := testConfig()
	other.Router.Domain = "chat.example.com"
	if err := r.Reload(other, false); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), "router.domain") {
		t.Errorf("another domain: got %v", err)
	}
	biased := testConfig()
	biased.Router.Prefer = map[string][]chat.Region{"GB": {"ap-south"}}
	if err := r.Reload(biased, false); err != nil {
		t.Error(err)
	}
	at("ap-south")
	if taken.Load() != 2 || refused.Load() != 2 || canaries.Load() != 0 {
		t.Errorf("counted %d reloads and %d refusals, %d of canaries", taken.Load(), refused.Load(), canaries.Load())
	}
	watched := testConfig()
	watched.Router.GeoFiles, watched.Router.Canaries = []string{file}, []string{"81.2.69.142"}
	if err := r.Reload(watched, false); geo.FaultOf(err) != geo.FaultCanaries || canaries.Load() != 1 {
		t.Errorf("a canary moves: got %v, counted %d", err, canaries.Load())
	}
	at("ap-south")
	watched.Router.Overrides = map[string]config.Override{"81.2.69.128/25": {Prefer: []chat.Region{"eu-west"}}}
	if err := r.Reload(watched, false); err != nil {
		t.Error(err)
	}
	at("eu-west")
}

// Files that change while another configuration is being taken are taken with that one, not with the one before.
func TestFilesComeWithTheConfigurationInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "city.mmdb")
	writeMMDB(t, file, "IN", "Mumbai", 19, 72.8)
	cfg, biased := testConfig(), testConfig()
	cfg.Router.GeoFiles, biased.Router.GeoFiles = []string{file}, []string{file}
	biased.Router.Prefer = map[string][]chat.Region{"IN": {"us-east"}}
	r := start(t, Options{Config: cfg, WatchEvery: time.Hour})
	r.reload.Lock()
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		close(begun)
		ended <- r.reloadFiles()
	}()
	<-begun
	for range 1000 { // it waits for its turn by now; if not, the test only tests less
		runtime.Gosched()
	}
	err := r.replace(biased, false)
	r.reload.Unlock()
	if err = errors.Join(err, <-ended); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Explain(netip.MustParseAddr("81.2.69.142"), "", ""); err != nil || e.Region != "us-east" {
		t.Errorf("got %s, %v: the configuration was taken back", e.Region, err)
	}
}

// A file that changes after it was loaded, and before the first look at it, is taken.
func TestFileThatChangesBeforeTheFirstLook(t *testing.T) {
	file := filepath.Join(t.TempDir(), "city.mmdb")
	writeMMDB(t, file, "IN", "Mumbai", 19, 72.8)
	cfg := testConfig()
	cfg.Router.GeoFiles = []string{file}
	r, err := New(Options{Config: cfg, Key: key, WatchEvery: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	writeMMDB(t, file, "US", "Boston", 42.4, -71.1)
	run(t, r)
	await(t, func() bool {
		e, err := r.Explain(netip.MustParseAddr("81.2.69.142"), "", "")
		return err == nil && e.Region == "us-east"
	})
}

// A changed file is taken once it has kept still for one look, and only once.
func TestWatcher(t *testing.T) {
	a, b := []stamp{{size: 1}}, []stamp{{size: 2}}
	w := watcher{taken: a}
	var got []bool
	for _, now := range [][]stamp{a, a, b, b, b, a, b, b, a, a} {
		got = append(got, w.look(now))
	}
	if want := "[false false false true false false false false false true]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// The HTTP side explains in JSON and words, serves what was passed in, and takes free ports where others are taken.
func TestHTTP(t *testing.T) {
	cfg := testConfig()
	r := start(t, Options{Config: cfg, Handlers: map[string]http.Handler{
		"/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the web client") }),
	}})
	get := func(path string) (int, string) { return fetch(t, "http://"+r.HTTPAddr()+path) }
	for path, want := range map[string]string{
		"/":                                 "200 the web client",
		"/healthz":                          "200 ok",
		"/readyz":                           "200 ok",
		"/v1/route?as=8.8.8.8":              `400 {"code":"invalid"`,
		"/v1/route":                         `200 {"region":"eu-west"`, // the local host has no place
		"/v1/explain?ip=x":                  `400 {"code":"invalid"`,
		"/v1/explain?ip=8.8.8.8&zone=moon":  `400 {"code":"invalid"`,
		"/v1/explain?ip=8.8.8.8&host=world": `400 {"code":"invalid"`,
	} {
		if status, body := get(path); !strings.HasPrefix(fmt.Sprint(status, " ", body), want) {
			t.Errorf("%s: got %d %s, want %s", path, status, body, want)
		}
	}
	r.Table().SetStates(decide.States{"ap-south": {Health: decide.HealthDown}})
	for path, want := range map[string][]string{
		"/v1/explain?ip=81.2.69.142":         {`"region":"eu-west"`, `"score_ms":`, `"excluded_by":"health"`, "IP Geolocation by DB-IP (https://db-ip.com)", "generations"},
		"/v1/explain?ip=192.0.2.1":           {`"region":"eu-west"`, "no data (an address for documentation)"},
		"/v1/explain?ip=2405:201::1&zone=in": {`"region":""`, `"error":"zone_unreachable"`, "no region of zone in may serve"},
	} {
		status, body := get(path)
		for _, w := range want {
			if status != http.StatusOK || !strings.Contains(body, w) {
				t.Errorf("%s: got %d %s, want %s", path, status, body, w)
			}
		}
	}
	taken := testConfig()
	taken.Router.HTTP, taken.Router.DNS = r.HTTPAddr(), r.DNSAddr()
	strict, err := New(Options{Config: taken, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := strict.Listen(); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), r.HTTPAddr()) {
		t.Errorf("a taken port: got %v", err)
	}
	other := start(t, Options{Config: taken, FreePorts: true})
	if other.HTTPAddr() == r.HTTPAddr() || other.DNSAddr() == r.DNSAddr() || other.DNSAddr() == "" {
		t.Errorf("free ports: %s, %s", other.HTTPAddr(), other.DNSAddr())
	}
}

// A router without router.dns serves HTTP alone, and Run leaves nothing behind.
func TestRunWithoutDNS(t *testing.T) {
	defer goleak.VerifyNone(t)
	cfg := testConfig()
	cfg.Router.DNS, cfg.Router.Domain = "", ""
	r, err := New(Options{Config: cfg, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	cancel()
	if err := <-done; err != nil || r.DNSAddr() != "" {
		t.Errorf("%v, DNS at %q", err, r.DNSAddr())
	}
}

// What the configuration leaves out about where regions are follows from their listen addresses.
func TestRegionsOf(t *testing.T) {
	cfg := &config.Config{Regions: []config.Region{
		{Name: "a", HTTP: "127.0.0.11:80", Admin: "127.0.0.11:81"},
		{Name: "b", HTTP: "0.0.0.0:80", Admin: "h:81", URL: "https://b.example.org", Addresses: []string{"192.0.2.1", "2001:db8::1"}},
		{Name: "c", Nodes: []config.Node{
			{Name: "n1", HTTP: "127.0.0.12:80", Admin: "127.0.0.12:81"},
			{Name: "n2", HTTP: "127.0.0.13:80", Admin: "127.0.0.13:81", URL: "https://c2.example.org"},
		}},
	}}
	got, err := RegionsOf(cfg)
	want := "[{a [http://127.0.0.11:80] [http://127.0.0.11:81] [127.0.0.11]} {b [https://b.example.org] [http://h:81] [192.0.2.1 2001:db8::1]}" +
		" {c [http://127.0.0.12:80 https://c2.example.org] [http://127.0.0.12:81 http://127.0.0.13:81] [127.0.0.12 127.0.0.13]}]"
	if err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	cfg.Regions[1].Addresses = []string{"b.example.org"}
	if _, err := RegionsOf(cfg); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), "regions.b.addresses") {
		t.Errorf("got %v", err)
	}
}
