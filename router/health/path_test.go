package health

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/probe"
	"meridian/router/decide"
)

// What a node allows a walk: region-node's probeEvery, probeWait and probeWithin.
const (
	walkEvery  = 500 * time.Millisecond
	walkWait   = 100 * time.Millisecond
	walkWithin = 2 * time.Second
)

// pathWorld is three regions in simulated time whose links stay up. Region "a" walks the way of a message in the time that takes says at
// its beginning; each of the others probes as this router does, and votes by that.
type pathWorld struct {
	takes   func() time.Duration
	prober  *probe.Prober
	voters  map[chat.Region]*Monitor
	walked  int
	old     bool // a's build knows no walks
	refused string
}

func (w *pathWorld) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(answerAfter)
	region, status, body := chat.Region(r.URL.Hostname()), http.StatusOK, []byte("{}")
	switch {
	case r.URL.Path == probePath && region == "a" && w.old:
		status = http.StatusNotFound
	case r.URL.Path == "/readyz" && w.refused != "":
		status, body = http.StatusServiceUnavailable, []byte(w.refused)
	case r.URL.Path == probePath && region == "a":
		if err := w.prober.Ask(r.Context()); err != nil {
			status = http.StatusServiceUnavailable
			body, _ = json.Marshal(map[string]any{"code": chat.CodeOf(err), "message": chat.AsError(err).Message})
		}
	case r.URL.Path == "/v1/peers":
		peers := map[chat.Region]Peer{"a": {Up: true}, "b": {Up: true}, "c": {Up: true}}
		if m := w.voters[region]; m != nil {
			for other, said := range m.Verdicts() {
				peers[other] = Peer{Up: true, Probe: said}
			}
		}
		body, _ = json.Marshal(Report{Region: region, Peers: peers})
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

// run runs the world; offsets are when each voter begins to probe after this router.
func (w *pathWorld) run(t *testing.T, offsets map[chat.Region]time.Duration, states func(decide.States)) (stop func()) {
	w.prober = probe.New(probe.Options{Every: walkEvery, Wait: walkWait, Within: walkWithin, Try: func(ctx context.Context, at func(string, time.Duration)) error {
		at("store", walkWithin)
		w.walked++
		select {
		case <-time.After(w.takes()):
		case <-ctx.Done():
		}
		return nil
	}})
	w.voters = make(map[chat.Region]*Monitor)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 3)
	monitor := func(targets []chat.Region, admins bool, after time.Duration, states func(decide.States)) *Monitor {
		o := Options{
			Regions: regions(targets...), Transport: w, OnStates: states,
			Limits: config.Health{Interval: 2 * time.Second, Timeout: time.Second, Down: 3, OK: 5, Up: 15},
		}
		for _, r := range targets {
			target := Target{Region: r, Ready: []string{"http://" + string(r)}}
			if admins {
				target.Admins = target.Ready
			}
			o.Targets = append(o.Targets, target)
		}
		m := NewMonitor(o)
		go func() {
			time.Sleep(after)
			m.Run(ctx)
			done <- struct{}{}
		}()
		return m
	}
	w.voters["b"] = monitor([]chat.Region{"a", "c"}, false, offsets["b"], func(decide.States) {})
	w.voters["c"] = monitor([]chat.Region{"a", "b"}, false, offsets["c"], func(decide.States) {})
	monitor([]chat.Region{"a", "b", "c"}, true, 0, states)
	return func() {
		cancel()
		for range 3 {
			<-done
		}
		w.prober.Close()
	}
}

