package nemesis

import (
	"testing"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/world"
)

// realPerSecond is how many messages are sent a second. Each is written in three clusters, read and marked there; three servers that have
// just started, without a compiler that optimizes, take two cores for some 20 of them.
const realPerSecond = 6

// On regions that keep their rows in a Cassandra cluster of their own every promise holds when a Cassandra is killed, a node, or a whole
// region with its Cassandra.
func TestRealStores(t *testing.T) {
	if !full() {
		return
	}
	eu1 := chat.NodeRef{Region: "eu-west", Node: "n1"}
	play(t, Plan{
		Name: "real-stores", What: "three regions of two nodes and a Cassandra each, ack: zone", Warm: 5 * time.Second,
		Size:  fleet.Size{World: 6, Pinned: 2, PerSecond: realPerSecond},
		World: world.Plan{Nodes: nodesEach, Ack: chat.AckZone, Real: true},
	}, func(s *Scenario) error {
		return strikes(t, s, []Fault{
			kill("kill-real-node", "kill -9 of eu-west/n1", nodeBound, 6*time.Second, nodes(eu1)),
			lostStore(kill("kill-cassandra", "kill -9 of the Cassandra of us-east", regionBound, 10*time.Second, stores("us-east")), "us-east"),
			kill("kill-real-region", "kill -9 of the nodes and the Cassandra of eu-west at once", regionBound, 10*time.Second, processes("eu-west")),
		})
	})
}
