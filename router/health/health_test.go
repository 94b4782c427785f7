package health

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

func regions(names ...chat.Region) []config.Region {
	var out []config.Region
	for _, n := range names {
		out = append(out, config.Region{Name: n})
	}
	return out
}

// scene makes a round: who is dead (answers nobody), and which pairs cannot see each other. "router" is this router.
func scene(all []config.Region, dead, cuts string) Round {
	round := Round{Probes: map[chat.Region]Probe{}, Reports: map[chat.Region]Report{}}
	cut := func(a, b chat.Region) bool {
		return strings.Contains(cuts, string(a)+"-"+string(b)) || strings.Contains(cuts, string(b)+"-"+string(a))
	}
	isDead := func(r chat.Region) bool { return strings.Contains(dead, string(r)) }
	for _, r := range all {
		seen := !isDead(r.Name) && !cut("router", r.Name)
		round.Probes[r.Name] = Probe{OK: seen, Why: "connection refused"}
		if !seen {
			continue
		}
		report := Report{Region: r.Name, Peers: map[chat.Region]Peer{}}
		for _, o := range all {
			if o.Name != r.Name {
				report.Peers[o.Name] = Peer{Up: !isDead(o.Name) && !cut(r.Name, o.Name)}
			}
		}
		round.Reports[r.Name] = report
	}
	return round
}

// Each story is told round by round and its outcome is the list of regions that are down: only a majority takes a region
// out, flapping adds up, nothing empties the world, and coming back takes longer than going.
func TestCore(t *testing.T) {
	three, four, two := regions("a", "b", "c"), regions("a", "b", "c", "d"), regions("a", "b")
	type rounds struct {
		n          int
		dead, cuts string
		want       string
	}
	for _, c := range []struct {
		name  string
		all   []config.Region
		story []rounds
	}{
		{"a region dies and returns", three, []rounds{{5, "", "", ""}, {2, "a", "", ""}, {1, "a", "", "a"}, {14, "", "", "a"}, {1, "", "", ""}}},
		{"an interrupted return starts again", three, []rounds{{3, "a", "", "a"}, {10, "", "", "a"}, {1, "a", "", "a"}, {14, "", "", "a"}, {1, "", "", ""}}},
		{"flapping adds up", three, []rounds{{1, "a", "", ""}, {4, "", "", ""}, {1, "a", "", ""}, {4, "", "", ""}, {1, "a", "", "a"}}},
		{"rare failures are forgotten", three, []rounds{{2, "a", "", ""}, {5, "", "", ""}, {2, "a", "", ""}, {5, "", "", ""}, {2, "a", "", ""}}},
		{"one link cut: nobody is down", three, []rounds{{20, "", "a-b", ""}}},
		{"a region cut off from the others", three, []rounds{{3, "", "a-b a-c", "a"}}},
		{"the router cut off from one", three, []rounds{{20, "", "router-a", ""}}},
		{"the router cut off from all keeps its state", three, []rounds{{3, "a", "", "a"}, {30, "", "router-a router-b router-c", "a"}}},
		{"a second death of three is kept", three, []rounds{{3, "a", "", "a"}, {30, "a b", "", "a"}}},
		{"two regions: no majority", two, []rounds{{30, "a", "", ""}}},
		{"everything dies", three, []rounds{{30, "a b c", "", ""}}},
		{"half of four, no more", four, []rounds{{3, "a", "", "a"}, {3, "a b", "", "a b"}, {30, "a b c", "", "a b"}}},
	} {
		core := NewCore(c.all, config.Health{Down: 3, OK: 5, Up: 15})
		for i, step := range c.story {
			var states decide.States
			for range step.n {
				states = core.Step(time.Time{}, scene(c.all, step.dead, step.cuts))
			}
			var down []string
			for _, r := range c.all {
				if states[r.Name].Health == decide.HealthDown {
					down = append(down, string(r.Name))
				}
			}
			if got := strings.Join(down, " "); got != step.want {
				t.Errorf("%s: after step %d down is %q, want %q", c.name, i+1, got, step.want)
			}
		}
	}
}

