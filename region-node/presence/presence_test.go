package presence

import (
	"context"
	"fmt"
	"testing"
	"time"

	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/store/memory"
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

// follower is a Watcher that remembers what it heard last.
type follower struct {
	heard chan string
}

func (f follower) Presence(_ chat.UserID, online bool, lastSeen time.Time) {
	f.heard <- fmt.Sprint(online, lastSeen.Unix())
}

// The nodes of a region that share a book agree on who is online and was seen when, also when they do not hear of each other,
// and after one has started anew.
func TestNodesAgreeByTheBook(t *testing.T) {
	topology := chat.Topology{
		Regions: []chat.Region{"eu-west"},
		Zones:   map[chat.Zone]chat.ZoneSpec{"eu": {Name: "eu", Regions: []chat.Region{"eu-west"}}, "us": {Name: "us", Regions: []chat.Region{"us-east"}}},
	}
	book := memory.NewPresences(100)
	w := &wires{nodes: make(map[chat.NodeRef]*Service), cut: make(map[chat.NodeRef]bool)}
	start := func(node chat.NodeID) *Service {
		self := chat.NodeRef{Region: "eu-west", Node: node}
		s := New(Options{Self: self, Topology: topology, Lease: time.Minute, Tell: teller{w, self}, Hub: messages.NewHub(0, true), Book: book, Now: time.Now})
		w.nodes[self], w.cut[self] = s, true
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		t.Cleanup(func() { stop(); <-done })
		return s
	}
	n1, n2 := start("n1"), start("n2")
	user, stranger := chat.UserID{1}, chat.UserID{2}
	agree := func(what string, s *Service, user chat.UserID, online, seen bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			got, at := s.Lookup(t.Context(), user)
			if got == online && at.IsZero() == !seen {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: online %v, seen %v", what, got, at)
			}
		}
	}
	n1.Join(user, "eu")
	n1.Join(stranger, "us") // whose zone this region does not serve
	agree("n2 knows by the book", n2, user, true, false)
	n1.Leave(user, "eu")
	agree("n1 at once", n1, user, false, true)
	agree("n2 too", n2, user, false, true)
	n3 := start("n1")
	agree("and n1 after its restart", n3, user, false, true)
	f := follower{make(chan string, 1)}
	n3.Watch(user, f)
	if _, at := n1.Lookup(t.Context(), user); <-f.heard != fmt.Sprint(false, at.Unix()) {
		t.Errorf("who follows after the restart heard something else than %v", at.Unix())
	}
	n1.Leave(stranger, "us")
	n1.SignOff()
	if states, _ := book.Lookup(t.Context(), []chat.UserID{stranger}, time.Now()); states[0] != (chat.PresenceState{}) {
		t.Errorf("the book knows of somebody of another zone: %+v", states[0])
	}
}
