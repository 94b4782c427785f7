package sim

import (
	"time"

	"meridian/chat"
	"meridian/sim/memstore"
)

// ticksASweep is how many ticks of a node pass between two sweeps of its store: about a second.
const ticksASweep = 20

// planExile plans that a region is cut off from all others, for longer than op logs keep what nobody is owed.
func (w *world) planExile() {
	if w.mood.exile == 0 {
		return
	}
	w.roll("exile", "", 0)
	s := w.sites[w.rng.IntN(len(w.sites))]
	w.after(w.between(w.busy/10, w.busy/3), func() {
		if w.healed {
			return
		}
		w.faults["region cut off"]++
		w.note("world", "%s is cut off for %s", s.region, w.mood.exile)
		for _, l := range w.links {
			if (l.ends[0].site == s) != (l.ends[1].site == s) {
				w.cutFor(l, true, w.mood.exile)
			}
		}
	})
}

// lateWrites is how long after its stamp a write may come that slept, and be found by whoever adopted the life: real op logs are kept
// for hours at least.
const lateWrites = 20 * time.Second

// sweep drops what has outlived its retention from the store, and looks whether the rest keeps its bounds.
func (n *node) sweep() {
	if keep := n.w.mood.opLog; keep > 0 {
		if n.site.shared() {
			keep += lateWrites
		}
		n.w.faults["op logs swept"] += n.tables.Sweep(chat.HLCFromTime(n.clock()), memstore.Retention{OpLog: keep})
	}
	n.proveBudget()
}

// budgetSlack is by how much more than its budget a region may be owed: a few ops that were taken in together.
const budgetSlack = 2 << 10

// proveBudget checks that no region is owed more than the budget allows of what people wrote here. What this region logs by itself, and
// what takes something away, is not bounded by it.
func (n *node) proveBudget() {
	w := n.w
	if w.mood.outbox == 0 {
		return
	}
	limit := w.mood.outbox + budgetSlack
	if n.site.shared() {
		limit *= int64(len(n.site.nodes)) // until a dead node's op log is adopted nobody counts it
	}
	for _, to := range w.sites {
		if to == n.site {
			continue
		}
		w.checked(PromiseBounded)
		if owed := n.site.owes(to); owed > limit {
			w.violate(PromiseBounded, "%s owes %s %d bytes of what people wrote; the budget is %d", n.region, to.region, owed, w.mood.outbox)
		}
	}
}

// owes gives, in bytes at least, what people wrote here that another region must have and has not.
func (s *site) owes(to *site) int64 {
	applied := map[chat.StreamID]uint64{}
	for _, row := range to.tables.Applied() {
		applied[row.Stream] = row.Seq
	}
	bytes := 0
	for _, life := range s.tables.Streams() {
		if life.Stream.Region != s.region {
			continue
		}
		for _, op := range s.tables.ReadLog(life.Stream, applied[life.Stream], ^uint64(0), to.region, everything) {
			if (op.Kind == chat.OpMessage || op.Kind == chat.OpMark) && op.Logged == op.Time {
				bytes += 256 + len(op.Body)
			}
		}
	}
	return int64(bytes)
}
