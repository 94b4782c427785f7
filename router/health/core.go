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
	// Draining, DrainUntil and Forced are the operator's word about this region. Sockets is its load.
	Draining   bool          `json:"draining,omitempty"`
	DrainUntil time.Time     `json:"drain_until,omitzero"`
	Forced     decide.Health `json:"forced,omitempty"`
	Sockets    int           `json:"sockets,omitempty"`
}

// Peer is one region's view of another.
type Peer struct {
	Up    bool    `json:"up"`
	RTTms float64 `json:"rtt_ms"`
}

// Round is what was seen in one interval. A region without a Report said nothing; what it said before counts no more.
type Round struct {
	Probes  map[chat.Region]Probe
	Reports map[chat.Region]Report
}

// Core turns rounds into states.
//
// Voters about a region are the other regions and this router. A round counts against a region when a majority of all
// voters, heard or not, says it is down, and for it when a majority says it is up; otherwise it counts for nothing, so a
// router that is cut off keeps its last good state. Each bad round adds one to the region's failures and OK good ones in a
// row clear them: flapping adds up. At Down failures the region is down; after Up good rounds in a row it is up again.
//
// At most half of the regions are taken out, and none while only two are live: with two there is no telling who is right,
// and no probe bug may empty the world. Clients then walk down their lists by themselves.
type Core struct {
	regions  []chat.Region // sorted
	capacity map[chat.Region]int
	limits   config.Health
	state    map[chat.Region]*track
}

type track struct {
	failures int
	good     int // good rounds in a row
	down     bool
	capped   bool // would be down, but too few regions are left
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

// Step takes one round and gives the states after it.
func (c *Core) Step(now time.Time, round Round) decide.States {
	for _, r := range c.regions {
		t := c.state[r]
		if report, ok := round.Reports[r]; ok {
			t.report = report
			c.load(t, c.capacity[r], now)
		}
		up, down, why := c.votes(r, round)
		switch need := len(c.regions)/2 + 1; {
		case down >= need:
			t.failures, t.good = min(t.failures+1, c.limits.Down), 0
			t.why = why
		case up >= need:
			t.good++
		}
	}
	for _, r := range c.regions {
		c.judge(c.state[r])
	}
	return c.States()
}

// judge applies the thresholds to one region.
func (c *Core) judge(t *track) {
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
	if live := c.live(); live <= 2 || (len(c.regions)-live+1)*2 > len(c.regions) {
		t.capped = true
		return
	}
	t.down = true
}

func (c *Core) live() int {
	n := 0
	for _, t := range c.state {
		if !t.down {
			n++
		}
	}
	return n
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
		case peer.Up:
			up++
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
	for _, r := range c.regions {
		t := c.state[r]
		s := decide.State{
			Health: decide.HealthUp, Draining: t.report.Draining, DrainUntil: t.report.DrainUntil, Forced: t.report.Forced, Shed: t.shed,
		}
		if t.down {
			s.Health, s.Why = decide.HealthDown, t.why
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

// Settling says that a region is on its way to another state, so that the next round should not wait for a full interval.
func (c *Core) Settling() bool {
	for _, t := range c.state {
		if !t.down && !t.capped && t.failures > 0 && t.good == 0 {
			return true
		}
	}
	return false
}
