package replication

import (
	"time"

	"meridian/chat"
)

// write is one batch under way.
type write struct {
	id    uint64
	batch *chat.Batch
	// low is the oldest time stamped in the batch (an arrival or an op's time); 0 when nothing is stamped.
	low chat.HLC
	// settle is told the definite outcome. passed, if set, is told when every older write is settled too and this one
	// succeeded: from then on Marks().Local covers what it wrote.
	settle func(now time.Time, err error)
	passed func(now time.Time)

	settled, failed bool
	// doubtful: an earlier try may have been stored, so that no failure of a later one settles the write; only success does.
	doubtful bool
	againAt  time.Time
}

// issue gives w out. A batch that holds a time above the durable reservation raises the reservation itself: its stamps leave
// the node only once it is durable. Another batch's reservation would not do, as that one may fail or become durable later.
func (c *Core) issue(now time.Time, w *write) {
	if w.low != 0 {
		ahead := chat.HLCFromTime(now.Add(reserveAhead))
		if c.clock.Last() > c.reserved || c.reserved < chat.HLCFromTime(now.Add(reserveAhead/2)) {
			w.batch.HighWater = max(ahead, c.clock.Last())
		}
		c.flight = append(c.flight, w)
	}
	c.lastWrite++
	w.id = c.lastWrite
	c.writes[w.id] = w
	c.emit(Write{ID: w.id, Batch: w.batch})
}

// written settles a write, or has it given again when nobody knows whether it was done: its times stay in flight. A write
// that once was in doubt is given again until it succeeds: that a later try stored nothing says nothing of the first. But
// what a store refuses for good was refused by it the first time too.
func (c *Core) written(now time.Time, in Written) {
	w, ok := c.writes[in.Write]
	if !ok {
		return
	}
	if in.Err != nil && (w.doubtful || chat.CodeOf(in.Err) == chat.CodeUnknownOutcome) && !permanent(chat.CodeOf(in.Err)) {
		if !w.doubtful {
			c.alarm(Alarm{Code: chat.CodeUnknownOutcome, Stream: c.stream, Detail: "a write may be stored or not, and is repeated: " + in.Err.Error()})
		}
		w.doubtful = true
		w.againAt = now.Add(pause)
		c.again = append(c.again, w)
		return
	}
	delete(c.writes, in.Write)
	w.settled, w.failed = true, in.Err != nil
	if !w.failed {
		c.reserved = max(c.reserved, w.batch.HighWater)
	}
	w.settle(now, in.Err)
	c.pass(now)
	for _, r := range c.order {
		p := c.peers[r]
		c.drainPeer(now, p)
		for _, o := range p.outbounds() {
			c.pump(now, p, o)
		}
	}
}

// pass takes settled writes from the front of those in flight.
func (c *Core) pass(now time.Time) {
	for len(c.flight) > 0 && c.flight[0].settled {
		w := c.flight[0]
		c.flight[0] = nil
		c.flight = c.flight[1:]
		if w.passed != nil && !w.failed {
			w.passed(now)
		}
	}
}

// giveAgain repeats writes of unknown outcome: the same batch, so that done twice is done once.
func (c *Core) giveAgain(now time.Time) {
	var wait []*write
	for _, w := range c.again {
		if now.Before(w.againAt) {
			wait = append(wait, w)
			continue
		}
		c.emit(Write{ID: w.id, Batch: w.batch})
	}
	c.again = wait
}
