package router

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"meridian/chat"
	"meridian/config"
	"meridian/observe"
	"meridian/router/decide"
	"meridian/router/health"
)

// admin answers as a region's admin listener with so many sockets.
func admin(t *testing.T, region chat.Region, sockets int) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(health.Report{Region: region, Sockets: sockets})
	}))
	t.Cleanup(s.Close)
	return s
}

// A configuration that leaves out a region in which people are is refused at start, with the figures; not by force, not when nobody is
// there, and not when the region is gone. What was remembered and cannot be read stops the start.
func TestRemovedRegion(t *testing.T) {
	full, empty := admin(t, "sa-east", 3), admin(t, "sa-east", 0)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, c := range map[string]struct {
		admins []string
		force  bool
		code   chat.Code
	}{
		"with people":            {[]string{full.URL}, false, chat.CodeDenied},
		"with people on a node":  {[]string{gone.URL, full.URL}, false, chat.CodeDenied},
		"with people, by force":  {[]string{full.URL}, true, ""},
		"without people":         {[]string{empty.URL}, false, ""},
		"that does not answer":   {[]string{gone.URL}, false, ""},
		"without admin listener": {nil, false, ""},
	} {
		file := filepath.Join(t.TempDir(), "sub", "regions.json")
		before := &Router{opts: Options{StateFile: file}}
		before.inUse.Store(&view{regions: []Region{{Name: "us-east"}, {Name: "sa-east", Admins: c.admins}}})
		if err := before.remember(); err != nil {
			t.Fatal(err)
		}
		_, err := New(Options{Config: testConfig(), Key: key, StateFile: file, Force: c.force})
		if chat.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), "region sa-east, where 3 sockets are open") {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "regions.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Config: testConfig(), Key: key, StateFile: file}); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), file) {
		t.Errorf("a damaged file: %v", err)
	}
}

// withoutSouth is the test's configuration without its last region.
func withoutSouth() *config.Config {
	smaller := testConfig()
	smaller.Regions, smaller.Zones = smaller.Regions[:2], smaller.Zones[:1]
	smaller.Zones[0].Regions = smaller.Zones[0].Regions[:2]
	return smaller
}

