package regionnode

import (
	"sync"
	"time"

	"meridian/chat"
	"meridian/replication/drift"
)

// guardedClock is the node's clock behind its guard: what everything in the node goes by.
type guardedClock struct {
	wall   func() time.Time     // what the machine's clock shows
	passed func() time.Duration // what has really passed

	mu    sync.Mutex
	guard *drift.Guard
}

func newClock(o Options, self chat.NodeRef, mark chat.HLC) *guardedClock {
	began := time.Now()
	c := &guardedClock{wall: o.Now, passed: func() time.Duration { return time.Since(began) }}
	if o.Passed != nil {
		c.passed = o.Passed
	}
	g := drift.Options{Self: self, Nodes: len(o.Peers) + 1, MaxDrift: o.Config.Timing.MaxDrift}
	if mark > 0 {
		g.Mark = mark.Time()
	}
	c.guard = drift.New(g)
	return c
}

func (c *guardedClock) reading() drift.Reading {
	return drift.Reading{Wall: c.wall().Round(0), Passed: c.passed()}
}

// Judge is messages.Clock's.
func (c *guardedClock) Judge() drift.Judgement {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.guard.Read(c.reading())
}

// Now is the time to go by.
func (c *guardedClock) Now() time.Time { return c.Judge().Now }

// Confirmed is Now, with an error that has CodeRegionDegraded as long as nobody has confirmed the clock of a node that started.
func (c *guardedClock) Confirmed() (time.Time, error) {
	j := c.Judge()
	if e := j.Unconfirmed(); e != nil {
		return j.Now, e
	}
	return j.Now, nil
}

// told is what other nodes are told: what the clock shows, and what this node thinks of it.
func (c *guardedClock) told() (time.Time, drift.Standing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reading()
	return r.Wall, c.guard.Read(r).Told
}

// hear takes what another node's clock showed within the round trip that ends now; it gives how far that clock is ahead.
func (c *guardedClock) hear(peer chat.NodeRef, roundTrip time.Duration, shown time.Time, standing drift.Standing) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reading()
	c.guard.Hear(drift.Word{Peer: peer, Asked: r.Passed - roundTrip, Answered: r.Passed, Clock: shown, Standing: standing})
	return c.guard.Offset(peer, r)
}

// offsets gives how far the other nodes' clocks are ahead, in ms, of those heard lately.
func (c *guardedClock) offsets(peers []chat.NodeRef) map[string]float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]float64)
	r := c.reading()
	for _, peer := range peers {
		if off, ok := c.guard.Offset(peer, r); ok {
			out[peer.String()] = milliseconds(off)
		}
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// onClock takes another node's word on the time.
func (n *Node) onClock(peer chat.NodeRef, roundTrip time.Duration, shown time.Time, standing drift.Standing) {
	if off, ok := n.clock.hear(peer, roundTrip, shown, standing); ok {
		n.opt.Metrics.Set("clock_offset_seconds", off.Seconds(), peer.String())
	}
}

// ClockStatus is what an operator sees of the node's clock.
type ClockStatus struct {
	Standing string `json:"standing"`
	// AheadMs is how far it is ahead of the others', to about UncertainMs; absent where nobody was heard.
	AheadMs     *float64 `json:"ahead_ms,omitempty"`
	UncertainMs *float64 `json:"uncertain_ms,omitempty"`
	// Peers tells how far each of the other nodes' clocks is ahead of this one, in ms.
	Peers map[string]float64 `json:"peers"`
}

func (n *Node) clockStatus() ClockStatus {
	j := n.clock.Judge()
	var peers []chat.NodeRef
	for peer := range n.opt.Peers {
		peers = append(peers, peer)
	}
	st := ClockStatus{Standing: j.Standing.String(), Peers: n.clock.offsets(peers)}
	if j.Known {
		ahead, uncertain := milliseconds(j.Off), milliseconds(j.Uncertain)
		st.AheadMs, st.UncertainMs = &ahead, &uncertain
	}
	return st
}

// refusing sends the people of this node elsewhere.
func (n *Node) refusing(why *chat.Error) {
	go n.gateway.Shed(why)
}
