package replication

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"meridian/chat"
)

// What a stream brings and cannot be applied yet, though nothing stands against it, is parked: an op ahead of this node's
// clock, or of a kind that only a newer build knows. It is written to table parked in the batch that moves the stream's
// position, and acknowledged, so that the rest of the stream goes on; the watermark stays below it. Its time comes with the
// clock, or with the build. Of each stream every node that knows of its parked ops looks after them: the one that has the
// stream open at once, the others when it has not done so for parkedGrace. docs/decisions/0010-parked-ops.md says why.
//
// A node that has the store alone takes an op out of the table in the batch that applies it. Where nodes share the store it
// is taken out once this node's low mark covers what was applied, and the lease runs: what a frozen node was about to write
// may reach the store when nobody is shown it any more, and then the table must still hold the op.

const (
	// parkedOps and parkedBytes bound what is parked of one stream; beyond it the stream waits.
	parkedOps   = 4096
	parkedBytes = 8 << 20
	// parkedGrace is how long a node that does not have the stream open leaves it to the one that may have.
	parkedGrace = 2 * time.Second
	// parkedLate is how long a write that parks may be late: it is looked for what it brings back into the table.
	parkedLate = 5 * time.Second
	// parkedAlarmEvery bounds the alarms about one stream's parked ops.
	parkedAlarmEvery = time.Minute
)

// parkedOp is what is kept in memory of a parked op.
type parkedOp struct {
	place  place
	logged chat.HLC
	bytes  int
	born   uint64 // parking.asks when it was known to be durable; notDurable before
}

const notDurable = ^uint64(0)

// place is where an op stands in its stream.
type place struct {
	seq uint64
	id  chat.MessageID
}

func placeOf(op *chat.Op) place { return place{op.Seq, op.ID} }

func compareParked(a, b parkedOp) int {
	return cmp.Or(cmp.Compare(a.place.seq, b.place.seq), a.place.id.Compare(b.place.id))
}

// parking is what is parked of one stream, as far as this node knows, each list in order.
type parking struct {
	waiting []parkedOp // for the clock
	unknown []parkedOp // of kinds that this build does not know
	bytes   int
	due     []inOp // of waiting, read again: they are applied before anything else of the stream
	dueAt   time.Time
	applied bool // what was due is on its way
	// leaving has another node applied: they count until this node's low mark has reached high. ends: so does the stream's end.
	leaving []parkedOp
	high    chat.HLC
	ends    bool
	spent   map[place]spentOp // applied here, and to be gone from the table
	again   []chat.ParkedRow  // of spent, to be taken out once more

	asks      uint64 // ReadParked given
	reading   bool
	readAt    time.Time
	askedTold uint64    // inStream.told at the last of them
	knownTold uint64    // what is parked up to there is known
	ripeSince time.Time // the first that waits could be applied since then; zero: it cannot
	endAfter  uint64    // the stream has ended, and this answer tells what is parked of it; 0: not so
	lookAt    time.Time // for what a late write has brought back; zero: never
	warnedAt  time.Time
}

// spentOp is an op that was applied: pending until its row is gone, and at says since when.
type spentOp struct {
	pending bool
	at      time.Time
}

func (k *parking) list(kind chat.OpKind) *[]parkedOp {
	if knownKind(kind) {
		return &k.waiting
	}
	return &k.unknown
}

// len counts what is parked.
func (k *parking) len() int { return len(k.waiting) + len(k.unknown) }

// note adds a parked op, unless it is there already.
func (k *parking) note(op *chat.Op, born uint64) bool {
	row := parkedOp{place: placeOf(op), logged: op.Logged, bytes: size(op), born: born}
	if _, spent := k.spent[row.place]; spent {
		return false
	}
	list := k.list(op.Kind)
	i, found := slices.BinarySearchFunc(*list, row, compareParked)
	if found {
		return false
	}
	*list = slices.Insert(*list, i, row)
	k.bytes += row.bytes
	return true
}

// stored notes that what was parked is durable.
func (k *parking) stored(rows []chat.ParkedRow) {
	for i := range rows {
		list := *k.list(rows[i].Op.Kind)
		if at, found := slices.BinarySearchFunc(list, parkedOp{place: placeOf(&rows[i].Op)}, compareParked); found {
			list[at].born = k.asks
		}
	}
}

// forget takes out what meets the condition: it is applied, or could not be written.
func (k *parking) forget(gone func(op *parkedOp) bool) {
	for _, list := range []*[]parkedOp{&k.waiting, &k.unknown} {
		*list = slices.DeleteFunc(*list, func(op parkedOp) bool {
			if !gone(&op) {
				return false
			}
			k.bytes -= op.bytes
			return true
		})
	}
	k.ripeSince = time.Time{}
}

// first gives the first op that waits for the clock and that d does not apply.
func (k *parking) first(d *draft) (op parkedOp, ok bool) {
	for _, op := range k.waiting {
		if !d.unparks[op.place] {
			return op, true
		}
	}
	return parkedOp{}, false
}

// capped gives the watermark that may be claimed where the origin tells mark and d is durable: all that is parked lies after it.
func (s *inStream) capped(mark chat.HLC, d *draft) chat.HLC {
	for _, list := range [][]parkedOp{s.parking.waiting, s.parking.unknown, s.parking.leaving} {
		for i := range list {
			if !d.unparks[list[i].place] {
				mark = min(mark, list[i].logged-1)
			}
		}
	}
	return mark
}

// hear takes the origin's watermark, of which counts what capped gives.
func (s *inStream) hear(mark chat.HLC) {
	s.heard = max(s.heard, mark)
	s.next = max(s.next, s.capped(s.heard, &draft{}))
}

