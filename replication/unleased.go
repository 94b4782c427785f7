package replication

import (
	"time"

	"meridian/chat"
)

// leaseWait is how long a submit waits at least for a lease that does not come. A store that takes no writes renews none:
// another node or region may take the send.
const leaseWait = time.Second

// refuseUnleased answers the submits that have waited too long for a lease.
func (c *Core) refuseUnleased(now time.Time) {
	if len(c.sends.clock) == 0 || c.mayStamp(now) {
		return
	}
	l, limit := &c.lease, leaseWait
	switch {
	case !l.held || now.Before(l.joinAt): // a start takes so long
		limit += c.cfg.Lease + c.cfg.MaxDrift
	case now.Sub(l.renewedAt) < c.cfg.Lease+leaseWait:
		return
	}
	held := c.sends.clock
	c.sends.clock = nil
	for _, h := range held {
		if now.Sub(h.since) < limit {
			c.sends.clock = append(c.sends.clock, h)
			continue
		}
		c.answer(now, h, Submitted{Err: &chat.Error{
			Code: chat.CodeRegionDegraded, Op: "replication.Submit", Message: "this node has no lease: its store takes no writes",
		}})
	}
}
