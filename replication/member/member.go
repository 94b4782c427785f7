// Package member tells which nodes of a region are there, by memberlist: one pool per region, for nodes that are near each
// other. All it says is a hint. Nobody loses data, a lease or a right because of it: every holder of the pool's key can
// speak for every member.
package member

import (
	"cmp"
	"context"
	"encoding/binary"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"meridian/chat"
)

// KeyBytes is the length of a pool's secret.
const KeyBytes = 32

const (
	// rejoinEvery: memberlist forgets dead members and never looks for them again, so that a partition longer than its
	// failure timeout would split the pool for good.
	rejoinEvery = 15 * time.Second
	// reclaimAfter is when a dead member's name may come back at another address.
	reclaimAfter = 5 * time.Second
	// tcpTimeout bounds one exchange with a member over TCP.
	tcpTimeout = 2 * time.Second
	// eventsMax bounds the changes that wait for the handlers; a change is one of few nodes', so they never pile up that far.
	eventsMax = 1024
)

// Options make a Pool. All fields but Load and the handlers are required.
type Options struct {
	// Deployment and Region name the pool: others' packets are dropped.
	Deployment string
	Region     chat.Region
	Node       chat.NodeID
	// Listen is this node's address, host:port, for UDP and TCP. Peers are those of the region's other nodes.
	Listen string
	Peers  map[chat.NodeID]string
	// Key encrypts and authenticates what the pool says.
	Key [KeyBytes]byte
	// Load is told to the others: the node's open sockets.
	Load func() int
	// OnAlive and OnDead are called one after the other, from one goroutine, when another node appears or goes.
	OnAlive, OnDead func(chat.NodeID)
	Log             *slog.Logger

	// rejoin and tune let a test go faster and be cut off; nil and 0 in earnest.
	rejoin time.Duration
	tune   func(*memberlist.Config)
}

// Member is what the pool knows of a node.
type Member struct {
	Node    chat.NodeID `json:"node"`
	Address string      `json:"address"`
	Sockets int         `json:"sockets"`
}

// Pool is this node's membership. Its methods are safe for concurrent use.
type Pool struct {
	o      Options
	list   *memberlist.Memberlist
	events chan event
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu sync.Mutex
	// known is who is there, as memberlist told of each change: what its own list gives out it goes on writing to.
	known map[chat.NodeID]Member
}

type event struct {
	node  chat.NodeID
	alive bool
}

// Join opens the pool and looks for the others, again and again. The error has CodeInvalid: an address that cannot be used.
func Join(o Options) (*Pool, error) {
	p := &Pool{o: o, events: make(chan event, eventsMax), known: make(map[chat.NodeID]Member)}
	if p.o.rejoin == 0 {
		p.o.rejoin = rejoinEvery
	}
	cfg, err := p.config()
	if err == nil {
		p.list, err = memberlist.Create(cfg)
	}
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "member.Join", Message: "gossip at " + o.Listen + " is not possible", Cause: err}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.done.Go(func() { p.rejoin(ctx) })
	p.done.Go(func() { p.tell(ctx) })
	return p, nil
}

func (p *Pool) config() (*memberlist.Config, error) {
	host, portText, err := net.SplitHostPort(p.o.Listen)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	keyring, err := memberlist.NewKeyring(nil, p.o.Key[:])
	if err != nil {
		return nil, err
	}
	cfg := memberlist.DefaultLANConfig()
	cfg.Name = string(p.o.Node)
	cfg.Label = p.o.Deployment + "/" + string(p.o.Region)
	cfg.BindAddr, cfg.BindPort, cfg.AdvertisePort = host, port, port
	cfg.Keyring = keyring
	cfg.DeadNodeReclaimTime = reclaimAfter
	cfg.TCPTimeout = tcpTimeout
	cfg.Delegate, cfg.Events = delegate{p}, delegate{p}
	cfg.Logger = slog.NewLogLogger(p.o.Log.Handler(), slog.LevelDebug)
	if p.o.tune != nil {
		p.o.tune(cfg)
	}
	return cfg, nil
}

// rejoin joins who is missing, and tells the load, until ctx ends.
func (p *Pool) rejoin(ctx context.Context) {
	ticker := time.NewTicker(p.o.rejoin)
	defer ticker.Stop()
	for {
		for _, node := range slices.Sorted(maps.Keys(p.o.Peers)) {
			if p.has(node) || ctx.Err() != nil {
				continue
			}
			if _, err := p.list.Join([]string{p.o.Peers[node]}); err != nil {
				p.o.Log.Debug("a node of the region does not answer", "node", node, "error", err)
			}
		}
		if err := p.list.UpdateNode(tcpTimeout); err != nil {
			p.o.Log.Debug("the load was not told to all", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// tell calls the handlers outside of memberlist's locks.
func (p *Pool) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-p.events:
			handler := p.o.OnDead
			if e.alive {
				handler = p.o.OnAlive
			}
			p.o.Log.Info("a node of the region changed", "node", e.node, "alive", e.alive)
			if handler != nil {
				handler(e.node)
			}
		}
	}
}

// Members gives the nodes that seem to be there, this one included, by name.
func (p *Pool) Members() []Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.known), func(a, b Member) int { return cmp.Compare(a.Node, b.Node) })
}

func (p *Pool) has(node chat.NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.known[node]
	return ok
}

// Close says good-bye to the others and ends the pool.
func (p *Pool) Close() error {
	p.stop()
	p.done.Wait()
	if err := p.list.Leave(time.Second); err != nil {
		p.o.Log.Debug("nobody heard the good-bye", "error", err)
	}
	return p.list.Shutdown()
}

// delegate is what memberlist calls, under its own locks.
type delegate struct{ p *Pool }

// NodeMeta gives the load.
func (d delegate) NodeMeta(int) []byte {
	if d.p.o.Load == nil {
		return nil
	}
	return binary.AppendUvarint(nil, uint64(max(d.p.o.Load(), 0)))
}

// NotifyMsg, GetBroadcasts, LocalState and MergeRemoteState carry nothing: the pool says who is there, and no more.
func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil } // see NotifyMsg
func (delegate) LocalState(bool) []byte          { return nil } // see NotifyMsg
func (delegate) MergeRemoteState([]byte, bool)   {}             // see NotifyMsg
func (d delegate) NotifyJoin(n *memberlist.Node) { // a node is there
	d.NotifyUpdate(n)
	d.note(n, true)
}

func (d delegate) NotifyLeave(n *memberlist.Node) { // a node has gone, or seems to have
	d.p.mu.Lock()
	delete(d.p.known, chat.NodeID(n.Name))
	d.p.mu.Unlock()
	d.note(n, false)
}

// NotifyUpdate tells that a node's load changed.
func (d delegate) NotifyUpdate(n *memberlist.Node) {
	sockets, _ := binary.Uvarint(n.Meta) // no meta is no sockets
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.p.known[chat.NodeID(n.Name)] = Member{Node: chat.NodeID(n.Name), Address: n.Address(), Sockets: int(sockets)}
}

func (d delegate) note(n *memberlist.Node, alive bool) {
	if n.Name == string(d.p.o.Node) {
		return
	}
	select {
	case d.p.events <- event{chat.NodeID(n.Name), alive}:
	default:
		d.p.o.Log.Warn("a change of the region's nodes was not told", "node", n.Name, "alive", alive)
	}
}
