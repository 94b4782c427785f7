package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"meridian/chat"
	"meridian/sim/memstore"
)

// claimsWorld is one seed's regions, and the people who sign up there.
type claimsWorld struct {
	seed uint64
	rng  *rand.Rand

	now    time.Duration
	seq    uint64
	events eventHeap

	topology chat.Topology // as configured; a node reads it when it starts
	regions  []*claimsRegion
	nodes    []*claimsNode
	cut      map[[2]chat.Region]bool // no word passes from one to the other
	names    []chat.ClaimKey
	hot      int           // the name wanted last
	doomed   *claimsRegion // lost at the next moment that is bad for it
	badTurn  bool          // that moment: a name of its slots is held; else one is confirmed there
	signUps  []*signUp
	lookUps  []*lookUp
	mended   int // entries that were brought to regions without them
	ops      []*confirmation

	mood       claimsMood
	calm       bool // no faults any more
	faults     map[string]int
	violations []Violation
	trace      traceHash
	keepTrace  bool
	lines      []claimsLine
	about      int // the name of the first violation
}

// claimsLine is one line of a trace, about a name or, with everybody, about all of them.
type claimsLine struct {
	name int
	text string
}

const everybody = -1

// claimsMood is what a seed's world is prone to.
type claimsMood struct {
	nodes      int // in a region
	slowWrites float64
	badWrites  float64
	slowWord   float64 // share of reads and writes that are heard of up to 800 ms later
	loss, dup  float64 // of a message between regions
	slow       float64 // share of messages that take up to 8 s
	partial    float64 // chance that a write under way survives a crash
	skew       time.Duration
	jumps      bool    // of a day
	slowOps    float64 // share of confirming ops that take up to 6 s
	faultEvery time.Duration
	loses      bool    // a region, for ever
	slowPeople float64 // share of sign-ups that take up to 3 s between holding the name and its op
}

// claimsRegion is a region: what is durable there.
type claimsRegion struct {
	name   chat.Region
	tables *memstore.Tables
	store  *memstore.Store
	clock  chat.HLC // the latest time stamped
	lost   bool
}

func newClaimsWorld(seed uint64, keepTrace bool) *claimsWorld {
	w := &claimsWorld{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0x636c61696d)), keepTrace: keepTrace, cut: map[[2]chat.Region]bool{}, faults: map[string]int{},
	}
	w.mood = claimsMood{
		nodes:      pick(w.rng, 1, 1, 2),
		slowWrites: pick(w.rng, 0, 0.05, 0.3),
		badWrites:  pick(w.rng, 0, 0.02, 0.1),
		slowWord:   pick(w.rng, 0, 0.05, 0.5),
		loss:       pick(w.rng, 0, 0.02, 0.15),
		dup:        pick(w.rng, 0, 0.05, 0.2),
		slow:       pick(w.rng, 0, 0.02, 0.1),
		partial:    pick(w.rng, 0, 0.5, 0.9),
		skew:       pick(w.rng, 0, 50*time.Millisecond, 400*time.Millisecond),
		slowOps:    pick(w.rng, 0, 0.05, 0.2),
		faultEvery: pick(w.rng, 300*time.Millisecond, 1500*time.Millisecond, 4*time.Second),
		loses:      w.rng.IntN(3) == 0,
		slowPeople: pick(w.rng, 0, 0.1, 0.4),
	}
	// The nodes of a region tell each other by the clock what they run: see decision 0007.
	w.mood.jumps = w.mood.nodes == 1 && w.rng.IntN(2) == 0
	w.build()
	return w
}

func (w *claimsWorld) build() {
	n := pick(w.rng, 1, 2, 3, 3, 3, 4, 5)
	regions := slices.Clone(regionNames[:n])
	w.topology = chat.Topology{Regions: regions, Zones: map[chat.Zone]chat.ZoneSpec{
		"world": {Name: "world", Regions: regions, Policy: chat.PolicyCopy},
		"pair":  {Name: "pair", Regions: regions[:min(2, n)], Policy: chat.PolicyCopy},
		"solo":  {Name: "solo", Regions: regions[n-1:], Policy: chat.PolicyDeny},
	}}
	w.mood.loses = w.mood.loses && n > 2
	for _, name := range regions {
		r := &claimsRegion{name: name, tables: memstore.New(name, "n1")}
		r.store = memstore.Open(r.tables, memstore.Retention{})
		w.regions = append(w.regions, r)
		for i := range w.mood.nodes {
			nd := &claimsNode{w: w, region: r, name: fmt.Sprintf("%s/n%d", name, i+1), skew: w.newSkew()}
			w.nodes = append(w.nodes, nd)
			nd.boot()
		}
	}
	for range 12 + w.rng.IntN(12) {
		w.names = append(w.names, chat.ClaimKey(slices.Concat(w.bytes(), w.bytes())))
	}
	w.busy(0)
	w.after(claimsBusy, w.dusk)
	w.after(claimsNight, func() { w.busy(claimsNight) })
	w.after(claimsNight+claimsBusy, w.heal)
	w.after(claimsRest-claimsEnd, w.mendAll)
	w.after(claimsRest, w.lastWishes)
	switch {
	case w.mood.loses:
		w.after(w.between(claimsBusy/5, claimsBusy), w.doom)
	case n > 2: // with two regions no majority is left of the one that forgets
		w.after(w.between(claimsBusy/5, claimsBusy), w.restoreLater)
	}
}

