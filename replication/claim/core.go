package claim

import (
	"cmp"
	"slices"
	"time"

	"meridian/chat"
)

// Core is one node's part of the directory. It is not safe for concurrent use.
type Core struct {
	cfg Config
	out []Output

	last    uint64                  // id of the latest work or timer
	waiting map[uint64]continuation // by id of work
	timers  []*timer                // ascending by time and id; stopped ones stay until their time

	attempts map[uint64]*attempt // by token, until the last Answer
	running  map[chat.UUID]int   // sign-ups of this node that may be confirmed yet
	releases int                 // waiting to be tried again
}

// continuation goes on when work has ended.
type continuation func(now time.Time, r Result)

// New makes a Core. It remembers nothing: what counts lies in the stores.
func New(cfg Config) *Core {
	return &Core{
		cfg: cfg, waiting: map[uint64]continuation{}, attempts: map[uint64]*attempt{}, running: map[chat.UUID]int{},
	}
}

// Step takes what happened and gives what is to be done, in this order.
func (c *Core) Step(now time.Time, in Input) []Output {
	c.out = nil
	c.due(now)
	switch in := in.(type) {
	case Claim:
		c.claim(now, in)
	case Settle:
		c.settle(now, in)
	case Cancel:
		c.cancel(now, in)
	case Lookup:
		c.lookup(in)
	case Mend:
		c.mend(in)
	case Done:
		if then, ok := c.waiting[in.ID]; ok {
			delete(c.waiting, in.ID)
			then(now, in.Result)
		}
	case Request:
		c.serve(now, in.From, in.Ask, func(_ time.Time, r Result) { c.emit(Reply{in.ID, r}) })
	case Tick:
	}
	return c.out
}

// Wake says when the next Step is due at the latest, if one is.
func (c *Core) Wake() (at time.Time, ok bool) {
	for len(c.timers) > 0 && c.timers[0].do == nil {
		c.timers = c.timers[1:]
	}
	if len(c.timers) == 0 {
		return time.Time{}, false
	}
	return c.timers[0].at, true
}

// Busy counts what is under way: work not done, and sign-ups whose end is not known.
func (c *Core) Busy() int { return len(c.waiting) + len(c.attempts) }

func (c *Core) emit(o Output) { c.out = append(c.out, o) }

// begin notes what follows some work.
func (c *Core) begin(then continuation) uint64 {
	c.last++
	c.waiting[c.last] = then
	return c.last
}

// ask puts a question to a region, this one included.
func (c *Core) ask(now time.Time, region chat.Region, a Ask, timeout time.Duration, then continuation) {
	if region == c.cfg.Self {
		c.serve(now, region, a, then)
		return
	}
	c.emit(Call{ID: c.begin(then), Region: region, Ask: a, Timeout: timeout})
}

func (c *Core) storeReserve(claim chat.Claim, then continuation) {
	c.emit(StoreReserve{ID: c.begin(then), Claim: claim})
}

func (c *Core) storeRelease(claim chat.Claim, then continuation) {
	c.emit(StoreRelease{ID: c.begin(then), Key: claim.Key, Attempt: claim.Attempt})
}

func (c *Core) storeClaim(key chat.ClaimKey, then continuation) {
	c.emit(StoreClaim{ID: c.begin(then), Key: key})
}

// timer is something to be done at a time.
type timer struct {
	at time.Time
	id uint64
	do func(now time.Time) // nil: stopped
}

func (t *timer) stop() {
	if t != nil {
		t.do = nil
	}
}

func (c *Core) after(now time.Time, d time.Duration, do func(now time.Time)) *timer {
	c.last++
	t := &timer{at: now.Add(d), id: c.last, do: do}
	i, _ := slices.BinarySearchFunc(c.timers, t, func(a, b *timer) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
	c.timers = slices.Insert(c.timers, i, t)
	return t
}

// due does what is due.
func (c *Core) due(now time.Time) {
	for len(c.timers) > 0 && !c.timers[0].at.After(now) {
		t := c.timers[0]
		c.timers = c.timers[1:]
		if t.do != nil {
			t.do(now)
		}
	}
}
