package sim

import (
	"testing"
	"time"
)

// In hundreds of worlds full of faults a name is never two people's, no success is lost, every region ends alike, and whoever
// wants a name that nobody has gets it once the world is well.
func TestClaims(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 60
	}
	begin := time.Now()
	res := RunClaims(seeds, 1)
	t.Logf("%d worlds, sign-ups %v, %d look-ups, %d entries mended, trace %s, faults %v, %s",
		res.Seeds, res.SignUps, res.Lookups, res.Mended, res.TraceHash, res.Faults, time.Since(begin).Round(time.Millisecond))
	if res.Mended == 0 {
		t.Error("no world had a name mended")
	}
	for i, v := range res.Violations {
		if i < 3 {
			t.Error(v)
		}
	}
	for _, kind := range []string{
		"account refused", "clock jump", "clock jump by a day", "crash", "cut both ways", "cut off for a day", "cut one way",
		"down for a day", "message doubled", "message late", "message lost", "pause", "region lost", "restored from a copy", "slow op", "write fails",
		"write of unknown outcome",
	} {
		if res.Faults[kind] == 0 {
			t.Errorf("no world had the fault %q", kind)
		}
	}
}

// The same seed is the same run, event by event; another seed is another.
func TestClaimsSameSeedSameTrace(t *testing.T) {
	trace := func(seed uint64) string { return RunClaims(3, seed).TraceHash }
	if a, b := trace(7), trace(7); a != b {
		t.Fatalf("seed 7 gave the traces %s and %s", a, b)
	}
	if a, b := trace(7), trace(8); a == b {
		t.Fatalf("seeds 7 and 8 gave the same trace %s", a)
	}
}
