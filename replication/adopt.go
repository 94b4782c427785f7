package replication

import (
	"slices"
	"time"

	"meridian/chat"
)

// lateFor is how long after an adoption rows are looked for that reached the op log of the dead after it was closed, and
// lateEvery how often.
const (
	lateFor   = time.Minute
	lateEvery = time.Second
)

// lateRows is the search for them.
type lateRows struct {
	reading bool
	readAt  time.Time
	after   uint64              // the search begins here
	seen    map[uint64]struct{} // of what comes after: what is relayed in its place, or was logged anew
	again   bool                // another node had adopted the life before
	at      uint64              // how far this search has come
}

// adoptEnded adopts the lives whose lease has ended and that nobody who lives is answerable for.
func (c *Core) adoptEnded(now time.Time) {
	if !c.mayStamp(now) {
		return
	}
	for _, s := range c.kin() {
		if !s.adopting && !s.retired && c.logs[s.row.Stream] == nil && c.orphaned(now, s) {
			s.adopting = true
			c.emit(Adopt{Life: s.row.Stream, Before: c.overBefore(now)})
		}
		c.recover(now, s)
		c.lookForLate(now, s)
		c.retireDone(now, s)
	}
}

// orphaned says that nobody who lives is answerable for the life's op log.
func (c *Core) orphaned(now time.Time, s *sibling) bool {
	row := &s.row
	switch {
	case row.AdoptedBy == c.cfg.Node || row.Stream.Node == c.cfg.Node && (c.cfg.Lease == 0 || row.Until == 0):
		return true // another life of this node, which does not work any more, or never did
	case row.AdoptedBy != "":
		for _, other := range c.kin() {
			if other.row.Stream.Node == row.AdoptedBy && c.isLatest(other) {
				return c.leaseOver(now, &other.row)
			}
		}
		return false
	}
	return row.Until != 0 && c.leaseOver(now, row)
}

func (c *Core) leaseOver(now time.Time, row *chat.NodeRow) bool {
	return row.Until < c.overBefore(now)
}

// overBefore is the time before which a lease must have ended for the life to be left to others.
func (c *Core) overBefore(now time.Time) chat.HLC { return chat.HLCFromTime(now.Add(-c.cfg.AdoptWait)) }

// adopted makes this node answerable for a life that has ended: its op log is closed at the last row there is and relayed
// from here. What the life may have left half done is applied anew first; until then its low mark holds the region's down.
func (c *Core) adopted(now time.Time, in Adopted) {
	s := c.sibling(in.Life)
	s.adopting = false
	if in.Err != nil || c.logs[in.Life] != nil {
		return // another node was faster, or the store does not answer: the next renewal tells
	}
	// A life that ended long ago gets nothing late any more, as far as anybody looks: its tail is not logged anew at each restart.
	again := s.row.AdoptedBy != "" && now.Before(s.row.Until.Add(c.cfg.AdoptWait+lateFor).Time())
	s.row = in.Row
	c.meetParked(in.Parked)
	c.reviewRecent()
	positions := s.known(in.Positions)
	if s.marked = in.Positions[c.cfg.Self] >= in.Row.LastSeq && in.Row.LastSeq > 0; s.marked {
		in.Tail = nil
	}
	if len(in.Tail) == 0 && c.pastLate(now, s) && c.allHave(positions, in.Row.LastSeq) {
		c.retire(s)
		return
	}
	log := &ownLog{stream: in.Life, closed: true, last: in.Row.LastSeq, settled: in.Row.LastSeq, tailFrom: in.Row.LastSeq}
	c.logs[in.Life] = log
	c.relay(log, positions, in.Tail)
	s.tail, s.since = in.Tail, now
	s.late = lateRows{after: in.Row.LastSeq, readAt: now, seen: map[uint64]struct{}{}, again: again}
	for i := range in.Tail {
		seq := in.Tail[i].Seq
		s.late.after = min(s.late.after, seq-min(seq, uint64(max(1, c.cfg.InFlight)))) // no more was under way at once
		if !again || !passedBy(&in.Tail[i], positions) {
			s.late.seen[seq] = struct{}{}
		}
	}
	s.late.at = s.late.after
	if len(s.tail) == 0 {
		s.finished = true
	}
	c.recover(now, s)
	c.tellMarks = true
}

