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
	set := &n.skew
	if n.site.shared() {
		off = -w.between(maxDrift, sharedAstray)
		if w.chance(0.4) { // all of them alike, so that their leases agree
			off, set = -off, &n.site.skew
		}
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
	*set = off
	if w.chance(0.6) {
		w.after(w.between(0, lasts), func() {
			if !w.healed {
				w.crashFor(victim, w.between(50*time.Millisecond, 6*time.Second))
			}
		})
	}
	w.after(lasts, func() {
		if !w.healed {
			n.site.skew = 0
			n.skew = n.newSkew()
		}
	})
}

// sharedAstray is how far off the clock of a node is at most that shares its store.
const sharedAstray = 900 * time.Millisecond

// troubleParked lets things go wrong around a write where it hurts most: who brought what is parked leaves and ends its life while the op
// waits here; or it goes down, and this process sleeps through its lease, with what was parked about to be written.
func (n *node) troubleParked(b *chat.Batch) {
	w := n.w
	if w.mood.astray == 0 || w.healed || !n.site.shared() {
		return
	}
	for i := range b.Parked {
		if origin := w.nodeOf(b.Parked[i].Op.Stream); origin != nil && origin.site.shared() {
			w.after(0, func() {
				if w.chance(0.5) {
					w.leaveFor(origin, w.between(20*time.Millisecond, 200*time.Millisecond))
				}
			})
			return
		}
	}
	if stream, ok := n.appliesParked(b); ok {
		w.after(0, func() {
			if w.chance(0.5) {
				n.sleepOver(w.nodeOf(stream))
			}
		})
	}
}

// sleepOver freezes a process until its life is adopted, or about so, with all its writes held; origin is away meanwhile.
func (n *node) sleepOver(origin *node) {
	w := n.w
	if !n.up || w.healed {
		return
	}
	w.faults["sleep over what was parked"]++
	d := w.between(leaseFor+adoptWait, leaseFor+adoptWait+3*time.Second)
	w.note("world", "%s sleeps for %s, about to show what was parked", n.name(), d)
	n.sleep(d)
	if origin != nil {
		w.crashFor(origin, w.between(6*time.Second, 10*time.Second))
	}
}

// appliesParked says whether a write shows something that the store has parked, and of which stream.
func (n *node) appliesParked(b *chat.Batch) (chat.StreamID, bool) {
	if len(b.Messages) == 0 {
		return chat.StreamID{}, false
	}
	for _, row := range n.tables.Parked() {
		if slices.ContainsFunc(b.Messages, func(m chat.MessageRow) bool { return m.ID == row.Op.ID }) {
			return row.Op.Stream, true
		}
	}
	return chat.StreamID{}, false
}

// nodeOf gives the node whose life a stream is; nil if there is none.
func (w *world) nodeOf(stream chat.StreamID) *node {
	for _, n := range w.nodesOf(stream.Region) {
		if n.ref.Node == stream.Node {
			return n
		}
	}
	return nil
}

// place is an op's in a stream.
type place struct {
	stream chat.StreamID
	seq    uint64
}

func placeOf(op *chat.Op) place { return place{op.Stream, op.Seq} }

// shownOps is what a region has shown of foreign streams, and what was done with them by then.
type shownOps struct {
	turn    int // counts what is stored and shown
	last    map[chat.StreamID]uint64
	lastAt  map[chat.StreamID]int
	ops     map[place]bool
	ids     map[chat.MessageID]bool
	reached map[chat.StreamID]uint64 // the position that the store has
	done    map[place]int            // the turn in which an op was passed by the position and not parked, or was parked no more
}

func newShownOps() shownOps {
	return shownOps{
		last: map[chat.StreamID]uint64{}, lastAt: map[chat.StreamID]int{}, ops: map[place]bool{}, ids: map[chat.MessageID]bool{},
		reached: map[chat.StreamID]uint64{}, done: map[place]int{},
	}
}

// noteLogged notes which ops have become durable in an op log of the region that made it.
func (w *world) noteLogged(b *chat.Batch) {
	for i := range b.Log {
		at := placeOf(&b.Log[i].Op)
		if _, known := w.logged[at]; !known {
			w.logged[at] = w.now
		}
	}
}

