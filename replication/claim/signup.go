package claim

import (
	"slices"
	"time"

	"meridian/chat"
	"meridian/residency"
)

// attempt is one sign-up's way to its name.
type attempt struct {
	token uint64
	claim chat.Claim
	stage stage
	asked []chat.Region // where it may be held, in the order asked
	open  []chat.Region // of these, whose answer is awaited
	held  int
	left  int   // of asked, that have not answered the release yet
	last  error // of a region that did not answer
	timer *timer
}

// stage says how far an attempt is.
type stage uint8

const (
	reserving stage = iota
	held
	confirming
	over
)

// claim begins a sign-up. The slot's owner is asked first: of sign-ups at the same time it lets one through.
func (c *Core) claim(now time.Time, in Claim) {
	if err := residency.Speak(c.cfg.Topology, in.Claim.Zone, c.cfg.Self).Err("claim.Claim"); err != nil {
		c.emit(Answer{in.Token, Result{Err: err}})
		return
	}
	a := &attempt{token: in.Token, claim: in.Claim}
	c.attempts[a.token] = a
	c.running[a.claim.Attempt]++
	a.timer = c.after(now, c.cfg.Timeout, func(now time.Time) {
		c.fail(now, a, noMajority("a majority of regions does not answer", a.last))
	})
	owner := SlotOwner(c.cfg.Topology, a.claim.Key)
	c.reserveAt(now, a, owner, func(now time.Time, r Result) {
		switch {
		case r.Err != nil && owner == c.cfg.Self:
			c.fail(now, a, r.Err)
		case r.Err != nil:
			c.fail(now, a, noMajority("region "+string(owner)+", which decides about this username, cannot be reached", r.Err))
		case r.Claim.Attempt != a.claim.Attempt:
			c.fail(now, a, taken())
		default:
			c.gather(now, a, owner)
		}
	})
}

// gather asks all other regions at once.
func (c *Core) gather(now time.Time, a *attempt, owner chat.Region) {
	a.held++
	for _, region := range c.cfg.Topology.Regions {
		if region == owner {
			continue
		}
		c.reserveAt(now, a, region, func(now time.Time, r Result) {
			switch {
			case r.Err != nil:
				a.last = r.Err
			case r.Claim.Attempt == a.claim.Attempt:
				a.held++
			case !r.Claim.Pending:
				c.fail(now, a, taken())
				return
			}
			c.count(now, a)
		})
	}
	c.count(now, a)
}

// count says that the name is held as soon as it is: by the slot's owner and a majority. Whoever holds another attempt's entry
// does not count.
func (c *Core) count(now time.Time, a *attempt) {
	switch {
	case a.held >= c.cfg.Topology.Majority():
		a.timer.stop()
		a.stage = held
		c.emit(Answer{Token: a.token})
	case len(a.open) == 0:
		c.fail(now, a, noMajority("a majority of regions cannot be reached", a.last))
	}
}

// reserveAt asks a region to hold the name. An attempt that has failed meanwhile is given back there, only now: a release
// must not overtake its reservation.
func (c *Core) reserveAt(now time.Time, a *attempt, region chat.Region, then continuation) {
	a.asked, a.open = append(a.asked, region), append(a.open, region)
	c.ask(now, region, Ask{Kind: AskReserve, Claim: a.claim}, c.cfg.Timeout, func(now time.Time, r Result) {
		a.open = slices.DeleteFunc(a.open, func(o chat.Region) bool { return o == region })
		switch a.stage {
		case reserving:
			then(now, r)
		case over:
			c.giveBack(now, a, region)
		default: // late and not needed; the op confirms it there
		}
	})
}

func (c *Core) cancel(now time.Time, in Cancel) {
	if a, ok := c.attempts[in.Token]; ok && a.stage == reserving {
		c.fail(now, a, noMajority("the request ended", a.last))
	}
}