// A bug that makes every region call all others down takes out at most half of them.
func TestCap(t *testing.T) {
	for n := 1; n <= 9; n++ {
		var all []config.Region
		for i := range n {
			all = append(all, config.Region{Name: chat.Region(fmt.Sprintf("r%d", i))})
		}
		liars := Round{Probes: map[chat.Region]Probe{}, Reports: map[chat.Region]Report{}}
		for _, r := range all {
			peers := map[chat.Region]Peer{}
			for _, o := range all {
				peers[o.Name] = Peer{}
			}
			liars.Reports[r.Name] = Report{Region: r.Name, Peers: peers}
		}
		core := NewCore(all, config.Health{})
		var states decide.States
		for range 20 {
			states = core.Step(time.Time{}, liars)
		}
		down := 0
		for _, s := range states {
			if s.Health == decide.HealthDown {
				down++
			}
		}
		if down*2 > n || n-down < min(n, 2) {
			t.Errorf("%d of %d regions were taken out", down, n)
		}
	}
}

// The operator's word travels in the reports and stays when the region cannot be heard; load sheds by and by.
func TestReports(t *testing.T) {
	all := regions("a", "b", "c")
	all[0].CapacitySockets = 100
	core := NewCore(all, config.Health{})
	now := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	round := scene(all, "", "")
	round.Reports["a"] = Report{Region: "a", Sockets: 90}
	round.Reports["b"] = Report{Region: "b", Draining: true, DrainUntil: now}
	var states decide.States
	for range 3 {
		states = core.Step(now, round)
		now = now.Add(20 * time.Second)
	}
	if a := states["a"]; a.Shed != 0.2 || a.Load != 0.9 {
		t.Errorf("a after 40 s at 90 %%: %+v", a)
	}
	states = core.Step(now, scene(all, "b", ""))
	if b := states["b"]; !b.Draining || b.DrainUntil.IsZero() {
		t.Errorf("b's drain was forgotten: %+v", b)
	}
}

// What operators force travels in the reports, from all nodes of a region; it counts when a majority of the other regions tell it, also when
// one of them is away by then, and the state says who and why.
func TestForcedStates(t *testing.T) {
	core := NewCore(regions("a", "b", "c"), config.Health{})
	now := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	word := chat.Force{State: chat.ForceDown, Given: now, Until: now.Add(time.Minute), Reason: "it loses sends", By: "ops"}
	told := map[chat.Region]chat.Force{"a": word}
	round := scene(regions("a", "b", "c"), "", "")
	tell := func(r chat.Region, forces map[chat.Region]chat.Force) {
		report := round.Reports[r]
		report.Region, report.Forces = r, forces
		round.Reports[r] = report
	}
	tell("b", told)
	if states := core.Step(now, round); states["a"].Forced != "" {
		t.Errorf("told by one of two others: %+v", states["a"])
	}
	tell("c", join(Report{Region: "c"}, Report{Region: "c", Forces: told}).Forces)
	for range 2 {
		states := core.Step(now, round)
		if a := states["a"]; a.Forced != decide.HealthDown || a.Health != decide.HealthUp || a.ForcedWhy != "until 2026-05-04T00:01:00Z, by ops: it loses sends (as b, c tell)" || states["b"].Forced != "" {
			t.Errorf("told by both others: %+v", states)
		}
		round = scene(regions("a", "b", "c"), "c", "") // c is away, and b tells on
		tell("b", told)
	}
	if states := core.Step(now.Add(time.Minute), round); states["a"].Forced != "" {
		t.Errorf("its time is over: %+v", states["a"])
	}
}

