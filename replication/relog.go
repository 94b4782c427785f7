package replication

import (
	"time"

	"meridian/chat"
)

// relog brings an op anew into the own stream, for the regions in to, and makes it visible here once more. Its id, time and
// author stay; its place in a stream and the time of entry are new, so that no watermark or cursor that was given out lies
// beyond it.
func (c *Core) relog(now time.Time, op chat.Op, to []chat.Region) {
	op.To = to
	c.relogs = append(c.relogs, op)
	c.runRelogs(now)
}

// runRelogs enters what waits to be logged anew. What could not be written waits for the next tick.
func (c *Core) runRelogs(now time.Time) {
	for len(c.relogs) > 0 && c.mayStamp(now) && !c.ahead(now) {
		op := c.relogs[0]
		c.relogs = c.relogs[1:]
		op.Logged = c.clock.Next(now)
		c.enter(now, op, func(now time.Time, entered chat.Op, err error) {
			if err != nil {
				c.relogs = append(c.relogs, op)
				return
			}
			var items []reviewItem // the send may have come again meanwhile, under another id
			for _, send := range sendsOf(&entered) {
				items = append(items, reviewItem{op: send})
			}
			c.review(now, items, func(time.Time, []chat.MessageID) {})
		})
	}
}
