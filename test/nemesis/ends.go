package nemesis

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/canary"
	"meridian/test/nemesis/world"
)

// Bounds of what a deployment holds when it has come to rest.
const (
	// restTimeout bounds the wait until no queue holds anything.
	restTimeout = 60 * time.Second
	// stableAgeMax is how far behind an origin's watermark may be; it comes five times a second.
	stableAgeMax = 2 * time.Second
	// peakMiBMax bounds the memory that a process ever took, whatever waited in it; restMiBMax what it holds at rest.
	peakMiBMax, restMiBMax = 512, 256
	// goroutinesMax bounds those of a node at rest, with the few dozen people of a scenario: what grows with each fault shows.
	goroutinesMax = 1000
)

// queueMetrics are gauges of a node that must be 0 at rest.
var queueMetrics = []string{"relay_parked", "in_flight_ops"}

// rest waits until nothing waits anywhere, and says what still does when it takes too long.
func (s *Scenario) rest(ctx context.Context) (waits []string) {
	for began := time.Now(); ; pause(ctx, 200*time.Millisecond) {
		if waits = s.waits(); len(waits) == 0 {
			s.log("no queue holds anything %v later", time.Since(began).Round(10*time.Millisecond))
			return nil
		}
		if time.Since(began) > restTimeout || ctx.Err() != nil {
			for _, what := range waits {
				s.problem("still after %v: %s", restTimeout, what)
			}
			return waits
		}
	}
}

// waits lists what waits at a node for another region, or for a clock, or is under way, and watermarks that stand still. A
// stream comes to one node of a region, so an origin is as far behind there as at the node that is the furthest.
func (s *Scenario) waits() (all []string) {
	for _, region := range s.surviving() {
		age := map[chat.Region]float64{}
		for _, ref := range s.World.NodesOf(region) {
			st, err := s.World.Status(ref)
			if err != nil {
				all = append(all, fmt.Sprintf("%s does not say how it stands: %v", ref, err))
				continue
			}
			all = append(all, s.waitsAt(ref, &st)...)
			for origin, from := range st.Streams.From {
				if best, known := age[origin]; !known || from.AgeSeconds < best {
					age[origin] = from.AgeSeconds
				}
			}
		}
		for origin, seconds := range age {
			if behind := time.Duration(seconds * float64(time.Second)); behind > stableAgeMax && !slices.Contains(s.lost, origin) {
				all = append(all, fmt.Sprintf("%s is %v behind %s", region, behind.Round(time.Millisecond), origin))
			}
		}
	}
	return all
}

func (s *Scenario) waitsAt(ref chat.NodeRef, st *world.Status) (all []string) {
	for region, relay := range st.Streams.To {
		if (relay.Depth > 0 || relay.OutboxBytes > 0) && !slices.Contains(s.lost, region) {
			all = append(all, fmt.Sprintf("%s has %d ops for %s, %d bytes", ref, relay.Depth, region, relay.OutboxBytes))
		}
	}
	for region, from := range st.Streams.From {
		if from.Queued > 0 {
			all = append(all, fmt.Sprintf("%s holds %d ops of %s back", ref, from.Queued, region))
		}
	}
	for _, name := range queueMetrics {
		if sum, _ := s.World.Metric(ref, name); sum > 0 {
			all = append(all, fmt.Sprintf("%s: %s is %v", ref, name, sum))
		}
	}
	return all
}

// alive lists the nodes of the regions that are not lost.
func (s *Scenario) alive() []chat.NodeRef {
	return slices.DeleteFunc(s.World.Nodes(), func(ref chat.NodeRef) bool { return slices.Contains(s.lost, ref.Region) })
}

// deadLetters counts what the regions' stores keep as impossible to apply. Stores outlive their processes: what a counter
// forgot is there.
func (s *Scenario) deadLetters() (n int) {
	for _, ref := range s.alive() {
		if st, err := s.World.Status(ref); err == nil && st.DeadLetters > 0 {
			n += st.DeadLetters
			s.problem("%s: %d dead letters", ref, st.DeadLetters)
		}
	}
	return n
}

