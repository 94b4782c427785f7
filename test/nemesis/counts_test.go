package nemesis

import (
	"testing"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/world"
)

// Where no process ends and no client loses its link, though the regions lose theirs and a store stands still, the nodes'
// counters give exactly the acks that people were given, level by level.
func TestCountersAreWhatPeopleWereTold(t *testing.T) {
	play(t, Plan{
		Name: "counted-acks", What: "regions are cut off from each other and a store stands still for shorter than anybody gives up, ack: zone",
		Size: fleet.Size{World: 6, PerSecond: 60}, Warm: 3 * time.Second, Counted: true,
		World: world.Plan{Nodes: nodesEach, Ack: chat.AckZone},
	}, func(s *Scenario) error {
		faults := []Fault{cut("cut", "us-east", "eu-west", true, 5*time.Second), freezeStore("freeze-store-2s", 2*time.Second, "ap-south")}
		if full() {
			faults = append(faults, flap("eu-west", "ap-south", 3, time.Second))
		}
		return strikes(t, s, faults)
	})
}
