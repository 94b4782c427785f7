package sim

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
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

// herd is mutants that are hunted in worlds of one kind, and where the worlds that catch them are recorded.
type herd struct {
	mutants []mutant
	file    string
	hunt    func(mutant string, first uint64, worlds int) ([]Violation, error)
}

// recorded gives the recorded worlds by mutant.
func (h herd) recorded(t *testing.T) map[string]caught {
	t.Helper()
	b, err := os.ReadFile(h.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var list []caught
	if len(b) > 0 {
		if err := json.Unmarshal(b, &list); err != nil {
			t.Fatalf("%s: %v", h.file, err)
		}
	}
	recorded := map[string]caught{}
	for _, c := range list {
		recorded[c.Mutant] = c
	}
	return recorded
}

// replay runs the recorded world of each mutant, with it and without any.
func (h herd) replay(t *testing.T) {
	recorded := h.recorded(t)
	t.Run("none", func(t *testing.T) {
		for _, seed := range seedsOf(recorded) {
			if found, err := h.hunt("", seed, 1); err != nil || len(found) > 0 {
				t.Errorf("seed %d without a mutant: %v (%v)", seed, found, err)
			}
		}
	})
	for _, m := range h.mutants {
		c, ok := recorded[m.name]
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if !ok {
				t.Fatal("no world that catches it is recorded: run make mutants")
			}
			found, err := h.hunt(m.name, c.Seed, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) == 0 {
				t.Fatalf("the recorded seed %d catches it no more: run make mutants", c.Seed)
			}
			t.Logf("hole %d, seed %d: %s: %s", m.hole, c.Seed, found[0].Promise, found[0].Detail)
		})
		delete(recorded, m.name)
	}
	for name := range recorded {
		t.Errorf("%s records %q, which is no mutant: run make mutants", h.file, name)
	}
}

func seedsOf(recorded map[string]caught) []uint64 {
	var list []uint64
	for _, c := range recorded {
		list = append(list, c.Seed)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// onlyStale is the -only that stands for the mutants whose recorded world catches them no more.
const onlyStale = "stale"

// stands says whether a mutant keeps its record.
func (h herd) stands(m mutant, c caught, wanted *regexp.Regexp) bool {
	if *only != onlyStale {
		return !wanted.MatchString(m.name)
	}
	if c.Mutant == "" {
		return false
	}
	found, err := h.hunt(m.name, c.Seed, 1)
	return err == nil && len(found) > 0
}

// record searches a world for each mutant, on all cores, writes the record at each find, and prints it as a table.
func (h herd) record(t *testing.T) {
	wanted, err := regexp.Compile(*only)
	if err != nil {
		t.Fatalf("-only: %v", err)
	}
	recorded := h.recorded(t)
	maps.DeleteFunc(recorded, func(name string, _ caught) bool {
		return !slices.ContainsFunc(h.mutants, func(m mutant) bool { return m.name == name })
	})
	var mu sync.Mutex
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(h.mutants); i = next.Add(1) - 1 {
				m := h.mutants[i]
				mu.Lock()
				c := recorded[m.name]
				mu.Unlock()
				if h.stands(m, c, wanted) {
					continue
				}
				violations, err := h.search(m.name)
				mu.Lock()
				delete(recorded, m.name)
				switch {
				case err != nil:
					t.Errorf("%s: %v", m.name, err)
				case len(violations) == 0:
					t.Errorf("%s survived %d seeds: the worlds are too kind, or the mechanism is not needed", m.name, *seeds)
				default:
					recorded[m.name] = caught{m.name, m.hole, violations[0].Seed, violations[0].Promise}
				}
				h.write(t, recorded)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	table := tabwriter.NewWriter(t.Output(), 0, 8, 2, ' ', 0)
	row := func(cells ...string) { _, _ = table.Write([]byte(strings.Join(cells, "\t") + "\n")) }
	row("mutant", "hole", "seed", "promise broken")
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		c := recorded[name]
		row(c.Mutant, strconv.Itoa(c.Hole), strconv.FormatUint(c.Seed, 10), c.Promise)
	}
	_ = table.Flush()
}

// search finds a world that breaks a promise with the mutant, and none without it.
func (h herd) search(mutant string) ([]Violation, error) {
	for first := uint64(1); first <= uint64(*seeds); {
		found, err := h.hunt(mutant, first, *seeds-int(first)+1)
		if err != nil || len(found) == 0 {
			return nil, err
		}
		if without, err := h.hunt("", found[0].Seed, 1); err != nil || len(without) == 0 {
			return found, err
		}
		first = found[0].Seed + 1
	}
	return nil, nil
}

// write writes the record, by name.
func (h herd) write(t *testing.T, recorded map[string]caught) {
	list := []caught{}
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		list = append(list, recorded[name])
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Error(err)
		return
	}
	if err := os.WriteFile(h.file, append(b, '\n'), 0o600); err != nil {
		t.Error(err)
	}
}
