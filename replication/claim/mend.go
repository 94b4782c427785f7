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
// confirmed anywhere is for good. Of two confirmed entries of a name only the one is brought that a majority has and that
// the stores let stand; which of others is right, nobody can know here.
func (c *Core) mend(in Mend) {
	c.storeClaim(in.Key, func(now time.Time, here Result) {
		m := &mending{token: in.Token, claim: here.Claim, holders: 1, open: len(c.others())}
		if here.confirmed() {
			here.Err = residency.Speak(c.cfg.Topology, here.Claim.Zone, c.cfg.Self).Err("claim.Mend")
		}
		if !here.confirmed() {
			c.emit(Answer{in.Token, Result{Err: here.Err}})
			return
		}
		for _, region := range c.others() {
			c.ask(now, region, Ask{Kind: AskLookup, Claim: chat.Claim{Key: in.Key}}, LookupTimeout, func(now time.Time, r Result) {
				m.see(region, r)
				c.bring(now, m)
			})
		}
		c.bring(now, m)
	})
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
