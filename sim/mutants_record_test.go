package sim

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
)

func readRecord(t *testing.T) map[string]caught {
	t.Helper()
	b, err := os.ReadFile(recordFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var list []caught
	if len(b) > 0 {
		if err := json.Unmarshal(b, &list); err != nil {
			t.Fatalf("%s: %v", recordFile, err)
		}
	}
	recorded := map[string]caught{}
	for _, c := range list {
		recorded[c.Mutant] = c
	}
	return recorded
}

func seedsOf(recorded map[string]caught) []uint64 {
	var seeds []uint64
	for _, c := range recorded {
		seeds = append(seeds, c.Seed)
	}
	slices.Sort(seeds)
	return slices.Compact(seeds)
}

// recordSeeds searches a world for each mutant, on all cores, writes the record, and prints it as a table.
func recordSeeds(t *testing.T, binary mutantBinary) {
	wanted, err := regexp.Compile(*only)
	if err != nil {
		t.Fatalf("-only: %v", err)
	}
	recorded := readRecord(t)
	found := make([]caught, len(mutants))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(mutants); i = next.Add(1) - 1 {
				m := mutants[i]
				if !wanted.MatchString(m.name) {
					found[i] = recorded[m.name]
					continue
				}
				violations, err := binary.search(m.name, huntOptions{Seeds: *seeds, FirstSeed: 1})
				switch {
				case err != nil:
					t.Errorf("%s: %v", m.name, err)
				case len(violations) == 0:
					t.Errorf("%s survived %d seeds: the worlds are too kind, or the mechanism is not needed", m.name, *seeds)
				default:
					found[i] = caught{m.name, m.hole, violations[0].Seed, violations[0].Promise}
				}
			}
		})
	}
	workers.Wait()
	found = slices.DeleteFunc(found, func(c caught) bool { return c.Mutant == "" })
	slices.SortFunc(found, func(a, b caught) int { return strings.Compare(a.Mutant, b.Mutant) })
	b, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recordFile, append(b, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	table := tabwriter.NewWriter(t.Output(), 0, 8, 2, ' ', 0)
	write := func(cells ...string) { _, _ = table.Write([]byte(strings.Join(cells, "\t") + "\n")) }
	write("mutant", "hole", "seed", "promise broken")
	for _, c := range found {
		write(c.Mutant, strconv.Itoa(c.Hole), strconv.FormatUint(c.Seed, 10), c.Promise)
	}
	_ = table.Flush()
}
