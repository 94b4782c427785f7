package nemesis

import (
	"fmt"
	"testing"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/report"
	"meridian/test/nemesis/world"
)

// stormClients is how many clients lose their region at once.
const stormClients = 1000

// A thousand clients that lose their region at once are served by the others within the bound, and their jitter spreads them:
// no tenth of a second sees a large part of them come.
func TestReconnectStorm(t *testing.T) {
	play(t, Plan{
		Name: "reconnect-storm", What: fmt.Sprintf("%d clients of one region lose it at once", stormClients),
		Size: fleet.Size{World: 3, PerSecond: 10}, Warm: time.Second, DirectOnly: true, World: world.Plan{Nodes: nodesEach, Ack: chat.AckZone},
	}, func(s *Scenario) error {
		crowd, err := s.Fleet.Gather(t.Context(), stormClients, "eu-west")
		if err != nil {
			return err
		}
		defer crowd.Close()
		before := s.Fleet.Now()
		var back, accepted []time.Duration
		var stood time.Duration
		fault := kill("storm", "kill -9 of every process of eu-west under the crowd", regionBound, 15*time.Second, processes("eu-west"))
		mend := fault.Mend
		fault.Mend = func(s *Scenario) error {
			back, accepted, stood = crowd.Returned(before), crowd.Accepted(before), crowd.StoodStill(before)
			return mend(s)
		}
		if err := s.Strike(t.Context(), fault); err != nil {
			return err
		}
		s.storm(back, accepted, time.Duration(s.Report.Faults[0].Began)-before, stood)
		return nil
	})
}

// storm prints and checks how a crowd came back: when each client was served, and when connections were accepted; began is
// when its region went, on the same clock, and stood how long this process stood still: who would have come then came after it at once.
func (s *Scenario) storm(back, accepted []time.Duration, began, stood time.Duration) {
	for i := range back {
		back[i] -= began
	}
	perTenth := map[int]int{}
	for _, at := range accepted {
		perTenth[int((at-began)/(100*time.Millisecond))]++
	}
	peak, at := 0, 0
	for tenth, n := range perTenth {
		if n > peak {
			peak, at = n, tenth
		}
	}
	p99 := report.Percentile(back, 0.99)
	s.figure("storm: %d of %d clients served elsewhere, p50 %s, p99 %s; accept peak %d in 0.1 s, %.1f s after the loss; the test stood still for %v",
		len(back), stormClients, report.Percentile(back, 0.5), p99, peak, float64(at)/10, stood.Round(time.Millisecond))
	if len(back) < stormClients*99/100 || time.Duration(p99) > regionBound {
		s.problem("storm: %d of %d clients are served elsewhere, p99 %s; promised are all but one in a hundred within %v", len(back), stormClients, p99, regionBound)
	}
	if herd := stormClients / 4 * (1 + float64(stood)/float64(100*time.Millisecond)); float64(peak) > herd {
		s.problem("storm: %d of %d clients came within a tenth of a second: that is a herd, not jitter", peak, stormClients)
	}
}

// destroy kills a region in the midst of the writing and removes all that it had on disk, for good. With takeClients the
// clients that it served go with it, and it has been cut off from eu-west for a while: what it acknowledged for people there is
// with the third region only, which has to hand it on.
func (s *Scenario) destroy(t *testing.T, r chat.Region, takeClients bool) error {
	pause(t.Context(), 8*time.Second)
	if takeClients {
		s.log("nothing passes between %s and eu-west from now on", r)
		if err := s.World.CutRegions(r, "eu-west", true); err != nil {
			return err
		}
		pause(t.Context(), 5*time.Second)
	}
	victims := s.servedBy(s.World.NodesOf(r))
	fault := Fault{
		Name: "destroy-region", What: fmt.Sprintf("%s is killed and its directory removed for ever", r), Lasts: 8 * time.Second,
		Hits: region(r), Bound: regionBound,
		Strike: func(s *Scenario) error {
			for _, ref := range s.World.ProcessesOf(r) {
				s.World.Kill(ref)
			}
			if takeClients {
				for _, p := range victims {
					p.Leave()
				}
			}
			s.lost = append(s.lost, r)
			return s.World.Destroy(r)
		},
		Mend: heal,
	}
	if takeClients {
		fault.What += ", and its people's devices with it"
		fault.Hits = nil
	}
	return s.Strike(t.Context(), fault)
}

// With ack: zone what was acknowledged outlives a region's disk, also where the devices that wrote it are gone too, and also for
// people of a zone that the lost region could not reach any more.
func TestDestroyedRegionWithAckZone(t *testing.T) {
	play(t, Plan{
		Name: "destroyed-ack-zone", What: "ack: zone; a region's directory and its people's devices are destroyed in the midst of the writing",
		Size: fleet.Size{World: 6, Pinned: 3, PerSecond: 60}, World: world.Plan{Nodes: nodesEach, Ack: chat.AckZone},
	}, func(s *Scenario) error { return s.destroy(t, "us-east", true) })
}

// With ack: region what was acknowledged by a region alone is sent again by the devices that live, and nothing is lost. In the
// full matrix only.
func TestDestroyedRegionWithAckRegion(t *testing.T) {
	if !full() {
		return
	}
	play(t, Plan{
		Name: "destroyed-ack-region", What: "ack: region; a region's directory is destroyed in the midst of the writing, the devices live",
		Size: fleet.Size{World: 6, PerSecond: 60}, World: world.Plan{Nodes: nodesEach, Ack: chat.AckRegion},
	}, func(s *Scenario) error { return s.destroy(t, "us-east", false) })
}