// A router remembers its regions once it listens. A reload that leaves one out is refused while people are there; by force it is taken, and
// so it is when nobody is there: from then on neither DNS, nor discovery, nor explain names the region, whoever asks; the file forgets it, it is
// probed no more, and a region that is down stays down. With its configuration it is back. Meanwhile every DNS query is answered.
func TestReloadWithoutARegion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "regions.json")
	regions, err := RegionsOf(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	for i := range regions {
		regions[i].Admins = []string{admin(t, regions[i].Name, 7*i).URL} // ap-south, the last, has 14
	}
	r := start(t, Options{Config: testConfig(), Regions: regions, StateFile: file})
	remembered := func(want int) {
		t.Helper()
		if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), `"region"`) != want {
			t.Errorf("remembered %s, %v", text, err)
		}
	}
	remembered(3)
	r.Table().SetStates(decide.States{"us-east": {Health: decide.HealthDown, Why: "it is"}})
	smaller := withoutSouth()
	if err := r.Reload(smaller, false); chat.CodeOf(err) != chat.CodeDenied || !strings.Contains(err.Error(), "ap-south, where 14 sockets are open") {
		t.Errorf("with people: %v", err)
	}
	mumbai := netip.MustParsePrefix("49.36.0.0/16")
	asked := newAsker(t, r.DNSAddr())
	named := func(want ...string) {
		t.Helper()
		dns, _ := asked.ask("chat.example.org.", mumbai)
		if got := strings.Fields(dns); !slices.Equal(got, want) {
			t.Errorf("DNS answers %v, want %v", got, want)
		}
		e, err := r.Explain(mumbai.Addr(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		inText := slices.ContainsFunc(e.Regions, func(c decide.Candidate) bool { return c.Region == "ap-south" })
		_, body := fetch(t, "http://"+r.HTTPAddr()+"/v1/route")
		if know := len(want) > 1; inText != know || strings.Contains(body, "ap-south") != know {
			t.Errorf("want %v: explain says %s; route says %s", want, e.Text, body)
		}
	}
	all := []string{"127.0.0.13", "127.0.0.12"}
	named(all...)
	load := asking(t, r.DNSAddr(), mumbai)
	for range 5 {
		if err := r.Reload(smaller, true); err != nil {
			t.Fatal(err)
		}
		named("127.0.0.12")
		remembered(2)
		if e, _ := r.Explain(mumbai.Addr(), "", ""); !strings.Contains(e.Text, "it is") {
			t.Errorf("us-east is not down any more: %s", e.Text)
		}
		if m, err := asked.exchange("in.chat.example.org.", mumbai); err != nil || m.Rcode != mdns.RcodeNameError {
			t.Errorf("the host of the zone that is gone: %v, %v", m, err)
		}
		if err := r.Reload(testConfig(), false); err != nil {
			t.Fatal(err)
		}
		named(all...)
		remembered(3)
	}
	if n, failed := load(); n == 0 || failed != nil {
		t.Errorf("of %d queries one had no answer: %v", n, failed)
	}
}

// A reload takes how long answers live, also while a region is down, and how many regions they hold, from the next query on.
func TestReloadOfAnswers(t *testing.T) {
	r := start(t, Options{Config: testConfig()})
	asked := newAsker(t, r.DNSAddr())
	paris := netip.MustParsePrefix("81.2.69.0/24")
	is := func(answers int, ttl uint32) {
		t.Helper()
		for range 2 {
			m, err := asked.exchange("chat.example.org.", paris)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Answer) != answers || m.Answer[0].Header().Ttl != ttl {
				t.Errorf("answered %v, want %d with TTL %d", m.Answer, answers, ttl)
			}
		}
	}
	is(3, 20)
	cfg := testConfig()
	cfg.Router.TTL, cfg.Router.TTLDegraded, cfg.Router.AnswerRegions = 60*time.Second, 5*time.Second, 2
	if err := r.Reload(cfg, false); err != nil {
		t.Fatal(err)
	}
	is(2, 60)
	r.Table().SetStates(decide.States{"us-east": {Health: decide.HealthDown}})
	is(2, 5)
	if err := r.Reload(testConfig(), false); err != nil {
		t.Fatal(err)
	}
	is(2, 20) // us-east is still down
}

// asking asks DNS without pause; the function that it gives ends that, and tells how many queries there were and what went wrong.
func asking(t *testing.T, addr string, p netip.Prefix) func() (int, error) {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	a := &asker{t: t, conn: conn}
	stop, done := make(chan struct{}), make(chan error, 1)
	asked := 0
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			m, err := a.exchange("chat.example.org.", p)
			if err == nil && len(m.Answer) == 0 {
				err = fmt.Errorf("no answer: %v", m)
			}
			if err != nil {
				done <- err
				return
			}
			asked++
		}
	}()
	return func() (int, error) {
		close(stop)
		err := <-done
		_ = conn.Close()
		return asked, err
	}
}

// fetch gets a page.
func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A region that a running configuration leaves out leaves the metrics too, and comes back with it.
func TestRemovedRegionLeavesTheMetrics(t *testing.T) {
	metrics, full, smaller := observe.NewMetrics("router"), testConfig(), withoutSouth()
	full.Router.Health.Interval, smaller.Router.Health.Interval = 20*time.Millisecond, 20*time.Millisecond // what is shown follows a round of probes
	r := start(t, Options{Config: full, Metrics: metrics})
	shows := func(region string) bool { _, ok := metrics.Value("region_up", region); return ok }
	await(t, func() bool { return shows("us-east") && shows("eu-west") && shows("ap-south") })
	if err := r.Reload(smaller, true); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return !shows("ap-south") })
	if !shows("us-east") || !shows("eu-west") {
		t.Error("a region that stays has left the metrics")
	}
	if err := r.Reload(full, false); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return shows("ap-south") })
	if wrong := metrics.Misuse(); len(wrong) > 0 {
		t.Error(wrong)
	}
}
