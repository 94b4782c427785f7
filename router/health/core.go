// Package health finds out which regions serve. Core is pure: it takes one round of observations after another and gives
// the regions' states, with hysteresis. Monitor is the shell around it that probes regions and collects their votes.
package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
)

// Probe is what this router saw of a region in one round.
type Probe struct {
	OK  bool
	Why string // what went wrong
}

// Report is what a region says of itself and of the others; GET /v1/peers answers it.
type Report struct {
	Region chat.Region          `json:"region"`
	Peers  map[chat.Region]Peer `json:"peers"`
	// Draining, DrainFrom and DrainUntil are the operator's word about this region. Sockets is its load.
	Draining   bool      `json:"draining,omitempty"`
	DrainFrom  time.Time `json:"drain_from,omitzero"`
	DrainUntil time.Time `json:"drain_until,omitzero"`
	Sockets    int       `json:"sockets,omitempty"`
	// Forces are the words of this region's operator about regions, against what probes say (see chat.Forces.About).
	Forces map[chat.Region]chat.Force `json:"forces,omitempty"`
	// Drains are the orders about all regions, as this region has heard them. They decide nothing here, where each region speaks for itself.
	Drains map[chat.Region]Drain `json:"drains,omitempty"`
	// Reported counts the networks whose clients told this region of late that they cannot reach another one.
	Reported map[chat.Region]int `json:"reported,omitempty"`
}

