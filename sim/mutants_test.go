package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A mutant takes one mechanism out, as an edit of the source that exists only in a binary that the test builds.
type mutant struct {
	name  string
	hole  int      // that the mechanism closes, as numbered in docs/simulation.md
	file  string   // from the root of the module
	edits []string // old, new, old, new …; each old stands in the file exactly once, inside a function
}

// Each concern has its table, in a file of its own.
var mutants = slices.Concat(
	coreMutants, mergeMutants, nodeMutants, groupMutants, survivorMutants, outboxMutants, parkedMutants, harshMutants, clientMutants, refusalMutants, clockMutants, restoredMutants,
)

// caught is the world that catches a mutant, as recorded.
type caught struct {
	Mutant  string `json:"mutant"`
	Hole    int    `json:"hole"`
	Seed    uint64 `json:"seed"`
	Promise string `json:"promise"`
}

const recordFile = "testdata/mutants.json"

var (
	record = flag.Bool("record", false, "TestMutants searches for the seeds anew and writes them to "+recordFile)
	only   = flag.String("only", "", "with -record: a pattern of the mutants to search for, or stale; the others keep their record")
	seeds  = flag.Int("seeds", 3000, "with -record: how many worlds a mutant may survive")
	hunt   = flag.String("hunt", "", "options of the worlds that TestHunt runs, as JSON; used by TestMutants in the binary that it builds")
)

// huntOptions tell TestHunt what to run.
type huntOptions struct {
	Seeds, ShrinkRuns int
	FirstSeed         uint64
	Plan              Plan
}

// The text that each mutant takes out stands in the source.
func TestMutantsFit(t *testing.T) {
	byFile := map[string][]mutant{}
	for _, m := range slices.Concat(mutants, hintMutants, claimMutants, testedMutants()) {
		byFile[m.file] = append(byFile[m.file], m)
	}
	for file, list := range byFile {
		src, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range list { // each for itself: one that does not fit does not hide the rest
			if _, _, err := weave(string(src), list[i:i+1]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// With -hunt the first world that breaks a promise is printed; without, there is nothing to do.
func TestHunt(t *testing.T) {
	if *hunt == "" {
		t.Skip("only in the binary that TestMutants builds")
	}
	var o huntOptions
	if err := json.Unmarshal([]byte(*hunt), &o); err != nil {
		t.Fatal(err)
	}
	res := Run(Options{Seeds: o.Seeds, FirstSeed: o.FirstSeed, ShrinkRuns: o.ShrinkRuns, Plan: o.Plan, Workers: 1, StopAtFirst: true})
	b, err := json.Marshal(res.Violations)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nhunt: %s\n", b)
}

// Each mechanism is needed: without it some world breaks a promise. A checker that never failed would prove nothing.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the test with the mutants in it")
	}
	binary := buildMutants(t, slices.Concat(mutants, hintMutants))
	h := herd{mutants, recordFile, func(mutant string, first uint64, worlds int) ([]Violation, error) {
		return binary.search(mutant, huntOptions{Seeds: worlds, FirstSeed: first})
	}}
	if *record {
		h.record(t)
		return
	}
	t.Run("hints", binary.needsNoHint)
	t.Run("shrinks", func(t *testing.T) { binary.shrinks(t, h.recorded(t)) })
	h.replay(t)
}

// hintSeeds are the worlds in which a hint may be lost for ever.
const hintSeeds = 20

// A hint that is lost costs time only.
func (b mutantBinary) needsNoHint(t *testing.T) {
	for _, m := range hintMutants {
		if found := b.hunt(t, m.name, huntOptions{Seeds: hintSeeds, FirstSeed: 1}); len(found) > 0 {
			t.Errorf("%s: %v", m.name, found[0])
		}
	}
}

// What is left of a shrunk world breaks the same promise when it is run again, and is far smaller. Mutant for mutant, so that
// the test does not wait for a broken promise of ours.
func (b mutantBinary) shrinks(t *testing.T, recorded map[string]caught) {
	for _, name := range []string{"receiver without retry map", "after ignored"} {
		c := recorded[name]
		found := b.hunt(t, name, huntOptions{Seeds: 1, FirstSeed: c.Seed, ShrinkRuns: 600})
		if len(found) == 0 || found[0].Plan == nil {
			t.Errorf("%s: seed %d was not made smaller: %v", name, c.Seed, found)
			continue
		}
		plan := *found[0].Plan
		if len(plan.Turns) == 0 || len(plan.Turns) > 50 || len(plan.Faults) > 4 {
			t.Errorf("%s: %d turns and %d faults are left", name, len(plan.Turns), len(plan.Faults))
		}
		again := b.hunt(t, name, huntOptions{Seeds: 1, FirstSeed: c.Seed, Plan: plan})
		if len(again) == 0 || again[0].Promise != found[0].Promise || again[0].Detail != found[0].Detail {
			t.Errorf("%s: run again with %s: %v, want %v", name, plan, again, found[0])
		}
		if whole := b.hunt(t, "", huntOptions{Seeds: 1, FirstSeed: c.Seed, Plan: plan}); len(whole) > 0 {
			t.Errorf("%s: the small world breaks a promise without the mutant: %v", name, whole[0])
		}
		t.Logf("%s: seed %d shrinks to %s", name, c.Seed, plan)
	}
}