// A region whose machines answer and whose links are up, but where no message gets through any more, is found down at most 8 s later,
// whenever that begins and whenever the other regions probe; its reason says where messages stand.
func TestDetectionOfABrokenWay(t *testing.T) {
	const promised = 8 * time.Second
	slowest := time.Duration(0)
	for phase := time.Duration(0); phase < 2*time.Second; phase += 125 * time.Millisecond {
		for offset := time.Duration(0); offset < 2*time.Second; offset += 125 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				broken := time.Now().Add(20*time.Second + phase)
				var found time.Time
				var why string
				w := &pathWorld{takes: func() time.Duration {
					if time.Now().Before(broken) {
						return 10 * time.Millisecond
					}
					return time.Hour
				}}
				stop := w.run(t, map[chat.Region]time.Duration{"b": offset, "c": (offset*3 + phase) % (2 * time.Second)}, func(s decide.States) {
					if s["a"].Health == decide.HealthDown && found.IsZero() {
						found, why = time.Now(), s["a"].Why
					}
				})
				time.Sleep(40 * time.Second)
				stop()
				took := found.Sub(broken)
				if found.IsZero() || took > promised || took < 0 || !strings.Contains(why, "stuck at store") {
					t.Errorf("broken %v into a round, the others %v later: found after %v: %s", phase, offset, took, why)
				}
				slowest = max(slowest, took)
			})
		}
	}
	fmt.Printf("health: a region in which messages stand still is found down within %v\n", slowest)
}

// A region where each message takes nearly as long as it may is slow, and stays in, for as long as that lasts; and however many probe, one
// walk in half a second is all that it costs.
func TestASlowRegionStaysIn(t *testing.T) {
	for _, slow := range []time.Duration{300 * time.Millisecond, time.Second, walkWithin - 50*time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := &pathWorld{takes: func() time.Duration { return slow }}
			stop := w.run(t, map[chat.Region]time.Duration{"b": 700 * time.Millisecond, "c": 1300 * time.Millisecond}, func(s decide.States) {
				if s["a"].Health == decide.HealthDown || s["a"].Why != "" {
					t.Errorf("each message takes %v: %+v", slow, s["a"])
				}
			})
			time.Sleep(10 * time.Minute)
			stop()
			if w.walked > 1200 {
				t.Errorf("%d walks in 10 minutes", w.walked)
			}
		})
	}
}

// A build that knows no walks is asked whether it is ready, as before.
func TestProbeOfAnOlderBuild(t *testing.T) {
	for refused, down := range map[string]bool{"": false, `{"code":"store_full","message":"the disk is full"}`: true} {
		synctest.Test(t, func(t *testing.T) {
			w := &pathWorld{old: true, refused: refused, takes: func() time.Duration { return time.Hour }}
			var last decide.State
			stop := w.run(t, nil, func(s decide.States) { last = s["a"] })
			for _, r := range []chat.Region{"b", "c"} { // they have reached it before
				w.voters[r].note(map[chat.Region]Probe{"a": {OK: true}})
			}
			time.Sleep(time.Minute)
			stop()
			if got := last.Health == decide.HealthDown; got != down || down && !strings.Contains(last.Why, "store_full") {
				t.Errorf("%q: %+v", refused, last)
			}
		})
	}
}

// A region says nothing of one that its probes never reached, and nothing at all while they reach none: the way out of it may be closed.
func TestVerdicts(t *testing.T) {
	m := NewMonitor(Options{Targets: []Target{{Region: "a"}, {Region: "b"}}})
	ok, failed := Probe{OK: true}, Probe{Why: "no"}
	for i, c := range []struct {
		last map[chat.Region]Probe
		want map[chat.Region]string
	}{
		{map[chat.Region]Probe{"a": failed, "b": failed}, nil},
		{map[chat.Region]Probe{"a": failed, "b": ok}, map[chat.Region]string{"b": ProbeOK}},
		{map[chat.Region]Probe{"a": ok, "b": failed}, map[chat.Region]string{"a": ProbeOK, "b": "no"}},
		{map[chat.Region]Probe{"a": failed, "b": ok}, map[chat.Region]string{"a": "no", "b": ProbeOK}},
		{map[chat.Region]Probe{"a": failed, "b": failed}, nil},
	} {
		m.note(c.last)
		if got := m.Verdicts(); !maps.Equal(got, c.want) {
			t.Errorf("after round %d: %v, want %v", i+1, got, c.want)
		}
	}
	if got := join(Report{Peers: map[chat.Region]Peer{"a": {Up: true, RTTms: 1, Probe: "no"}}}, Report{Peers: map[chat.Region]Peer{"a": {RTTms: 9, Probe: ProbeOK}}}); got.Peers["a"] != (Peer{Up: true, RTTms: 1, Probe: ProbeOK}) {
		t.Errorf("one of two nodes of a region gets through: %+v", got.Peers["a"])
	}
}
