// Package regionnode is one region's process: the listeners, and the parts behind them. The path of a message goes through
// edge (whose is this socket?), gateway (frames), messages (the loop around the replication core) and out over the backbone.
package regionnode

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/front"
	"meridian/region-node/auth"
	"meridian/region-node/cached"
	"meridian/region-node/compress"
	"meridian/region-node/drain"
	"meridian/region-node/edge"
	"meridian/region-node/gateway"
	"meridian/region-node/groups"
	"meridian/region-node/limits"
	"meridian/region-node/messages"
	"meridian/region-node/people"
	"meridian/region-node/presence"
	"meridian/region-node/rest"
	"meridian/region-node/roundtrip"
	"meridian/region-node/verify"
	"meridian/replication"
	"meridian/replication/link"
)

// Metrics counts by the names of observe's list.
type Metrics interface {
	messages.Metrics
	compress.Metrics
	Handler() http.Handler
}

// Options make a Node. What the node must not know how to make comes in as a value.
type Options struct {
	Config *config.Config
	Region chat.Region
	// Store seals bodies; the node closes it.
	Store chat.Store
	// StoreInfo says what Store is, for a backup.
	StoreInfo func(context.Context) (chat.StoreInfo, error)
	// Under gives Store anew with something put in where bodies are sealed already; nil: messages are not cached.
	Under func(put func(chat.Store) chat.Store) chat.Store
	// Shared is what the region's nodes share beside the store; the node closes it.
	Shared Shared
	// Keys signs for this region's zones and verifies for all; DirectoryKey hides usernames.
	Keys         *auth.Keyring
	DirectoryKey auth.DirectoryKey
	// AdminToken is what the admin listener's changing calls must bear.
	AdminToken string
	// HTTP, Admin and Backbone are open listeners; the node closes them.
	HTTP, Admin, Backbone net.Listener
	// Peers gives where the other nodes' backbones listen.
	Peers    map[chat.NodeRef]string
	Identity *link.Identity
	Network  link.Network
	// Route answers GET /v1/route; Web everything that is no API path.
	Route func(*Node) http.Handler
	Web   http.Handler
	// Endpoints gives the regions that may serve a person of zone at addr, best first, as this node sees the world.
	Endpoints func(n *Node, zone chat.Zone, addr netip.Addr) []chat.Endpoint
	// Elsewhere gives the regions that would serve a person of zone at addr if this one were drained, best first; none where there
	// is no other. Nil: there never is.
	Elsewhere func(n *Node, zone chat.Zone, addr netip.Addr) []chat.Endpoint
	// Unreachable is told of regions that clients say they cannot reach, and Reported counts the networks that did of late; may be nil.
	Unreachable func(region chat.Region, client netip.Addr)
	Reported    func() map[chat.Region]int
	// Front serves clients; nil: plain HTTP, and no proxy is believed.
	Front *front.Front
	// Probed gives what this node's own probes of the other regions said last, "ok" or what went wrong; may be nil.
	Probed func() map[chat.Region]string
	// Country gives the ISO 3166-1 alpha-2 code of an address, "" if unknown.
	Country func(netip.Addr) string
	// NetworkOf gives the country and the autonomous system of an address, "" and 0 where they are not known; may be nil.
	NetworkOf func(netip.Addr) (country string, asn uint32)
	// Simulate lets clients claim an address by "as": a local `up` only.
	Simulate bool
	Now      func() time.Time
	// Passed tells what time has really passed, whatever is done to Now's clock; default: the monotonic clock.
	Passed func() time.Duration
	// SetClock, if set, makes Now wrong by offset, when an admin call asks for it: in tests of the system only.
	SetClock func(offset time.Duration)
	Log      *slog.Logger
	// Limiter counts what addresses and people ask for.
	Limiter chat.Limiter
	Metrics Metrics
	Tracer  messages.Tracer
}