// late says that an op came into its op log so long after a later one that the log was closed before.
func (w *world) late(at, later place) bool { return w.logged[at]-w.logged[later] >= leaseFor }

// stored notes what a batch that reached the store has done.
func (shown *shownOps) stored(b *chat.Batch) {
	parked := map[place]bool{}
	for i := range b.Parked {
		parked[placeOf(&b.Parked[i].Op)] = true
	}
	shown.turn++
	for _, row := range b.Applied {
		for shown.reached[row.Stream] < row.Seq {
			shown.reached[row.Stream]++
			if at := (place{row.Stream, shown.reached[row.Stream]}); !parked[at] {
				shown.done[at] = shown.turn
			}
		}
	}
	shown.unparked(b)
}

// unparked notes what is parked no more. Where nodes share the store an op is taken out of the table only when it is shown.
func (shown *shownOps) unparked(b *chat.Batch) {
	for i := range b.Unparked {
		if at := placeOf(&b.Unparked[i].Op); shown.done[at] == 0 {
			shown.done[at] = shown.turn
		}
	}
}

// before says that the op was done with by then.
func (shown *shownOps) before(at place, turn int) bool {
	done := shown.done[at]
	return done != 0 && done <= turn
}

// proveOrder looks at what a node shows and takes out of the table of what is parked, in the order in which it does so.
func (n *node) proveOrder(outs []replication.Output) {
	for _, out := range outs {
		switch out := out.(type) {
		case replication.Visible:
			n.proveStreamOrder(out)
		case replication.Write:
			if n.site.shared() {
				n.site.shown.unparked(out.Batch)
			}
		}
	}
}

// proveStreamOrder checks that a region shows what a foreign stream brings in its order, but for what it has shown already. An
// op that was done with before a later one was shown did not come after it, though nobody may have been told: it left nothing in
// anybody's inbox log, or the node that wrote it died, or froze, before it could tell. When it is brought once more it is told.
func (n *node) proveStreamOrder(out replication.Visible) {
	shown := &n.site.shown
	shown.turn++
	for i := range out.Ops {
		op := &out.Ops[i]
		shown.ids[op.ID] = true
		at := placeOf(op)
		if op.Stream.Region == n.region || shown.ops[at] || n.w.mood.narrow && isNew(op.Kind) { // who does not know a kind goes on without it
			continue
		}
		n.w.checked(PromiseOrder)
		shown.ops[at] = true
		last := shown.last[op.Stream]
		if op.Seq > last {
			shown.last[op.Stream], shown.lastAt[op.Stream] = op.Seq, shown.turn
		} else if !shown.before(at, shown.lastAt[op.Stream]) && !n.w.late(at, place{op.Stream, last}) {
			n.w.violate(PromiseOrder, "%s shows op %d of %v after op %d", n.name(), op.Seq, op.Stream, last)
		}
	}
}

// proveParked checks that no cursor is told to have seen what is parked. What became a dead letter is decided: its row goes next.
func (n *node) proveParked(m replication.Marks) {
	for _, row := range n.tables.Parked() {
		op := &row.Op
		provable := op.Kind == chat.OpMessage || isNew(op.Kind) && n.site.narrow()
		if provable && m.Global >= op.Logged && !n.site.shown.ids[op.ID] && !n.buried(op) {
			n.w.violate(PromiseNoGap, "%s gives a global time %s after op %d of %v, which is parked", n.name(), m.Global.Time().Sub(op.Logged.Time()), op.Seq, op.Stream)
		}
	}
}

// buried says that the op became a dead letter here.
func (n *node) buried(op *chat.Op) bool {
	return slices.ContainsFunc(n.tables.DeadLetters(everything), func(row chat.DeadLetterRow) bool {
		return row.Stream == op.Stream && row.Seq == op.Seq && row.Op == op.ID
	})
}

// countParked counts what a write parks.
func (n *node) countParked(b *chat.Batch) {
	if k := len(b.Parked); k > 0 {
		n.w.faults["op parked"] += k
	}
}

// parked gives what is parked of a stream.
func (n *node) parked(stream chat.StreamID) []chat.ParkedRow {
	return slices.DeleteFunc(n.seenParked(n.tables.Parked()), func(row chat.ParkedRow) bool { return row.Op.Stream != stream })
}
