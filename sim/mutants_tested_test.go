package sim

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// tested is a mutant that a test of its folder catches: of what no world has, or of a moment that no world hits.
type tested struct {
	mutant
	test string
}

// testedByTests are of memories of a month, of where people are sent whose zone is away, of a node that never comes back, and of what must
// happen within the few milliseconds by which two clocks of a region differ.
var testedByTests = []tested{
	{mutant{"a repair is told only where it was missing", 46, "replication/apply_group.go", []string{
		"		a.entry(o, chat.InboxRow{Op: row.ID, Kind: chat.InboxMessage,", "		if len(ofKey(known, SendKey{row.Sender, row.Client})) > 0 {\n			continue\n		}\n		a.entry(o, chat.InboxRow{Op: row.ID, Kind: chat.InboxMessage,",
	}}, "TestRepairIsToldWhereItIsKnown"},
	{mutant{"marks move before the time is known", 17, "replication/marks.go", []string{
		"	if !c.clocked.unknown {\n", "	if true {\n",
	}}, "TestNothingBeforeTheTimeIsKnown"},
	{mutant{"a node that slept gives marks without a lease", 22, "replication/marks.go", []string{
		"	if c.lease.held && !c.certain(now) {", "	if false {",
	}}, "TestMarksStandWithoutALease"},
	{mutant{"a lease that was renewed meanwhile is adopted by the clock", 22, "replication/adopt.go", []string{
		"Before: c.overBefore(now)}", "Before: chat.HLCFromTime(now)}",
	}}, "TestAdoptsByTheWait"},
	{mutant{"what was written before a death is not reviewed again", 43, "replication/review.go", []string{
		"	if len(c.recentWrites) > 0 {", "	if false {",
	}}, "TestReviewsAgainAfterADeath"},
	{mutant{"what came late is taken for relayed by who adopts a log again", 21, "replication/adopt.go", []string{
		"		if !again || !passedBy(", "		if true || !again || !passedBy(",
	}}, "TestLateRowAfterAnotherAdopter"},
	{mutant{"who is contradicted confirms others", 17, "replication/drift/votes.go", []string{
		"		if p.standing != Contradicted && g.right(v) {\n", "		if g.right(v) {\n",
	}}, "TestWrongAlike"},
	{mutant{"a stream counts only once a position in it is durable", 40, "replication/receiver.go", []string{
		"	d.batch.Applied = p.unstored(nil)\n", "",
	}}, "TestHandOnAfterACutOffLook"},
	// A repair heals the same in the worlds: it is what an operator does then.
	{mutant{"a life is over for who has lost some of its op log", 28, "replication/receiver.go", []string{
		"	if s.over && s.reached() >= s.ends {", "	if s.over {",
	}}, "TestLostTailIsAwaited"},
	{mutant{"what some regions have of a lost life is not handed on", 28, "replication/handon.go", []string{
		" || s.watermark == endOfStream && h.handed < s.reached())", " && true)",
	}}, "TestHandsOnOfALifeThatIsOver"},
	{mutant{"an op log that everybody had is not brought again", 28, "replication/sender.go", []string{
		"		c.askedAgain(p, f)\n", "",
	}}, "TestRetiredOpLogIsBroughtAgain"},
	{mutant{"a region that may have forgotten names has a voice", 29, "region-node/auth/service.go", []string{
		"	if e := s.opt.Serving(); e != nil {", "	if e := s.opt.Serving(); false {",
	}}, "TestNoVoiceWhileCatchingUp"},
	{mutant{"what is not reviewed counts as shown in the store", 43, "replication/takeover.go", []string{
		"		if at := min(s.shown, s.reviewed); at > s.sure {", "		if at := s.shown; at > s.sure {",
	}}, "TestBelievesWhatWasShown"},
	{mutant{"what is older than stores remember is applied", 5, "replication/refusal.go", []string{
		"	return op.Time < chat.HLCFromTime(now.Add(-c.cfg.Remember))\n", "	return false\n",
	}}, "TestTooOldIsRefused"},
	{mutant{"sends are remembered for less than they may wait", 5, "config/validate_limits.go", []string{
		"	if r.ClientOutbox+r.OpLog >= r.Retries {", "	if false {",
	}}, "TestBadConfigurations"},
	{mutant{"people of a zone that is away are sent to the nearest region", 39, "router/decide/decide.go", []string{
		"		if in.Zone.Transit == chat.TransitDeny {\n", "		if false {\n",
	}}, "TestOrderOfReasons"},
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
	{mutant{"what came late is where a receiver says to be beyond it", 21, "replication/sender.go", []string{"		c.doubt(o, upTo)\n", ""}}, "TestLateRowBeyondWhatTheStoreKnows"},
	{mutant{"what is refused here is not handed on", 24, "replication/relog.go", []string{
		"	if r.tries < buryTries || !c.mayStamp(now) {", "	if true {",
	}}, "TestHandsOnWhatIsRefusedHere"},
	// Worlds caught it until the store knew what is shown of a stream: what is left is the first second of each.
	{mutant{"a node that starts believes its store about foreign streams", 22, "replication/takeover.go", []string{
		"	if !shared {\n", "	if true {\n",
	}}, "TestBelievesTheOthers"},
	{mutant{"an adopter does not look after what the dead had parked", 17, "replication/adopt.go", []string{
		"	c.meetParked(in.Parked)\n", "",
	}}, "TestParkedIsAdopted"},
	{mutant{"what another node has applied of what was parked counts at once", 10, "replication/parked_read.go", []string{
		"			k.leaving, k.high = append(k.leaving, *op), max(k.high, high)\n", "",
	}}, "TestParkedAppliedByAnotherNode"},
	{mutant{"what a late write parks again stays", 17, "replication/parked_read.go", []string{
		" || !k.lookAt.IsZero() && !now.Before(k.lookAt)", "",
	}}, "TestParkedComesBackLate"},
	{mutant{"a life that may be over takes ops out of the table of what is parked", 22, "replication/parking.go", []string{
		"	if !c.certain(now) {\n		return // whoever", "	if false {\n		return // whoever",
	}}, "TestParkedStaysUntilItIsShown"},
	{mutant{"a stream is taken over before what another node shows is covered", 10, "replication/takeover.go", []string{
		"		if c.clock.Observe(now, s.toldLow) != nil || c.low(now) < s.toldLow {", "		if false {",
	}}, "TestTakesStreamOver"},
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
	byFolder := map[string][]mutant{}
	for _, m := range testedMutants() {
		folder := filepath.Dir(m.file)
		byFolder[folder] = append(byFolder[folder], m)
	}
	binaries := map[string]mutantBinary{}
	for folder, list := range byFolder {
		binaries[folder] = buildTest(t, folder, list)
	}
	for _, m := range testedByTests {
		t.Run(m.name, func(t *testing.T) {
			folder := filepath.Dir(m.file)
			run := func(name string) error {
				cmd := exec.Command(string(binaries[folder]), "-test.run=^"+m.test+"$")
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
