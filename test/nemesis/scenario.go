// Package nemesis does to a deployment of real processes what the world does to one: it kills, freezes, cuts, starves and
// upgrades them while people write, and judges afterwards by what the people were told and shown. `make nemesis` runs the
// whole matrix, `make test` a short form of it. docs/GUARANTEES.md names the promises.
package nemesis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/test/history"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/report"
	"meridian/test/nemesis/world"
)

// Scenario is one deployment, its people, and what is found.
type Scenario struct {
	World  *world.World
	Fleet  *fleet.Fleet
	Report *report.Scenario

	lost       []chat.Region // for ever
	directOnly bool
	log        func(format string, args ...any)
}

// Plan says what a scenario consists of.
type Plan struct {
	Name, What string
	World      world.Plan
	Size       fleet.Size
	// DirectOnly: people make no groups and change nothing: an old build knows neither.
	DirectOnly bool
	// Warm is how long people write before the first fault.
	Warm time.Duration
	Log  func(format string, args ...any)
}

// Run starts a deployment in dir, lets people write while play does its worst, and judges.
func Run(ctx context.Context, dir string, plan Plan, play func(*Scenario) error) (*report.Scenario, error) {
	s := &Scenario{log: plan.Log, directOnly: plan.DirectOnly, Report: &report.Scenario{Name: plan.Name, What: plan.What}}
	s.log("%s: %s", plan.Name, plan.What)
	var err error
	plan.World.Log = plan.Log
	if s.World, err = world.Start(dir, plan.World); err != nil {
		return nil, err
	}
	defer s.World.Close()
	if s.Report.Limits = s.World.Limits; s.Report.Limits != "" {
		s.log("on this machine: %s", s.Report.Limits)
	}
	zones := map[chat.Zone][]chat.Region{}
	for name, z := range s.World.Config.Topology().Zones {
		zones[name] = z.Regions
	}
	if s.Fleet, err = fleet.New(ctx, s.World, zones, world.Regions(), plan.Size); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.World.Logs())
	}
	defer s.Fleet.Close()
	if !plan.DirectOnly {
		if err := s.Fleet.MakeGroups(ctx); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, s.World.Logs())
		}
	}
	s.log("%d people are served; they write %d messages a second", len(s.Fleet.People), plan.Size.PerSecond)
	s.Fleet.Write(plan.Size.PerSecond)
	pause(ctx, plan.Warm)
	if err := s.Fleet.Remove(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.World.Logs())
	}
	if err := play(s); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.World.Logs())
	}
	if err := s.judge(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.World.Logs())
	}
	if !s.Report.OK() {
		s.log("%s", s.World.Logs())
	}
	return s.Report, nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Bounds of the end: everything that still travels has to arrive.
const (
	settleTimeout  = 90 * time.Second
	verdictTimeout = 60 * time.Second
)

// judge lets everything come to rest, reads every mailbox and checks the promises.
func (s *Scenario) judge(ctx context.Context) error {
	s.Fleet.Quiet()
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
	for first := time.Now(); ; pause(ctx, 2*time.Second) {
		h, err := reader.History(ctx, s.lost...)
		if err != nil && time.Since(first) < verdictTimeout {
			s.log("not all mailboxes can be read yet: %v", err)
			continue
		}
		if err != nil {
			return err
		}
		marks = history.CheckMarks(reader.Marks())
		if verdict = history.Check(h); verdict.OK() && len(marks) == 0 || time.Since(first) > verdictTimeout {
			break
		}
		s.log("not yet: %s, %d marks behind", verdict, len(marks))
	}
	claims, err := reader.Claims(ctx, s.surviving())
	if err != nil {
		return err
	}
	s.counts(verdict)
	s.checks(verdict, marks, claims)
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
var neverMetrics = []string{"dead_letters_total", "residency_violations_total", "defects_total"}

// peakMiBMax bounds the memory of a process, whatever waits in it.
const peakMiBMax = 512

// checks fills in the promises, by the numbers of the history checker's list.
func (s *Scenario) checks(v *history.Report, marks []string, claims []history.Claim) {
	claimProblems := history.CheckClaims(claims)
	s.Report.Problems = append(append(s.Report.Problems, claimProblems...), marks[:min(len(marks), 20)]...)
	missed := 0
	for _, p := range s.Fleet.People {
		missed += p.Missed
		for _, err := range p.Refusals {
			s.problem("%s was refused: %v", p.Name, err)
		}
	}
	if missed > 0 {
		s.figure("%d sends, changes and marks were refused, of a message that somebody had deleted or to who had been removed from a group; none of them stands", missed)
	}
	never := 0
	for _, ref := range s.World.Nodes() {
		for _, name := range neverMetrics {
			if sum, ok := s.World.Metric(ref, name); ok && sum != 0 {
				never += int(sum)
				s.problem("%s: %s is %v", ref, name, sum)
			}
		}
	}
	for _, exit := range s.World.Exits() {
		s.problem("%s", exit)
	}
	large := 0
	for _, ref := range s.World.Processes() {
		peak := s.World.PeakBytes(ref) >> 20
		if s.Report.PeakMiB = max(s.Report.PeakMiB, peak); peak > peakMiBMax {
			large++
			s.problem("%s took %d MiB", ref, peak)
		}
	}
	slow := 0
	for _, f := range s.Report.Faults {
		if f.Problem != "" {
			slow++
		}
	}
	s.Report.Checks = []report.Check{
		{ID: "I1", What: "acknowledged: exactly once in the mailbox of everybody entitled, in every region of their zones", Broken: v.Lost + v.Doubled},
		{ID: "I2", What: "not known: there or not, but alike everywhere", Broken: v.Lost},
		{ID: "I3", What: "refused: nowhere", Broken: v.Invented},
		{ID: "I4", What: "nothing invented, altered or in another conversation", Broken: v.Invented + v.Altered},
		{ID: "I5", What: "nothing stands before what it answers; a sender's messages keep their order", Broken: v.OutOfOrder},
		{ID: "I6", What: "every reader in every region ends with one order", Broken: v.OutOfOrder},
		{ID: "I7", What: "what a client was shown, live and after resumes, is its mailbox: no gap, no repeat", Broken: v.Gaps + v.Repeats},
		{ID: "I8", What: "read and delivered marks are alike in every region, and nowhere behind what was once shown", Broken: len(marks)},
		{ID: "I9", What: "deleted never returns; the last edit and the last state of each reaction stand, alike everywhere", Broken: v.Undead + v.Reactions + v.Altered},
		{ID: "G", What: "who was removed from a group has nothing that was written later", Broken: v.Intruded},
		{ID: "I10", What: fmt.Sprintf("usernames: every answer of %d operations fits one directory (porcupine)", len(claims)), Broken: len(claimProblems)},
		{ID: "I11", What: "one visible id for each send, and it is the one that its sender knows", Broken: v.Doubled + v.WrongID},
		{ID: "I12", What: "no residency violation, dead letter or defect at any node", Broken: never},
		{ID: "I14", What: "what was acknowledged is what the nodes counted", Elsewhere: "a counter ends with its process, and here they are killed"},
		{ID: "I15", What: fmt.Sprintf("no process took more than %d MiB", peakMiBMax), Broken: large},
		{ID: "I13", What: "everybody is served elsewhere within the bound; all that waits is acknowledged in the end", Broken: slow},
	}
	for i := range s.Report.Checks {
		if c := &s.Report.Checks[i]; s.directOnly && (c.ID == "I9" || c.ID == "G") {
			c.Elsewhere = "people of this scenario make no groups and change nothing"
		}
	}
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
