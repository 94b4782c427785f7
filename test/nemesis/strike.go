package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/report"
	"meridian/test/nemesis/world"
)

// Fault is one thing to do.
type Fault struct {
	Name, What string
	// Lasts is from Strike to Mend.
	Lasts time.Duration
	// Prepare comes before, and its time does not count; nil: nothing. Strike does it, Mend undoes both. An error that is
	// world.ErrNotHere leaves the fault out.
	Prepare, Strike, Mend func(*Scenario) error
	// Hits lists the nodes that serve nobody while it lasts; Bound is what the p99 of being served by others may be.
	Hits  func(*Scenario) []chat.NodeRef
	Bound time.Duration
	// AtHome: only people whose zone the region serves are hit. Those of other zones are passed on as before.
	AtHome bool
	// Brief leaves no quiet time after it: one of many of a kind.
	Brief bool
	// Spares: whoever is not served by a node that is hit must not notice anything while it lasts.
	Spares bool
	// Exits: a process may end by itself; Mend starts it again.
	Exits bool
}

// Bounds of promise 5. A client notices a node that is gone at once, by its broken connection, and one that is silent after
// 6 s.
const (
	regionBound = 10 * time.Second
	nodeBound   = 5 * time.Second
)

const (
	// recoverTimeout bounds the wait for messages to flow again.
	recoverTimeout = 90 * time.Second
	// between is the quiet time after each fault.
	between = 3 * time.Second
)

