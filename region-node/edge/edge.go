// Package edge is the front of every region node: it verifies the token, asks residency whether this region may handle the
// person, and then serves them here, hands them over the backbone to a region of their home zone, or names the right place.
// A region that is outside the home zone stores nothing of what it passes on.
package edge

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/auth"
	"meridian/region-node/gateway"
	"meridian/region-node/limits"
	"meridian/region-node/messages"
	"meridian/residency"
)

// Stream is one socket's way over the backbone: ordered messages, with a credit window of its own.
type Stream interface {
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, messages ...[]byte) error
	CloseWithCode(code uint16, reason string)
	// Done is closed when the stream has ended.
	Done() <-chan struct{}
}

// Backbone reaches the other regions, and the other nodes of this one.
type Backbone interface {
	// Tell sends a hint to every node of a region; of the own region to the others.
	Tell(region chat.Region, kind string, payload []byte)
	Call(ctx context.Context, peer chat.Region, method string, payload []byte) ([]byte, error)
	OpenStream(ctx context.Context, peer chat.Region, kind string, header []byte) (Stream, error)
	CallNode(ctx context.Context, peer chat.NodeRef, method string, payload []byte) ([]byte, error)
	OpenStreamNode(ctx context.Context, peer chat.NodeRef, kind string, header []byte) (Stream, error)
	// Reachable says whether the link to peer is up, and its round trip.
	Reachable(peer chat.Region) (rtt time.Duration, up bool)
}

// The names under which edges speak to home regions, and nodes to those of their region that run what they do not. What comes
// under the latter is served where it arrives or refused, never passed on: no request goes round.
const (
	StreamClient  = "client"
	MethodHTTP    = "http"
	StreamSocket  = "socket"
	StreamRequest = "request"
)

// Options make an Edge.
type Options struct {
	Self     chat.Region
	Topology chat.Topology
	Limits   config.Limits
	// Limiter bounds what an address asks for.
	Limiter  *limits.Limits
	Timing   config.Timing
	Verifier *auth.Verifier
	Gateway  *gateway.Gateway
	// Services are what this node runs.
	Services []chat.Service
	// REST serves the requests of people whose home is here.
	REST     http.Handler
	Backbone Backbone
	// ZoneOf gives the home zone of a username, for a log-in.
	ZoneOf func(ctx context.Context, username string) (chat.Zone, error)
	// HomeZone gives the zone that a sign-up from addr gets by rule.
	HomeZone func(addr netip.Addr) chat.Zone
	// Endpoints gives the regions that may serve a person of zone at addr, best first.
	Endpoints func(zone chat.Zone, addr netip.Addr) []chat.Endpoint
	// Serving says why this region serves nobody now though it would be their home; nil: it does.
	Serving func() *chat.Error
	// Taking says why this node should be given nothing by its region's other nodes; nil: it may. It is stricter than Serving.
	Taking func() *chat.Error
	// Leave gives where a person who opens a socket here should go instead, best first, because the region drains; none: serve them.
	Leave func(zone chat.Zone, addr netip.Addr) []chat.Endpoint
	// Draining says that a region is being drained: it is asked last to serve somebody's home.
	Draining func(chat.Region) bool
	// Unreachable is told of a region that a client at an address says it cannot reach.
	Unreachable func(region chat.Region, addr netip.Addr)
	// Probe says why a service that this node runs does not work, nil when it does.
	Probe func(ctx context.Context, service chat.Service) error
	// Address gives the client's address, by the trusted proxies.
	Address func(*http.Request) netip.Addr
	// Origin says whether a browser's page may open a socket.
	Origin func(*http.Request) bool
	// Simulate lets clients claim an address by "as": a local `up` only.
	Simulate bool
	Log      *slog.Logger
	Metrics  messages.Metrics
}

// Edge serves /v1/ws and the REST calls.
type Edge struct {
	opt      Options
	sockets  *addressCounter
	siblings siblings
	loads    loads
	ending   atomic.Bool
	// telling keeps words in order: none that was true before comes after the one that says the node ends.
	telling sync.Mutex
	passing tunnels
	// tunnels is ended with the node: sockets that end here and are served elsewhere.
	tunnels    context.Context
	endTunnels context.CancelFunc
}

// New makes an Edge.
func New(opt Options) *Edge {
	e := &Edge{opt: opt, sockets: newAddressCounter(opt.Limits.SocketsPerAddress), siblings: siblings{known: make(map[chat.NodeID]*sibling)}}
	e.tunnels, e.endTunnels = context.WithCancel(context.Background())
	return e
}

