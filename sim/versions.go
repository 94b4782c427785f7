package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// Worlds of two builds: some nodes begin with the one before, which speaks the protocol version before and does not know accounts and
// blocks. It is brought them all the same, keeps them as they came, and hands them on; the build that knows them applies what
// was kept. Its core is the same as the others', which is shown such ops under numbers that it does not know. They are kinds which the
// author's side alone may bring: others wait for a protocol version (decision 0010).

// isNew says whether a narrow build does not know the kind.
func isNew(kind chat.OpKind) bool { return kind == chat.OpAccount || kind == chat.OpBlock }

// unknownBit makes a kind one that no build knows.
const unknownBit = 0x80

// widen plans when nodes of a narrow build are upgraded; some go back once more. Where a region is to be lost it may have been the
// first that got the new build.
func (w *world) widen() {
	if !w.mood.narrow {
		return
	}
	w.roll("kinds", "", 0)
	first := w.doomed != nil && w.chance(0.5)
	for _, n := range w.nodes {
		w.roll("kinds", n.name(), 0)
		if first {
			n.narrow = n.site != w.doomed
			continue
		}
		n.narrow = w.chance(0.6)
		at := w.between(w.busy/6, w.busy)
		if !n.narrow && w.chance(0.4) {
			w.after(at/2, func() { w.setNarrow(n, true) })
		}
		w.after(at, func() { w.setNarrow(n, false) })
	}
}

// agreed is the frame in the protocol version that both ends speak: the one before has no ends of op logs.
func (l *link) agreed(f replication.Frame) replication.Frame {
	if f.Kind == replication.FrameLives && (l.ends[0].narrow || l.ends[1].narrow) {
		f.Applied = nil
	}
	return f
}

// knows says whether the node's build knows ops of a kind.
func (n *node) knows(kind chat.OpKind) bool { return !n.narrow || !isNew(kind) }

// upgradeAll ends the worlds of two builds.
func (w *world) upgradeAll() {
	for _, n := range w.nodes {
		if n.narrow {
			w.faults["upgraded"]++
			n.narrow = false
			if n.up {
				w.crashFor(n, 50*time.Millisecond)
			}
		}
	}
}

// setNarrow restarts a node with the other build.
func (w *world) setNarrow(n *node, narrow bool) {
	if n.narrow == narrow || w.healed {
		return
	}
	w.faults[map[bool]string{true: "rolled back", false: "upgraded"}[narrow]]++
	w.note("world", "%s changes its build, to the one before: %v", n.name(), narrow)
	if n.up {
		w.crashFor(n, w.between(50*time.Millisecond, 2*time.Second))
	}
	n.narrow = narrow
}

// narrow says that no node of the region knows new kinds.
func (s *site) narrow() bool {
	return !slices.ContainsFunc(s.nodes, func(n *node) bool { return !n.narrow })
}

// seen gives ops as the node's build sees them.
func (n *node) seen(ops []chat.Op) []chat.Op {
	return n.renumber(ops, isNew)
}

// meant gives ops as they are.
func (n *node) meant(ops []chat.Op) []chat.Op {
	return n.renumber(ops, func(kind chat.OpKind) bool { return kind&unknownBit != 0 })
}

func (n *node) renumber(ops []chat.Op, which func(chat.OpKind) bool) []chat.Op {
	if !n.narrow || !slices.ContainsFunc(ops, func(op chat.Op) bool { return which(op.Kind) }) {
		return ops
	}
	ops = slices.Clone(ops)
	for i := range ops {
		if which(ops[i].Kind) {
			ops[i].Kind ^= unknownBit
		}
	}
	return ops
}

// seenParked gives what is parked as the node's build sees it.
func (n *node) seenParked(rows []chat.ParkedRow) []chat.ParkedRow {
	return n.renumberParked(rows, n.seen)
}

func (n *node) renumberParked(rows []chat.ParkedRow, renumber func([]chat.Op) []chat.Op) []chat.ParkedRow {
	if !n.narrow || len(rows) == 0 {
		return rows
	}
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Op = renumber([]chat.Op{rows[i].Op})[0]
	}
	return rows
}

// outward gives what a narrow build writes and sends as it is.
func (n *node) outward(out replication.Output) replication.Output {
	if !n.narrow {
		return out
	}
	switch out := out.(type) {
	case replication.Send:
		out.Frame.Ops = n.meant(out.Frame.Ops)
		return out
	case replication.Write:
		b := *out.Batch
		b.Log = slices.Clone(b.Log)
		for i := range b.Log {
			b.Log[i].Op = n.meant([]chat.Op{b.Log[i].Op})[0]
		}
		b.Parked, b.Unparked = n.renumberParked(b.Parked, n.meant), n.renumberParked(b.Unparked, n.meant)
		for i := range b.Parked {
			if isNew(b.Parked[i].Op.Kind) {
				n.w.faults["op of an unknown kind parked"]++
			}
		}
		out.Batch = &b
		return out
	}
	return out
}
