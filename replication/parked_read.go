package replication

import (
	"time"

	"meridian/chat"
)

// Whoever looks after the parked ops of a stream reads them again from the store when their time has come: another node may have
// applied some, or parked more.

// tickParked has parked ops read again once they can be applied.
func (c *Core) tickParked(now time.Time, p *peer, s *inStream) {
	k := &s.parking
	if rows := k.again; len(rows) > 0 {
		k.again = nil
		c.takeOut(now, s, rows)
	}
	if (k.ends || len(k.leaving) > 0) && c.low(now) >= k.high {
		if k.leaving = nil; k.ends {
			s.end()
		}
		k.ends = false
		s.hear(0)
		s.settleMark()
	}
	if k.reading || k.applied || len(k.due) > 0 || now.Sub(k.readAt) < pause || !c.mayStamp(now) || !c.wantsParked(now, p, s) {
		return
	}
	k.reading, k.readAt, k.askedTold = true, now, s.told
	k.asks++
	c.emit(ReadParked{Stream: s.id})
}

// wantsParked says whether the store is to be asked what is parked of the stream.
func (c *Core) wantsParked(now time.Time, p *peer, s *inStream) bool {
	k := &s.parking
	due := k.endAfter > k.asks || s.opening && !s.knowsParked() || !k.lookAt.IsZero() && !now.Before(k.lookAt)
	first, ok := k.first(&draft{})
	if !ok || c.tooEarly(now, first.logged) {
		k.ripeSince = time.Time{}
		return due
	}
	if k.ripeSince.IsZero() {
		k.ripeSince = now
	}
	open := p.linked(s.link.Node) && now.Sub(s.heardAt) < c.cfg.Resend
	return due || open || c.cfg.Lease == 0 || now.Sub(k.ripeSince) >= parkedGrace
}

// knowsParked says whether all that is known to be parked up to where the stream stands in this region.
func (s *inStream) knowsParked() bool { return s.told <= s.durable || s.parking.knownTold >= s.told }

// parkedRead takes what the store has parked of a stream: what can be applied is, in order.
func (c *Core) parkedRead(now time.Time, in ParkedRead) {
	p, ok := c.peers[in.Stream.Region]
	if !ok {
		return
	}
	s := p.inbound(in.Stream)
	k := &s.parking
	if !k.reading {
		return
	}
	k.reading = false
	if in.Err != nil {
		return // the next tick asks again
	}
	there := map[place]bool{}
	for i := range in.Rows {
		op := &in.Rows[i].Op
		there[placeOf(op)] = true
		if sp, spent := k.spent[placeOf(op)]; spent && !sp.pending {
			k.spent[placeOf(op)] = spentOp{true, now}
			k.again = append(k.again, in.Rows[i])
		}
	}
	k.lookAt = time.Time{}
	for at, sp := range k.spent {
		if !sp.pending && now.Sub(sp.at) >= parkedLate {
			delete(k.spent, at)
		} else {
			k.lookAt = now.Add(parkedLate)
		}
	}
	k.leave(there, in.High)
	c.meetParked(in.Rows)
	k.knownTold = max(k.knownTold, k.askedTold)
	if k.endAfter != 0 && k.endAfter <= k.asks {
		k.endAfter, k.ends, k.high = 0, true, max(k.high, in.High)
	}
	for i := range in.Rows {
		op := &in.Rows[i].Op
		if _, spent := k.spent[placeOf(op)]; spent || !knownKind(op.Kind) {
			continue
		}
		if c.tooEarly(now, op.Logged) {
			break
		}
		it := inOp{op: *op, refused: c.inspect(now, p, &Frame{Stream: s.id, UpTo: op.Seq}, op, op.Seq-1)}
		it.known = in.Known[i]
		k.due = append(k.due, it)
	}
	k.dueAt = now
	if s.opening {
		c.takeOver(now, s)
	}
	c.drain(now, p, s)
}

// leave notes what was in the table when the store was asked last, and is not there any more: another node has applied it.
func (k *parking) leave(there map[place]bool, high chat.HLC) {
	k.forget(func(op *parkedOp) bool {
		gone := op.born < k.asks && !there[op.place]
		if gone {
			k.leaving, k.high = append(k.leaving, *op), max(k.high, high)
		}
		return gone
	})
}

// meetParked takes the store's word on what is parked: this node looks after it from now on, unless another does.
func (c *Core) meetParked(rows []chat.ParkedRow) {
	for i := range rows {
		op := &rows[i].Op
		if p, ok := c.peers[op.Stream.Region]; ok {
			s := p.inbound(op.Stream)
			s.parking.note(op, s.parking.asks)
		}
	}
}

// endStream notes that a stream gets nothing more. Where nodes share the store, another may have parked what is left of it, or
// shown it by a clock that is ahead: the store is asked.
func (c *Core) endStream(s *inStream) {
	if c.cfg.Lease == 0 {
		s.end()
		return
	}
	if k := &s.parking; s.heard != endOfStream && k.endAfter == 0 && !k.ends {
		k.endAfter = k.asks + 1
	}
}

// idle says that nothing of the stream waits to be applied.
func (s *inStream) idle() bool { return len(s.queue) == 0 && len(s.parking.due) == 0 }
