package sim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// Worlds of two builds: some regions begin with the build before, which speaks protocol version 1: one node per region, no kind
// of op after OpClaim, none of the frames that version 2 brought. One by one they are upgraded by a restart while people write;
// some go back once more, which is allowed as long as a region holds nothing that the build before does not know.

// versionBefore is the protocol of the build before.
const versionBefore = replication.ProtocolNodes - 1

// protocol is what two nodes agree on.
func (l *link) protocol() int {
	if l.ends[0].old || l.ends[1].old {
		return versionBefore
	}
	return replication.ProtocolNodes
}

// knows says whether the node's build knows ops of a kind.
func (n *node) knows(kind chat.OpKind) bool {
	return (!n.old || kind <= chat.OpClaim) && (!n.narrow || !isNew(kind))
}

// versions plans when regions change over.
func (w *world) versions() {
	if !w.mood.oldBuild {
		return
	}
	for _, n := range w.nodes {
		w.roll("version", n.name(), 0)
		n.old = w.chance(0.6)
		at := w.between(w.busy/6, w.busy*5/6)
		if n.old {
			w.after(at, func() { w.changeOver(n, false) })
			continue
		}
		if w.chance(0.4) {
			w.after(at/2, func() { w.changeOver(n, true) })
			w.after(at, func() { w.changeOver(n, false) })
		}
	}
}

// changeOver restarts a node with the other build.
func (w *world) changeOver(n *node, old bool) {
	if n.old == old || w.healed || old && n.site.beyondOld() {
		return
	}
	w.faults[map[bool]string{true: "rolled back", false: "upgraded"}[old]]++
	w.note("world", "%s changes its build, to the one before: %v", n.name(), old)
	w.crashFor(n, w.between(50*time.Millisecond, 2*time.Second))
	n.old = old
}

// beyondOld says that the region holds what the build before does not know.
func (s *site) beyondOld() bool {
	return slices.ContainsFunc(s.tables.Streams(), func(end chat.StreamEnd) bool {
		return slices.ContainsFunc(s.tables.ReadLog(end.Stream, 0, end.Seq, "", everything), func(op chat.Op) bool { return op.Kind > chat.OpClaim })
	})
}

// upgradeAll ends the worlds of two builds.
func (w *world) upgradeAll() {
	for _, n := range w.nodes {
		if n.old || n.narrow {
			w.faults["upgraded"]++
			n.old, n.narrow = false, false
			if n.up {
				w.crashFor(n, 50*time.Millisecond)
			}
		}
	}
}

// receivedByOld is a frame as the build before takes it: it buries what it does not know, and goes on.
func receivedByOld(f replication.Frame) replication.Frame {
	f.Ops = slices.DeleteFunc(slices.Clone(f.Ops), func(op chat.Op) bool { return op.Kind > chat.OpClaim })
	return f
}
