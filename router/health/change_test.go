package health

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

// A monitor that is told of other regions probes those from its next round on, and no others: one that stays keeps its state, also when it is
// down, one that is left out has none, and one that is new begins as up. Clients are heard about those that there are.
func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simulated{lost: time.Now().Add(time.Second)} // "a" is lost
		var last decide.States
		m := NewMonitor(Options{
			Regions: regions("a", "b", "c"), Transport: n, OnStates: func(s decide.States) { last = s },
			Limits: config.Health{Interval: 2 * time.Second, Timeout: time.Second}, Targets: simulatedTargets("a", "b", "c"),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { m.Run(ctx); close(done) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if last["a"].Health != decide.HealthDown {
			t.Fatalf("a is lost: %+v", last)
		}
		m.Change(regions("a", "b", "d"), config.Health{Interval: 4 * time.Second}, simulatedTargets("a", "b", "d"))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if _, there := last["c"]; there || len(last) != 3 || last["a"].Health != decide.HealthDown || last["d"].Health != decide.HealthUp {
			t.Errorf("after the change: %+v", last)
		}
		before := n.asked
		m.Hint("c", netip.MustParseAddr("192.0.2.1"))
		m.Hint("d", netip.MustParseAddr("192.0.2.1"))
		if got := m.hints.Count(); len(got) != 1 || got["d"] != 1 {
			t.Errorf("clients are heard about %v", got)
		}
		time.Sleep(40 * time.Second)
		cancel()
		<-done
		if asked := n.asked - before; asked < 9 || asked > 15 { // the word about d makes some come sooner
			t.Errorf("%d probes of a in 40 s, every 4 s", asked)
		}
	})
}

func simulatedTargets(names ...chat.Region) []Target {
	var out []Target
	for _, name := range names {
		out = append(out, Target{Region: name, Ready: []string{"http://" + string(name)}, Admins: []string{"http://" + string(name)}})
	}
	return out
}