// A killed region is found down within a few intervals over real sockets, and found up again when it returns.
func TestMonitor(t *testing.T) {
	defer goleak.VerifyNone(t)
	names := []chat.Region{"a", "b", "c"}
	servers := map[chat.Region]*httptest.Server{}
	dead := make(chan struct{}) // closed when a is killed: b and c see it at once
	for _, n := range names {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
		mux.HandleFunc("GET /v1/peers", func(w http.ResponseWriter, _ *http.Request) {
			aUp := true
			select {
			case <-dead:
				aUp = false
			default:
			}
			report := Report{Region: n, Peers: map[chat.Region]Peer{"a": {Up: aUp}, "b": {Up: true}, "c": {Up: true}}}
			_ = json.NewEncoder(w).Encode(report)
		})
		servers[n] = httptest.NewServer(mux)
		defer servers[n].Close()
	}
	var targets []Target
	for _, n := range names {
		targets = append(targets, Target{Region: n, Ready: []string{servers[n].URL}, Admins: []string{servers[n].URL}})
	}
	seen := make(chan decide.States, 1000)
	m := NewMonitor(Options{
		Regions: regions(names...), Targets: targets, OnStates: func(s decide.States) { seen <- s },
		Limits: config.Health{Interval: 20 * time.Millisecond, Timeout: time.Second, Down: 3, OK: 2, Up: 3},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()

	wait := func(what string, ok func(decide.States) bool) decide.States {
		t.Helper()
		for deadline := time.After(time.Minute); ; {
			select {
			case s := <-seen:
				if ok(s) {
					return s
				}
			case <-deadline:
				t.Fatalf("not seen in a minute: %s", what)
			}
		}
	}
	wait("all up", func(s decide.States) bool { return len(s) == 3 && s["a"].Health == decide.HealthUp })
	close(dead)
	servers["a"].Listener.Close() // first: no connection is made after the others are closed
	servers["a"].CloseClientConnections()
	s := wait("a down, and why", func(s decide.States) bool { // one look may fail for another reason
		return s["a"].Health == decide.HealthDown && strings.Contains(s["a"].Why, "connection refused")
	})
	if s["b"].Health != decide.HealthUp {
		t.Errorf("states: %+v", s)
	}
}

// What is no proper report is no vote: another region's name, an error status, something that is not JSON, or too much.
func TestBadReports(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"another's name": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"region":"b","peers":{}}`) },
		"status":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"no JSON":        func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `<html>`) },
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"region":"a"`+strings.Repeat(" ", maxReportBytes)+`}`)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	} {
		s := httptest.NewServer(answer)
		m := NewMonitor(Options{Regions: regions("a")})
		if r, err := m.report(context.Background(), "a", s.URL); err == nil {
			t.Errorf("%s: taken as %+v", name, r)
		}
		s.Close()
	}
}

// A region of several nodes serves while one of them does, and only those that serve are named; what one of them reaches the
// region reaches.
func TestMonitorSeveralNodes(t *testing.T) {
	var down atomic.Bool
	node := func(up *atomic.Bool, peers map[chat.Region]Peer) *httptest.Server {
		mux := http.NewServeMux()
		mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
			if up.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		mux.HandleFunc("/v1/peers", func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(Report{Region: "a", Peers: peers, Sockets: 2})
		})
		s := httptest.NewServer(mux)
		t.Cleanup(s.Close)
		return s
	}
	first := node(&down, map[chat.Region]Peer{"b": {Up: false}, "c": {Up: true, RTTms: 7}})
	second := node(new(atomic.Bool), map[chat.Region]Peer{"b": {Up: true, RTTms: 9}, "c": {Up: true, RTTms: 5}})
	m := NewMonitor(Options{
		Regions: regions("a", "b", "c"), Limits: config.Health{Timeout: 5 * time.Second, Down: 2},
		Targets: []Target{{Region: "a", Ready: []string{first.URL, second.URL}, Admins: []string{first.URL, second.URL}}},
	})
	down.Store(true)
	for i, serves := range []bool{true, false} { // Down is 2
		round := m.round(t.Context())
		if !round.Probes["a"].OK {
			t.Errorf("round %d: the region is down: %s", i, round.Probes["a"].Why)
		}
		want := map[chat.Region]Peer{"b": {Up: true, RTTms: 9}, "c": {Up: true, RTTms: 5}}
		if got := round.Reports["a"]; !maps.Equal(got.Peers, want) || got.Sockets != 4 {
			t.Errorf("round %d: joined report %+v", i, got)
		}
		if m.Serves(first.URL) != serves || !m.Serves(second.URL) {
			t.Errorf("round %d: the nodes serve: %v and %v, want %v and true", i, m.Serves(first.URL), m.Serves(second.URL), serves)
		}
	}
	down.Store(false)
	m.round(t.Context())
	if !m.Serves(first.URL) {
		t.Error("a node that is back is not named")
	}
}
