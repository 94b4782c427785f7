package health

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

const (
	// detection is how long it takes at most from a region's loss to the change of all answers; 8 s are promised.
	detection = 7 * time.Second
	// linkSilent is when, at the latest, a region's backbone knows that another one is silent: timing.link_dead and one of its ticks.
	linkSilent = 4 * time.Second
	// there and back
	answerAfter = 50 * time.Millisecond
)

// simulated is a network in simulated time in which region "a" is lost at some moment.
type simulated struct {
	lost time.Time
	// silent: nothing answers any more, as when a power cut takes a data centre; else the machine is there and refuses.
	silent bool
	// cut: "a" itself lives, and this router alone cannot reach it.
	cut   bool
	asked int // probes of a
}

// RoundTrip answers for the region that is the host's name.
func (n *simulated) RoundTrip(r *http.Request) (*http.Response, error) {
	region, gone := chat.Region(r.URL.Hostname()), !n.lost.IsZero() && !time.Now().Before(n.lost)
	if region == "a" && r.URL.Path == probePath {
		n.asked++
	}
	if region == "a" && gone {
		if !n.silent {
			return nil, syscall.ECONNREFUSED
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	time.Sleep(answerAfter)
	body := []byte("{}")
	if strings.HasSuffix(r.URL.Path, "/v1/peers") {
		known := n.lost
		if n.silent {
			known = known.Add(linkSilent)
		}
		aUp := n.cut || n.lost.IsZero() || time.Now().Before(known)
		body, _ = json.Marshal(Report{Region: region, Peers: map[chat.Region]Peer{"a": {Up: aUp}, "b": {Up: true}, "c": {Up: true}}})
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

// watched runs a monitor on the simulated network, in the standing limits, and tells the states after each round.
func watched(n *simulated, states func(decide.States)) (m *Monitor, stop func()) {
	m = NewMonitor(Options{
		Regions: regions("a", "b", "c"), Transport: n, OnStates: states,
		Limits: config.Health{Interval: 2 * time.Second, Timeout: time.Second, Down: 3, OK: 5, Up: 15},
		Targets: []Target{
			{Region: "a", Ready: []string{"http://a"}, Admins: []string{"http://a"}},
			{Region: "b", Ready: []string{"http://b"}, Admins: []string{"http://b"}},
			{Region: "c", Ready: []string{"http://c"}, Admins: []string{"http://c"}},
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	return m, func() { cancel(); <-done }
}

// A lost region is found down at most 7 s after the loss, at whatever moment of a round it is lost, and whether its machines refuse or
// are silent: by probes every 2 s with a time-out of 1 s, three failures and the agreement of the others.
func TestDetection(t *testing.T) {
	for _, silent := range []bool{true, false} {
		slowest := time.Duration(0)
		for phase := time.Duration(0); phase < 2*time.Second; phase += 50 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				lost := time.Now().Add(20*time.Second + phase)
				var found time.Time
				_, stop := watched(&simulated{lost: lost, silent: silent}, func(s decide.States) {
					if s["a"].Health == decide.HealthDown && found.IsZero() {
						found = time.Now()
					}
					if s["b"].Health == decide.HealthDown || s["c"].Health == decide.HealthDown {
						t.Error("a region that lives is down")
					}
				})
				time.Sleep(40 * time.Second)
				stop()
				if took := found.Sub(lost); found.IsZero() || took > detection || took < 0 {
					t.Errorf("silent %v, lost %v into a round: found after %v", silent, phase, took)
				} else {
					slowest = max(slowest, took)
				}
			})
		}
		fmt.Printf("health: a region that is lost (silent: %v) is found down within %v\n", silent, slowest)
	}
}

// Clients' words bring the next look forward and never decide: with nothing wrong, or with this router alone cut off, no number of
// them takes a region out; a flood of them costs no more than one look in half an interval.
func TestClientsHint(t *testing.T) {
	for _, cut := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := &simulated{}
			if cut {
				n.lost, n.silent, n.cut = time.Now(), true, true
			}
			m, stop := watched(n, func(s decide.States) {
				if s["a"].Health == decide.HealthDown {
					t.Error("clients' words took a region out")
				}
			})
			for i := range 6000 { // for a minute
				m.Hint("a", netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}))
				m.Hint("nowhere", netip.MustParseAddr("192.0.2.1"))
				time.Sleep(10 * time.Millisecond)
			}
			stop()
			if looks := 62; n.asked > looks {
				t.Errorf("cut %v: %d looks in a minute, want at most %d", cut, n.asked, looks)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // one word, in the middle of an interval
		n := &simulated{}
		m, stop := watched(n, func(decide.States) {})
		time.Sleep(8*time.Second + 100*time.Millisecond) // looks at 0, 2, 4, 6 and 8 s
		synctest.Wait()
		before := n.asked
		m.Hint("a", netip.MustParseAddr("192.0.2.1"))
		time.Sleep(time.Second)
		stop()
		if n.asked != before+1 || before != 5 {
			t.Errorf("%d looks, and %d a second after a client's word", before, n.asked)
		}
	})
}

// A router that alone cannot reach a region looks more often for ten rounds, not for ever.
func TestSuspicionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simulated{lost: time.Now(), silent: true, cut: true}
		_, stop := watched(n, func(decide.States) {})
		time.Sleep(2 * time.Minute)
		stop()
		if want := settleRounds + (120-settleRounds)/2; n.asked < want-2 || n.asked > want+2 {
			t.Errorf("%d looks in two minutes, want about %d", n.asked, want)
		}
	})
}

