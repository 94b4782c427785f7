package replication

import (
	"time"

	"meridian/chat"
)

// relogged is an op on its way into the own stream, where it was not made.
type relogged struct {
	op    chat.Op
	to    []chat.Region
	known []chat.RetryRow     // of its send
	done  func(now time.Time) // if set, told when it is durable
	tries int                 // that the store refused for good
}

// relog brings an op anew into the own stream, and makes it visible here once more. Its id, time and author stay; its place in
// a stream and the time of entry are new, so that no watermark or cursor that was given out lies beyond it.
func (c *Core) relog(now time.Time, r *relogged) {
	r.op.To = r.to
	c.relogs = append(c.relogs, r)
	c.runRelogs(now)
}

// relogFailed has what could not be written wait for the next tick. What the store will never take, as it did not when the op came, is
// not shown here; it is brought to the others all the same, for theirs may, and no op after it waits.
func (c *Core) relogFailed(now time.Time, r *relogged, err error) {
	if permanent(chat.CodeOf(err)) {
		r.tries++
	}
	if r.tries < buryTries || !c.mayStamp(now) {
		c.relogs = append(c.relogs, r)
		return
	}
	c.logAnew(now, &chat.Batch{}, []chat.Op{r.op}, func(now time.Time, err error) {
		if err != nil {
			c.relogs = append(c.relogs, r)
		} else if r.done != nil {
			r.done(now)
		}
	}, nil)
}

// runRelogs enters what waits to be logged anew. What could not be written waits for the next tick.
func (c *Core) runRelogs(now time.Time) {
	var early []*relogged // another node of this region received it, by another clock, or it is parked
	for len(c.relogs) > 0 && c.mayStamp(now) && !c.ahead(now) {
		r := c.relogs[0]
		op := r.op
		c.relogs = c.relogs[1:]
		if c.clock.Observe(now, op.Logged) != nil {
			early = append(early, r)
			continue
		}
		op.Logged = c.clock.Next(now)
		c.enter(now, op, r.known, func(now time.Time, entered chat.Op, err error) {
			if err != nil {
				c.relogFailed(now, r, err)
				return
			}
			if r.done != nil {
				r.done(now)
			}
			var items []reviewItem // the send may have come again meanwhile, under another id
			for _, send := range sendsOf(&entered) {
				items = append(items, reviewItem{op: send})
			}
			c.review(now, items, func(time.Time, []chat.MessageID) {})
		})
	}
	c.relogs = append(early, c.relogs...)
}
