package sim

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The mechanisms of a username's claim.
var claimMutants = []mutant{
	{"held by the slot's owner alone", 37, "replication/claim/signup.go", []string{"	case a.held >= c.cfg.Topology.Majority():", "	case a.held >= 1:"}},
	{"held by one less than a majority", 37, "replication/claim/signup.go", []string{"	case a.held >= c.cfg.Topology.Majority():", "	case a.held >= max(1, c.cfg.Topology.Majority()-1):"}},
	{"a foreign attempt counts as held", 37, "replication/claim/signup.go", []string{"			case r.Claim.Attempt == a.claim.Attempt:", "			case r.Found:"}},
	{"the owner's foreign attempt counts as held", 37, "replication/claim/signup.go", []string{"		case r.Claim.Attempt != a.claim.Attempt:\n			c.fail", "		case false:\n			c.fail"}},
	{"silence counts as held", 37, "replication/claim/signup.go", []string{"				a.last = r.Err\n", "				a.last = r.Err\n				a.held++\n"}},
	{"answered before a majority has confirmed", 37, "replication/claim/signup.go", []string{"		if confirmed >= c.cfg.Topology.Majority() {", "		if confirmed >= 1 {"}},
	{"silence counts as confirmed", 37, "replication/claim/signup.go", []string{"chat.CodeOf(r.Err) == chat.CodeNotFound {", "r.Err != nil {"}},
	{"a sign-up runs until it holds the name", 37, "replication/claim/signup.go", []string{"		a.stage = held\n", "		a.stage = held\n		c.ended(a)\n"}},
	{"nothing is given back", 37, "replication/claim/signup.go", []string{"		if !slices.Contains(a.open, region) {", "		if false {"}},
	{"a late reservation is not given back", 37, "replication/claim/signup.go", []string{"		case over:\n			c.giveBack(now, a, region)", "		case over:"}},
	{"a release is tried once", 37, "replication/claim/signup.go", []string{"chat.AsError(r.Err).Retryable() && now", "false && now"}},
	{"a release takes whatever attempt stands", 37, "replication/claim/serve.go", []string{
		" || r.Claim.Attempt != a.Claim.Attempt {", " {", "c.storeRelease(a.Claim, func", "c.storeRelease(r.Claim, func",
	}},
	{"abandoned without asking anybody", 37, "replication/claim/serve.go", []string{"	left, yes := len(c.cfg.Topology.Regions), true\n", "	left, yes := len(c.cfg.Topology.Regions), true\n	then(now, true)\n	return\n"}},
	{"silence counts as abandoned", 37, "replication/claim/serve.go", []string{"yes && r.Err == nil && !r.Found", "yes && !r.Found"}},
	{"one region's word is enough for abandoned", 37, "replication/claim/serve.go", []string{"			if left--; left == 0 {\n				then(now, yes)", "			if left--; left == len(c.cfg.Topology.Regions)-1 {\n				then(now, yes)"}},
	{"running sign-ups are not told", 37, "replication/claim/serve.go", []string{"	if c.running[e.Attempt] > 0 {", "	if false {"}},
	{"what is confirmed is not told to who asks whether a sign-up has ended", 37, "replication/claim/serve.go", []string{
		"r.Found && r.Claim.Pending && (r.Claim.Attempt != e.Attempt || overdue(now, r.Claim)) {", "r.Found {",
	}},
	{"an overdue reservation stays for ever", 37, "replication/claim/serve.go", []string{"	return e.Pending && e.Version", "	return false && e.Version"}},
	{"nobody's as soon as one region has none", 37, "replication/claim/lookup.go", []string{"none >= c.cfg.Topology.Majority()", "none >= 1"}},
	{"silence counts as nobody's", 37, "replication/claim/lookup.go", []string{"open == 0 && failed == nil:", "open == 0:"}},
	{"a pending name is given out", 37, "replication/claim/claim.go", []string{"r.Found && !r.Claim.Pending", "r.Found"}},
	{"a look-up asks the others though the name is here", 37, "replication/claim/lookup.go", []string{"here.Err != nil || here.confirmed()", "here.Err != nil"}},
}