// bytes gives 16 that look random, and are the same in each run of a seed.
func (w *claimsWorld) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, w.rng.Uint64()), w.rng.Uint64())
}

func (w *claimsWorld) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

func (w *claimsWorld) chance(p float64) bool { return w.rng.Float64() < p }

// fault says whether something of that share goes wrong now.
func (w *claimsWorld) fault(p float64, kind string) bool {
	if w.calm || !w.chance(p) {
		return false
	}
	w.faults[kind]++
	return true
}

func (w *claimsWorld) after(d time.Duration, do func()) {
	w.seq++
	w.events.push(event{at: w.now + max(0, d), seq: w.seq, do: do})
}

// note adds to the trace what concerns a name, or everybody.
func (w *claimsWorld) note(name int, who, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.trace.add(uint64(w.now))
	w.trace.add(uint64(name))
	w.trace.text(who)
	w.trace.text(text)
	if w.keepTrace {
		w.lines = append(w.lines, claimsLine{name, fmt.Sprintf("%12.3fs %s: %s", w.now.Seconds(), who, text)})
	}
}

// story is the end of what happened to the name of the first violation.
func (w *claimsWorld) story() []string {
	var lines []string
	for _, l := range w.lines {
		if l.name == w.about || l.name == everybody {
			lines = append(lines, l.text)
		}
	}
	return lines[max(0, len(lines)-2*traceTail):]
}

func (w *claimsWorld) violate(name int, promise, format string, args ...any) {
	if len(w.violations) == 0 {
		w.about = name
	}
	if len(w.violations) < 5 {
		detail := fmt.Sprintf(format, args...)
		if name != everybody {
			detail = fmt.Sprintf("name %d: %s", name, detail)
		}
		w.violations = append(w.violations, Violation{Seed: w.seed, Promise: promise, Detail: detail})
	}
}

// run lets the world live to its end, and asks for the promises.
func (w *claimsWorld) run() {
	left := claimsEventsMax
	for ; len(w.events) > 0 && w.events[0].at < claimsRest+claimsEnd && len(w.violations) == 0 && left > 0; left-- {
		e := w.events.pop()
		w.now = e.at
		e.do()
	}
	if left == 0 {
		w.violate(everybody, PromiseLiveness, "the world never comes to rest: more than %d events until %s", claimsEventsMax, w.now)
	}
	if len(w.violations) == 0 {
		w.now = claimsRest + claimsEnd
		w.check()
	}
}

func (w *claimsWorld) newSkew() time.Duration {
	if w.mood.skew == 0 || w.calm {
		return 0
	}
	return w.between(-w.mood.skew, w.mood.skew)
}

func (w *claimsWorld) region(name chat.Region) *claimsRegion {
	i := slices.IndexFunc(w.regions, func(r *claimsRegion) bool { return r.name == name })
	return w.regions[i]
}

// living gives the nodes of the regions that are not lost.
func (w *claimsWorld) living() []*claimsNode {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *claimsNode) bool { return n.region.lost })
}

// anyNode gives a node of the region that runs, nil if none does.
func (w *claimsWorld) anyNode(r *claimsRegion) *claimsNode {
	var up []*claimsNode
	for _, n := range w.nodes {
		if n.region == r && n.up {
			up = append(up, n)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[w.rng.IntN(len(up))]
}

// carry brings something from one region to another: late, twice, out of order, or never.
func (w *claimsWorld) carry(from, to *claimsRegion, deliver func()) {
	if w.cut[[2]chat.Region{from.name, to.name}] || w.fault(w.mood.loss, "message lost") {
		return
	}
	times := 1
	if w.fault(w.mood.dup, "message doubled") {
		times = 2
	}
	oneWay := time.Duration(roundTrips[slices.Index(w.regions, from)][slices.Index(w.regions, to)] / 2 * float64(time.Millisecond))
	for range times {
		d := oneWay + w.between(0, 1+oneWay/2)
		if w.fault(w.mood.slow, "message late") {
			d += w.between(0, 8*time.Second)
		}
		w.after(d, deliver)
	}
}
