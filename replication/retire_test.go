package replication

import (
	"testing"

	"meridian/chat"
)

// Of the lives of a node that are over, the latest eight are remembered, and whoever tells of no older ones is not taken to lack them.
func TestLivesThatAreOverAreForgotten(t *testing.T) {
	const lives = 3 * livesKept
	r := newRig(t, "eu", Restored{})
	life := func(n int) chat.StreamID {
		return chat.StreamID{Region: "us", Node: "n1", Incarnation: chat.Incarnation(n)}
	}
	r.step(PeerUp{Peer: usNode})
	for n := 1; n <= lives; n++ {
		r.settle(r.step(from("us", Frame{Kind: FrameLives, Stream: life(n), Lives: []chat.StreamID{life(n)}})))
		r.core.Marks(r.now)
		r.settle(r.step(Tick{}))
	}
	known := r.core.peers["us"].known()
	if len(known) != livesKept || known[0].id != life(lives-livesKept+1) || known[livesKept-1].id != life(lives) {
		t.Fatalf("%d lives are remembered, from %v", len(known), known[0].id)
	}
	told := map[chat.StreamID]bool{}
	for _, s := range known {
		told[s.id] = true
	}
	if !longOver(life(1), told) {
		t.Error("a life that is forgotten is taken for lacking")
	}
	delete(told, life(lives-3))
	told[life(1)] = true
	if longOver(life(lives-3), told) {
		t.Error("a life that is lacking is taken for forgotten")
	}
}
