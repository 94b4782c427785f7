package sim

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// tested is a mutant that a test of its folder catches: of what no world has.
type tested struct {
	mutant
	test string
}

// testedByTests are of memories of a month, of where people are sent whose zone is away, and of moments so short that no world of a
// thousand has them.
var testedByTests = []tested{
	{mutant{"what is older than stores remember is applied", 5, "replication/refusal.go", []string{
		"	return op.Time < chat.HLCFromTime(now.Add(-c.cfg.Remember))\n", "	return false\n",
	}}, "TestTooOldIsRefused"},
	{mutant{"sends are remembered for less than they may wait", 5, "config/validate_limits.go", []string{
		"	if r.ClientOutbox+r.OpLog >= r.Retries {", "	if false {",
	}}, "TestBadConfigurations"},
	{mutant{"people of a zone that is away are sent to the nearest region", 39, "router/decide/decide.go", []string{
		"		if in.Zone.Transit == chat.TransitDeny {\n", "		if false {\n",
	}}, "TestOrderOfReasons"},
	{mutant{"what another node parked does not hold the end of a stream", 17, "replication/parked_read.go", []string{
		"	if k := &s.parking; s.heard != endOfStream && k.endAfter == 0 && !k.ends {\n		k.endAfter = k.asks + 1\n	}\n", "	s.end()\n",
	}}, "TestParkedOfAnEndedStream"},
	{mutant{"what stands in the store counts as shown to other regions", 22, "replication/takeover.go", []string{
		"	return max(s.durable, s.told)\n", "	return max(s.durable, s.told, s.claim.Seq)\n",
	}}, "TestTellsWhatIsShown"},
	{mutant{"what is written after a lease is acknowledged", 22, "replication/receiver.go", []string{
		"	if s.ackDue = !c.certain(now); s.ackDue {", "	if false {",
	}}, "TestWhatIsWrittenAfterALeaseIsNotShown"},
	{mutant{"a node that starts alone believes all that its store has of a stream", 22, "replication/takeover.go", []string{
		"	if s.sure != 0 && s.sure < s.claim.Seq {", "	if false {",
	}}, "TestBelievesWhatWasShown"},
	{mutant{"what the dead had not reviewed is not", 43, "replication/look.go", []string{
		"			if op := &r.items[i].op; op.Stream == c.stream {\n", "			if op := &r.items[i].op; false {\n",
	}}, "TestAdopterReviewsWhatWasNot"},
	{mutant{"what is refused here is not handed on", 24, "replication/relog.go", []string{
		"	if r.tries < buryTries || !c.mayStamp(now) {", "	if true {",
	}}, "TestHandsOnWhatIsRefusedHere"},
}

func testedMutants() (list []mutant) {
	for _, m := range testedByTests {
		list = append(list, m.mutant)
	}
	return list
}

// Each of these mechanisms is needed: without it the test that is named fails, and with it it passes.
func TestTestedMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the tests with the mutants in them")
	}
	for _, m := range testedByTests {
		t.Run(m.name, func(t *testing.T) {
			folder := filepath.Dir(m.file)
			binary := buildTest(t, folder, []mutant{m.mutant})
			run := func(name string) error {
				cmd := exec.Command(string(binary), "-test.run=^"+m.test+"$")
				cmd.Dir = filepath.Join("..", folder)
				cmd.Env = append(os.Environ(), mutantVariable+"="+name)
				out, err := cmd.CombinedOutput()
				t.Logf("%q: %s", name, out)
				return err
			}
			if err := run(""); err != nil {
				t.Errorf("%s without the mutant: %v", m.test, err)
			}
			if run(m.name) == nil {
				t.Errorf("hole %d: %s does not catch it", m.hole, m.test)
			}
		})
	}
}
