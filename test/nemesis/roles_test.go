package nemesis

import (
	"testing"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/world"
)

// byRole is a region's nodes apart: one checks passwords, the others do the rest.
var byRole = map[chat.NodeID][]chat.Service{
	"n1": {chat.ServiceAuth}, "n2": {chat.ServiceChat, chat.ServiceMessages}, "n3": {chat.ServiceChat, chat.ServiceMessages},
}

// The nodes of every region are split by role. While people sign up, write and read through whatever node they know, one region's
// nodes are restarted cleanly one by one, and in another a node of each role is killed, and one stands still: nothing is lost, nothing
// is shown twice, and whoever was served by one is served by another in time.
func TestNodesByRole(t *testing.T) {
	play(t, Plan{
		Name: "nodes-by-role", What: "three nodes in each region, passwords apart from the rest; restarted one by one, killed and frozen",
		Size: fleet.Size{World: 6, Pinned: 2, PerSecond: 40}, Warm: 3 * time.Second, Removals: true,
		World: world.Plan{Nodes: len(byRole), Services: byRole, Ack: chat.AckZone},
	}, func(s *Scenario) error {
		for _, ref := range s.World.NodesOf("us-east") {
			if err := s.Strike(t.Context(), swap(ref, world.Launch{}, "cleanly", time.Second, nodeBound)); err != nil {
				return err
			}
		}
		return strikes(t, s, []Fault{
			kill("kill-auth", "kill -9 of the node that checks passwords", nodeBound, 4*time.Second, nodes(chat.NodeRef{Region: "eu-west", Node: "n1"})),
			kill("kill-chat", "kill -9 of a node that serves sockets", nodeBound, 4*time.Second, nodes(chat.NodeRef{Region: "eu-west", Node: "n2"})),
			freeze("freeze-chat", 8*time.Second, nodes(chat.NodeRef{Region: "eu-west", Node: "n3"})),
		})
	})
}
