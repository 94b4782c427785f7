// Package nemesis does to a deployment of real processes what the world does to one: it kills, freezes, cuts, starves and
// upgrades them while people write, and judges afterwards by what the people were told and shown. `make nemesis` runs the
// whole matrix, `make test` a short form of it. docs/GUARANTEES.md names the promises.
package nemesis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/report"
	"meridian/test/nemesis/world"
)

// Scenario is one deployment, its people, and what is found.
type Scenario struct {
	World  *world.World
	Fleet  *fleet.Fleet
	Report *report.Scenario

	plan Plan
	lost []chat.Region // for ever
	log  func(format string, args ...any)

	removing sync.WaitGroup
	mu       sync.Mutex
	unmoved  []error // removals that failed
}

// Plan says what a scenario consists of.
type Plan struct {
	Name, What string
	World      world.Plan
	Size       fleet.Size
	// DirectOnly: people make no groups and change nothing.
	DirectOnly bool
	// Counted: no process ends and nobody has to send again, so that the nodes' counters must give what people were told.
	Counted bool
	// Removals: somebody is removed from a group at each fault, while it lasts.
	Removals bool
	// Warm is how long people write before the first fault.
	Warm time.Duration
	Log  func(format string, args ...any)
}

// Run starts a deployment in dir, lets people write while play does its worst, and judges.
func Run(ctx context.Context, dir string, plan Plan, play func(*Scenario) error) (*report.Scenario, error) {
	s := &Scenario{plan: plan, log: plan.Log, Report: &report.Scenario{Name: plan.Name, What: plan.What}}
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
	defer s.removing.Wait()
	if !plan.DirectOnly {
		if err := s.Fleet.MakeGroups(ctx); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, s.World.Logs())
		}
	}
	s.log("%d people are served; they write %d messages a second", len(s.Fleet.People), plan.Size.PerSecond)
	s.Fleet.Write(plan.Size.PerSecond)
	pause(ctx, plan.Warm)
	s.removeOne(ctx)
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

// removeOne lets one more person be removed from a group, beside whatever else happens.
func (s *Scenario) removeOne(ctx context.Context) {
	s.removing.Go(func() {
		if err := s.Fleet.RemoveNext(ctx); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.unmoved = append(s.unmoved, err)
		}
	})
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
