package link

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/replication"
	"meridian/replication/link/simnet"
)

// TestMain: nothing that a test starts is left when all have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter is a Metrics that tests can ask.
type counter struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *counter) Count(name string, labels ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int)
	}
	c.counts[name+" "+strings.Join(labels, " ")]++
}

func (c *counter) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(c.counts)) {
		all = append(all, fmt.Sprintf("%s: %d", name, c.counts[name]))
	}
	return strings.Join(all, "\n")
}

// node is one node in a test.
type node struct {
	*Mesh
	name    string
	addr    string
	metrics *counter
	mu      sync.Mutex
	events  []string // "up us-east", "down us-east"
	frames  []replication.Frame
	tells   []string
}

// ref reads "region/node"; "region" alone is its n1.
func ref(name string) chat.NodeRef {
	region, node, ok := strings.Cut(name, "/")
	if !ok {
		node = "n1"
	}
	return chat.NodeRef{Region: chat.Region(region), Node: chat.NodeID(node)}
}

// short is the reverse of ref.
func short(r chat.NodeRef) string { return strings.TrimSuffix(r.String(), "/n1") }

func (n *node) note(event string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, event)
}

func (n *node) seen() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

func (n *node) received() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.frames)
}

// world is what a test's nodes share.
type world struct {
	t         testing.TB
	authority *Authority
	network   Network
	listeners map[string]net.Listener // by name, see ref
	peers     map[string]string
}

func newWorld(t testing.TB, network Network, names ...string) *world {
	authority, err := LoadOrCreateAuthority(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, authority: authority, network: network, listeners: make(map[string]net.Listener), peers: make(map[string]string)}
	at := local.ListenAddress()
	for _, name := range names {
		w.listen(name, at)
	}
	return w
}

func (w *world) listen(name, addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() }) // the mesh has closed it already, where there was one
	w.listeners[name], w.peers[name] = l, l.Addr().String()
}

// start starts a node; change may adapt its options.
func (w *world) start(name string, change func(*Options)) *node {
	w.t.Helper()
	identity, err := w.authority.IssueRegion(ref(name).Region)
	if err != nil {
		w.t.Fatal(err)
	}
	peers := make(map[chat.NodeRef]string)
	for other, addr := range w.peers {
		if other != name {
			peers[ref(other)] = addr
		}
	}
	n := &node{name: name, addr: w.peers[name], metrics: &counter{}}
	o := Options{
		Region: ref(name).Region, Node: ref(name).Node, Incarnation: 1, Identity: identity, Listener: w.listeners[name], Peers: peers, Network: w.network,
		DeadAfter: 20 * time.Second, DialTimeout: 20 * time.Second, Metrics: n.metrics,
		Handlers: Handlers{
			OnUp:   func(peer Remote) { n.note("up " + short(peer.NodeRef)) },
			OnDown: func(peer Remote) { n.note("down " + short(peer.NodeRef)) },
			OnRelay: func(_ Remote, f replication.Frame) {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.frames = append(n.frames, f)
			},
			OnTell: func(peer chat.NodeRef, kind string, payload []byte) {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.tells = append(n.tells, fmt.Sprintf("%s %s %s", short(peer), kind, payload))
			},
		},
	}
	if os.Getenv("LINK_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
	}
	if change != nil {
		change(&o)
	}
	if n.Mesh, err = NewMesh(o); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(n.Close)
	return n
}

// eventually waits until f holds, far longer than that takes: the machine may be busy.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

func (n *node) waitUp(t testing.TB, peer string, up bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s: %s up=%v (%+v)", n.name, peer, up, n.Peers()[ref(peer)]), func() bool { return n.Peers()[ref(peer)].Up == up })
}

// pair starts two regions, connected.
func pair(t testing.TB, network Network, change func(*Options)) (a, b *node) {
	t.Helper()
	w := newWorld(t, network, "eu-west", "us-east")
	a, b = w.start("eu-west", change), w.start("us-east", change)
	a.waitUp(t, "us-east", true)
	b.waitUp(t, "eu-west", true)
	return a, b
}

