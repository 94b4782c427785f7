package nemesis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/test/history"
	"meridian/test/nemesis/report"
	"meridian/test/nemesis/world"
)

// Bounds of the end: everything that still travels has to arrive.
const (
	settleTimeout  = 90 * time.Second
	verdictTimeout = 60 * time.Second
	// readingsMin is how often all mailboxes are read at least before they count as wrong: on a slow machine one reading takes long.
	readingsMin = 3
)

// judge lets everything come to rest, reads every mailbox and checks the promises.
func (s *Scenario) judge(ctx context.Context) error {
	s.removing.Wait()
	s.Fleet.Quiet()
	for _, err := range s.unmoved {
		s.problem("%v", err)
	}
	began := time.Now()
	for s.Fleet.Pending() > 0 && time.Since(began) < settleTimeout {
		pause(ctx, 50*time.Millisecond)
	}
	if n := s.Fleet.Pending(); n > 0 {
		s.problem("%d sends were not acknowledged for good within %v of the last", n, settleTimeout)
	}
	s.log("the last send was acknowledged for good %v after the writing ended", time.Since(began).Round(10*time.Millisecond))
	reader := s.Fleet.NewReader()
	var verdict *history.Report
	var marks []string
	for first, readings := time.Now(), 1; ; pause(ctx, 2*time.Second) {
		h, err := reader.History(ctx, s.lost...)
		if err != nil && time.Since(first) < verdictTimeout {
			s.log("not all mailboxes can be read yet: %v", err)
			continue
		}
		if err != nil {
			return err
		}
		marks = history.CheckMarks(reader.Marks())
		if verdict = history.Check(h); verdict.OK() && len(marks) == 0 || readings >= readingsMin && time.Since(first) > verdictTimeout {
			break
		}
		readings++
		s.log("not yet: %s, %d marks behind", verdict, len(marks))
	}
	claims, err := reader.Claims(ctx, s.surviving())
	if err != nil {
		return err
	}
	waits := s.rest(ctx)
	s.counts(verdict)
	s.checks(verdict, marks, claims, waits)
	s.figures(len(claims))
	return nil
}

func (s *Scenario) surviving() []chat.Region {
	return slices.DeleteFunc(world.Regions(), func(r chat.Region) bool { return slices.Contains(s.lost, r) })
}

func (s *Scenario) problem(format string, args ...any) {
	s.Report.Problems = append(s.Report.Problems, fmt.Sprintf(format, args...))
	s.log("! "+format, args...)
}

func (s *Scenario) counts(v *history.Report) {
	s.Report.Counts = report.Counts{
		Acked: v.Acked, Unknown: v.Unknown, Failed: v.Failed, Lost: v.Lost, Doubled: v.Doubled, Invented: v.Invented,
		Altered: v.Altered, OutOfOrder: v.OutOfOrder, WrongID: v.WrongID, Gaps: v.Gaps, Repeats: v.Repeats, Undead: v.Undead, Reactions: v.Reactions, Intruded: v.Intruded,
	}
	s.Report.Problems = append(s.Report.Problems, v.Problems...)
}

// neverMetrics must stay 0 at every node.
var neverMetrics = []string{"residency_violations_total", "defects_total", "refusals_told_total"}