// passedBy says that a region has acknowledged a position beyond an op that it must have: who adopted the life before may have
// relayed past it before it was there.
func passedBy(op *chat.Op, positions map[chat.Region]uint64) bool {
	return slices.ContainsFunc(op.To, func(r chat.Region) bool { return positions[r] >= op.Seq })
}

// doubt has logged anew what a region says to be beyond, though the store knew of no ack of it: who adopted the life before may have
// relayed past it before it was there.
func (c *Core) doubt(o *outbound, upTo uint64) {
	s := c.siblings[o.log.stream]
	if s == nil || !s.late.again {
		return
	}
	for seq := range s.late.seen {
		if seq > o.acked && seq <= upTo {
			delete(s.late.seen, seq)
		}
	}
}

// recover applies the ops that the dead may have left half done, idempotently and with new arrivals.
func (c *Core) recover(now time.Time, s *sibling) {
	if len(s.tail) == 0 || !c.mayStamp(now) {
		return
	}
	tail := s.tail
	s.tail = nil
	c.applyAnew(now, tail, func(err error) {
		if err != nil {
			s.tail = tail // the next tick tries again
			return
		}
		s.finished = true
		c.tellMarks = true
	})
}

// applyAnew writes what ops change here once more, visible from now on. done is told when that is covered by the low mark.
// No other write has to wait for it: the rows merge, and an alias that is there already stays one.
func (c *Core) applyAnew(now time.Time, ops []chat.Op, done func(error)) {
	batch := &chat.Batch{}
	a := c.applier(now, batch)
	low := c.clock.Next(now)
	for i := range ops {
		a.apply(&ops[i], a.next(), nil)
	}
	c.issue(now, &write{
		batch: batch, low: low,
		settle: func(_ time.Time, err error) {
			if err != nil {
				done(err)
			}
		},
		passed: func(now time.Time) {
			c.visible(batch.Inbox, ops)
			var messages []reviewItem
			for i := range ops {
				for _, op := range sendsOf(&ops[i]) {
					messages = append(messages, reviewItem{op: op})
				}
			}
			c.lookOwn(ofGroups(ops))
			c.review(now, messages, func(time.Time, []chat.MessageID) { done(nil) })
		},
	})
}

// lookForLate reads what reached the op log of the dead after it was closed.
func (c *Core) lookForLate(now time.Time, s *sibling) {
	if c.logs[s.row.Stream] == nil || s.late.reading || now.Sub(s.since) > lateFor || now.Sub(s.late.readAt) < lateEvery {
		return
	}
	s.late.readAt = now
	c.readLate(s)
}

// latePage is how many ops of the dead are read at once.
const latePage = 256

func (c *Core) readLate(s *sibling) {
	s.late.reading = true
	c.emit(ReadLog{Stream: s.row.Stream, After: s.late.at, UpTo: ^uint64(0), Limit: latePage})
}

// tailRead logs late rows anew, in the own stream: their own place lies below watermarks that were told.
func (c *Core) tailRead(now time.Time, in LogRead) {
	s, ok := c.siblings[in.Stream]
	if !ok || !s.late.reading {
		return
	}
	s.late.reading = false
	if in.Err != nil || !c.mayStamp(now) {
		return
	}
	for i := range in.Ops {
		s.late.at = in.Ops[i].Seq
		if _, known := s.late.seen[s.late.at]; known || in.Ops[i].Logged <= s.row.Low {
			continue
		}
		s.late.seen[s.late.at] = struct{}{}
		c.relog(now, &relogged{op: in.Ops[i], to: in.Ops[i].To})
	}
	if len(in.Ops) == latePage {
		c.readLate(s)
		return
	}
	s.late.at = s.late.after // what comes late may stand between what was there
}