// Node is a running region.
type Node struct {
	opt      Options
	topology chat.Topology
	store    chat.Store
	messages *messages.Service
	gateway  *gateway.Gateway
	edge     *edge.Edge
	auth     *auth.Service
	people   *people.Service
	groups   *groups.Service
	cached   *cached.Layer
	presence *presence.Service
	backbone *backbone
	identity chat.Identity
	clock    *guardedClock
	over     chan struct{}
	overOnce sync.Once
	verify   *verify.Service
	drain    *drain.Service
	rest     http.Handler
	limits   *limits.Limits
	// roundTrips is what the clients' sockets have told of the way to them.
	roundTrips *roundtrip.Book
	probes     probes

	servers []*http.Server
	conns   *connSet
	ctx     context.Context // ends with the node
	stop    context.CancelFunc
	done    sync.WaitGroup
	started time.Time
}

// New builds a node from its store; Start lets it serve. On an error the caller still owns store and listeners.
func New(ctx context.Context, opt Options) (*Node, error) {
	identity, err := opt.Store.Identity(ctx)
	if err != nil {
		return nil, err
	}
	layer := cached.New(opt.Shared.Cache, opt.Metrics)
	opt.Store = layer.Writes(opt.Store)
	n := &Node{
		opt: opt, cached: layer, topology: opt.Config.Topology(), store: opt.Store, conns: newConnSet(), started: opt.Now(), over: make(chan struct{}),
		roundTrips: roundtrip.NewBook(opt.Config.Router.Learned.NetworksMax), identity: identity, backbone: &backbone{built: make(chan struct{})},
	}
	n.clock = newClock(opt, chat.NodeRef{Region: opt.Region, Node: identity.Node}, identity.HighWater)
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.messages, err = messages.New(ctx, messages.Options{
		Core: n.coreConfig(identity), Store: opt.Store, Link: n.backbone, Now: n.clock.Now, Clock: n.clock, Refusing: n.refusing, LifeOver: n.lifeOver, Log: opt.Log, Metrics: opt.Metrics, Tracer: opt.Tracer,
	})
	if err != nil {
		return nil, err
	}
	if n.identity, err = opt.Store.Identity(ctx); err != nil { // the life may be a new one
		return nil, err
	}
	n.backbone.hints = newHints(chat.NodeRef{Region: opt.Region, Node: n.identity.Node}, opt.Shared.Bus, opt.Peers, n.onTell)
	n.buildPeople()
	n.verify = verify.New(verify.Options{
		Self: opt.Region, Topology: n.topology, Store: opt.Store, Remote: n.backbone, Submitter: n.messages, Directory: n.auth,
		Now: n.clock.Now, Log: opt.Log,
	})
	n.buildEdge(n.identity)
	n.buildProbes()
	return n, n.buildDrain()
}

func (n *Node) coreConfig(identity chat.Identity) replication.Config {
	l, t := n.opt.Config.Limits, n.opt.Config.Timing
	return replication.Config{
		Self: n.opt.Region, Node: identity.Node, Topology: n.topology,
		MaxDrift: t.MaxDrift, Watermark: t.Watermark, Resend: t.Resend,
		WindowOps: l.RelayWindowOps, WindowBytes: l.RelayWindowBytes, TailOps: l.RelayTailOps,
		BatchOps: relayBatchOps, BatchBytes: relayBatchBytes, InFlight: l.InFlightOps,
		Guarded: true, Lease: n.lease(), AdoptWait: t.AdoptWait, ForwardAfter: t.ForwardAfter, Remember: n.opt.Config.Retention.Retries,
		OutboxBytes: l.OutboxBytes, OpLogKeep: n.opt.Config.Retention.OpLog,
	}
}

// lease is how long a node's lease runs; 0 in a region of one node, which has its store alone.
func (n *Node) lease() time.Duration {
	if r, _ := n.opt.Config.Region(n.opt.Region); len(r.NodeList()) > 1 {
		return n.opt.Config.Timing.NodeLease
	}
	return 0
}

