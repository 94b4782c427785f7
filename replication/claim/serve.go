package claim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/residency"
)

// others are all regions but this one.
func (c *Core) others() []chat.Region {
	return slices.DeleteFunc(slices.Clone(c.cfg.Topology.Regions), func(r chat.Region) bool { return r == c.cfg.Self })
}

// serve answers a question of region from, this one included. A region reserves, releases and confirms for zones that it
// serves only.
func (c *Core) serve(now time.Time, from chat.Region, a Ask, then continuation) {
	const op = "claim.Serve"
	speak := func(zone chat.Zone) bool {
		err := residency.Speak(c.cfg.Topology, zone, from).Err(op)
		if err != nil {
			then(now, Result{Err: err})
		}
		return err == nil
	}
	switch a.Kind {
	case AskReserve:
		if speak(a.Claim.Zone) {
			c.reserve(now, a.Claim, then)
		}
	case AskRelease:
		c.storeClaim(a.Claim.Key, func(now time.Time, r Result) {
			if r.Err != nil || !r.Found || r.Claim.Attempt != a.Claim.Attempt {
				then(now, Result{Err: r.Err})
				return
			}
			// The zone that counts is that of the entry here: whoever knows an attempt's id might name another.
			if err := residency.Speak(c.cfg.Topology, r.Claim.Zone, from).Err(op); err != nil {
				then(now, Result{Err: err})
				return
			}
			c.storeRelease(a.Claim, func(now time.Time, r Result) { then(now, Result{Err: r.Err}) })
		})
	case AskLookup:
		c.storeClaim(a.Claim.Key, then)
	case AskAlive:
		c.alive(now, a.Claim, then)
	case AskConfirm:
		if speak(a.Claim.Zone) {
			confirmed := a.Claim
			confirmed.Pending = false
			c.emit(StoreConfirm{Claim: confirmed, ID: c.begin(func(now time.Time, r Result) {
				if r.Err != nil {
					then(now, r)
					return
				}
				c.storeClaim(confirmed.Key, then)
			})})
		}
	default:
		then(now, Result{Err: &chat.Error{Code: chat.CodeNotFound, Op: op, Message: "no such question"}})
	}
}

// reserve takes the claim here, unless another attempt's entry stands. An abandoned one makes way.
func (c *Core) reserve(now time.Time, claim chat.Claim, then continuation) {
	take := func(now time.Time, then continuation) {
		claim.Pending, claim.Version = true, chat.HLCFromTime(now)
		c.storeReserve(claim, then)
	}
	take(now, func(now time.Time, r Result) {
		if r.Err != nil || r.Claim.Attempt == claim.Attempt || !overdue(now, r.Claim) {
			then(now, r)
			return
		}
		c.abandoned(now, r.Claim, func(now time.Time, yes bool) {
			if !yes {
				then(now, r)
				return
			}
			c.storeRelease(r.Claim, func(now time.Time, done Result) {
				if done.Err != nil {
					then(now, done)
					return
				}
				take(now, then)
			})
		})
	})
}

// overdue says whether an entry has been pending for so long that its sign-up has probably ended.
func overdue(now time.Time, e chat.Claim) bool {
	return e.Pending && e.Version.Add(PendingTTL) <= chat.HLCFromTime(now)
}

// abandoned finds out whether the sign-up behind an entry has certainly ended without success: every region, one of which
// ran it, says so. Where one does not answer, nobody can know.
func (c *Core) abandoned(now time.Time, e chat.Claim, then func(now time.Time, yes bool)) {
	left, yes := len(c.cfg.Topology.Regions), true
	for _, region := range c.cfg.Topology.Regions {
		c.ask(now, region, Ask{Kind: AskAlive, Claim: e}, AliveTimeout, func(now time.Time, r Result) {
			yes = yes && r.Err == nil && !r.Found
			if left--; left == 0 {
				then(now, yes)
			}
		})
	}
}

// alive answers whether an attempt may be confirmed here yet: when it runs in this node; when it is confirmed, or another is;
// or when it has been pending here for less than PendingTTL, for it may run in another node of this region.
func (c *Core) alive(now time.Time, e chat.Claim, then continuation) {
	if c.running[e.Attempt] > 0 {
		e.Pending = true
		then(now, Result{Claim: e, Found: true})
		return
	}
	c.storeClaim(e.Key, func(now time.Time, r Result) {
		if r.Err == nil && r.Found && r.Claim.Pending && (r.Claim.Attempt != e.Attempt || overdue(now, r.Claim)) {
			r = Result{}
		}
		then(now, r)
	})
}
