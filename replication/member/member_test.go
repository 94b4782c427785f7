package member

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"meridian/chat"
	"meridian/deploy/local"
)

// cuts says which nodes cannot reach which.
type cuts struct {
	mu  sync.Mutex
	off map[string]bool // address
}

func (c *cuts) set(addresses ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = make(map[string]bool)
	for _, a := range addresses {
		c.off[a] = true
	}
}

// between says whether bytes pass: those who are cut off reach nobody, and nobody reaches them.
func (c *cuts) between(a, b string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off[a] != c.off[b]
}

// transport is memberlist's own over loopback, with cuts.
type transport struct {
	*memberlist.NetTransport
	self string
	cuts *cuts
}

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	if t.cuts.between(t.self, addr.Addr) {
		return time.Now(), nil // lost on the way
	}
	return t.NetTransport.WriteToAddress(b, addr)
}

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if t.cuts.between(t.self, addr.Addr) {
		return nil, errors.New("cut")
	}
	return t.NetTransport.DialAddressTimeout(addr, timeout)
}

// world is the pools of a test.
type world struct {
	t      *testing.T
	cuts   cuts
	nodes  []chat.NodeID
	addrs  map[chat.NodeID]string
	pools  map[chat.NodeID]*Pool
	mu     sync.Mutex
	events []string
}

// newWorld reserves an address for each node; start opens the pools.
func newWorld(t *testing.T, nodes ...chat.NodeID) *world {
	w := &world{t: t, nodes: nodes, addrs: make(map[chat.NodeID]string), pools: make(map[chat.NodeID]*Pool)}
	at := local.ListenAddress()
	for _, n := range nodes {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		w.addrs[n] = l.Addr().String()
		_ = l.Close() // the pool takes the port
	}
	t.Cleanup(func() {
		for _, p := range w.pools {
			_ = p.Close()
		}
	})
	return w
}

func (w *world) start(node chat.NodeID, rejoin time.Duration, change func(*Options)) {
	w.t.Helper()
	peers := make(map[chat.NodeID]string)
	for _, other := range w.nodes {
		if other != node {
			peers[other] = w.addrs[other]
		}
	}
	o := Options{
		Deployment: "test", Region: "eu-west", Node: node, Listen: w.addrs[node], Peers: peers, Key: [KeyBytes]byte{1},
		Load: func() int { return 1000 + len(node) }, Log: slog.New(slog.DiscardHandler), rejoin: rejoin,
		OnAlive: func(other chat.NodeID) { w.note("%s: %s alive", node, other) },
		OnDead:  func(other chat.NodeID) { w.note("%s: %s dead", node, other) },
		tune:    func(cfg *memberlist.Config) { w.fast(cfg) },
	}
	if change != nil {
		change(&o)
	}
	p, err := Join(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.pools[node] = p
}

// fast makes everything about twenty times as fast as in earnest, and the network one that can be cut.
func (w *world) fast(cfg *memberlist.Config) {
	cfg.ProbeInterval, cfg.ProbeTimeout, cfg.GossipInterval = 50*time.Millisecond, 25*time.Millisecond, 10*time.Millisecond
	cfg.PushPullInterval, cfg.GossipToTheDeadTime = time.Second, 200*time.Millisecond
	cfg.TCPTimeout = 10 * time.Second // who joins only once must get through, also on a busy machine
	raw, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{cfg.BindAddr}, BindPort: cfg.BindPort, Logger: cfg.Logger})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.Transport = &transport{NetTransport: raw, self: net.JoinHostPort(cfg.BindAddr, strconv.Itoa(cfg.BindPort)), cuts: &w.cuts}
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

func (w *world) noted(event string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.events, event)
}

// sees waits until a node's pool has exactly these members.
func (w *world) sees(node chat.NodeID, within time.Duration, want ...chat.NodeID) bool {
	w.t.Helper()
	var got []chat.NodeID
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		got = nil
		for _, m := range w.pools[node].Members() {
			got = append(got, m.Node)
		}
		if slices.Equal(got, want) {
			return true
		}
	}
	return false
}

const patience = time.Minute