// newSim gives a network with a small delay, which outlives the meshes of the test.
func newSim(t testing.TB, delay time.Duration) *simnet.Network {
	network := simnet.New(func(_, _ chat.Region) time.Duration { return delay })
	t.Cleanup(network.Close)
	return network
}

// TestMeshConnects: each of three regions sees the others up, with the right names and a round trip that the delay explains.
func TestMeshConnects(t *testing.T) {
	w := newWorld(t, newSim(t, 5*time.Millisecond), "ap-south", "eu-west", "us-east")
	var nodes []*node
	for r := range w.listeners {
		nodes = append(nodes, w.start(r, nil))
	}
	for _, n := range nodes {
		for peer := range n.peers {
			eventually(t, "a round trip", func() bool { return n.Peers()[peer].RTT > 0 })
			status := n.Peers()[peer]
			if !status.Up || status.RTT < 10*time.Millisecond || status.Incarnation != 1 || status.Protocol != ProtocolMax {
				t.Errorf("%s sees %s as %+v", n.name, peer, status)
			}
		}
	}
}

// TestRelayInOrder: ten thousand relay frames arrive each once, in order, with what was in them.
func TestRelayInOrder(t *testing.T) {
	a, b := pair(t, nil, nil)
	const frames = 10_000
	stream := chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 1}
	for i := uint64(1); i <= frames; i++ {
		op := benchOp(i)
		op.Stream = stream
		f := replication.Frame{Kind: replication.FrameBatch, Stream: stream, After: i - 1, UpTo: i, Watermark: op.Time, Ops: []chat.Op{op}}
		eventually(t, "room in the queue", func() bool { return a.SendRelay(ref("us-east"), f) })
	}
	eventually(t, "all frames", func() bool { return b.received() == frames })
	for i, f := range b.frames {
		seq := uint64(i + 1)
		if f.Stream != stream || f.After != seq-1 || f.UpTo != seq || len(f.Ops) != 1 || f.Ops[0].Seq != seq || f.Ops[0].Stream != stream {
			t.Fatalf("frame %d is %+v", i, f)
		}
	}
}

// TestCallCarriesErrors: an answer comes back, and of an error its code, message, retry-after and endpoints, but not its cause.
func TestCallCarriesErrors(t *testing.T) {
	a, _ := pair(t, nil, func(o *Options) {
		o.Handlers.OnRequest = func(_ context.Context, peer chat.NodeRef, method string, payload []byte) ([]byte, error) {
			switch method {
			case "echo":
				return append([]byte(peer.Region+":"), payload...), nil
			case "plain":
				return nil, fmt.Errorf("secret of the operator")
			default:
				return nil, &chat.Error{
					Code: chat.CodeWrongRegion, Message: "not here", RetryAfter: 1500 * time.Millisecond, Cause: fmt.Errorf("secret of the operator"),
					Endpoints: []chat.Endpoint{{Region: "ap-south", URL: "https://ap.example.org", RTTms: 12.5}},
				}
			}
		}
	})
	ctx := t.Context()
	if got, err := a.Call(ctx, "us-east", "echo", []byte("hello")); err != nil || string(got) != "eu-west:hello" {
		t.Fatalf("echo: %q, %v", got, err)
	}
	_, err := a.Call(ctx, "us-east", "refuse", nil)
	e := chat.AsError(err)
	if e.Code != chat.CodeWrongRegion || e.Message != "not here" || e.RetryAfter != 1500*time.Millisecond || len(e.Endpoints) != 1 || e.Endpoints[0].RTTms != 12.5 {
		t.Fatalf("refused with %+v", e)
	}
	_, plain := a.Call(ctx, "us-east", "plain", nil)
	if chat.CodeOf(plain) != chat.CodeInternal || strings.Contains(err.Error()+plain.Error(), "secret") {
		t.Fatalf("errors %v, %v: want no cause", err, plain)
	}
	if _, err := a.Call(ctx, "mars", "echo", nil); chat.CodeOf(err) != chat.CodeInvalid {
		t.Fatalf("call to a region that is none: %v", err)
	}
	if _, err := a.Call(ctx, "us-east", "echo", make([]byte, MaxPayloadBytes+1)); chat.CodeOf(err) != chat.CodeTooLarge {
		t.Fatalf("call with too much: %v", err)
	}
}
