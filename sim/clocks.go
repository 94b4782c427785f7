package sim

import (
	"time"

	"meridian/chat"
	"meridian/replication"
	"meridian/replication/drift"
)

// maxDrift is what the nodes of all worlds allow between their clocks.
const maxDrift = 500 * time.Millisecond

// pingEvery is how often each end of a link asks for the other's time.
const pingEvery = time.Second

// reading is what the node's clocks say: the one on the wall, and the one that nobody sets.
func (n *node) reading() drift.Reading { return drift.Reading{Wall: n.clock(), Passed: n.w.now} }

// now is the time that the node goes by.
func (n *node) now() time.Time {
	if n.w.mood.unjudged {
		return n.clock()
	}
	return n.guard.Read(n.reading()).Now
}

// guardClock gives a process that starts the guard of its clock.
func (n *node) guardClock(id chat.Identity) {
	o := drift.Options{Self: n.ref, Nodes: len(n.w.nodes), MaxDrift: maxDrift}
	if id.HighWater > 0 {
		o.Mark = id.HighWater.Time()
	}
	n.guard, n.judged = drift.New(o), drift.Judgement{Standing: drift.Starting}
	n.belief = belief{began: n.w.now, mark: o.Mark, words: map[chat.NodeRef]told{}}
}

// judge judges the clock, and tells the core what has changed; false when this life is over.
func (n *node) judge() (time.Time, bool) {
	if n.w.mood.unjudged {
		return n.clock(), true
	}
	was, j := n.judged, n.guard.Read(n.reading())
	n.judged = j
	if j.Standing == drift.Trusted && was.Standing != drift.Trusted {
		n.believes(was.Standing)
	}
	if j.Restart {
		n.lifeOver("its clock was wrong")
		return j.Now, false
	}
	known := j.Standing != drift.Starting
	if known && was.Standing == drift.Starting {
		n.began = chat.HLCFromTime(j.Now)
	}
	if known != (was.Standing != drift.Starting) || (j.Refuse == nil) != (was.Refuse == nil) {
		n.w.note(n.name(), "clock %s, refuses with %v", j.Standing, j.Refuse)
		n.carryOut(n.core.Step(j.Now, replication.ClockState{Known: known, Refuse: j.Refuse}))
	}
	if j.Refuse != nil && was.Refuse == nil {
		n.w.faults["node drained for its clock"]++
		for _, s := range n.sessions {
			s.drop(s.client.wire(n))
		}
		n.sessions = nil
	}
	return j.Now, n.up
}

// ping asks the far end for its time, now and then, while the connection lasts.
func (l *link) ping(gen, i int) {
	if l.gen != gen || !l.up[i] {
		return
	}
	l.pings++
	l.w.roll("ping", l.name(), l.pings)
	from, to := l.ends[i], l.ends[1-i]
	from.later(pingEvery, func() { l.ping(gen, i) })
	asked := l.w.now
	l.carry(i, func() {
		shown := told{off: to.off()}
		word := drift.Word{Peer: to.ref, Asked: asked, Clock: to.clock(), Standing: to.guard.Read(to.reading()).Told}
		l.carry(1-i, func() {
			word.Answered = l.w.now
			from.guard.Hear(word)
			if word.Answered-word.Asked <= plainWord {
				shown.standing = word.Standing
				from.belief.words[to.ref] = shown
			}
		})
	})
}

// leap sets a node's clock wrong by up to an hour, until somebody corrects it; sometimes the node starts anew meanwhile.
func (w *world) leap(n *node) {
	w.faults["clock leap"]++
	off := pick(w.rng, time.Hour, -time.Hour, w.between(500*time.Millisecond, 5*time.Second), -w.between(500*time.Millisecond, 5*time.Second))
	lasts := w.between(200*time.Millisecond, 10*time.Second)
	w.note("world", "clock of %s leaps by %s for %s", n.name(), off, lasts)
	switch w.rng.IntN(4) {
	case 0: // wrong when it starts
		w.crashFor(n, w.between(100*time.Millisecond, time.Second))
		n.skew += off
	case 1: // wrong, and then it starts anew
		n.skew += off
		w.after(lasts/2, func() {
			if !w.healed {
				w.crashFor(n, w.between(100*time.Millisecond, time.Second))
			}
		})
	case 2: // right again only after a start
		n.skew += off
		w.after(lasts, func() {
			if !w.healed {
				w.crashFor(n, w.between(100*time.Millisecond, time.Second))
			}
		})
	default:
		n.skew += off
	}
	w.after(lasts, func() {
		if !w.healed {
			n.skew = n.newSkew()
		}
	})
}

// setClocks corrects all clocks, to a part of what they may differ.
func (w *world) setClocks() {
	for _, n := range w.nodes {
		n.site.skew = 0
		n.skew = min(max(n.skew, -maxDrift/3), maxDrift/3)
	}
}