// settle goes on with a held name whose confirming op is durable, or will never be.
func (c *Core) settle(now time.Time, in Settle) {
	a, ok := c.attempts[in.Token]
	switch {
	case !ok || a.stage != held:
		c.emit(Answer{in.Token, Result{Err: &chat.Error{Code: chat.CodeInternal, Op: "claim.Settle", Message: "the name is not held"}}})
	case in.Err != nil:
		c.fail(now, a, in.Err)
	default:
		c.confirm(now, a, in.Claim)
	}
}

// confirm makes sure that a majority has the name as confirmed, so that even this region's loss gives it to nobody else. The
// op brings it to all, whatever comes of this.
func (c *Core) confirm(now time.Time, a *attempt, as chat.Claim) {
	a.stage = confirming
	c.ended(a)
	confirmed, open := 1, len(c.cfg.Topology.Regions)-1
	a.timer = c.after(now, c.cfg.Timeout, func(time.Time) { c.answer(a, unconfirmed()) })
	decide := func() {
		if confirmed >= c.cfg.Topology.Majority() {
			c.answer(a, nil)
		} else if open == 0 {
			c.answer(a, unconfirmed())
		}
	}
	for _, region := range c.others() {
		c.ask(now, region, Ask{Kind: AskConfirm, Claim: as}, c.cfg.Timeout, func(_ time.Time, r Result) {
			open--
			// The version before this one knows no such call: there the reservation has to do, until the op arrives.
			if r.confirmed() && r.Claim.Attempt == as.Attempt || chat.CodeOf(r.Err) == chat.CodeNotFound {
				confirmed++
			}
			decide()
		})
	}
	decide()
}

// ended notes that the attempt cannot be confirmed any more, or is.
func (c *Core) ended(a *attempt) {
	if c.running[a.claim.Attempt]--; c.running[a.claim.Attempt] <= 0 {
		delete(c.running, a.claim.Attempt)
	}
}

// answer gives the last Answer of an attempt, once.
func (c *Core) answer(a *attempt, err error) {
	if c.attempts[a.token] != a {
		return
	}
	delete(c.attempts, a.token)
	a.timer.stop()
	c.emit(Answer{a.token, Result{Err: err}})
}

// fail gives back what the attempt holds, and answers when each region has been asked to, or after ReleaseTimeout.
func (c *Core) fail(now time.Time, a *attempt, err error) {
	a.timer.stop()
	a.stage = over
	c.ended(a)
	a.last = err
	a.timer = c.after(now, ReleaseTimeout, func(time.Time) { c.answer(a, err) })
	a.left = len(a.asked)
	for _, region := range a.asked {
		if !slices.Contains(a.open, region) {
			c.giveBack(now, a, region)
		}
	}
}

// giveBack releases the attempt's reservation at a region.
func (c *Core) giveBack(now time.Time, a *attempt, region chat.Region) {
	c.release(now, a.claim, region, now.Add(ReleaseFor), func() {
		if a.left--; a.left == 0 {
			c.answer(a, a.last)
		}
	})
}

// release asks a region to remove a reservation, again and again until it has; asked is called after the first time.
func (c *Core) release(now time.Time, claim chat.Claim, region chat.Region, until time.Time, asked func()) {
	c.ask(now, region, Ask{Kind: AskRelease, Claim: claim}, ReleaseTimeout, func(now time.Time, r Result) {
		asked()
		if r.Err != nil && chat.AsError(r.Err).Retryable() && now.Before(until) && c.releases < MaxReleases {
			c.releases++
			c.after(now, ReleaseRetry, func(now time.Time) {
				c.releases--
				c.release(now, claim, region, until, func() {})
			})
		}
	})
}

func taken() error {
	return &chat.Error{Code: chat.CodeUsernameTaken, Op: "claim.Claim", Message: "username is taken"}
}

func noMajority(message string, cause error) error {
	return &chat.Error{Code: chat.CodeNoMajority, Op: "claim.Claim", Message: message, Cause: cause, RetryAfter: RetryAfter}
}

func unconfirmed() error {
	return &chat.Error{
		Code: chat.CodeUnknownOutcome, Op: "claim.Settle", RetryAfter: RetryAfter,
		Message: "the account is made, but a majority of regions has not confirmed its username yet: log in",
	}
}
