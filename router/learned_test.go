package router

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/discovery"
	"meridian/router/geo"
	"meridian/router/meter"
)

// measured writes a file that says how far the clients of 127.0.0.0/20 and of 81.2.64.0/20 are from ap-south. Each has a day and a
// round trip of its own, so that no two have the same size and time.
func measured(t *testing.T, file string, day int, ms float64) {
	t.Helper()
	now := time.Now().UTC().AddDate(0, 0, day-10)
	text := "# meridian learned round trips, version 1\n# collected " + now.Format(time.RFC3339) + "\nnetwork,country,asn,region,p50_ms,samples,last\n"
	for _, network := range []string{"81.2.64.0/20", "127.0.0.0/20"} {
		text += fmt.Sprintf("%s,,,ap-south,%.2f,60,%s\n", network, ms, now.Format(time.DateOnly))
	}
	put(t, file, text)
}

// put replaces a file in one step.
func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// counted counts what was refused of learned files and taken, beside what Discard does.
type counted struct {
	meter.Metrics
	taken, refused atomic.Int64
}

func (c *counted) Count(name string, labels ...string) {
	switch {
	case name == "router_reloads_total" && labels[0] == "taken":
		c.taken.Add(1)
	case name == "learned_refused_total":
		c.refused.Add(1)
	}
}

// A running router takes learned round trips as soon as their file is there, moves people after three builds, and then explain, GeoDNS and
// discovery say the same; a file that is damaged, or gone, changes nothing and is counted.
func TestLearnedFileIsTakenWhileServing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "learned.csv")
	cfg := testConfig()
	cfg.Router.Learned = config.Learned{File: file, ChangedShare: 0.1, MaxAge: 30 * 24 * time.Hour}
	metrics := &counted{Metrics: meter.Or(nil)}
	r := start(t, Options{Config: cfg, WatchEvery: 10 * time.Millisecond, Metrics: metrics})
	if metrics.refused.Load() != 1 {
		t.Error("a file that is missing at the start is not counted")
	}
	dns := newAsker(t, r.DNSAddr())
	addresses := map[string]chat.Region{"127.0.0.11": "us-east", "127.0.0.12": "eu-west", "127.0.0.13": "ap-south"}
	agree := func(want chat.Region, learned bool) {
		t.Helper()
		answer, _ := dns.ask("chat.example.org.", netip.MustParsePrefix("81.2.69.0/24"))
		first, _, _ := strings.Cut(answer, " ")
		e, err := r.Explain(netip.MustParseAddr("81.2.69.142"), "", "")
		if err != nil || e.Region != want || addresses[first] != want || route(t, r) != want {
			t.Errorf("explain says %s (%v), DNS %s, discovery %s; want %s", e.Region, err, answer, route(t, r), want)
		}
		if strings.Contains(e.Text, "measured by its own sockets (60 samples of 81.2.64.0/20, ") != learned {
			t.Errorf("explain says\n%s", e.Text)
		}
	}
	agree("eu-west", false)
	for build := range 3 {
		measured(t, file, build, 1.5)
		await(t, func() bool { return metrics.taken.Load() == int64(build+1) })
		agree([]chat.Region{"eu-west", "eu-west", "ap-south"}[build], true)
	}
	put(t, file, "network,region\n")
	await(t, func() bool { return metrics.refused.Load() == 2 })
	agree("ap-south", true)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return metrics.refused.Load() == 3 })
	agree("ap-south", true)
	without := *cfg
	without.Router.Learned.File = ""
	if err := r.Reload(&without, false); err != nil || r.Table().Learned() != nil {
		t.Errorf("without the key nothing is learned: %v", err)
	}
}

// A file that would move too many well-known addresses is refused, when it is loaded alone and with a configuration.
func TestLearnedCanaries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "learned.csv")
	r := start(t, Options{Config: testConfig()})
	cfg := testConfig()
	cfg.Router.Learned, cfg.Router.Canaries = config.Learned{File: file, ChangedShare: 0.1}, []string{"81.2.69.142"}
	measured(t, file, 0, 1.5)
	if err := r.Reload(cfg, false); geo.FaultOf(err) != geo.FaultCanaries || !strings.Contains(err.Error(), "81.2.69.142 from eu-west to ap-south") {
		t.Errorf("got %v", err)
	}
	if r.Table().Learned() != nil {
		t.Error("it was taken all the same")
	}
	cfg.Router.Learned.ChangedShare = 1
	if err := r.Reload(cfg, false); err != nil {
		t.Error(err)
	}
}

func route(t *testing.T, r *Router) chat.Region {
	t.Helper()
	resp, err := http.Get("http://" + r.HTTPAddr() + "/v1/route")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var answer discovery.Route
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return answer.Region
}

// await waits, at most a minute, for what must come.
func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come within a minute")
		}
	}
}
