package link

import (
	"testing"
	"time"

	"meridian/chat"
	"meridian/replication/drift"
)

// heard is what a node was told of another's clock.
type heard struct {
	took     time.Duration
	clock    time.Time
	at       time.Time
	standing drift.Standing
}

// TestPongsTellTheClock: each side hears what the other's clock shows, and what it thinks of it; from a build that tells no
// time it hears nothing, and the link works all the same.
func TestPongsTellTheClock(t *testing.T) {
	words := map[string]chan heard{"eu-west": make(chan heard, 64), "us-east": make(chan heard, 64)}
	w := newWorld(t, newSim(t, 20*time.Millisecond), "eu-west", "us-east")
	start := func(name string, clock func() (time.Time, drift.Standing)) *node {
		return w.start(name, func(o *Options) {
			o.DeadAfter, o.Clock = 3*time.Second, clock
			o.Handlers.OnClock = func(_ chat.NodeRef, took time.Duration, clock time.Time, standing drift.Standing) {
				words[name] <- heard{took, clock, time.Now(), standing}
			}
		})
	}
	eu := start("eu-west", nil)
	us := start("us-east", func() (time.Time, drift.Standing) { return time.Now().Add(time.Hour), drift.Held })
	eu.waitUp(t, "us-east", true)
	us.waitUp(t, "eu-west", true)
	h := <-words["eu-west"]
	off := h.clock.Sub(h.at.Add(-h.took / 2))
	const late = 10 * time.Second // a handler of a busy machine
	if h.took < 40*time.Millisecond || (off-time.Hour).Abs() > h.took/2+late || h.standing != drift.Held {
		t.Errorf("round trip %v, off by %v, %v", h.took, off, h.standing)
	}
	eventually(t, "a round trip to eu-west", func() bool { return us.Peers()[ref("eu-west")].RTT > 0 })
	select {
	case h := <-words["us-east"]:
		t.Errorf("a peer that tells no time was heard: %+v", h)
	default:
	}
}
