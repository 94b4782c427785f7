package sim

import (
	"os"
	"reflect"
	"runtime/debug"
	"testing"
	"time"
)

// worldsGC lets worlds, which are small and make much garbage, wait longer for the collector.
const worldsGC = 400

func TestMain(m *testing.M) {
	debug.SetGCPercent(worldsGC)
	os.Exit(m.Run())
}

// In a thousand worlds full of faults no promise is broken.
func TestPromises(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 40
	}
	begin := time.Now()
	res := Run(Options{Seeds: seeds, FirstSeed: 1, ShrinkRuns: 500})
	t.Logf("%d seeds, trace %s, %s\nfaults %v\nops %v\nchecks %v", res.Seeds, res.TraceHash, time.Since(begin).Round(time.Millisecond),
		res.Faults, res.Ops, res.Checks)
	for i, v := range res.Violations {
		if i < 3 {
			t.Errorf("%s\nplan %v", v, v.Plan)
		}
	}
	for _, kind := range []string{
		"client roams", "clock jump", "clock leap", "connection lost", "crash", "cut both ways", "cut one way", "disk stall", "op parked", "pause",
		"write fails", "write of unknown outcome", "region cut off", "op logs swept", "submit refused as busy", "poison op", "forged refusal",
		"sleep over a write", "uplink lost", "region cut off before its loss", "op of an unknown kind parked",
		"lost region taken out", "stream moves on",
	} {
		if res.Faults[kind] == 0 {
			t.Errorf("no world had the fault %q", kind)
		}
	}
	for _, promise := range []string{
		PromiseDurable, PromiseOnce, PromiseInvented, PromiseOrder, PromiseNoGap, PromiseResidency, PromiseConverge,
		PromiseLiveness, PromiseProtocol, PromiseTold, PromiseMembers, PromiseTime, PromiseNoPanic, PromiseBounded,
	} {
		if res.Checks[promise] == 0 {
			t.Errorf("no world checked %q", promise)
		}
	}
}

// The same seed is the same run, event by event; another seed is another.
func TestSameSeedSameTrace(t *testing.T) {
	trace := func(seed uint64) string {
		return Run(Options{Seeds: 2, FirstSeed: seed, Plan: Plan{BusyMS: 10_000}}).TraceHash
	}
	if a, b := trace(7), trace(7); a != b {
		t.Fatalf("seed 7 gave the traces %s and %s", a, b)
	}
	if a, b := trace(7), trace(8); a == b {
		t.Fatalf("seeds 7 and 8 gave the same trace %s", a)
	}
}

// The result does not depend on how many worlds run at once, nor the trace on whether somebody reads it.
func TestWorkersDoNotMatter(t *testing.T) {
	run := func(workers int, trace func(string)) Result {
		return Run(Options{Seeds: 7, FirstSeed: 20, Workers: workers, Trace: trace, Plan: Plan{BusyMS: 5_000}})
	}
	lines := 0
	one, three, read := run(1, nil), run(3, nil), run(1, func(string) { lines++ })
	if !reflect.DeepEqual(one, three) {
		t.Errorf("one worker: %+v\nthree: %+v", one, three)
	}
	if !reflect.DeepEqual(one, read) || lines == 0 {
		t.Errorf("nobody reads: %+v\n%d lines read: %+v", one, lines, read)
	}
}

// A run that is stopped ends with the worlds that have begun, without a gap.
func TestStop(t *testing.T) {
	stop := make(chan struct{})
	plan := Plan{BusyMS: 1_000}
	res := Run(Options{FirstSeed: 1, Plan: plan, Stop: stop, Progress: func(p Progress) {
		if p.Done == 3 {
			close(stop)
		}
	}})
	if res.Seeds < 3 {
		t.Fatalf("%d seeds", res.Seeds)
	}
	if whole := Run(Options{FirstSeed: 1, Seeds: res.Seeds, Plan: plan}); whole.TraceHash != res.TraceHash {
		t.Errorf("stopped after %d: trace %s, want %s", res.Seeds, res.TraceHash, whole.TraceHash)
	}
}
