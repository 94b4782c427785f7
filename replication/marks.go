package replication

import (
	"time"

	"meridian/chat"
)

// Marks gives the two positions of a resume cursor. It pushes the clock to what it promises, so that whatever becomes
// visible later has a later arrival. Both values only grow while the core lives.
func (c *Core) Marks(now time.Time) Marks {
	local := c.low(now)
	global := local
	for _, r := range c.order {
		global = min(global, c.peers[r].applied())
	}
	c.global = max(c.global, global)
	return Marks{Local: local, Global: c.global}
}

// low is the latest time such that nothing stamped at or before it is still under way or will be stamped; at most what is
// reserved durably, since a restart continues right above the reservation.
func (c *Core) low(now time.Time) chat.HLC {
	if len(c.flight) > 0 {
		return min(c.flight[0].low-1, c.reserved)
	}
	return min(c.push(now), c.reserved)
}

// push moves the clock to now and gives what it shows.
func (c *Core) push(now time.Time) chat.HLC {
	// A time that is not ahead of now cannot be refused.
	_ = c.clock.Observe(now, chat.HLCFromTime(now))
	return c.clock.Last()
}

// watermark is what may be told of the own stream: every own op at or before it has a sequence of at most own.settled, or
// failed. It does not wait for applies under way, which are no ops of this stream.
func (c *Core) watermark(now time.Time) chat.HLC {
	if len(c.own.flight) > 0 {
		return min(c.own.flight[0].op.Logged-1, c.reserved)
	}
	return min(c.push(now), c.reserved)
}

// applied is the watermark up to which everything that the region ever originated is visible here: 0 for a region never
// heard of. Of several incarnations of one node the latest counts: the earlier ones ended when their store was replaced,
// and what they never relayed comes back, if at all, as new ops of the new life.
func (p *peer) applied() chat.HLC {
	latest := p.latest()
	if len(latest) == 0 {
		return 0
	}
	mark := latest[0].watermark
	for _, s := range latest[1:] {
		mark = min(mark, s.watermark)
	}
	return mark
}
