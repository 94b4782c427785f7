// Package sim is a deterministic world around the real replication core: regions, links, disks, clients and their faults on
// one event heap, and a checker of the promises. A seed is a world; the same seed is the same run, event by event.
package sim

import (
	"fmt"
	"strings"
)

// Options say which worlds to run.
type Options struct {
	// Seeds worlds are run, from FirstSeed on; 0: as many as there is time for until Stop.
	Seeds     int
	FirstSeed uint64
	// Plan is how much of each world happens.
	Plan Plan
	// Workers is how many worlds run at once; 0: one for each core. It changes nothing of the result.
	Workers int
	// Stop, when closed, ends the run after the worlds that have begun.
	Stop <-chan struct{}
	// StopAtFirst ends the run at the first world with a violation.
	StopAtFirst bool
	// ShrinkRuns is how many runs may be spent on making the first failing world smaller; 0: it stays as it is.
	ShrinkRuns int
	// Trace, if set, is told line by line what happens; the worlds then run one after another.
	Trace func(line string)
	// Progress, if set, is told after each world.
	Progress func(Progress)
}

// Progress is how far a run has come.
type Progress struct{ Done, Violations int }

// Violation is a broken promise.
type Violation struct {
	Seed    uint64 `json:"seed"`
	Promise string `json:"promise"`
	Detail  string `json:"detail"`
	// Plan is the smallest part of the world that was found to break the promise too; nil: the whole plan of the run.
	Plan *Plan `json:"plan,omitempty"`
	// Trace is the end of what happened in that world.
	Trace []string `json:"trace,omitempty"`
}

// Result is what the worlds showed.
type Result struct {
	Violations []Violation
	Seeds      int
	// TraceHash tells two runs apart that differ in anything that happened.
	TraceHash string
	// Faults, Ops and Checks count the faults by kind, the ops acknowledged by kind, and the checks by promise.
	Faults, Ops, Checks map[string]int
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
	PromiseTold      = "a refusal is told to its author"
	PromiseMembers   = "members see what membership allows"
	PromiseTime      = "every stamp is near the real time"
	PromiseNoPanic   = "nothing panics"
	PromiseBounded   = "what waits is bounded"
)

// String prints a violation for people.
func (v Violation) String() string {
	lines := append([]string{fmt.Sprintf("seed %d: %s: %s", v.Seed, v.Promise, v.Detail)}, v.Trace...)
	return strings.Join(lines, "\n    ")
}
