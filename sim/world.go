package sim

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"time"

	"meridian/chat"
)

// start is the wall-clock time at which every world begins.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// event is something that happens at a time; seq orders those of one time.
type event struct {
	at  time.Duration
	seq uint64
	key uint64 // of its dice
	do  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push and Pop are as of container/heap.
func (h *eventHeap) Push(x any) { *h = append(*h, x.(event)) }

// Pop removes the last element.
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

// world is one seed's run.
type world struct {
	seed uint64
	dice
	busy     time.Duration
	plan     Plan
	turnsMax int
	turns    int // that people have had
	trouble  int // faults so far, with those that the plan leaves out

	now    time.Duration
	seq    uint64
	events eventHeap

	topology chat.Topology
	nodes    []*node
	links    []*link
	users    []*user
	clients  []*client
	history  []*send // every send ever made
	byClient map[chat.ClientID]*send

	mood       mood
	healed     bool
	ops        int
	faults     map[string]int
	violations []Violation
	trace      traceHash
	keepTrace  bool
	lines      []string
	ids        uint64
}

// mood is what a seed's world is prone to.
type mood struct {
	slowWrites  float64 // share of commits that take 50 ms to slowest
	slowest     time.Duration
	badWrites   float64 // share that fail, or whose outcome stays unknown
	skew        time.Duration
	faultEvery  time.Duration
	roamEvery   time.Duration
	retention   time.Duration // of inbox logs as told by the floor; 0: for ever
	partialLoss float64       // chance that an unsynced write survives a crash
}

func newWorld(seed uint64, plan Plan, turnsMax int, keepTrace bool) *world {
	w := &world{
		seed: seed, busy: plan.Busy, plan: plan, turnsMax: turnsMax, keepTrace: keepTrace,
		faults: map[string]int{}, byClient: map[chat.ClientID]*send{},
	}
	w.roll("mood", "", 0)
	w.mood = mood{
		slowWrites:  pick(w.rng, 0, 0.03, 0.2),
		slowest:     pick(w.rng, 600*time.Millisecond, 600*time.Millisecond, 3*time.Second),
		badWrites:   pick(w.rng, 0, 0.01, 0.05),
		skew:        pick(w.rng, 0, 50*time.Millisecond, 200*time.Millisecond),
		faultEvery:  pick(w.rng, 1500*time.Millisecond, 4*time.Second, 12*time.Second),
		roamEvery:   pick(w.rng, 3*time.Second, 10*time.Second),
		retention:   pick(w.rng, 0, 0, 20*time.Second),
		partialLoss: pick(w.rng, 0, 0.5, 0.9),
	}
	w.build()
	return w
}

// after has do happen d from now.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{at: w.now + max(0, d), seq: w.seq, key: w.fork(), do: do})
}

// uuid gives the next id; its bits look random, and are the same in each run of a seed.
func (w *world) uuid(kind byte) chat.UUID {
	w.ids++
	var u chat.UUID
	binary.BigEndian.PutUint64(u[0:], w.rng.Uint64())
	binary.BigEndian.PutUint64(u[8:], w.rng.Uint64())
	u[0] = kind
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// note adds to the trace. Its values go into the hash; the text is made only for a trace that is shown.
func (w *world) note(who string, format string, args ...any) {
	w.trace.add(uint64(w.now))
	w.trace.text(who)
	w.trace.text(fmt.Sprintf(format, args...))
	if w.keepTrace && len(w.violations) == 0 {
		w.lines = append(w.lines, fmt.Sprintf("%9.3fs %s: %s", w.now.Seconds(), who, fmt.Sprintf(format, args...)))
		if len(w.lines) > traceTail {
			w.lines = w.lines[1:]
		}
	}
}

func (w *world) violate(promise, format string, args ...any) {
	if len(w.violations) < 5 {
		w.violations = append(w.violations, Violation{Seed: w.seed, Promise: promise, Detail: fmt.Sprintf(format, args...)})
	}
}

// restBound is how long (simulated) a healed world may take to come to rest.
const restBound = 60 * time.Second

// run lets the world live: faults, then healing, then rest, then the checks.
func (w *world) run() {
	w.after(w.busy, w.heal)
	rested := false
	end := w.busy + restBound
	check := func() {}
	check = func() {
		if rested = w.atRest(); !rested {
			w.after(200*time.Millisecond, check)
		}
	}
	w.after(w.busy+5*time.Second, check)
	for len(w.events) > 0 && !rested && w.now < end && len(w.violations) == 0 {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		w.take(e.key)
		e.do()
	}
	if len(w.violations) > 0 {
		return
	}
	if !rested {
		w.violate(PromiseLiveness, "not at rest %s after healing: %s", restBound, w.unrest())
	}
	w.check()
}