// Drain is an operator's order: whether a region drains, when that was said, and from and until when people move.
type Drain struct {
	On    bool      `json:"on"`
	Given time.Time `json:"given"`
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Peer is one region's view of another: whether its backbone link is up, and what its own probe of the way of a message there said last, ProbeOK
// or what went wrong; "" where it does not say.
type Peer struct {
	Up    bool    `json:"up"`
	RTTms float64 `json:"rtt_ms"`
	Probe string  `json:"probe,omitempty"`
}

// ProbeOK is the word for a probe that passed.
const ProbeOK = "ok"

// reaches says whether a region votes for another one: the link is up, and no probe says that messages do not get through.
func (p Peer) reaches() bool { return p.Up && (p.Probe == "" || p.Probe == ProbeOK) }

// Round is what was seen in one interval. A region without a Report said nothing; what it said before counts no more.
type Round struct {
	Probes  map[chat.Region]Probe
	Reports map[chat.Region]Report
	// Reported counts the networks whose clients told this router of late that they cannot reach a region. It is no vote: who
	// looks after it is the next probe.
	Reported map[chat.Region]int
}

// Core turns rounds into states.
//
// Voters about a region are the other regions and this router. A round counts against a region when a majority of all
// voters, heard or not, says it is down, and for it when a majority says it is up; otherwise it counts for nothing, so a
// router that is cut off keeps its last good state. Regions notice that one is silent later than this router does, so once they
// agree the rounds count in which it alone could not reach it, up to one less than Down. Each bad round adds one to the region's failures and OK good ones in a
// row clear them: flapping adds up. At Down failures the region is down; after Up good rounds in a row it is up again.
//
// At most half of the regions are taken out, and of the capacity where all regions have one, and none while only two are live:
// with two there is no telling who is right, and no probe bug may empty the world. Clients then walk down their lists by themselves.
//
// What clients tell of regions that they cannot reach (Reported) takes nothing out: it makes the next round come sooner, and stands
// in the reason.
type Core struct {
	regions  []chat.Region // sorted
	capacity map[chat.Region]int
	limits   config.Health
	state    map[chat.Region]*track
	now      time.Time // of the last step
}

type track struct {
	failures int
	good     int // good rounds in a row
	down     bool
	capped   bool // would be down, but too few regions are left
	missed   int  // rounds in a row in which this router could not reach it
	suspect  int  // rounds in a row in which this router or clients could not
	reported int  // networks whose clients cannot reach it
	why      string
	report   Report // the last heard; an operator's drain outlives the region
	shed     float64
	shedAt   time.Time
}

// shedEvery is how often the share of shed load moves.
const shedEvery = 30 * time.Second

// NewCore makes a core with every region up. Limits that are not set become: down 3, OK 5, up 15.
func NewCore(regions []config.Region, limits config.Health) *Core {
	c := &Core{limits: limits, capacity: map[chat.Region]int{}, state: map[chat.Region]*track{}}
	for _, set := range []struct {
		limit *int
		value int
	}{{&c.limits.Down, 3}, {&c.limits.OK, 5}, {&c.limits.Up, 15}} {
		if *set.limit <= 0 {
			*set.limit = set.value
		}
	}
	for _, r := range regions {
		c.regions = append(c.regions, r.Name)
		c.capacity[r.Name], c.state[r.Name] = r.CapacitySockets, &track{}
	}
	slices.Sort(c.regions)
	return c
}

// With gives a core of other regions, or with other limits, in which those that stay are as they are.
func (c *Core) With(regions []config.Region, limits config.Health) *Core {
	next := NewCore(regions, limits)
	next.now = c.now
	for r, t := range c.state {
		if _, stays := next.state[r]; stays {
			next.state[r] = t
		}
	}
	return next
}

// Step takes one round and gives the states after it.
func (c *Core) Step(now time.Time, round Round) decide.States {
	c.now = now
	for _, r := range c.regions {
		t := c.state[r]
		t.suspicion(r, round)
		if report, ok := round.Reports[r]; ok {
			t.report = report
			c.load(t, c.capacity[r], now)
		}
		up, down, why := c.votes(r, round)
		switch need := len(c.regions)/2 + 1; {
		case down >= need:
			// What this router saw alone before the others agreed counts too, but it takes two rounds in which they do.
			t.failures, t.good = min(max(t.failures+1, min(t.missed, c.limits.Down-1)), c.limits.Down), 0
			t.why = why
		case up >= need:
			t.good++
		}
	}
	for _, r := range c.regions {
		c.judge(r)
	}
	return c.States()
}

// judge applies the thresholds to one region.
func (c *Core) judge(r chat.Region) {
	t := c.state[r]
	if t.down {
		if t.good >= c.limits.Up {
			t.down, t.failures = false, 0
		}
		return
	}
	if t.good >= c.limits.OK {
		t.failures = 0
	}
	t.capped = false
	if t.failures < c.limits.Down {
		return
	}
	if c.tooFew(r) {
		t.capped = true
		return
	}
	t.down = true
}

// tooFew says that without region r too little would be left.
func (c *Core) tooFew(r chat.Region) bool {
	left, all := 0, 0
	for name, t := range c.state {
		if c.capacity[name] <= 0 {
			return c.tooFewRegions()
		}
		all += c.capacity[name]
		if !t.down && name != r {
			left += c.capacity[name]
		}
	}
	return c.tooFewRegions() || left*2 < all
}

func (c *Core) tooFewRegions() bool {
	live := 0
	for _, t := range c.state {
		if !t.down {
			live++
		}
	}
	return live <= 2 || (len(c.regions)-live+1)*2 > len(c.regions)
}

// suspicion notes what speaks against a region without being a vote.
func (t *track) suspicion(r chat.Region, round Round) {
	t.reported = round.Reported[r]
	for _, report := range round.Reports {
		t.reported += report.Reported[r]
	}
	if p, ok := round.Probes[r]; ok && !p.OK {
		t.missed++
	} else {
		t.missed = 0
	}
	if t.missed > 0 || t.reported > 0 {
		t.suspect++
	} else {
		t.suspect = 0
	}
}

// votes counts who says what about r, and tells it in words.
func (c *Core) votes(r chat.Region, round Round) (up, down int, why string) {
	var against []string
	if p, ok := round.Probes[r]; ok {
		if p.OK {
			up++
		} else {
			down++
			against = append(against, "this router ("+p.Why+")")
		}
	}
	for _, other := range c.regions {
		if other == r {
			continue
		}
		peer, ok := round.Reports[other].Peers[r]
		switch {
		case !ok:
		case peer.reaches():
			up++
		case peer.Up:
			down++
			against = append(against, fmt.Sprintf("%s (%s)", other, peer.Probe))
		default:
			down++
			against = append(against, string(other))
		}
	}
	return up, down, fmt.Sprintf("%d of %d cannot reach it: %s", down, len(c.regions), strings.Join(against, ", "))
}

func (c *Core) load(t *track, capacity int, now time.Time) {
	if capacity <= 0 || now.Sub(t.shedAt) < shedEvery {
		return
	}
	t.shedAt = now
	t.shed = decide.Shed(t.shed, float64(t.report.Sockets)/float64(capacity))
}

// States gives the current states.
func (c *Core) States() decide.States {
	out := make(decide.States, len(c.regions))
	forces := make(chat.Forces, len(c.regions))
	for _, r := range c.regions { // what a region told last counts also while it is away
		forces[r] = c.state[r].report.Forces
	}
	for _, r := range c.regions {
		t := c.state[r]
		s := decide.State{Health: decide.HealthUp, Draining: t.report.Draining, DrainUntil: t.report.DrainUntil, Shed: t.shed}
		if word, by, ok := forces.About(r, c.regions, c.now); ok {
			s.Force(word, by)
		}
		if s.Draining {
			s.DrainWeight = decide.DrainWeight(t.report.DrainFrom, t.report.DrainUntil, c.now)
		}
		if t.down {
			s.Health, s.Why = decide.HealthDown, t.why
		}
		if t.down && t.reported > 0 {
			s.Why += fmt.Sprintf("; clients of %d networks say so too", t.reported)
		}
		if t.capped {
			s.Why = "kept, because too few regions are left: " + t.why
		}
		if t.shed > 0 && c.capacity[r] > 0 {
			s.Load = float64(t.report.Sockets) / float64(c.capacity[r])
		}
		out[r] = s
	}
	return out
}

// settleRounds bounds how many rounds in a row come sooner because of a suspicion that no majority shares.
const settleRounds = 10

// Settling says that a region is on its way to another state, or may be, so that the next round should not wait for a full interval.
func (c *Core) Settling() bool {
	for _, t := range c.state {
		failing, suspected := t.failures > 0 && t.good == 0, t.suspect > 0 && t.suspect <= settleRounds
		if !t.down && !t.capped && (failing || suspected) {
			return true
		}
	}
	return false
}
