package presence

import (
	"testing"
	"time"

	"meridian/chat"
	"meridian/region-node/messages"
)

// wires passes what nodes tell each other on at once, to every other node of the region that is told.
type wires struct {
	nodes map[chat.NodeRef]*Service
	cut   map[chat.NodeRef]bool
}

type teller struct {
	wires *wires
	self  chat.NodeRef
}

func (t teller) Tell(region chat.Region, kind string, payload []byte) {
	for ref, s := range t.wires.nodes {
		if ref != t.self && ref.Region == region && !t.wires.cut[t.self] && !t.wires.cut[ref] {
			s.OnTell(t.self, kind, payload)
		}
	}
}

// Somebody with a socket at each of two nodes of a region is online for everybody until both have ended; a node that is lost
// takes with it what it said, and nothing more.
func TestSocketsAtTwoNodesOfARegion(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	topology := chat.Topology{
		Regions: []chat.Region{"eu-west", "us-east"},
		Zones:   map[chat.Zone]chat.ZoneSpec{"eu": {Name: "eu", Regions: []chat.Region{"eu-west"}, Policy: chat.PolicyCopy}},
	}
	w := &wires{nodes: make(map[chat.NodeRef]*Service), cut: make(map[chat.NodeRef]bool)}
	n1, n2, far := chat.NodeRef{Region: "eu-west", Node: "n1"}, chat.NodeRef{Region: "eu-west", Node: "n2"}, chat.NodeRef{Region: "us-east", Node: "n1"}
	for _, ref := range []chat.NodeRef{n1, n2, far} {
		w.nodes[ref] = New(Options{
			Self: ref, Topology: topology, Lease: time.Minute, Tell: teller{w, ref}, Hub: messages.NewHub(0, false), Now: func() time.Time { return now },
		})
	}
	user := chat.UserID{1}
	all := func(want bool, when string) {
		t.Helper()
		for ref, s := range w.nodes {
			if online, _ := s.State(user); online != want && !w.cut[ref] {
				t.Errorf("%s: online at %s is %v, want %v", when, ref, online, want)
			}
		}
	}
	w.nodes[n1].Join(user, "eu")
	w.nodes[n2].Join(user, "eu")
	all(true, "with two sockets")
	w.nodes[n1].Leave(user, "eu")
	all(true, "with the socket at n2")
	w.nodes[n1].Join(user, "eu")
	w.cut[n2] = true
	now = now.Add(50 * time.Second)
	w.nodes[n1].broadcast(report{Zone: "eu", Online: []chat.UserID{user}}) // what Run does every third of a lease
	now = now.Add(50 * time.Second)
	for _, s := range w.nodes {
		s.expire()
	}
	all(true, "with n2 lost")
	if got := len(w.nodes[far].remote[user]); got != 1 {
		t.Errorf("%d nodes say that the person is online, want n1 alone", got)
	}
	w.nodes[n1].Leave(user, "eu")
	all(false, "with no socket left")
	w.cut[n2] = false
	w.nodes[n2].Sync(far)
	w.nodes[n2].Sync(n1)
	all(true, "when n2 is back")
}
