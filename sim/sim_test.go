package sim

import (
	"testing"
	"time"
)

// In hundreds of worlds full of faults no promise is broken.
func TestPromises(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 40
	}
	begin := time.Now()
	res := Run(Options{Seeds: seeds, FirstSeed: 1})
	t.Logf("%d seeds, %d ops, trace %s, faults %v, %s", res.Seeds, total(res.Ops), res.TraceHash, res.Faults, time.Since(begin).Round(time.Millisecond))
	for i, v := range res.Violations {
		if i < 3 {
			t.Error(v)
		}
	}
	for _, kind := range []string{
		"client roams", "clock jump", "connection lost", "crash", "cut both ways", "cut one way", "disk stall", "pause",
		"write fails", "write of unknown outcome",
	} {
		if res.Faults[kind] == 0 {
			t.Errorf("no world had the fault %q", kind)
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