// counted compares the acks that people were given with those that the nodes counted, level by level; differences are broken
// promises. Only where no process ended and nobody had to send again must they be equal. Should the machine stand still for longer than a
// client waits, acks are lost with its link and given again: then the nodes must have counted no less.
func (s *Scenario) counted() (differ int) {
	links := 0
	for _, p := range s.Fleet.People {
		links += p.Connects
	}
	exact := links == len(s.Fleet.People)
	for _, level := range []meridian.AckLevel{meridian.AckRegion, meridian.AckZone} {
		told, sum := s.Fleet.Told(level), 0
		for _, ref := range s.World.Nodes() {
			n, ok := s.World.Metric(ref, "acks_total", fmt.Sprintf("level=%q", level))
			if !ok {
				s.problem("%s does not give its counters", ref)
				differ++
			}
			sum += int(n)
		}
		if told > sum || exact && told < sum {
			s.problem("people were given %d acks of level %s, the nodes counted %d", told, level, sum)
			differ++
		}
		s.figure("level %s: people were given %d acks, the nodes counted %d", level, told, sum)
	}
	if first, told := int(s.Fleet.Acks.Load()), s.Fleet.Told(meridian.AckRegion); exact && first != told {
		s.problem("people have %d sends and changes acknowledged, by %d acks of level region", first, told)
		differ++
	}
	return differ
}

// large counts the processes that take more than they may, and prints the largest.
func (s *Scenario) large() (n int) {
	var rest int64
	most := 0
	for _, ref := range s.World.Processes() {
		peak, now := s.World.MemoryBytes(ref)
		peak, now = peak>>20, now>>20
		s.Report.PeakMiB, rest = max(s.Report.PeakMiB, peak), max(rest, now)
		if peak > peakMiBMax || now > restMiBMax {
			n++
			s.problem("%s took up to %d MiB, and %d MiB at rest", ref, peak, now)
		}
	}
	for _, ref := range s.alive() {
		goroutines := s.World.Goroutines(ref)
		if most = max(most, goroutines); goroutines > goroutinesMax {
			n++
			s.problem("%s has %d goroutines at rest", ref, goroutines)
		}
	}
	s.figure("at rest the largest process has %d MiB, and no node more than %d goroutines", rest, most)
	return n
}

const (
	// homeOfIn is the one region of zone in, which lets nothing out.
	homeOfIn = "ap-south"
	// canariesMax people of that zone are looked for.
	canariesMax = 3
)

// strays looks for the ids of people of zone in on every other region's disk and in its logs. At home they must be found: a
// search that finds nothing there proves nothing. looked is false where nobody of that zone is.
func (s *Scenario) strays() (n int, looked bool) {
	var set canary.Set
	for _, p := range s.Fleet.People {
		if id, err := chat.ParseUUID(p.ID); p.Zone == "in" && err == nil && n < canariesMax {
			set.AddID(p.Name, id, p.ID)
			n++
		}
	}
	if n == 0 {
		return 0, false
	}
	n = 0
	for _, region := range s.surviving() {
		found, err := set.Dir(s.World.DataDir(region))
		logs, err2 := set.Files(s.World.LogPaths(region)...)
		switch hits := append(found.Hits, logs.Hits...); {
		case err != nil || err2 != nil:
			n++
			s.problem("the disk of %s cannot be searched: %v, %v", region, err, err2)
		case region == homeOfIn && len(found.Hits) == 0:
			n++
			s.problem("the search found nobody at home: it proves nothing")
		case region != homeOfIn && len(hits) > 0:
			n += len(hits)
			s.problem("%s stands at %s, in %s", hits[0].Name, region, filepath.Base(hits[0].Where))
		}
	}
	return n, true
}