// tooEarly says whether what was logged then lies too far ahead of the clock to be applied.
func (c *Core) tooEarly(now time.Time, logged chat.HLC) bool {
	return logged > chat.HLCFromTime(now.Add(c.cfg.MaxDrift))
}

// unripe says why the op, next in the queue, is to be parked; "" when it is not. What follows one that waits for the clock
// waits with it.
func (c *Core) unripe(now time.Time, s *inStream, op *chat.Op, d *draft) chat.Code {
	first, waits := s.parking.first(d)
	switch {
	case !knownKind(op.Kind):
		return chat.CodeUpgradePending
	case c.tooEarly(now, op.Logged), waits && c.tooEarly(now, first.logged):
		return chat.CodeClockSkew
	}
	return ""
}

// park adds the op to the draft as parked. Where too much is parked of the stream it returns false: the stream waits.
func (c *Core) park(now time.Time, p *peer, s *inStream, it *inOp, why chat.Code, d *draft) bool {
	k := &s.parking
	full := k.len() >= parkedOps || k.bytes+size(&it.op) > parkedBytes
	if now.Sub(k.warnedAt) >= parkedAlarmEvery {
		k.warnedAt = now
		detail := "an op is parked: it is ahead of this node's clock"
		if why == chat.CodeUpgradePending {
			detail = fmt.Sprintf("an op is parked: it is of kind %d, which this build does not know", it.op.Kind)
		}
		if full {
			detail = fmt.Sprintf("the stream waits: %d of its ops are parked", k.len())
		}
		c.alarm(Alarm{Code: why, Peer: p.region, Stream: s.id, Op: it.op.ID, Detail: detail})
	}
	if full {
		return false
	}
	if k.note(&it.op, notDurable) {
		d.parked = append(d.parked, chat.ParkedRow{Op: it.op, Reason: why})
	}
	c.keep(&it.op, d)
	return true
}

// takeDue moves parked ops whose time has come into d. It returns false when it had to stop, as take does.
func (c *Core) takeDue(now time.Time, p *peer, s *inStream, d *draft) bool {
	k := &s.parking
	for len(k.due) > 0 {
		it := &k.due[0]
		if it.refused == nil && c.tooEarly(now, it.op.Logged) {
			k.due = nil // the clock went back: it is read again
			break
		}
		if it.refused == nil {
			it.refused = s.suspect.condemns(&it.op)
		}
		if d.taken >= s.suspect.bound() || it.refused == nil && c.busy(&it.op) {
			return false
		}
		d.taken++
		d.last = it.op.Seq
		if it.refused != nil {
			c.bury(now, p, s, it, d)
		} else {
			c.applyOrHear(now, p, it, d)
		}
		d.unpark(&it.op)
		k.due = k.due[1:]
	}
	return true
}

// unpark has the draft take a parked op out of its table.
func (d *draft) unpark(op *chat.Op) {
	if d.unparks == nil {
		d.unparks = map[place]bool{}
	}
	d.unparks[placeOf(op)] = true
	d.unparked = append(d.unparked, chat.ParkedRow{Op: *op})
}

// parkedWritten notes what came of a write that parks, or applies what was parked.
func (c *Core) parkedWritten(now time.Time, s *inStream, d *draft, err error) {
	k := &s.parking
	if err != nil {
		if len(d.unparked) > 0 {
			k.applied = false // and read again
		}
		k.due = nil
		failed := map[place]bool{}
		for i := range d.parked {
			failed[placeOf(&d.parked[i].Op)] = true
		}
		k.forget(func(op *parkedOp) bool { return failed[op.place] })
		return
	}
	k.stored(d.parked)
	if c.cfg.Lease == 0 && len(d.unparked) > 0 {
		k.applied = false
		k.spend(now, d.unparked, false)
	}
}

// takesOut gives d where the batch that applies what was parked takes it out of the table too, else nothing.
func (c *Core) takesOut(d *draft) *draft {
	if c.cfg.Lease > 0 {
		return &draft{}
	}
	return d
}

// parkedShown ends the work on what was parked and is now covered by this node's low mark, where nodes share the store.
func (c *Core) parkedShown(now time.Time, s *inStream, d *draft) {
	if c.cfg.Lease == 0 || len(d.unparked) == 0 {
		return
	}
	s.parking.applied = false
	if !c.certain(now) {
		return // whoever adopts this life shows it again
	}
	s.parking.spend(now, d.unparked, true)
	s.hear(0)
	s.settleMark()
	c.takeOut(now, s, d.unparked)
}

// spend notes that ops are applied; pending: their rows are still in the table.
func (k *parking) spend(now time.Time, rows []chat.ParkedRow, pending bool) {
	if len(rows) == 0 {
		return
	}
	if k.spent == nil {
		k.spent = map[place]spentOp{}
	}
	for i := range rows {
		k.spent[placeOf(&rows[i].Op)] = spentOp{pending, now}
	}
	k.forget(func(op *parkedOp) bool { _, spent := k.spent[op.place]; return spent })
	if k.lookAt.IsZero() {
		k.lookAt = now.Add(parkedLate)
	}
}

// takeOut takes rows of applied ops out of the table.
func (c *Core) takeOut(now time.Time, s *inStream, rows []chat.ParkedRow) {
	c.issue(now, &write{batch: &chat.Batch{Unparked: rows}, settle: func(now time.Time, err error) {
		if err != nil {
			s.parking.again = append(s.parking.again, rows...)
			return
		}
		s.parking.spend(now, rows, false)
	}})
}
