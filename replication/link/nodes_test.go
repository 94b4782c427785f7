package link

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// twoByTwo starts two nodes in each of two regions; all are connected with all.
func twoByTwo(t *testing.T, network Network, change func(*Options)) map[string]*node {
	t.Helper()
	names := []string{"eu-west", "eu-west/n2", "us-east", "us-east/n2"}
	w := newWorld(t, network, names...)
	nodes := map[string]*node{}
	for _, name := range names {
		nodes[name] = w.start(name, change)
	}
	for _, name := range names {
		for _, peer := range names {
			if peer != name {
				nodes[name].waitUp(t, peer, true)
			}
		}
	}
	return nodes
}

// TestEveryNodeIsLinkedWithEveryOther: also those of one region; a relay frame goes to the one node that it is for, and comes
// from the node that sent it.
func TestEveryNodeIsLinkedWithEveryOther(t *testing.T) {
	from := make(chan Remote, 8)
	nodes := twoByTwo(t, nil, func(o *Options) {
		o.Handlers.OnRelay = func(peer Remote, _ replication.Frame) { from <- peer }
	})
	for _, c := range [][2]string{{"eu-west", "us-east/n2"}, {"us-east/n2", "us-east"}, {"eu-west/n2", "eu-west"}} {
		if !nodes[c[0]].SendRelay(ref(c[1]), replication.Frame{Kind: replication.FrameAck}) {
			t.Fatalf("%s did not send to %s", c[0], c[1])
		}
		got := <-from
		if got.NodeRef != ref(c[0]) || got.Incarnation != 1 || got.Protocol != ProtocolMax {
			t.Errorf("a frame of %s came from %+v", c[0], got)
		}
	}
	nodes["eu-west"].TellRegion("us-east", "typing", []byte("ann"))
	nodes["us-east"].TellRegion("us-east", "typing", []byte("ben"))
	for name, want := range map[string][]string{"us-east": {"eu-west typing ann"}, "us-east/n2": {"eu-west typing ann", "us-east typing ben"}} {
		eventually(t, "the tells of "+name, func() bool {
			n := nodes[name]
			n.mu.Lock()
			defer n.mu.Unlock()
			slices.Sort(n.tells)
			return slices.Equal(n.tells, want)
		})
	}
}

// TestCallsGoToALiveNode: a region answers while one of its nodes lives, and a node that has too much to do hands over to the
// next.
func TestCallsGoToALiveNode(t *testing.T) {
	busy := make(chan string, 1)
	nodes := twoByTwo(t, nil, func(o *Options) {
		self := o.self().String()
		o.Handlers.OnRequest = func(_ context.Context, _ chat.NodeRef, _ string, _ []byte) ([]byte, error) {
			select {
			case who := <-busy:
				busy <- who
				if who == self {
					return nil, &chat.Error{Code: chat.CodeBusy, Message: "too much to do"}
				}
			default:
			}
			return []byte(self), nil
		}
		o.Handlers.OnStream = func(_ chat.NodeRef, s Stream, _ string, _ []byte) {
			_ = s.Write(context.Background(), []byte(self)) // the reader tells
		}
	})
	a := nodes["eu-west"]
	eventually(t, "round trips", func() bool {
		return a.Peers()[ref("us-east")].RTT > 0 && a.Peers()[ref("us-east/n2")].RTT > 0
	})
	first, err := a.Call(t.Context(), "us-east", "who", nil)
	must(t, err)
	busy <- string(first)
	second, err := a.Call(t.Context(), "us-east", "who", nil)
	if err != nil || string(second) == string(first) || !strings.HasPrefix(string(second), "us-east/") {
		t.Fatalf("while %s is busy: %q, %v", first, second, err)
	}
	if _, err := a.CallNode(t.Context(), ref(string(first)), "who", nil); chat.CodeOf(err) != chat.CodeBusy {
		t.Errorf("a call of the busy node itself: %v", err)
	}
	<-busy
	nodes[short(ref(string(first)))].Close()
	a.waitUp(t, string(first), false)
	if got, err := a.Call(t.Context(), "us-east", "who", nil); err != nil || string(got) != string(second) {
		t.Errorf("with %s gone: %q, %v", first, got, err)
	}
	s, err := a.OpenStream(t.Context(), "us-east", "x", nil)
	must(t, err)
	if got, err := s.Read(t.Context()); err != nil || string(got) != string(second) {
		t.Errorf("a stream with %s gone: %q, %v", first, got, err)
	}
	if got, err := a.Call(t.Context(), "eu-west", "who", nil); err != nil || string(got) != "eu-west/n2" {
		t.Errorf("a call within the region: %q, %v", got, err)
	}
	nodes[short(ref(string(second)))].Close()
	a.waitUp(t, string(second), false)
	if _, err := a.Call(t.Context(), "us-east", "who", nil); chat.CodeOf(err) != chat.CodeRegionDegraded {
		t.Errorf("with both gone: %v", err)
	}
}

