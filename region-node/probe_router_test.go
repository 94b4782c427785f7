package regionnode_test

import (
	"context"
	"crypto/ed25519"
	"strings"
	"testing"

	"meridian/chat"
	"meridian/config"
	"meridian/router"
	"meridian/router/decide"
	"meridian/router/health"
)

// probing has every region probe the others as a node's process does.
func probing(t *testing.T, w *world) func(chat.Region) func() map[chat.Region]string {
	return func(self chat.Region) func() map[chat.Region]string {
		all, err := router.RegionsOf(w.cfg)
		must(t, err)
		o := health.Options{Limits: w.cfg.Router.Health, OnStates: func(decide.States) {}}
		for i, r := range all {
			if r.Name != self {
				o.Regions = append(o.Regions, w.cfg.Regions[i])
				o.Targets = append(o.Targets, health.Target{Region: r.Name, Ready: r.Bases()})
			}
		}
		m := health.NewMonitor(o)
		run(t, func(ctx context.Context) { m.Run(ctx) })
		return m.Verdicts
	}
}

// run runs something until the test ends.
func run(t *testing.T, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { f(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

// A real router leaves a real region whose store takes nothing, though all links are up, it answers every request and its store can be read:
// by the probes of the other regions and its own, with the reason; and comes back to it when messages get through again.
func TestRoutersLeaveARegionWithoutMessages(t *testing.T) {
	t.Parallel()
	w, listeners := prepare(t, func(c *config.Config) {
		c.Router.HTTP, c.Router.DNS = "127.0.0.1:0", ""
		c.Router.Health.OK, c.Router.Health.Up = 2, 2
	})
	wrap, of := breakables(t)
	w.wrap, w.probed = wrap, probing(t, w)
	w.run(listeners)
	t.Cleanup(func() { of("eu-west").set(works) })
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	r, err := router.New(router.Options{Config: w.cfg, Key: key})
	must(t, err)
	must(t, r.Listen())
	run(t, func(ctx context.Context) { _ = r.Run(ctx) })
	state := func() decide.State { return r.Table().States()["eu-west"] }
	w.eventually("the region's report at the router", func() bool { return r.Table().States()["us-east"].Health == decide.HealthUp })
	for range 2 {
		of("eu-west").set(silent)
		w.eventually("eu-west is left", func() bool { return state().Health == decide.HealthDown })
		if why := state().Why; !strings.Contains(why, "stuck at store") || !w.nodes["us-east"].Peers()["eu-west"].Up {
			t.Errorf("left because of %q", why)
		}
		of("eu-west").set(works)
		w.eventually("it is back", func() bool { return state().Health == decide.HealthUp })
	}
}
