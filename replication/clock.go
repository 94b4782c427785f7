package replication

import (
	"fmt"
	"slices"
	"time"

	"meridian/chat"
)

// ClockState tells the core what the node thinks of its clock (package drift), at first and whenever that changes. Step's time is
// always the one to go by.
type ClockState struct {
	// Known: the time is known; it stays so. Before, a core with Config.Guarded does nothing: submits and links wait, and frames
	// but FrameLives are dropped.
	Known bool
	// Refuse, if set, answers every submit. What other regions bring is applied all the same.
	Refuse *chat.Error
}

func (ClockState) input() {}

const (
	// aheadMax is how far a stamp may lie ahead of the clock for a submit to wait. A high-water mark further ahead is what a
	// clock left that was wrong: submits are refused until its time has come.
	aheadMax = 10 * time.Second
	// aheadRetry bounds the retry-after of such a refusal.
	aheadRetry = 30 * time.Second
)

// clocked is what the core knows of its clock.
type clocked struct {
	unknown bool
	waiting []Input     // for the time to be known: submits, and the links that are up
	refusal *chat.Error // of submits
}

// clockState takes what the node thinks of its clock, and deals with what waited for that.
func (c *Core) clockState(now time.Time, in ClockState) {
	c.clocked.refusal = in.Refuse
	c.clocked.unknown = c.clocked.unknown && !in.Known
	if in.Refuse != nil {
		held := c.sends.clock
		c.sends.clock = nil
		for _, h := range held {
			c.answer(now, h, Submitted{Err: in.Refuse})
		}
	}
	waiting := c.clocked.waiting
	c.clocked.waiting = nil
	for _, w := range waiting {
		if c.clocked.unknown {
			c.early(now, w)
		} else {
			c.handle(now, w)
		}
	}
}

// early keeps what cannot be dealt with before the time is known. Most frames are dropped: who sent them sends them again.
func (c *Core) early(now time.Time, in Input) {
	cl := &c.clocked
	switch in := in.(type) {
	case Submit:
		switch {
		case cl.refusal != nil:
			c.emit(Submitted{Token: in.Token, Err: cl.refusal})
		case len(cl.waiting) >= c.cfg.InFlight:
			c.emit(Submitted{Token: in.Token, Err: tooBusy()})
		default:
			cl.waiting = append(cl.waiting, in)
		}
	case PeerUp:
		cl.forget(in.Peer)
		cl.waiting = append(cl.waiting, in)
	case PeerDown:
		cl.forget(in.Peer)
	case Received:
		if in.Frame.Kind == FrameLives { // told once for each link, and at changes
			cl.waiting = append(slices.DeleteFunc(cl.waiting, func(w Input) bool {
				r, ok := w.(Received)
				return ok && r.Peer == in.Peer
			}), in)
		}
	case Leave:
		c.leave(now)
	case Probe:
		c.probe(now, in)
	}
}

// forget drops what waits of the link to a peer.
func (cl *clocked) forget(peer chat.NodeRef) {
	cl.waiting = slices.DeleteFunc(cl.waiting, func(in Input) bool {
		switch in := in.(type) {
		case PeerUp:
			return in.Peer == peer
		case Received:
			return in.Peer == peer
		}
		return false
	})
}

// holds keeps a submit that cannot be stamped now: it waits for the clock or the lease, or is refused where that would be long.
func (c *Core) holds(now time.Time, h *held) bool {
	if !c.ahead(now) && c.mayStamp(now) {
		return false
	}
	if err := c.FarAhead(now); err != nil {
		c.answer(now, h, Submitted{Err: err})
		return true
	}
	c.sends.clock = append(c.sends.clock, h)
	return true
}

// FarAhead says why nothing that people send can be stamped for long: what is durable here was stamped by a clock that was far
// ahead, and nothing may be stamped below it. Errors: CodeClockSkew.
func (c *Core) FarAhead(now time.Time) error {
	by := c.clock.Last().Time().Sub(now)
	if by <= aheadMax {
		return nil
	}
	wait := by - c.cfg.MaxDrift
	return &chat.Error{
		Code: chat.CodeClockSkew, Op: "replication.Submit", RetryAfter: min(wait, aheadRetry),
		Message: fmt.Sprintf("what was stamped here last lies %v ahead of the clock: it was wrong before, and nothing is taken until that time has come", by.Round(time.Second)),
	}
}
