package replication

import (
	"time"

	"meridian/chat"
)

// Marks gives the two positions of a resume cursor. It pushes the clock to what it promises, so that whatever becomes
// visible later has a later arrival. Both values only grow while the core lives. A node whose lease has ended gives what it
// gave: it may have slept while others began lives that it does not know of.
func (c *Core) Marks(now time.Time) Marks {
	if c.lease.held && !c.certain(now) {
		return Marks{Local: c.local, Global: c.global}
	}
	own := c.low(now)
	local := min(own, c.siblingsLow())
	global := local
	for _, r := range c.order {
		global = min(global, c.peers[r].applied(own, local))
	}
	c.global = max(c.global, global)
	c.local = max(c.local, local)
	return Marks{Local: c.local, Global: c.global}
}

// low is the latest time such that nothing stamped by this node at or before it is still under way or will be stamped; at
// most what is reserved durably, since a restart continues right above the reservation.
func (c *Core) low(now time.Time) chat.HLC {
	if len(c.flight) > 0 {
		return min(c.flight[0].low-1, c.reserved)
	}
	return min(c.push(now), c.reserved)
}

// push moves the clock to now, where now is known, and gives what it shows.
func (c *Core) push(now time.Time) chat.HLC {
	if !c.clocked.unknown {
		// A time that is not ahead of now cannot be refused.
		_ = c.clock.Observe(now, chat.HLCFromTime(now))
	}
	return c.clock.Last()
}

// endOfStream is the watermark of a stream that gets nothing more: its life has ended, and everything is told.
const endOfStream = ^chat.HLC(0)

// watermark is what may be told of an op log: every op that was logged in it at or before the watermark has a sequence of at
// most log.settled, or failed. It does not wait for applies under way, which are no ops of this stream. A log that is closed
// gets nothing more; what comes late is logged anew in another.
func (c *Core) watermark(now time.Time, log *ownLog) chat.HLC {
	if log.closed {
		return endOfStream
	}
	if len(log.flight) > 0 {
		return min(log.flight[0].op.Logged-1, c.reserved)
	}
	return min(c.push(now), c.reserved)
}

// applied is the watermark up to which everything that the region ever originated is visible here: 0 for a region never
// heard of. All lives of its nodes count: an earlier one until whoever adopted it has told its end. own is this node's low
// mark, local the region's.
func (p *peer) applied(own, local chat.HLC) chat.HLC {
	if len(p.streams) == 0 {
		return 0
	}
	mark := endOfStream
	for _, s := range p.streams {
		s.covers.add(own, s.watermark)
		mark = min(mark, s.covers.at(local))
	}
	return mark
}
