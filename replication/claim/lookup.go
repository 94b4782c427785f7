package claim

import (
	"time"

	"meridian/chat"
)

// lookup finds whose a name is: as confirmed here or, where that has not arrived yet, in any region, all of which are asked
// at once. That it is nobody's is said only when that is certain: a name whose sign-up was answered has entries in a majority
// of regions, so either a majority has none, or every region answers and none has a confirmed one. Else CodeNoMajority.
func (c *Core) lookup(in Lookup) {
	answer := func(r Result) { c.emit(Answer{in.Token, r}) }
	c.storeClaim(in.Key, func(now time.Time, here Result) {
		if here.Err != nil || here.confirmed() {
			answer(here)
			return
		}
		none, open, done := 0, len(c.others()), false
		if !here.Found {
			none++
		}
		var failed error
		var timeout *timer
		end := func(r Result) {
			done = true
			timeout.stop()
			answer(r)
		}
		decide := func() {
			switch {
			case none >= c.cfg.Topology.Majority() || open == 0 && failed == nil:
				end(Result{})
			case open == 0:
				end(Result{Err: noMajority("regions that may know this username cannot be reached", failed)})
			}
		}
		timeout = c.after(now, LookupTimeout, func(time.Time) {
			end(Result{Err: noMajority("regions that may know this username do not answer", failed)})
		})
		for _, region := range c.others() {
			c.ask(now, region, Ask{Kind: AskLookup, Claim: chat.Claim{Key: in.Key}}, LookupTimeout, func(_ time.Time, r Result) {
				if done {
					return
				}
				open--
				switch {
				case r.confirmed():
					end(r)
					return
				case r.Err != nil:
					failed = r.Err
				case !r.Found:
					none++
				}
				decide()
			})
		}
		if !done && open == 0 {
			decide()
		}
	})
}