// Strike does one fault, from the first blow until everything works again, and notes what it cost.
func (s *Scenario) Strike(ctx context.Context, f Fault) error {
	out := report.Fault{Name: f.Name, What: f.What, Bound: report.Seconds(f.Bound)}
	var err error
	if f.Prepare != nil {
		s.log("%s: %s", f.Name, f.What)
		err = f.Prepare(s)
	}
	out.Began = report.Seconds(s.Fleet.Now())
	var hits []chat.NodeRef
	if f.Hits != nil {
		hits = f.Hits(s)
	}
	victims := s.servedBy(hits)
	if f.AtHome {
		victims = slices.DeleteFunc(victims, func(p *fleet.Person) bool { return !s.isHome(p, hits) })
	}
	s.log("%s: %s (%d people hit, %d sends acknowledged so far)", f.Name, f.What, len(victims), s.Fleet.Acks.Load())
	began := s.Fleet.Now()
	if s.plan.Removals {
		s.removeOne(ctx)
	}
	if err == nil {
		err = f.Strike(s)
	}
	if errors.Is(err, world.ErrNotHere) {
		out.Skipped = err.Error()
		s.Report.Faults = append(s.Report.Faults, out)
		s.log("%s: not done: %v", f.Name, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	s.watch(ctx, victims, hits, began, f, &out)
	pause(ctx, began+f.Lasts-s.Fleet.Now())
	mended := s.Fleet.Now()
	if f.Spares {
		s.spared(victims, began, mended, &out)
	}
	if err := f.Mend(s); err != nil {
		return fmt.Errorf("mend %s: %w", f.Name, err)
	}
	if exits := s.World.Exits(); len(exits) > 0 && !f.Exits {
		return fmt.Errorf("%s: %s", f.Name, strings.Join(exits, "; "))
	}
	out.Mended = report.Seconds(mended)
	s.recovery(ctx, mended, &out)
	s.Report.Faults = append(s.Report.Faults, out)
	if exits := s.World.Exits(); len(exits) > 0 {
		return fmt.Errorf("after %s: %s", f.Name, strings.Join(exits, "; "))
	}
	if len(s.lost) == 0 {
		s.Fleet.GoHome()
	}
	if !f.Brief {
		pause(ctx, between)
	}
	return nil
}

// servedBy gives the people that the nodes serve and that others may serve too.
func (s *Scenario) servedBy(nodes []chat.NodeRef) []*fleet.Person {
	var all []*fleet.Person
	for _, p := range s.Fleet.People {
		url, _ := p.Served()
		if ref, ok := s.World.NodeAt(url); ok && slices.Contains(nodes, ref) && s.hasOther(p, nodes) {
			all = append(all, p)
		}
	}
	return all
}

// isHome says whether one of the nodes serves the person's zone itself.
func (s *Scenario) isHome(p *fleet.Person, nodes []chat.NodeRef) bool {
	zone, _ := s.World.Config.Topology().Zone(p.Zone)
	return slices.ContainsFunc(nodes, func(ref chat.NodeRef) bool { return zone.Has(ref.Region) })
}

// hasOther says whether a node that is not hit may serve the person.
func (s *Scenario) hasOther(p *fleet.Person, hits []chat.NodeRef) bool {
	zone, _ := s.World.Config.Topology().Zone(p.Zone)
	return slices.ContainsFunc(s.World.Nodes(), func(ref chat.NodeRef) bool {
		return zone.Has(ref.Region) && !slices.Contains(hits, ref)
	})
}

// watch waits until everybody who was hit is served by another node, and notes how long that took.
func (s *Scenario) watch(ctx context.Context, victims []*fleet.Person, hits []chat.NodeRef, began time.Duration, f Fault, out *report.Fault) {
	out.Hit = len(victims)
	if len(victims) == 0 {
		return
	}
	limit := max(f.Bound*3, f.Lasts)
	took := map[*fleet.Person]time.Duration{}
	for len(took) < len(victims) && s.Fleet.Now()-began < limit && ctx.Err() == nil {
		for _, p := range victims {
			url, since := p.Served()
			ref, ok := s.World.NodeAt(url)
			if _, done := took[p]; !done && ok && !slices.Contains(hits, ref) {
				took[p] = max(0, since-began) // somebody may have gone just before
			}
		}
		pause(ctx, 10*time.Millisecond)
	}
	var all []time.Duration
	for _, p := range victims {
		d, ok := took[p]
		if !ok {
			d = limit
			if f.Bound == 0 {
				continue // nothing is promised
			}
			url, since := p.Served()
			out.Problem = fmt.Sprintf("%s is not served by another node after %v, but by %q since %v, with %d sends waiting", p.Name, limit, url, since.Round(time.Millisecond), p.Pending())
			s.log("! %s: %s", f.Name, out.Problem)
		}
		all = append(all, d)
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	out.P50, out.P99, out.Max = report.Percentile(all, 0.5), report.Percentile(all, 0.99), report.Seconds(all[len(all)-1])
	s.log("%s: %d people are served elsewhere, p50 %s, p99 %s, the last after %s", f.Name, len(took), out.P50, out.P99, out.Max)
	if f.Bound > 0 && time.Duration(out.P99) > f.Bound && out.Problem == "" {
		out.Problem = fmt.Sprintf("p99 is %s, promised are %v", out.P99, f.Bound)
	}
}

// spareBound is how long a send may take between two people whom a fault must spare, from the send to its being shown. A node
// that dies holds back for about four seconds what is shown in its region, until another has adopted its op log.
const spareBound = nodeBound

// spared checks that what people wrote to each other whom the fault does not hit was acknowledged and shown in time.
func (s *Scenario) spared(victims []*fleet.Person, began, mended time.Duration, out *report.Fault) {
	hit := map[string]bool{}
	for _, p := range victims {
		hit[p.ID] = true
	}
	var took []time.Duration
	late := 0
	for _, send := range s.Fleet.Sends() {
		if send.To == "" || hit[send.Sender] || hit[send.Recipient] || send.Invoked < began || send.Invoked > mended-spareBound {
			continue
		}
		d := send.Shown - send.Invoked
		if send.AtRegion == 0 || send.Shown == 0 {
			d = mended - send.Invoked
		}
		if took = append(took, d); d > spareBound {
			late++
		}
	}
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	s.log("%s: %d sends between people who must not notice, p50 %s, p99 %s, the slowest %s", out.Name, len(took),
		report.Percentile(took, 0.5), report.Percentile(took, 0.99), report.Seconds(took[len(took)-1]))
	if late > 0 && out.Problem == "" {
		out.Problem = fmt.Sprintf("%d of %d sends between people whom it must spare were not shown within %v, the slowest after %s", late, len(took), spareBound, report.Seconds(took[len(took)-1]))
	}
}

// recovery waits until every node serves and something written after the mending has been shown between every two regions.
func (s *Scenario) recovery(ctx context.Context, mended time.Duration, out *report.Fault) {
	pairs := len(s.surviving()) * len(s.surviving())
	for s.Fleet.Now()-mended < recoverTimeout && ctx.Err() == nil && !s.World.Exited() {
		first := s.Fleet.Paths(mended)
		for pair := range first {
			if slices.Contains(s.lost, pair[0]) || slices.Contains(s.lost, pair[1]) {
				delete(first, pair)
			}
		}
		if len(first) == pairs && s.allReady() {
			for _, at := range first {
				out.Recovered = max(out.Recovered, report.Seconds(at-mended))
			}
			s.log("%s: messages flow everywhere again after %s", out.Name, out.Recovered)
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
	out.Recovered = report.Seconds(recoverTimeout)
	if out.Problem == "" {
		out.Problem = fmt.Sprintf("not everything works again %v after the mending: shown between %d of %d pairs of regions", recoverTimeout, len(s.Fleet.Paths(mended)), pairs)
	}
}

func (s *Scenario) allReady() bool {
	return !slices.ContainsFunc(s.World.Nodes(), func(ref chat.NodeRef) bool {
		return !slices.Contains(s.lost, ref.Region) && !s.World.Ready(ref)
	})
}