// checks fills in the promises, by the numbers of the history checker's list.
func (s *Scenario) checks(v *history.Report, marks []string, claims []history.Claim, waits []string) {
	claimProblems := history.CheckClaims(claims)
	s.Report.Problems = append(append(s.Report.Problems, claimProblems...), marks[:min(len(marks), 20)]...)
	s.refusals()
	never := s.never()
	strays, looked := s.strays()
	slow := len(waits)
	for _, f := range s.Report.Faults {
		if f.Problem != "" {
			slow++
		}
	}
	all := []report.Check{
		{ID: "I1", What: "acknowledged: exactly once in the mailbox of everybody entitled, in every region of their zones", Broken: v.Lost + v.Doubled},
		{ID: "I2", What: "not known: there or not, but alike everywhere", Broken: v.Lost},
		{ID: "I3", What: "refused: nowhere", Broken: v.Invented},
		{ID: "I4", What: "nothing invented, altered or in another conversation", Broken: v.Invented + v.Altered},
		{ID: "I5", What: "nothing stands before what it answers; a sender's messages keep their order", Broken: v.OutOfOrder},
		{ID: "I6", What: "every reader in every region ends with one order", Broken: v.OutOfOrder},
		{ID: "I7", What: "what a client was shown, live and after resumes, is its mailbox: no gap, no repeat", Broken: v.Gaps + v.Repeats},
		{ID: "I8", What: "read and delivered marks are alike in every region, and nowhere behind what was once shown", Broken: len(marks)},
		{ID: "I9", What: "deleted never returns; the last edit and the last state of each reaction stand, alike everywhere", Broken: v.Undead + v.Reactions + v.Altered},
		{ID: "I10", What: fmt.Sprintf("usernames: every answer of %d operations fits one directory (porcupine)", len(claims)), Broken: len(claimProblems)},
		{ID: "I11", What: "one visible id for each send, and it is the one that its sender knows", Broken: v.Doubled + v.WrongID},
		{ID: "I12", What: "no residency violation, defect or late refusal at any node, and no id of a person of zone in on a foreign disk or in a foreign log", Broken: never + strays},
		{ID: "I13", What: "everybody is served elsewhere within the bound; all is acknowledged, relayed and applied in the end", Broken: slow},
		{ID: "I14", What: "what people were told is acknowledged is what the nodes counted, for each level"},
		{ID: "I15", What: fmt.Sprintf("no process took more than %d MiB, or %d at rest; no node has more than %d goroutines then", peakMiBMax, restMiBMax, goroutinesMax), Broken: s.large()},
		{ID: "D", What: "no dead letter lies in any store", Broken: s.deadLetters()},
		{ID: "G", What: "who was removed from a group has nothing that was written later, and is not pushed it where that is known", Broken: v.Intruded},
	}
	for i := range all {
		switch c := &all[i]; {
		case s.plan.DirectOnly && (c.ID == "I9" || c.ID == "G"):
			c.Elsewhere = "people of this scenario make no groups and change nothing"
		case c.ID == "I12" && !looked:
			c.What = "no residency violation, defect or late refusal at any node"
		case c.ID == "I14" && s.plan.Counted:
			c.Broken = s.counted()
		case c.ID == "I14":
			c.Elsewhere = "a counter ends with its process, and here they are killed"
		}
	}
	s.Report.Checks = all
}

// refusals makes a problem of each refusal that somebody was given and nobody had a reason for.
func (s *Scenario) refusals() {
	missed, early := 0, 0
	for _, p := range s.Fleet.People {
		missed, early = missed+p.Missed, early+p.Early
		for _, err := range p.Refusals {
			s.problem("%s was refused: %v", p.Name, err)
		}
	}
	if missed > 0 {
		s.figure("%d sends, changes and marks were refused, of a message that somebody had deleted or to who had been removed from a group; none of them stands", missed)
	}
	if early > 0 {
		s.figure("%d read marks came to a region before the message did, and were told again", early)
	}
}

// never counts what must not happen at any node, and processes that ended by themselves.
func (s *Scenario) never() (n int) {
	for _, ref := range s.World.Nodes() {
		for _, name := range neverMetrics {
			if sum, ok := s.World.Metric(ref, name); ok && sum != 0 {
				n += int(sum)
				s.problem("%s: %s is %v", ref, name, sum)
			}
		}
	}
	for _, exit := range s.World.Exits() {
		s.problem("%s", exit)
	}
	return n
}

// figures gathers what is printed beside the verdict.
func (s *Scenario) figures(claims int) {
	var acks []time.Duration
	for _, send := range s.Fleet.Sends() {
		if send.AtRegion > 0 {
			acks = append(acks, send.AtRegion-send.Invoked)
			second := int(send.AtRegion.Seconds())
			for len(s.Report.PerSecond) <= second {
				s.Report.PerSecond = append(s.Report.PerSecond, 0)
			}
			s.Report.PerSecond[second]++
		}
	}
	slices.Sort(acks)
	s.Report.AckP50, s.Report.AckP99 = report.Percentile(acks, 0.5), report.Percentile(acks, 0.99)
	if !s.plan.DirectOnly {
		edits, deletes, reactions := s.Fleet.Changes()
		removals, nodes := s.Fleet.Known()
		s.figure("%d edits, %d deletions and %d reactions were acknowledged; %d people were removed from groups, and %d times a node was seen to know of it", edits, deletes, reactions, removals, nodes)
	}
	connects, resets := 0, 0
	for _, p := range s.Fleet.People {
		connects, resets = connects+p.Connects, resets+p.Resets
	}
	s.figure("%d people; %d links were made, %d of them began with a reset; %d operations on contested usernames", len(s.Fleet.People), connects, resets, claims)
	if resets > connects/4 {
		s.problem("%d of %d links began with a reset: resuming by cursor does not work", resets, connects)
	}
}

func (s *Scenario) figure(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	s.Report.Figures = append(s.Report.Figures, line)
	s.log("%s", strings.TrimSpace(line))
}