// Run tells the other nodes of the region what this one runs, until ctx ends.
func (e *Edge) Run(ctx context.Context) {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for {
		e.Tell()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// endWithin bounds how long an ending node waits until the others have heard.
const endWithin = 500 * time.Millisecond

// End makes the node take nothing new, and sends those elsewhere whose sockets end here and are served by others. It returns when the
// other nodes of the region know: they hand nothing over any more.
func (e *Edge) End(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	e.telling.Lock()
	e.ending.Store(true)
	word, err := json.Marshal(e.Word())
	var told sync.WaitGroup
	for node := range e.Heard() {
		told.Go(func() {
			if err == nil { // a word always encodes
				_, err := e.opt.Backbone.CallNode(ctx, chat.NodeRef{Region: e.opt.Self, Node: node}, TellServices, word)
				e.opt.Log.Debug("told that this node ends", "node", node, "err", err)
			}
		})
	}
	e.telling.Unlock()
	told.Wait()
	e.endTunnels()
}

// place is where a person of some zone is to be served.
type place struct {
	here bool
	// targets are asked in turn when not here: nodes of this region, the least loaded first, then regions, the nearest first.
	targets []target
	// why is what a person hears when no target takes it.
	why error
}

// place decides who serves a person of zone; the error has CodeWrongRegion, with endpoints, when this region may not handle the
// zone's people.
func (e *Edge) place(zone chat.Zone, addr netip.Addr, service chat.Service) (place, error) {
	if e.opt.Topology.InZone(e.opt.Self, zone) {
		return e.placeHome(zone, service), nil
	}
	decision := residency.Handle(e.opt.Topology, zone, e.opt.Self)
	if err := decision.Err("edge.place"); err != nil {
		wrong := chat.AsError(err)
		wrong.Endpoints = e.opt.Endpoints(zone, addr)
		return place{}, wrong
	}
	return place{targets: e.regionsOf(zone), why: unreachable(zone)}, nil
}

// placeHome decides for people whose home is here: what this node does not serve now another one of the region does, and where
// there is none, another region of the zone.
func (e *Edge) placeHome(zone chat.Zone, service chat.Service) place {
	why := e.refusal(service)
	if why == nil && (service != chat.ServiceChat || e.opt.Taking() == nil) {
		return place{here: true}
	}
	targets := e.nodesRunning(service)
	if why == nil {
		return place{here: len(targets) == 0, targets: targets, why: unreachable(zone)} // the gateway here says what is wrong
	}
	return place{targets: append(targets, e.regionsOf(zone)...), why: why}
}

// nodesRunning gives the other nodes of this region that run a service.
func (e *Edge) nodesRunning(service chat.Service) []target {
	var out []target
	for _, node := range e.siblings.running(service) {
		out = append(out, target{region: e.opt.Self, node: node})
	}
	return out
}

// regionsOf gives the other regions of a zone that can be reached, the nearest first, those that drain behind the others.
func (e *Edge) regionsOf(zone chat.Zone) []target {
	spec, _ := e.opt.Topology.Zone(zone)
	var out []target
	for _, r := range e.nearest(spec.Regions) {
		if r != e.opt.Self {
			out = append(out, target{region: r})
		}
	}
	return out
}

// nearest gives the reachable ones of regions, by round trip.
func (e *Edge) nearest(regions []chat.Region) []chat.Region {
	rtt := make(map[chat.Region]time.Duration, len(regions))
	var up []chat.Region
	for _, r := range regions {
		if d, ok := e.opt.Backbone.Reachable(r); ok {
			rtt[r] = d
			up = append(up, r)
		}
	}
	slices.SortStableFunc(up, func(a, b chat.Region) int { return int(rtt[a] - rtt[b]) })
	serving := slices.DeleteFunc(slices.Clone(up), e.opt.Draining)
	return append(serving, slices.DeleteFunc(up, func(r chat.Region) bool { return !e.opt.Draining(r) })...)
}

// unreachable is what a person hears whose home zone cannot be reached from here. The data stays where it belongs.
func unreachable(zone chat.Zone) error {
	return &chat.Error{
		Code: chat.CodeZoneUnreachable, Op: "edge", RetryAfter: time.Second,
		Message: "no region of home zone " + string(zone) + " can be reached from here",
	}
}
