package claim

import (
	"time"

	"meridian/chat"
	"meridian/residency"
)

// mending is the way of one confirmed entry to the regions that lack it.
type mending struct {
	token   uint64
	claim   chat.Claim
	open    int           // regions whose answer is awaited
	holders int           // that have the very entry
	lacking []chat.Region // that answered and do not have it
	rivals  bool          // some of them have the name as confirmed otherwise
	beaten  bool          // of which one would stand, by the rule of the stores
	brought int
	failed  error // of a region that did not take it
}

// mend gives the confirmed entry that is here to the regions that lack it, as the op that confirmed it would: what is
// confirmed anywhere is for good. Where none is here, one that a majority has is taken first.
func (c *Core) mend(in Mend) {
	c.storeClaim(in.Key, func(now time.Time, here Result) {
		switch {
		case here.Err != nil:
			c.emit(Answer{in.Token, Result{Err: here.Err}})
		case here.confirmed():
			c.spread(now, in.Token, here.Claim, 0)
		default:
			c.adopt(now, in)
		}
	})
}

// adopt takes the entry of a zone that this region serves as confirmed here when a majority of regions has it so: of a zone of
// one region, which lost it, nobody else may bring it back.
func (c *Core) adopt(now time.Time, in Mend) {
	others, holders := c.others(), map[chat.Claim]int{}
	open := len(others)
	for _, region := range others {
		c.ask(now, region, Ask{Kind: AskLookup, Claim: chat.Claim{Key: in.Key}}, LookupTimeout, func(_ time.Time, r Result) {
			open--
			if r.confirmed() {
				holders[r.Claim]++
			}
			if open > 0 {
				return
			}
			for claim, n := range holders { // at most one has a majority
				if n >= c.cfg.Topology.Majority() && residency.Speak(c.cfg.Topology, claim.Zone, c.cfg.Self).Err("claim.Mend") == nil {
					c.take(in.Token, claim)
					return
				}
			}
			c.emit(Answer{Token: in.Token})
		})
	}
	if open == 0 {
		c.emit(Answer{Token: in.Token})
	}
}

// take stores an entry as confirmed here, and gives it to whoever else lacks it.
func (c *Core) take(token uint64, claim chat.Claim) {
	c.emit(StoreConfirm{Claim: claim, ID: c.begin(func(now time.Time, r Result) {
		if r.Err != nil {
			c.emit(Answer{token, r})
			return
		}
		c.spread(now, token, claim, 1)
	})})
}

// spread gives a confirmed entry of this region to the regions that lack it. Of two confirmed entries of a name only the one is
// brought that a majority has and that the stores let stand; which of others is right, nobody can know here.
func (c *Core) spread(now time.Time, token uint64, claim chat.Claim, brought int) {
	if err := residency.Speak(c.cfg.Topology, claim.Zone, c.cfg.Self).Err("claim.Mend"); err != nil {
		c.emit(Answer{token, Result{Err: err}})
		return
	}
	m := &mending{token: token, claim: claim, holders: 1, open: len(c.others()), brought: brought}
	for _, region := range c.others() {
		c.ask(now, region, Ask{Kind: AskLookup, Claim: chat.Claim{Key: claim.Key}}, LookupTimeout, func(now time.Time, r Result) {
			m.see(region, r)
			c.bring(now, m)
		})
	}
	c.bring(now, m)
}

// see takes what a region has of the name. One that does not answer is left out: it can be mended another time.
func (m *mending) see(region chat.Region, r Result) {
	m.open--
	switch {
	case r.Err != nil:
		return
	case r.confirmed() && r.Claim == m.claim:
		m.holders++
		return
	case r.confirmed():
		m.rivals = true
		m.beaten = m.beaten || !m.claim.Before(r.Claim)
	}
	m.lacking = append(m.lacking, region)
}

// bring confirms the entry where it is missing, once all regions have been asked.
func (c *Core) bring(now time.Time, m *mending) {
	if m.open > 0 {
		return
	}
	if m.rivals && (m.beaten || m.holders < c.cfg.Topology.Majority()) {
		c.emit(Answer{m.token, Result{Err: &chat.Error{Code: chat.CodeVersionConflict, Op: "claim.Mend", Message: "regions have this username for different sign-ups"}}})
		return
	}
	m.open = len(m.lacking)
	end := func() {
		if m.open == 0 {
			c.emit(Answer{m.token, Result{Claim: m.claim, Found: true, Brought: m.brought, Err: m.failed}})
		}
	}
	for _, region := range m.lacking {
		c.ask(now, region, Ask{Kind: AskConfirm, Claim: m.claim}, c.cfg.Timeout, func(_ time.Time, r Result) {
			m.open--
			if r.confirmed() && r.Claim == m.claim {
				m.brought++
			} else if r.Err != nil {
				m.failed = r.Err
			}
			end()
		})
	}
	end()
}