// claimSeeds is how many worlds of sign-ups a mutant may survive when its seed is searched anew.
const claimSeeds = 3000

const claimRecordFile = "testdata/claim_mutants.json"

var claimHunt = flag.String("claim-hunt", "", "first seed and number of the worlds that TestClaimHunt runs, as JSON; used by TestClaimMutants in the binary that it builds")

// With -claim-hunt the first world of sign-ups that breaks a promise is printed; without, there is nothing to do.
func TestClaimHunt(t *testing.T) {
	if *claimHunt == "" {
		t.Skip("only in the binary that TestClaimMutants builds")
	}
	var worlds [2]uint64
	if err := json.Unmarshal([]byte(*claimHunt), &worlds); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(runClaims(int(worlds[1]), worlds[0], true).Violations)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nhunt: %s\n", b)
}

// Each mechanism of a claim is needed: without it some world breaks a promise.
func TestClaimMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the test with the mutants in it")
	}
	binary := buildMutants(t, claimMutants)
	if *record {
		recordClaimSeeds(t, binary)
		return
	}
	var recorded []caught
	if b, err := os.ReadFile(claimRecordFile); err != nil {
		t.Fatal(err)
	} else if err := json.Unmarshal(b, &recorded); err != nil {
		t.Fatal(err)
	}
	seeds := map[string]uint64{}
	for _, c := range recorded {
		seeds[c.Mutant] = c.Seed
		if found := huntClaims(t, binary, "", c.Seed, 1); len(found) > 0 {
			t.Errorf("seed %d breaks a promise without a mutant: %v", c.Seed, found[0])
		}
	}
	for _, m := range claimMutants {
		t.Run(m.name, func(t *testing.T) {
			seed, ok := seeds[m.name]
			if !ok {
				t.Fatal("no seed is recorded: run make mutants")
			}
			found := huntClaims(t, binary, m.name, seed, 1)
			if len(found) == 0 {
				t.Fatalf("the recorded world %d does not catch it any more: run make mutants", seed)
			}
			t.Logf("seed %d: %s: %s", seed, found[0].Promise, found[0].Detail)
		})
	}
}

// recordClaimSeeds searches a world for each mutant and writes the record.
func recordClaimSeeds(t *testing.T, binary mutantBinary) {
	var list []caught
	for _, m := range claimMutants {
		found := huntClaims(t, binary, m.name, 1, claimSeeds)
		if len(found) == 0 {
			t.Errorf("%s survived %d worlds: they are too kind, or the mechanism is not needed", m.name, claimSeeds)
			continue
		}
		t.Logf("%s: seed %d: %s", m.name, found[0].Seed, found[0].Promise)
		list = append(list, caught{m.name, m.hole, found[0].Seed, found[0].Promise})
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(claimRecordFile, append(b, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// huntClaims runs worlds of sign-ups with a mutant ("": with none) until one breaks a promise.
func huntClaims(t *testing.T, binary mutantBinary, mutant string, first, worlds uint64) []Violation {
	t.Helper()
	cmd := exec.Command(string(binary), "-test.run=^TestClaimHunt$", fmt.Sprintf("-claim-hunt=[%d,%d]", first, worlds))
	cmd.Env = append(os.Environ(), mutantVariable+"="+mutant)
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "\npanic:") {
		return []Violation{{Seed: first, Promise: "the core panics"}}
	}
	_, line, ok := strings.Cut(string(out), "\nhunt: ")
	if !ok || err != nil {
		t.Fatalf("hunt: %v\n%s", cmp.Or(err, errors.New("it printed nothing")), out)
	}
	line, _, _ = strings.Cut(line, "\n")
	var found []Violation
	if err := json.Unmarshal([]byte(line), &found); err != nil {
		t.Fatal(err)
	}
	return found
}