// Region gives the region that the node is of.
func (n *Node) Region() chat.Region { return n.opt.Region }

// Over is closed when this life of the node has ended: close the node and make it anew.
func (n *Node) Over() <-chan struct{} { return n.over }

// Settled gives the time up to which nothing is under way in the region: what op logs have up to then is final.
func (n *Node) Settled() chat.HLC { return n.messages.Marks().Local }

// Done is closed when the node has been closed or killed.
func (n *Node) Done() <-chan struct{} { return n.ctx.Done() }

func (n *Node) lifeOver() { n.overOnce.Do(func() { close(n.over) }) }

const (
	// relayBatchOps and relayBatchBytes bound one relay frame; a frame of the link holds at most 4 MiB.
	relayBatchOps   = 256
	relayBatchBytes = 1 << 20
)

func (n *Node) buildPeople() {
	o := n.opt
	n.limits = limits.New(o.Limiter, o.Config.Limits, o.Metrics)
	n.auth = auth.New(auth.Options{
		Self: o.Region, Config: o.Config, Keys: o.Keys, DirectoryKey: o.DirectoryKey, Store: o.Store, Submitter: n.messages,
		Remote: n.backbone, Serving: n.messages.Serving, Country: o.Country, Now: n.clock.Now, Clock: n.clock.Confirmed, Metrics: o.Metrics, Limits: n.limits, Cached: n.cached,
		Endpoints: func(z chat.Zone) []chat.Endpoint { return o.Endpoints(n, z, netip.Addr{}) },
	})
	n.presence = presence.New(presence.Options{
		Self: chat.NodeRef{Region: o.Region, Node: n.identity.Node}, Topology: n.topology, Lease: o.Config.Timing.PresenceLease, Tell: n.backbone, Hub: n.messages.Hub(), Book: o.Shared.Presences, Now: n.clock.Now,
	})
	n.groups = groups.New(groups.Options{
		Self: o.Region, Limits: o.Config.Limits, Topology: n.topology, Store: o.Store, Submitter: n.messages, Directory: n.auth,
		Marks: n.messages.Marks, Now: n.clock.Now,
	})
	n.messages.Hub().OnStep(func(e messages.Entry) { n.groups.Heard(e.Row.Conversation, e.Row.Arrival) })
	n.people = people.New(people.Options{
		Config: o.Config, Topology: n.topology, Store: n.readStore(), Submitter: n.messages, Directory: n.auth, Groups: n.groups,
	})
}

// readStore is what people's requests are answered from.
func (n *Node) readStore() chat.Store {
	if n.cached == nil || n.opt.Under == nil {
		return n.opt.Store
	}
	return n.opt.Under(func(s chat.Store) chat.Store { return n.cached.Reads(s, logs{n.messages}) })
}

func (n *Node) buildEdge(identity chat.Identity) {
	o := n.opt
	n.gateway = gateway.New(gateway.Options{
		Topology: n.topology, Identity: identity, Limits: o.Config.Limits, Timing: o.Config.Timing, Retention: o.Config.Retention,
		Store: o.Store, Messages: n.messages, People: n.people, Groups: n.groups, Presence: n.presence, Directory: n.auth, Sessions: n.auth, Limiter: n.limits,
		Endpoints: func(c auth.Claims, addr netip.Addr) []chat.Endpoint { return o.Endpoints(n, c.Zone, addr) },
		Now:       n.clock.Now, Log: o.Log, Metrics: o.Metrics, Tracer: o.Tracer,
	})
	n.rest = rest.New(rest.Options{
		Config: o.Config, Auth: n.auth, Limits: n.limits, People: n.people, Groups: n.groups, Presence: n.presence, Address: n.address, Origin: n.originAllowed, Log: o.Log, Metrics: o.Metrics, Now: n.clock.Now,
	})
	n.edge = edge.New(edge.Options{
		Self: o.Region, Topology: n.topology, Limits: o.Config.Limits, Limiter: n.limits, Timing: o.Config.Timing, Verifier: n.auth.Verifier(),
		Services: n.services(n.identity.Node), Gateway: n.gateway, REST: n.rest, Backbone: n.backbone,
		ZoneOf: func(ctx context.Context, username string) (chat.Zone, error) {
			owner, err := n.auth.Resolve(ctx, username)
			return owner.Zone, err
		},
		HomeZone: func(addr netip.Addr) chat.Zone {
			zone, _, _ := n.auth.HomeZone("", addr) // no zone was asked for, so none can be refused
			return zone
		},
		Endpoints: func(z chat.Zone, addr netip.Addr) []chat.Endpoint { return o.Endpoints(n, z, addr) },
		Serving:   n.messages.Serving, Taking: n.messages.Refusal,
		Leave:    func(z chat.Zone, addr netip.Addr) []chat.Endpoint { return n.drain.Leave(z, addr) },
		Draining: func(r chat.Region) bool { return n.drain.Order(r).On }, Unreachable: n.unreachable,
		Probe: n.probeHere, Address: n.address, Origin: n.originOK, Simulate: o.Simulate, Log: o.Log, Metrics: o.Metrics,
	})
}