// TestPoolHealsAfterALongPartition: three nodes find each other and tell their load; cut off for longer than any time-out of
// the pool, they find each other again, and the handlers heard of all of it.
func TestPoolHealsAfterALongPartition(t *testing.T) {
	w := newWorld(t, "n1", "n2", "n3")
	w.splitAndHeal(100 * time.Millisecond)
	for _, n := range w.nodes {
		if !w.sees(n, patience, "n1", "n2", "n3") {
			t.Fatalf("%s did not find the others again: %v", n, w.pools[n].Members())
		}
	}
	for _, event := range []string{"n1: n3 dead", "n3: n1 dead", "n2: n3 alive"} {
		if !w.noted(event) {
			t.Errorf("nobody heard %q in %s", event, strings.Join(w.events, ", "))
		}
	}
	for _, m := range w.pools["n1"].Members() {
		if m.Sockets != 1002 || m.Address != w.addrs[m.Node] {
			t.Errorf("member %+v", m)
		}
	}
}

// TestMemberlistAloneDoesNotHeal: without joining again the same partition splits the pool for good; that is why Pool joins
// again and again.
func TestMemberlistAloneDoesNotHeal(t *testing.T) {
	w := newWorld(t, "n1", "n2", "n3")
	w.splitAndHeal(time.Hour)
	if w.sees("n1", 2*time.Second, "n1", "n2", "n3") { // what does not happen takes as long as one waits for it
		t.Error("the pool healed by itself: joining again is not needed any more")
	}
}

// splitAndHeal lets three pools find each other, cuts n3 off until it is forgotten, and mends that.
func (w *world) splitAndHeal(rejoin time.Duration) {
	w.t.Helper()
	for _, n := range w.nodes {
		w.start(n, rejoin, nil)
	}
	for _, n := range w.nodes {
		if !w.sees(n, patience, "n1", "n2", "n3") {
			w.t.Fatalf("%s did not find the others: %v", n, w.pools[n].Members())
		}
	}
	w.cuts.set(w.addrs["n3"])
	if !w.sees("n1", patience, "n1", "n2") || !w.sees("n2", patience, "n1", "n2") || !w.sees("n3", patience, "n3") {
		w.t.Fatal("a node that was cut off is still a member")
	}
	time.Sleep(time.Second) // five times as long as dead members are remembered
	w.cuts.set()
}

// TestStrangersAreNoMembers: who has another key, or is of another region or deployment, does not get into the pool.
func TestStrangersAreNoMembers(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"key":        func(o *Options) { o.Key[0] = 2 },
		"region":     func(o *Options) { o.Region = "us-east" },
		"deployment": func(o *Options) { o.Deployment = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			w.start("n1", 100*time.Millisecond, nil)
			w.start("n2", 100*time.Millisecond, nil)
			w.start("n3", 100*time.Millisecond, change)
			if !w.sees("n1", patience, "n1", "n2") {
				t.Fatalf("n1 did not find n2: %v", w.pools["n1"].Members())
			}
			if w.sees("n1", 500*time.Millisecond, "n1", "n2", "n3") || !w.sees("n3", patience, "n3") {
				t.Errorf("the stranger is a member: %v, %v", w.pools["n1"].Members(), w.pools["n3"].Members())
			}
		})
	}
}

// TestNodeComesBackElsewhere: a node that died may come back under its name at another address.
func TestNodeComesBackElsewhere(t *testing.T) {
	w := newWorld(t, "n1", "n2", "n3")
	soon := func(o *Options) {
		o.tune = func(cfg *memberlist.Config) { w.fast(cfg); cfg.DeadNodeReclaimTime = 50 * time.Millisecond }
	}
	w.start("n1", 100*time.Millisecond, soon)
	w.start("n2", 100*time.Millisecond, soon)
	if !w.sees("n1", patience, "n1", "n2") {
		t.Fatal("n1 did not find n2")
	}
	old := w.pools["n2"]
	w.cuts.set(w.addrs["n2"]) // no good-bye reaches anybody
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if !w.sees("n1", patience, "n1") {
		t.Fatal("n1 did not notice")
	}
	w.cuts.set()
	w.addrs["n2"] = w.addrs["n3"]
	w.start("n2", 100*time.Millisecond, soon)
	if !w.sees("n1", patience, "n1", "n2") || w.pools["n1"].Members()[1].Address != w.addrs["n2"] {
		t.Errorf("n2 is not back: %v", w.pools["n1"].Members())
	}
}

// TestBadAddress: an address that cannot be used is refused, and nothing stays open.
func TestBadAddress(t *testing.T) {
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "192.0.2.1:7946"} {
		if _, err := Join(Options{Listen: addr, Node: "n1", Log: slog.New(slog.DiscardHandler)}); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%q: %v", addr, err)
		}
	}
}
