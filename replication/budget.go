package replication

import (
	"fmt"
	"slices"
	"time"

	"meridian/chat"
)

// The op logs are the buffer towards a region that is away, and the buffer has a budget (Config.OutboxBytes) for each region:
// what the op logs of this region owe it, counted as frames would carry it. Above slowAt of it the submits that concern that
// region are answered later and later, above refuseAt they are refused before anything is stored: refusing is honest, acking
// what nobody can be given is not. Nothing else is held up.

const (
	slowAt   = 0.70
	refuseAt = 0.95
	// levelBack: an alarm is given again once the budget was so much below its level.
	levelBack = 0.05
	// slowMost is how long a submit waits at refuseAt; at slowAt it does not.
	slowMost = time.Second
	// refusedUp and refusedDown are when a client may try again: soon where the region takes what it is owed.
	refusedUp   = 2 * time.Second
	refusedDown = 5 * time.Second
	// expiryShare is the share of the op log's retention after which what is still owed is told.
	expiryShare = 0.8
)

// slowed is a submit that waits because a region's budget is nearly used.
type slowed struct {
	held  *held
	until time.Time
}

// vital says that an op is not held back by any budget: it takes something away, from somebody or from the others' sight, or
// lets people in, and is rare. It counts all the same, and so does what this region logs by itself.
func vital(op *chat.Op) bool {
	switch op.Kind {
	case chat.OpMessage, chat.OpMark, chat.OpGroup:
		return false
	case chat.OpChange:
		return op.Change.Kind == chat.ChangeDelete
	case chat.OpMember:
		return op.Member.Role == chat.RoleNone
	case chat.OpContact:
		return !op.Contact.Want
	}
	return true
}

// shareBudget finds this node's part of a budget: the nodes whose lease runs have equal parts, and who is left has all.
func (c *Core) shareBudget(now time.Time) {
	nodes := 1
	if c.cfg.Lease > 0 {
		for _, s := range c.siblings {
			if s.row.AdoptedBy == "" && s.row.Until != 0 && s.row.Stream.Node != c.cfg.Node && c.isLatest(s) && !c.leaseOver(now, &s.row) {
				nodes++
			}
		}
	}
	c.budget = max(1, c.cfg.OutboxBytes/int64(nodes))
}

// outbox gives what this node's op logs owe the region, and which share of the budget that is.
func (c *Core) outbox(p *peer) (bytes int64, ratio float64) {
	for _, o := range p.out {
		bytes += o.owes()
	}
	if c.cfg.OutboxBytes > 0 {
		ratio = float64(bytes) / float64(c.budget)
	}
	return bytes, ratio
}

// afford says whether a submit may go on to the regions in to. If not, it was refused, or waits and is looked at again.
func (c *Core) afford(now time.Time, h *held, to []chat.Region) bool {
	if c.cfg.OutboxBytes == 0 || vital(&h.in.Op) {
		return true
	}
	var fullest *peer
	used := 0.0
	for _, r := range to {
		p := c.peers[r]
		if p == nil {
			continue
		}
		if _, ratio := c.outbox(p); fullest == nil || ratio > used {
			fullest, used = p, ratio
		}
	}
	switch {
	case used >= refuseAt || used >= slowAt && len(c.slowed) >= c.cfg.InFlight:
		c.overBudget(now, h, fullest)
		return false
	case used < slowAt || h.slowed:
		return true
	}
	h.slowed = true
	wait := time.Duration((used - slowAt) / (refuseAt - slowAt) * float64(slowMost))
	fullest.slowUntil = later(fullest.slowUntil, now.Add(wait)) // in the order of their coming
	fullest.slowCount++
	c.slowed = append(c.slowed, slowed{h, fullest.slowUntil})
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (c *Core) overBudget(now time.Time, h *held, p *peer) {
	after := refusedDown
	if p.up() {
		after = refusedUp
	}
	p.refusedCount++
	c.answer(now, h, Submitted{Err: &chat.Error{
		Code: chat.CodeBusy, Op: "replication.Submit", RetryAfter: after,
		Message: fmt.Sprintf("too much waits for region %s, which must have this too", p.region),
	}})
}

// readySlowed goes on with the submits that have waited.
func (c *Core) readySlowed(now time.Time) {
	c.slowed = slices.DeleteFunc(c.slowed, func(s slowed) bool {
		if s.until.After(now) {
			return false
		}
		c.sends.ready = append(c.sends.ready, s.held)
		return true
	})
}

// watchOutboxes tells an operator when a budget is nearly used, and when what is owed is nearly as old as op logs get: a
// region that is away for so long may have been forgotten.
func (c *Core) watchOutboxes(now time.Time) {
	c.shareBudget(now)
	for _, r := range c.order {
		p := c.peers[r]
		bytes, used := c.outbox(p)
		level := 0
		for i, at := range []float64{slowAt, refuseAt} {
			if used >= at || p.level > i && used >= at-levelBack {
				level = i + 1
			}
		}
		if level > p.level {
			c.alarm(Alarm{Code: chat.CodeBusy, Peer: r, Stream: c.stream, Detail: fmt.Sprintf(
				"%d bytes wait for the region, %.0f %% of their budget: %s", bytes, 100*used, [...]string{"", "senders are slowed", "senders are refused"}[level])})
		}
		p.level = level
		age := c.oldestOwed(now, p)
		old := c.cfg.OpLogKeep > 0 && age > time.Duration(expiryShare*float64(c.cfg.OpLogKeep))
		if old && !p.old {
			c.alarm(Alarm{Code: chat.CodeBusy, Peer: r, Stream: c.stream, Detail: fmt.Sprintf(
				"the oldest op that the region does not have was logged %s ago; what it has is kept for %s", age.Round(time.Second), c.cfg.OpLogKeep)})
		}
		p.old = old
	}
}

// oldestOwed is how long ago the oldest op was logged that the region must have from here and does not have; 0: it has all.
func (c *Core) oldestOwed(now time.Time, p *peer) time.Duration {
	oldest := ^chat.HLC(0)
	for _, o := range p.out {
		if at := o.oldest(); at != 0 {
			oldest = min(oldest, at)
		}
	}
	if oldest == ^chat.HLC(0) {
		return 0
	}
	return max(0, now.Sub(oldest.Time()))
}