// Start serves until Close or Kill. On an error nothing runs, and the caller owns store and listeners.
func (n *Node) Start() error {
	if err := n.joinBackbone(); err != nil {
		return err
	}
	n.messages.Run()
	n.opt.Front.AskOthers(n.askChallenge)
	n.serve(n.opt.HTTP, n.publicHandler(), n.opt.Front.Serve)
	n.serve(n.opt.Admin, n.adminHandler(), (*http.Server).Serve)
	for _, run := range []func(context.Context){n.presence.Run, n.gateway.Run, n.edge.Run, n.drain.Run, n.backbone.hints.run, n.watchStore, n.sample} {
		n.done.Go(func() {
			run(n.ctx)
		})
	}
	return nil
}

func (n *Node) serve(l net.Listener, h http.Handler, how func(*http.Server, net.Listener) error) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(n.opt.Log.Handler(), slog.LevelDebug),
	}
	n.servers = append(n.servers, srv)
	n.done.Go(func() {
		if err := how(srv, n.conns.wrap(l)); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.opt.Log.Debug("listener ended", "err", err)
		}
	})
}

const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	// shutdownWait bounds a clean end.
	shutdownWait = 5 * time.Second
	// sweepEvery is how often what has outlived its retention is dropped.
	sweepEvery = time.Hour
)

// Close ends the node cleanly: clients are told to come back elsewhere, what is under way is finished.
func (n *Node) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownWait)
	defer cancel()
	n.edge.End(ctx)
	n.gateway.Close(1012, "restart")
	for _, s := range n.servers {
		_ = s.Shutdown(ctx) // past its time the connections are closed below
	}
	n.backbone.mesh.Settle(ctx)
	n.messages.Leave()
	n.presence.SignOff()
	n.backbone.mesh.Settle(ctx) // what came since was refused
	n.halt()
	n.backbone.mesh.Close()
	n.messages.Close()
	n.done.Wait()
	n.opt.Shared.close()
	return n.store.Close()
}

// Kill ends the node as a power cut would: listeners and sockets go without a word, and what was only in memory is forgotten.
func (n *Node) Kill() {
	n.store.Abandon()
	n.backbone.mesh.Kill()
	n.halt()
	n.messages.Close()
	n.done.Wait()
	n.opt.Shared.close()
}

func (n *Node) halt() {
	for _, s := range n.servers {
		_ = s.Close()
	}
	n.conns.closeAll()
	n.stop()
	n.probes.close()
}

// watchStore sweeps what has outlived its retention.
func (n *Node) watchStore(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			dropped, err := n.store.Sweep(ctx, chat.HLCFromTime(n.clock.Now()))
			if err != nil {
				n.opt.Log.Error("sweep failed", "err", err)
				continue
			}
			n.opt.Log.Info("swept", "buckets", dropped)
		}
	}
}
