package sim

import (
	"time"

	"meridian/replication"
)

// Faults that are harder than a lease: a process that sleeps through it and goes on, a node that one region alone does not
// hear, a life that begins behind such a cut.

// harsh lets one of them happen to n.
func (w *world) harsh(n *node) {
	switch w.rng.IntN(8) {
	case 0, 1:
		w.freeze(n, w.between(time.Second, 9*time.Second))
	case 2, 3:
		w.isolate(n, w.otherSite(n), w.between(2*time.Second, 12*time.Second))
	case 4:
		w.reborn(n)
	case 5, 6:
		w.aimAtApply(n)
	default:
		w.delayFor(w.links[w.rng.IntN(len(w.links))], w.between(3*time.Second, 10*time.Second))
	}
}

// otherSite gives a region that is not the node's.
func (w *world) otherSite(n *node) *site {
	return w.sites[(n.site.index+1+w.rng.IntN(len(w.sites)-1))%len(w.sites)]
}

// freeze stops a process, as SIGSTOP does, perhaps for longer than its lease and the wait of who adopts its life: then it goes on
// where it was. What it had given to the disk is written meanwhile; what it was about to give is written when it goes on.
func (w *world) freeze(n *node, d time.Duration) {
	if !n.up {
		return
	}
	w.faults["freeze"]++
	w.note("world", "%s freezes for %s", n.name(), d)
	n.paused = max(n.paused, w.now+d)
	for _, c := range n.unsynced {
		c.held = w.chance(0.5)
	}
	if w.chance(0.5) { // the others miss its heartbeats
		for _, l := range n.links() {
			l.lose()
		}
	}
}

// isolate cuts a node off from a whole region, or from one node of it, while the others of its own region are heard there.
func (w *world) isolate(n *node, from *site, d time.Duration) {
	w.faults["node cut off from a region"]++
	only := from.nodes[w.rng.IntN(len(from.nodes))]
	one := w.chance(0.4)
	both := w.chance(0.6)
	for _, l := range n.links() {
		if other := l.other(n); other.site == from && (!one || other == only) {
			w.cutFor(l, both, d)
		}
	}
}

// reborn has a life of a node begin behind a cut: one region hears of it from the other nodes only, which may have given it
// watermarks by then.
func (w *world) reborn(n *node) {
	if !n.up {
		return
	}
	w.faults["life begins behind a cut"]++
	from := w.otherSite(n)
	for _, l := range n.links() {
		if l.other(n).site == from {
			w.cutFor(l, true, w.between(8*time.Second, 14*time.Second))
			l.lose()
		}
	}
	if w.chance(0.5) {
		n.later(0, func() { n.step(replication.Leave{}) })
	}
	w.after(w.between(100*time.Millisecond, time.Second), func() {
		w.crashFor(n, w.between(50*time.Millisecond, 500*time.Millisecond))
	})
}

// delayFor makes one direction of a path slow.
func (w *world) delayFor(l *link, d time.Duration) {
	w.faults["slow path"]++
	i := w.rng.IntN(2)
	l.slow[i] = w.between(200*time.Millisecond, 1500*time.Millisecond)
	w.note("world", "path from %s to %s takes %s longer for %s", l.ends[i].name(), l.ends[1-i].name(), l.slow[i], d)
	w.after(d, func() { l.slow[i] = 0 })
}

// links gives the connections of a node.
func (n *node) links() []*link {
	var list []*link
	for _, l := range n.w.links {
		if l.ends[0] == n || l.ends[1] == n {
			list = append(list, l)
		}
	}
	return list
}

// other gives the far end.
func (l *link) other(n *node) *node {
	if l.ends[0] == n {
		return l.ends[1]
	}
	return l.ends[0]
}

// tick is how coarse the clock of a machine is: several of its stamps, and those of the nodes beside it, then come close together.
func (m *mood) tick(t time.Time) time.Time {
	if m.coarse == 0 {
		return t
	}
	return t.Truncate(m.coarse)
}

// slowRead is how long a read of the store takes.
func (n *node) slowRead(lo, hi time.Duration) time.Duration {
	if n.w.mood.slowReads > 0 && n.w.chance(n.w.mood.slowReads) {
		return n.w.between(50*time.Millisecond, 800*time.Millisecond)
	}
	return n.w.between(lo, hi)
}
