package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A claimMutant takes one mechanism out of replication/claim, as an edit of its source that exists only while the test runs.
type claimMutant struct {
	name  string
	seed  uint64 // of the first world that catches it
	file  string
	edits []string // old, new, old, new …; each old stands in the file exactly once
}

var claimMutants = []claimMutant{
	{"held by the slot's owner alone", 61, "signup.go", []string{"	case a.held >= c.cfg.Topology.Majority():", "	case a.held >= 1:"}},
	{"held by one less than a majority", 100, "signup.go", []string{"	case a.held >= c.cfg.Topology.Majority():", "	case a.held >= max(1, c.cfg.Topology.Majority()-1):"}},
	{"a foreign attempt counts as held", 764, "signup.go", []string{"			case r.Claim.Attempt == a.claim.Attempt:", "			case r.Found:"}},
	{"the owner's foreign attempt counts as held", 3, "signup.go", []string{"		case r.Claim.Attempt != a.claim.Attempt:\n			c.fail", "		case false:\n			c.fail"}},
	{"silence counts as held", 80, "signup.go", []string{"				a.last = r.Err\n", "				a.last = r.Err\n				a.held++\n"}},
	{"answered before a majority has confirmed", 2, "signup.go", []string{"		if confirmed >= c.cfg.Topology.Majority() {", "		if confirmed >= 1 {"}},
	{"silence counts as confirmed", 338, "signup.go", []string{"chat.CodeOf(r.Err) == chat.CodeNotFound {", "r.Err != nil {"}},
	{"a sign-up runs until it holds the name", 606, "signup.go", []string{"		a.stage = held\n", "		a.stage = held\n		c.ended(a)\n"}},
	{"nothing is given back", 191, "signup.go", []string{"		if !slices.Contains(a.open, region) {", "		if false {"}},
	{"a late reservation is not given back", 191, "signup.go", []string{"		case over:\n			c.giveBack(now, a, region)", "		case over:"}},
	{"a release is tried once", 236, "signup.go", []string{"chat.AsError(r.Err).Retryable() && now", "false && now"}},
	{"a release takes whatever attempt stands", 3, "serve.go", []string{
		" || r.Claim.Attempt != a.Claim.Attempt {", " {", "c.storeRelease(a.Claim, func", "c.storeRelease(r.Claim, func",
	}},
	{"abandoned without asking anybody", 556, "serve.go", []string{"	left, yes := len(c.cfg.Topology.Regions), true\n", "	left, yes := len(c.cfg.Topology.Regions), true\n	then(now, true)\n	return\n"}},
	{"silence counts as abandoned", 856, "serve.go", []string{"yes && r.Err == nil && !r.Found", "yes && !r.Found"}},
	{"one region's word is enough for abandoned", 619, "serve.go", []string{"			if left--; left == 0 {\n				then(now, yes)", "			if left--; left == len(c.cfg.Topology.Regions)-1 {\n				then(now, yes)"}},
	{"running sign-ups are not told", 606, "serve.go", []string{"	if c.running[e.Attempt] > 0 {", "	if false {"}},
	{"what is confirmed is not told to who asks whether a sign-up has ended", 811, "serve.go", []string{
		"r.Found && r.Claim.Pending && (r.Claim.Attempt != e.Attempt || overdue(now, r.Claim)) {", "r.Found {",
	}},
	{"an overdue reservation stays for ever", 0, "serve.go", []string{"	return e.Pending && e.Version", "	return false && e.Version"}},
	{"nobody's as soon as one region has none", 2, "lookup.go", []string{"none >= c.cfg.Topology.Majority()", "none >= 1"}},
	{"silence counts as nobody's", 7, "lookup.go", []string{"open == 0 && failed == nil:", "open == 0:"}},
	{"a pending name is given out", 0, "claim.go", []string{"r.Found && !r.Claim.Pending }", "r.Found }"}},
	{"a look-up asks the others though the name is here", 0, "lookup.go", []string{"here.Err != nil || here.confirmed()", "here.Err != nil"}},
}

// claimSeeds is how many worlds a mutant may survive that its recorded seed does not catch any more.
const claimSeeds = 3000

var (
	claimHunt  = flag.Int("claim-hunt", 0, "run so many worlds of sign-ups and print the first violation as JSON; used by TestClaimMutants in a copy of this test")
	claimFirst = flag.Uint64("claim-first", 1, "the first of these worlds")
)

// With -claim-hunt the first world that breaks a promise is printed; without, there is nothing to do.
func TestClaimHunt(t *testing.T) {
	if *claimHunt == 0 {
		t.Skip("only in the copies that TestClaimMutants makes")
	}
	b, err := json.Marshal(runClaims(*claimHunt, *claimFirst, true).Violations)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nhunt: %s\n", b)
}

// Each mechanism of a claim is needed: without it some world breaks a promise, the recorded one for a start.
func TestClaimMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the test once for each mutant")
	}
	core, err := filepath.Abs("../replication/claim")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range claimMutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			binary := m.build(t, core)
			found := m.hunt(t, binary, m.seed, 1)
			if len(found) == 0 {
				if found = m.hunt(t, binary, 1, claimSeeds); len(found) == 0 {
					t.Fatalf("survived %d worlds", claimSeeds)
				}
				t.Errorf("seed %d does not catch it any more; record %d", m.seed, found[0].Seed)
			}
			t.Logf("seed %d: %s: %s", found[0].Seed, found[0].Promise, found[0].Detail)
		})
	}
}

// build makes this test with the mutant in place of the source.
func (m claimMutant) build(t *testing.T, core string) (binary string) {
	dir := t.TempDir()
	original := filepath.Join(core, m.file)
	src, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for i := 0; i < len(m.edits); i += 2 {
		if n := strings.Count(text, m.edits[i]); n != 1 {
			t.Fatalf("%q stands %d times in %s, want once: adapt the mutant to the source", m.edits[i], n, m.file)
		}
		text = strings.Replace(text, m.edits[i], m.edits[i+1], 1)
	}
	changed, overlay, binary := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{changed: []byte(text), overlay: replace} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// hunt runs worlds with the mutant until one breaks a promise.
func (m claimMutant) hunt(t *testing.T, binary string, first uint64, worlds int) []Violation {
	out, err := exec.Command(binary, "-test.run=^TestClaimHunt$", fmt.Sprintf("-claim-hunt=%d", worlds), fmt.Sprintf("-claim-first=%d", first)).CombinedOutput()
	if strings.Contains(string(out), "\npanic:") {
		return []Violation{{Seed: first, Promise: "the core panics"}}
	}
	_, line, ok := strings.Cut(string(out), "\nhunt: ")
	if !ok || err != nil {
		t.Fatalf("hunt: %v\n%s", err, out)
	}
	line, _, _ = strings.Cut(line, "\n")
	var found []Violation
	if err := json.Unmarshal([]byte(line), &found); err != nil {
		t.Fatal(err)
	}
	return found
}
