package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"meridian/chat"
)

// start is the wall-clock time at which every world begins.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world is one seed's run.
type world struct {
	seed uint64
	dice
	plan     Plan
	busy     time.Duration
	turns    []int // that people have had
	troubles []int // faults that have happened
	troubled int   // faults so far, with those that the plan leaves out

	now    time.Duration
	seq    uint64
	events eventHeap

	topology chat.Topology
	sites    []*site
	nodes    []*node // of all sites
	links    []*link
	users    []*user
	clients  []*client
	devices  int     // that people have, with those that the plan leaves out
	history  []*send // every send ever made
	byClient map[chat.ClientID][]*send
	crowd    []*user // people without devices, for large groups
	groups   []*group
	acts     []*act                  // what else people did, as far as it was acknowledged
	logged   map[place]time.Duration // when ops became durable in the region that logged them

	mood       mood
	restored   restored
	healed     bool
	doomed     *site          // to be lost for good; nil: none
	takenOut   bool           // no node counts the lost region any more
	ops        map[string]int // acknowledged, by kind
	faults     map[string]int // by kind
	checks     map[string]int // by promise
	violations []Violation
	trace      traceHash
	tell       func(line string) // nil: nobody reads the trace
}

// mood is what a seed's world is prone to.
type mood struct {
	nodesMax    int     // nodes of a region
	slowWrites  float64 // share of commits that take 50 ms to slowest
	slowest     time.Duration
	badWrites   float64 // share that fail, or whose outcome stays unknown
	skew        time.Duration
	faultEvery  time.Duration
	roamEvery   time.Duration
	retention   time.Duration // of inbox logs as told by the floor; 0: for ever
	loseRegion  bool          // one region is lost for good, with its disk
	partialLoss float64       // chance that an unsynced write survives a crash
	groups      int           // how many are made
	crowd       int           // people without devices
	harsh       float64       // share of faults that are harder than a lease
	coarse      time.Duration // step of the machines' clocks
	slowReads   float64       // share of reads that take 50 to 800 ms
	narrow      bool          // some nodes run the build before
	leaps       float64       // share of faults that set a clock further off than nodes allow
	exile       time.Duration // a region is cut off from all others for so long; 0: none
	opLog       time.Duration // how long op logs keep what nobody is owed; 0: for ever
	outbox      int64         // budget of what one region is owed, in bytes; 0: none
	poison      float64       // share of messages to the deny zone that its store refuses
	forged      float64       // share of frames in which a region lies
	unjudged    bool          // nodes do not judge their clocks
	astray      float64       // share of faults that set a clock wrong where nobody notices
	restores    bool          // a region is restored from an old copy of itself
}

// create makes the world as it is before anything happens.
func (w *world) create(plan Plan, tell func(line string)) {
	w.plan, w.busy, w.tell = plan, plan.busy(), tell
	w.ops, w.faults, w.checks, w.byClient = map[string]int{}, map[string]int{}, map[string]int{}, map[chat.ClientID][]*send{}
	w.logged = map[place]time.Duration{}
	w.roll("mood", "", 0)
	w.mood = mood{
		nodesMax:    pick(w.rng, 1, 2, 3),
		slowWrites:  pick(w.rng, 0, 0.03, 0.2),
		slowest:     pick(w.rng, 600*time.Millisecond, 600*time.Millisecond, 3*time.Second),
		badWrites:   pick(w.rng, 0, 0.01, 0.05),
		skew:        pick(w.rng, 0, 50*time.Millisecond, 200*time.Millisecond, 240*time.Millisecond),
		faultEvery:  pick(w.rng, 1500*time.Millisecond, 4*time.Second, 12*time.Second),
		roamEvery:   pick(w.rng, 3*time.Second, 10*time.Second),
		retention:   pick(w.rng, 0, 0, 20*time.Second),
		partialLoss: pick(w.rng, 0, 0.5, 0.9),
		groups:      pick(w.rng, 0, 1, 2, 3),
	}
	if w.mood.groups > 0 && w.chance(0.02) {
		w.mood.crowd = 300
	}
	if w.chance(1. / 3) {
		w.mood.loseRegion, w.mood.groups, w.mood.crowd = true, 0, 0
	}
	w.mood.harsh = pick(w.rng, 0, 0.3, 0.7)
	w.mood.coarse = pick(w.rng, 0, 0, 10*time.Millisecond)
	w.mood.slowReads = pick(w.rng, 0, 0, 0.1)
	w.mood.leaps = pick(w.rng, 0, 0.05, 0.3)
	w.mood.exile = pick(w.rng, 0, 0, 12*time.Second, 18*time.Second)
	w.mood.opLog = pick(w.rng, 0, 5*time.Second, 8*time.Second)
	w.mood.outbox = pick[int64](w.rng, 0, 8<<10, 16<<10)
	if w.mood.poison = pick(w.rng, 0, 0.3); w.mood.poison > 0 {
		w.mood.opLog = 0 // a word may come later than what it speaks of is kept here
	}
	w.mood.narrow = w.chance(0.25)
	w.mood.forged = pick(w.rng, 0, 0, 0.01)
	if w.chance(0.2) {
		w.mood.unjudged, w.mood.leaps, w.mood.astray = true, 0, 0.4
	}
	if w.roll("groups of the lost", "", 0); w.mood.loseRegion && w.chance(0.5) {
		w.mood.groups = pick(w.rng, 1, 2, 3)
	}
	if w.roll("together", "", 0); w.chance(0.15) {
		w.mood.all(w.rng)
	}
	w.mayRestore()
	plan.calm(&w.mood)
	w.build()
}

