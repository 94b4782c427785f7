package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// In some worlds nobody judges the clocks. There a region's only clock may be far off for some seconds: what it is brought lies
// ahead of its clock, or what it brings ahead of all others', and is parked, while nodes crash, others take their streams over,
// or the origin is cut off. A node that shares its store is off by less than what its lease allows for.

// astray sets a node's clock wrong, until somebody corrects it; often a node where ops are parked starts anew meanwhile.
func (w *world) astray(n *node) {
	off := pick(w.rng, -time.Hour, -w.between(600*time.Millisecond, 6*time.Second), w.between(time.Second, 5*time.Second), w.between(time.Second, 5*time.Second))
	if n.site.shared() {
		off = -w.between(maxDrift, 900*time.Millisecond)
	}
	victim := n
	if off < 0 {
		w.faults["clock behind"]++
	} else {
		w.faults["clock ahead"]++
		victim = w.nodes[w.rng.IntN(len(w.nodes))]
	}
	lasts := w.between(time.Second, 8*time.Second)
	w.note("world", "clock of %s is off by %s for %s", n.name(), off, lasts)
	n.skew = off
	if w.chance(0.6) {
		w.after(w.between(0, lasts), func() {
			if !w.healed {
				w.crashFor(victim, w.between(50*time.Millisecond, 6*time.Second))
			}
		})
	}
	w.after(lasts, func() {
		if !w.healed {
			n.skew = w.newSkew()
		}
	})
}

// place is an op's in a stream.
type place struct {
	stream chat.StreamID
	seq    uint64
}

// shownOps is what a region has shown of foreign streams.
type shownOps struct {
	last map[chat.StreamID]uint64
	ops  map[place]bool
	ids  map[chat.MessageID]bool
}

func newShownOps() shownOps {
	return shownOps{last: map[chat.StreamID]uint64{}, ops: map[place]bool{}, ids: map[chat.MessageID]bool{}}
}

// proveStreamOrder checks that a region shows what a foreign stream brings in its order, but for what it has shown already.
func (n *node) proveStreamOrder(out replication.Visible) {
	shown := &n.site.shown
	for i := range out.Ops {
		op := &out.Ops[i]
		shown.ids[op.ID] = true
		at := place{op.Stream, op.Seq}
		if op.Stream.Region == n.region || shown.ops[at] {
			continue
		}
		n.w.checked(PromiseOrder)
		shown.ops[at] = true
		if last := shown.last[op.Stream]; op.Seq < last {
			n.w.violate(PromiseOrder, "%s shows op %d of %v after op %d", n.name(), op.Seq, op.Stream, last)
		}
		shown.last[op.Stream] = max(shown.last[op.Stream], op.Seq)
	}
}

// proveParked checks that no cursor is told to have seen what is parked.
func (n *node) proveParked(m replication.Marks) {
	for _, row := range n.tables.Parked() {
		if op := &row.Op; op.Kind == chat.OpMessage && m.Global >= op.Logged && !n.site.shown.ids[op.ID] {
			n.w.violate(PromiseNoGap, "%s gives a global time %s after op %d of %v, which is parked", n.name(), m.Global.Time().Sub(op.Logged.Time()), op.Seq, op.Stream)
		}
	}
}

// countParked counts what a write parks.
func (n *node) countParked(out replication.Write) {
	if k := len(out.Batch.Parked); k > 0 {
		n.w.faults["op parked"] += k
	}
}

// parked gives what is parked of a stream.
func (n *node) parked(stream chat.StreamID) []chat.ParkedRow {
	return slices.DeleteFunc(n.tables.Parked(), func(row chat.ParkedRow) bool { return row.Op.Stream != stream })
}
