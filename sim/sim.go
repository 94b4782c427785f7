// Package sim is a deterministic world around the real replication core: regions, links, disks, clients and their faults on
// one event heap, and a checker of the promises. A seed is a world; the same seed is the same run, event by event.
package sim

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Options say which worlds to run.
type Options struct {
	// Seeds worlds are run, from FirstSeed on.
	Seeds     int
	FirstSeed uint64
	// Busy is how long (simulated) people write and faults happen, before everything heals; 0: 30 s.
	Busy time.Duration
	// Turns bounds what people do in a world; 0: 375.
	Turns int
	// StopAtFirst ends the run at the first world with a violation.
	StopAtFirst bool
	// Progress, if set, is told after each world.
	Progress func(done int, seed uint64, violations int)
}

// Violation is a broken promise.
type Violation struct {
	Seed    uint64 `json:"seed"`
	Promise string `json:"promise"`
	Detail  string `json:"detail"`
	// Trace is the end of what happened in that world.
	Trace []string `json:"trace,omitempty"`
}

// Result is what the worlds showed. Its JSON form is that of `meridian sim --json`.
type Result struct {
	Violations []Violation    `json:"violations"`
	Seeds      int            `json:"seeds"`
	TraceHash  string         `json:"trace_hash"`
	Faults     map[string]int `json:"faults"`
	Ops        int            `json:"ops"`
}

// The promises that the checker knows.
const (
	PromiseDurable   = "acknowledged is durable"
	PromiseOnce      = "acknowledged exactly once"
	PromiseInvented  = "nothing invented or altered"
	PromiseOrder     = "one order"
	PromiseNoGap     = "no gap"
	PromiseResidency = "residency"
	PromiseConverge  = "every region ends alike"
	PromiseLiveness  = "everything comes to rest"
	PromiseProtocol  = "the protocol is kept"
)

// traceTail is how many lines of a failing world's trace are kept.
const traceTail = 40

// Run runs the worlds one after another.
func Run(o Options) Result {
	if o.Busy == 0 {
		o.Busy = 30 * time.Second
	}
	if o.Turns == 0 {
		o.Turns = 375
	}
	res := Result{Violations: []Violation{}, Faults: map[string]int{}}
	var hash traceHash
	for i := range o.Seeds {
		seed := o.FirstSeed + uint64(i)
		w := newWorld(seed, Plan{Busy: o.Busy}, o.Turns, false)
		w.run()
		res.Seeds++
		res.Ops += w.ops
		for kind, n := range w.faults {
			res.Faults[kind] += n
		}
		hash.add(uint64(w.trace))
		if len(w.violations) > 0 {
			again := newWorld(seed, Plan{Busy: o.Busy}, o.Turns, true)
			again.run()
			w.violations[0].Trace = again.lines
			res.Violations = append(res.Violations, w.violations...)
		}
		if o.Progress != nil {
			o.Progress(i+1, seed, len(w.violations))
		}
		if o.StopAtFirst && len(res.Violations) > 0 {
			break
		}
	}
	var b [8]byte
	for i := range b {
		b[i] = byte(hash >> (56 - 8*i))
	}
	res.TraceHash = hex.EncodeToString(b[:])
	return res
}

// String prints a violation for people.
func (v Violation) String() string {
	lines := append([]string{fmt.Sprintf("seed %d: %s: %s", v.Seed, v.Promise, v.Detail)}, v.Trace...)
	return strings.Join(lines, "\n    ")
}

// traceHash is FNV-1a over what happened.
type traceHash uint64

func (h *traceHash) add(v uint64) {
	if *h == 0 {
		*h = 14695981039346656037
	}
	for range 8 {
		*h = (*h ^ traceHash(v&0xff)) * 1099511628211
		v >>= 8
	}
}

func (h *traceHash) text(s string) {
	h.add(uint64(len(s)))
	for i := range len(s) {
		*h = (*h ^ traceHash(s[i])) * 1099511628211
	}
}