// TestTheNearestNodeIsAsked: of two nodes of a region the one with the shorter round trip gets the calls.
func TestTheNearestNodeIsAsked(t *testing.T) {
	w := newWorld(t, nil, "eu-west", "us-east", "us-east/n2")
	for _, name := range []string{"us-east", "us-east/n2"} {
		w.start(name, func(o *Options) {
			if name == "us-east" {
				o.Network = slowNetwork{}
			}
			o.Handlers.OnRequest = func(context.Context, chat.NodeRef, string, []byte) ([]byte, error) { return []byte(name), nil }
		})
	}
	a := w.start("eu-west", func(o *Options) { o.DeadAfter = 3 * time.Second }) // pings each second
	eventually(t, "a short round trip to one, which a busy machine may show late, and a long one to the other", func() bool {
		far, near := a.Peers()[ref("us-east")].RTT, a.Peers()[ref("us-east/n2")].RTT
		return near > 0 && far > near
	})
	if got, err := a.Call(t.Context(), "us-east", "who", nil); err != nil || string(got) != "us-east/n2" {
		t.Errorf("%q answered, %v; round trips %v and %v", got, err, a.Peers()[ref("us-east")].RTT, a.Peers()[ref("us-east/n2")].RTT)
	}
}

// slowNetwork delays what its side writes.
type slowNetwork struct{ TCP }

func (slowNetwork) Accepted(_ chat.Region, conn net.Conn) net.Conn { return slowConn{conn} }

type slowConn struct{ net.Conn }

func (c slowConn) Write(b []byte) (int, error) {
	time.Sleep(30 * time.Millisecond)
	return c.Conn.Write(b)
}

// TestOldBuildsConnect: a build that speaks the protocol before only is connected whichever side dials, and gets nothing that came
// later.
func TestOldBuildsConnect(t *testing.T) {
	for _, old := range []string{"eu-west", "us-east"} {
		t.Run(old, func(t *testing.T) {
			w := newWorld(t, nil, "eu-west", "us-east")
			nodes := map[string]*node{}
			up := make(chan Remote, 4)
			for name := range w.peers {
				nodes[name] = w.start(name, func(o *Options) {
					if name == old {
						o.protocolMax = ProtocolMin
					} else {
						o.Handlers.OnUp = func(r Remote) { up <- r }
					}
				})
			}
			nodes["eu-west"].waitUp(t, "us-east", true)
			nodes["us-east"].waitUp(t, "eu-west", true)
			if got := <-up; got.Protocol != ProtocolMin || got.NodeRef != ref(old) {
				t.Fatalf("agreed on %+v", got)
			}
			for name, n := range nodes {
				for other := range w.peers {
					if other != name && !n.SendRelay(ref(other), replication.Frame{Kind: replication.FrameAck}) {
						t.Errorf("%s cannot send to %s", name, other)
					}
				}
			}
			eventually(t, "frames both ways", func() bool { return nodes["eu-west"].received() == 1 && nodes["us-east"].received() == 1 })
		})
	}
}

// TestWrongNodeIsRefused: a node that answers at the address of another is not taken for it, and is counted.
func TestWrongNodeIsRefused(t *testing.T) {
	w := newWorld(t, nil, "eu-west", "us-east", "us-east/n2")
	w.peers["us-east"] = w.peers["us-east/n2"] // a mistake in somebody's configuration
	a := w.start("eu-west", nil)
	w.start("us-east/n2", nil)
	a.waitUp(t, "us-east/n2", true)
	want := MetricRefused + " hello"
	eventually(t, want, func() bool { return strings.Contains(a.metrics.String(), want) })
	eventually(t, "the status to say why", func() bool { // each try may also fail otherwise
		status := a.Peers()[ref("us-east")]
		if status.Up {
			t.Fatal("the node that was dialled by mistake is taken for the other")
		}
		return strings.Contains(status.LastError, "identity") || strings.Contains(status.LastError, "dialled was us-east/n1")
	})
	if got := a.seen(); !slices.Equal(got, []string{"up us-east/n2"}) {
		t.Errorf("events %q", got)
	}
}
