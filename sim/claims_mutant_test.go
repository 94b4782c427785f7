package sim

import (
	"encoding/json"
	"flag"
	"fmt"
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
	{"nothing is brought to regions that lack a name", 37, "replication/claim/mend.go", []string{"	m.lacking = append(m.lacking, region)\n", ""}},
	{"a reservation is brought to others as a name", 37, "replication/claim/mend.go", []string{"		case here.confirmed():", "		case here.Found:"}},
	{"a region that lost a name takes it from nobody", 37, "replication/claim/mend.go", []string{"			c.adopt(now, in)", "			c.emit(Answer{Token: in.Token})"}},
	{"a look-up asks the others though the name is here", 37, "replication/claim/lookup.go", []string{"here.Err != nil || here.confirmed()", "here.Err != nil"}},
}

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
	h := herd{claimMutants, claimRecordFile, func(mutant string, first uint64, worlds int) ([]Violation, error) {
		return binary.run(mutant, "-test.run=^TestClaimHunt$", fmt.Sprintf("-claim-hunt=[%d,%d]", first, worlds))
	}}
	if *record {
		h.record(t)
		return
	}
	h.replay(t)
}