// all makes a world prone to what is rare together: a region lost for good, groups, several nodes in each region, and ops that are
// parked.
func (m *mood) all(rng *rand.Rand) {
	m.nodesMax, m.groups, m.crowd = pick(rng, 2, 3), pick(rng, 1, 2, 3), 0
	m.loseRegion = true
	m.unjudged, m.leaps, m.astray = true, 0, 0.4
}

// after has do happen d from now.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	w.events.push(event{at: w.now + max(0, d), seq: w.seq, key: w.fork(), do: do})
}

// uuid gives the next id; its bits look random, and are the same in each run of a seed.
func (w *world) uuid(kind byte) chat.UUID {
	var u chat.UUID
	binary.BigEndian.PutUint64(u[0:], w.rng.Uint64())
	binary.BigEndian.PutUint64(u[8:], w.rng.Uint64())
	u[0] = kind
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

func (w *world) violate(promise, format string, args ...any) {
	if len(w.violations) < 5 {
		w.violations = append(w.violations, Violation{Seed: w.seed, Promise: promise, Detail: fmt.Sprintf(format, args...)})
	}
}

// restBound is how long (simulated) a healed world may take to come to rest.
const restBound = 60 * time.Second

// restAfter is how long after healing a world is looked at: where a region is lost, the others must have had the time to
// notice, and to hand on what they have of it.
func (w *world) restAfter() time.Duration {
	if w.mood.loseRegion {
		return 5*time.Second + 2*forwardAfter
	}
	return 5 * time.Second
}

// refusedFor is how long a message that a store will not take may hold its stream: the store refuses up to eight batches with it,
// by halves and then alone, and after each the stream is asked for again.
const refusedFor = 6 * time.Second

// repairFor is how much longer a world may take in which a region is repaired: the rows of many mailboxes are written in all regions,
// one write after the other where they concern the same sends, and slow disks take up to 2 s for each.
const repairFor = 2 * time.Minute

// longer is how much longer a world may take to come to rest: for a repair, and for the messages that stores will not take, all of
// which may be under way when it heals.
func (w *world) longer() time.Duration {
	total := time.Duration(0)
	if w.restored.done {
		total += repairFor
	}
	for _, s := range w.history {
		if s.poison {
			total += refusedFor
		}
	}
	return total
}

// eventsPerSecondMax bounds what may happen in a simulated second, on average over a world: more is a loop without end. The liveliest
// worlds have a quarter of it.
const eventsPerSecondMax = 10_000

// run lets the world live: faults, then healing, then rest, then the checks.
func (w *world) run() {
	rested := false
	end := w.busy + restBound
	left := int(end/time.Second) * eventsPerSecondMax
	w.after(w.busy, func() {
		w.heal()
		end += w.longer()
		left += int(w.longer()/time.Second) * eventsPerSecondMax
	})
	check := func() {}
	check = func() {
		if rested = w.atRest(); !rested {
			w.after(200*time.Millisecond, check)
		}
	}
	w.after(w.busy+w.restAfter(), check)
	for len(w.events) > 0 && !rested && w.now < end && len(w.violations) == 0 && left > 0 {
		e := w.events.pop()
		w.now = e.at
		w.take(e.key)
		e.do()
		left--
	}
	if len(w.violations) > 0 {
		return
	}
	w.checked(PromiseLiveness)
	if left == 0 {
		w.violate(PromiseLiveness, "the world never comes to rest: more than %d events a second until %s", eventsPerSecondMax, w.now)
		return
	}
	w.check()
	if !rested { // last: what the checks say of the same is plainer
		w.violate(PromiseLiveness, "not at rest %s after healing: %s", w.now-w.busy, w.unrest())
	}
}
