package sim

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// traceTail is how many lines of a failing world's trace are kept.
const traceTail = 40

// outcome is what came of one world.
type outcome struct {
	index              int
	violations         []Violation
	faults, ops, tests map[string]int
	trace              traceHash
	turns, troubles    []int // that happened
	endless            bool  // the world was given up: it would be no better when run again
}

// Run runs the worlds on all cores. Their results are taken in the order of seeds, so that the result is that of one core.
func Run(o Options) Result {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Trace != nil {
		o.Workers = 1
	}
	res := Result{Violations: []Violation{}, Faults: map[string]int{}, Ops: map[string]int{}, Checks: map[string]int{}}
	var hash traceHash
	halt := make(chan struct{})
	halted := false
	for out := range inOrder(o.start(halt)) {
		if halted {
			continue // begun before the violation was seen: a run of one core would not have begun it
		}
		res.Seeds++
		merge(res.Faults, out.faults)
		merge(res.Ops, out.ops)
		merge(res.Checks, out.tests)
		hash.add(uint64(out.trace))
		res.Violations = append(res.Violations, o.explain(out, len(res.Violations) == 0)...)
		if o.Progress != nil {
			o.Progress(Progress{Done: res.Seeds, Violations: len(res.Violations)})
		}
		if o.StopAtFirst && len(res.Violations) > 0 {
			halted = true
			close(halt)
		}
	}
	res.TraceHash = hex.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(hash)))
	return res
}

// start has the workers take seed after seed, until there are no more or one of the channels is closed. Each seed taken is
// answered.
func (o Options) start(halt <-chan struct{}) <-chan outcome {
	outcomes := make(chan outcome)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(func() {
			for !closed(halt) && !closed(o.Stop) {
				i := int(next.Add(1)) - 1
				if o.Seeds > 0 && i >= o.Seeds {
					return
				}
				out := runWorld(o.FirstSeed+uint64(i), o.Plan, o.Trace)
				out.index = i
				outcomes <- out
			}
		})
	}
	go func() {
		workers.Wait()
		close(outcomes)
	}()
	return outcomes
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// inOrder gives the outcomes by their index.
func inOrder(outcomes <-chan outcome) func(func(outcome) bool) {
	return func(yield func(outcome) bool) {
		waiting := map[int]outcome{}
		next := 0
		for out := range outcomes {
			waiting[out.index] = out
			for {
				first, ok := waiting[next]
				if !ok {
					break
				}
				delete(waiting, next)
				next++
				if !yield(first) {
					return
				}
			}
		}
	}
}

// explain gives the violations of a world; the first of a run is made small if that was asked for, and gets its trace.
func (o Options) explain(out outcome, first bool) []Violation {
	if len(out.violations) == 0 || !first || out.endless {
		return out.violations
	}
	v := &out.violations[0]
	plan := o.Plan
	if o.ShrinkRuns > 0 {
		small := shrink(v.Seed, v.Promise, o.Plan, out, o.ShrinkRuns)
		v.Plan, plan = &small, small
	}
	var lines []string
	again := runWorld(v.Seed, plan, func(line string) {
		if lines = append(lines, line); len(lines) > traceTail {
			lines = lines[1:]
		}
	})
	v.Trace = lines
	if v.Plan != nil && len(again.violations) > 0 {
		v.Detail = again.violations[0].Detail
	}
	return out.violations
}

// worldMax is how much of the real time the world of busyDefault may take, which needs a fraction of a second: one that takes longer
// turns in circles within one event, where nothing that is simulated bounds it.
const worldMax = 3 * time.Minute

// runWorld runs one world to its end, or reports that it has none.
func runWorld(seed uint64, plan Plan, tell func(line string)) outcome {
	out, ended := within(worldMax*max(1, plan.busy()/busyDefault), func() outcome { return liveWorld(seed, plan, tell) })
	if !ended {
		return outcome{endless: true, violations: []Violation{endless(seed)}}
	}
	return out
}

// endless is the violation of a world that was given up.
func endless(seed uint64) Violation {
	return Violation{Seed: seed, Promise: PromiseLiveness, Detail: "the world never comes to rest: one event of it has no end"}
}

// within runs what must end within d of the real time; what does not is left to itself.
func within[V any](d time.Duration, run func() V) (v V, ended bool) {
	done := make(chan V, 1)
	go func() { done <- run() }()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case v = <-done:
		return v, true
	case <-late.C:
		return v, false
	}
}

// liveWorld runs one world to its end. A panic is a violation like any other.
func liveWorld(seed uint64, plan Plan, tell func(line string)) (out outcome) {
	w := &world{seed: seed}
	defer func() {
		if r := recover(); r != nil {
			w.violations = append(w.violations, Violation{Seed: seed, Promise: PromiseNoPanic, Detail: fmt.Sprintf("%v\n%s", r, panicked())})
		}
		out = outcome{
			violations: w.violations, faults: w.faults, ops: w.ops, tests: w.checks, trace: w.trace, turns: w.turns, troubles: w.troubles,
		}
	}()
	w.create(plan, tell)
	w.run()
	w.checked(PromiseNoPanic)
	return out
}

// panicked gives the few lines of the stack that say where it happened.
func panicked() string {
	_, stack, _ := strings.Cut(string(debug.Stack()), "panic(")
	lines := strings.SplitN(stack, "\n", 12)
	return strings.Join(lines[min(2, len(lines)):min(8, len(lines))], "\n")
}

func merge(into, from map[string]int) {
	for k, n := range from {
		into[k] += n
	}
}
