package sim

import (
	"slices"
	"time"

	"meridian/chat"
)

// Faults that wait for the moment in which they hurt most. Each is ordinary: a process that sleeps, a path that is cut, a node that
// loses its uplink; but chance alone hits the moment in one world of thousands.

// aimAtApply has a fault wait for a node's next write of what another region brings: it sleeps through its lease, or the region brings the
// rest to the node beside it.
func (w *world) aimAtApply(n *node) {
	if n.site.shared() {
		n.aimed = pick(w.rng, (*node).sleepsOver, (*node).sleepsOver, (*node).isLeft)
	}
}

// provoke lets the faults happen that wait for such a write.
func (n *node) provoke(b *chat.Batch) {
	n.troubleParked(b)
	n.pointed(b)
}

// sleep freezes a process with its writes in flight; the others miss its heartbeats.
func (n *node) sleep(d time.Duration) {
	n.paused = max(n.paused, n.w.now+d)
	for _, c := range n.unsynced {
		c.held = true
	}
	for _, l := range n.links() {
		l.lose()
	}
}

// pointed lets the fault that waits for this write happen.
func (n *node) pointed(b *chat.Batch) {
	if n.aimed == nil || n.w.healed || len(b.Applied) == 0 || len(b.Inbox) == 0 {
		return
	}
	from, happen := n.w.siteOf(b.Applied[len(b.Applied)-1].Stream.Region), n.aimed
	n.aimed = nil
	n.w.after(0, func() { happen(n, from) })
}

// sleepsOver freezes a process for longer than its lease and the wait of who adopts its life, with its writes in flight; the region
// that brought what it was about to write is cut off meanwhile. So the write comes when nobody looks at its arrivals any more, and the
// next life finds the position that it moves.
func (n *node) sleepsOver(from *site) {
	w := n.w
	if !n.up || w.healed {
		return
	}
	w.faults["sleep over a write"]++
	d := w.between(leaseFor+adoptWait+500*time.Millisecond, leaseFor+adoptWait+4*time.Second)
	w.note("world", "%s sleeps for %s, about to write what %s brought", n.name(), d, from.region)
	n.sleep(d)
	for _, l := range w.links {
		if !l.joins(n.site, from) {
			continue
		}
		cut := d + w.between(0, 2*time.Second)
		if l.ends[0] != n && l.ends[1] != n {
			cut += 4 * time.Second // the next life hears it first
		}
		w.cutFor(l, true, cut)
		l.lose()
	}
}

// isLeft ends the connections of a region to a node a moment after it has written: the node beside it is brought what follows, by a clock
// that may be behind the one which stamped the last.
func (n *node) isLeft(by *site) {
	w := n.w
	w.faults["stream moves on"]++
	w.after(w.between(10*time.Millisecond, 150*time.Millisecond), func() {
		for _, l := range n.links() {
			if l.joins(n.site, by) {
				l.down(0)
				l.down(1)
			}
		}
	})
}

// joins says whether the link is between nodes of two regions.
func (l *link) joins(a, b *site) bool {
	x, y := l.ends[0].site, l.ends[1].site
	return x == a && y == b || x == b && y == a
}

// siteOf gives a region by its name.
func (w *world) siteOf(r chat.Region) *site {
	return w.sites[slices.IndexFunc(w.sites, func(s *site) bool { return s.region == r })]
}

// planLoss plans that a region is lost for good.
func (w *world) planLoss() {
	if !w.mood.loseRegion {
		return
	}
	w.roll("loss", "", 0)
	s := w.sites[w.rng.IntN(len(w.sites))]
	if w.doomed = s; w.isSole(s) {
		w.mood.outbox = 0 // nobody would take it out
	}
	at := w.between(w.busy/5, w.busy*4/5)
	w.after(at, func() { w.lose(s) })
	if s.shared() && w.chance(0.7) {
		moves := at - w.between(500*time.Millisecond, 2500*time.Millisecond)
		cut := w.between(2*time.Second, 5*time.Second)
		w.after(moves-cut, func() { w.sever(s, cut) })
	}
	if w.chance(0.5) {
		from, d := w.otherSite(s.nodes[0]), w.between(2*time.Second, 6*time.Second)
		w.after(at-d, func() { w.part(s, from, d) })
	}
}

// part cuts a region off from another one before it is lost: what it still gives to the rest, these must hand on.
func (w *world) part(s, from *site, d time.Duration) {
	if w.healed || s.lost {
		return
	}
	w.faults["region cut off before its loss"]++
	w.note("world", "%s is cut off from %s", s.region, from.region)
	for _, l := range w.links {
		if l.joins(s, from) {
			w.cutFor(l, true, d+time.Second)
		}
	}
}

// sever takes a node's uplink away, as when a rack fails before the whole region does: other regions do not hear it, and after d its
// people are sent to another node of the region. What they wrote is repeated there, and what they write next must not leave before it.
func (w *world) sever(s *site, d time.Duration) {
	if w.healed || s.lost {
		return
	}
	w.faults["uplink lost"]++
	i := w.rng.IntN(len(s.nodes))
	n, to := s.nodes[i], s.nodes[(i+1)%len(s.nodes)]
	w.note("world", "%s loses its uplink", n.name())
	for _, l := range n.links() {
		if l.other(n).site != s {
			w.cutFor(l, true, 10*time.Second)
		}
	}
	w.after(d, func() {
		for _, c := range w.clients {
			if c.session != nil && c.session.node == n {
				c.moveTo(to)
			}
		}
	})
}

// moveTo has the device go to a node, without a word.
func (c *client) moveTo(n *node) {
	c.leave()
	c.at = slices.Index(c.endpoints, n)
	c.reconnect(c.w.between(0, 200*time.Millisecond))
}
