package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// fault lets one thing go wrong, unless the plan leaves it out; trouble has planned the next.
func (w *world) fault() {
	if w.healed || !w.trouble() {
		return
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	l := w.links[w.rng.IntN(len(w.links))]
	if w.chance(w.mood.leaps) {
		w.leap(n)
		return
	}
	if w.chance(w.mood.astray) {
		w.astray(n)
		return
	}
	if w.chance(w.mood.harsh) {
		w.harsh(n)
		return
	}
	switch w.rng.IntN(10) {
	case 0, 1:
		if w.chance(0.25) {
			w.leaveFor(n, w.between(200*time.Millisecond, 8*time.Second))
			return
		}
		w.crashFor(n, w.between(200*time.Millisecond, 8*time.Second))
	case 2:
		w.faults["connection lost"]++
		w.note("world", "connection lost: %s~%s", l.ends[0].name(), l.ends[1].name())
		l.lose()
	case 3, 4:
		w.cutFor(l, true, w.between(500*time.Millisecond, 12*time.Second))
	case 5, 6:
		w.cutFor(l, false, w.between(500*time.Millisecond, 12*time.Second))
	case 7:
		w.faults["pause"]++
		w.note("world", "pause: %s", n.region)
		n.paused = max(n.paused, w.now+w.between(100*time.Millisecond, 3*time.Second))
	case 9:
		w.stall(n, w.between(time.Second, 4*time.Second))
	case 8:
		w.faults["clock jump"]++
		n.skew = n.newSkew()
		w.note("world", "clock of %s now off by %s", n.region, n.skew)
	}
}

// clockBack is how far behind a machine's clock may be when it starts, until somebody corrects it.
const clockBack = 1500 * time.Millisecond

// stall stops a disk; sometimes the machine then goes down, and comes back at once with its clock behind.
func (w *world) stall(n *node, d time.Duration) {
	if n.site.shared() && w.chance(0.5) {
		w.strand(n, 2*d)
		return
	}
	w.faults["disk stall"]++
	w.note("world", "disk of %s stalls for %s", n.region, d)
	n.site.stalled = w.now + d
	if w.chance(0.5) {
		w.after(w.between(d/2, d), func() {
			if !w.healed {
				w.crashFor(n, w.between(10*time.Millisecond, 60*time.Millisecond))
				n.site.stalled = 0
				n.skew = -clockBack
				w.after(w.between(time.Second, 2*time.Second), func() { n.skew = n.newSkew() })
			}
		})
	}
}

// strand makes the way from a node to the store that it shares slow: what it asks there is done late, and not in order.
func (w *world) strand(n *node, d time.Duration) {
	w.faults["store slow for one node"]++
	w.note("world", "the store is slow for %s for %s", n.name(), d)
	n.stranded = w.now + d
}

// leaveFor ends a process in good order, for a while.
func (w *world) leaveFor(n *node, d time.Duration) {
	if !n.up {
		return
	}
	w.faults["orderly restart"]++
	n.later(0, func() { n.step(replication.Leave{}) })
	w.after(d, func() {
		if !n.up {
			n.boot()
		}
	})
}

// hasLeft ends a process that was told to leave. Its last writes may have taken until after everything healed: then nobody else
// would start it again.
func (n *node) hasLeft() {
	n.w.note(n.name(), "left")
	n.crash()
	if n.w.healed {
		n.w.after(time.Second, func() {
			if !n.up {
				n.boot()
			}
		})
	}
}

func (w *world) crashFor(n *node, d time.Duration) {
	if !n.up {
		return
	}
	w.faults["crash"]++
	n.crash()
	w.after(d, func() {
		if !n.up {
			n.boot()
		}
	})
}

// cutFor cuts a path one way or both; the connection over it ends when somebody notices.
func (w *world) cutFor(l *link, both bool, d time.Duration) {
	dir := w.rng.IntN(2)
	if both {
		w.faults["cut both ways"]++
	} else {
		w.faults["cut one way"]++
	}
	w.note("world", "cut %s~%s, both %v, for %s", l.ends[0].name(), l.ends[1].name(), both, d)
	set := func(cut bool) {
		l.block(dir, cut)
		if both {
			l.block(1-dir, cut)
		}
	}
	set(true)
	gen := l.gen
	w.after(w.between(time.Second, 4*time.Second), func() {
		if l.gen == gen && (l.cut[0] || l.cut[1]) {
			l.lose()
		}
	})
	w.after(d, func() { set(false) })
}

// heal ends all faults: what is down starts, what is cut is joined.
func (w *world) heal() {
	w.healed = true
	w.note("world", "healed")
	w.upgradeAll()
	w.setClocks()
	for _, n := range w.nodes {
		if !n.up {
			n.boot()
		}
	}
	for _, l := range w.links {
		l.block(0, false)
		l.block(1, false)
		l.slow = [2]time.Duration{}
	}
	w.after(time.Second, w.takeOut)
	w.repairLast()
}

// lose destroys a region: its nodes stop, and never come back; its disk is gone.
func (w *world) lose(s *site) {
	w.faults["region lost for good"]++
	w.note("world", "%s is lost for good", s.region)
	s.lost = true
	for _, n := range s.nodes {
		if n.up {
			n.crash()
		}
	}
}

// living gives the regions that are not lost for good.
func (w *world) living() []*site {
	return slices.DeleteFunc(slices.Clone(w.sites), func(s *site) bool { return s.lost })
}

// served says whether a region of the zone is left.
func (w *world) served(zone chat.Zone) bool {
	return slices.ContainsFunc(w.living(), func(s *site) bool { return w.topology.InZone(s.region, zone) })
}

// isLost says that a region is lost for good.
func (w *world) isLost(r chat.Region) bool {
	return slices.ContainsFunc(w.sites, func(s *site) bool { return s.region == r && s.lost })
}