// A network has one voice, for ten seconds, and nobody speaks of regions that there are not.
func TestHints(t *testing.T) {
	now := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	h := NewHints([]chat.Region{"a", "b"}, func() time.Time { return now })
	for _, c := range []struct {
		region chat.Region
		client string
		taken  bool
	}{
		{"a", "192.0.2.1", true},
		{"a", "192.0.2.77", false},       // the same /24
		{"a", "::ffff:192.0.2.9", false}, // the same address family in disguise
		{"a", "192.0.3.1", true},
		{"b", "192.0.2.1", true},
		{"a", "2001:db8:1:1::1", true},
		{"a", "2001:db8:1:2::1", false}, // the same /48
		{"moon", "192.0.2.1", false},
	} {
		if got := h.Tell(c.region, netip.MustParseAddr(c.client)); got != c.taken {
			t.Errorf("%s of %s: taken %v", c.client, c.region, got)
		}
	}
	if h.Tell("a", netip.Addr{}) {
		t.Error("nobody's word is taken")
	}
	if got := fmt.Sprint(h.Count()); got != "map[a:3 b:1]" {
		t.Errorf("counted %s", got)
	}
	now = now.Add(hintKeep)
	if got := h.Count(); len(got) != 0 {
		t.Errorf("later still %v", got)
	}
	for i := range 2 * hintNetworks {
		h.Tell("a", netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}))
	}
	if n := h.Count()["a"]; n != hintNetworks {
		t.Errorf("%d networks are remembered", n)
	}
}

// Where all regions have a capacity, no more than half of it is taken out, however few the regions that hold it.
func TestCapByCapacity(t *testing.T) {
	all := regions("a", "b", "c", "d", "e")
	for i, sockets := range []int{1000, 100, 100, 100, 100} {
		all[i].CapacitySockets = sockets
	}
	for dead, want := range map[string]string{"a": "", "b": "b", "b c": "b c"} {
		core := NewCore(all, config.Health{})
		var states decide.States
		for range 10 {
			states = core.Step(time.Time{}, scene(all, dead, ""))
		}
		var down []string
		for _, r := range all {
			if states[r.Name].Health == decide.HealthDown {
				down = append(down, string(r.Name))
			}
		}
		if got := strings.Join(down, " "); got != want {
			t.Errorf("%s dead: %q is down, want %q", dead, got, want)
		}
	}
}

// What clients tell stands in the reason of a region that is down, of this router's and of the regions' clients alike; a drain's names
// leave by the steps of its time.
func TestReportsOfClientsAndDrains(t *testing.T) {
	all := regions("a", "b", "c")
	core, now := NewCore(all, config.Health{}), time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	round := scene(all, "a", "")
	round.Reported = map[chat.Region]int{"a": 2}
	b := round.Reports["b"]
	b.Reported = map[chat.Region]int{"a": 3}
	b.Draining, b.DrainFrom, b.DrainUntil = true, now, now.Add(8*time.Minute)
	round.Reports["b"] = b
	var weights []float64
	for range 5 {
		states := core.Step(now, round)
		if !states["b"].Draining {
			t.Error("b does not drain")
		}
		weights = append(weights, states["b"].DrainWeight)
		now = now.Add(2 * time.Minute)
	}
	if got := fmt.Sprint(weights); got != "[0.75 0.5 0.25 0 0]" {
		t.Errorf("names left b by %s", got)
	}
	if why := core.States()["a"].Why; !strings.Contains(why, "clients of 5 networks say so too") {
		t.Errorf("why: %s", why)
	}
}

// Two nodes of a region say one thing: the later end of a drain with its beginning, and of what clients told the greater number, for one
// network may have told both.
func TestJoinedDrains(t *testing.T) {
	at := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	one := Report{Region: "a", Draining: true, DrainFrom: at, DrainUntil: at.Add(time.Minute), Reported: map[chat.Region]int{"b": 2}}
	two := Report{Region: "a", Draining: true, DrainFrom: at.Add(time.Second), DrainUntil: at.Add(2 * time.Minute), Reported: map[chat.Region]int{"b": 1, "c": 1}}
	for _, got := range []Report{join(one, two), join(two, one), join(join(Report{Region: "a"}, one), two)} {
		if !got.Draining || !got.DrainFrom.Equal(two.DrainFrom) || !got.DrainUntil.Equal(two.DrainUntil) || fmt.Sprint(got.Reported) != "map[b:2 c:1]" {
			t.Errorf("joined: %+v", got)
		}
	}
}
