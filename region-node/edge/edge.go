// Package edge is the front of every region node: it verifies the token, asks residency whether this region may handle the
// person, and then serves them here, hands them over the backbone to a region of their home zone, or names the right place.
// A region that is outside the home zone stores nothing of what it passes on.
package edge

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/auth"
	"meridian/region-node/gateway"
	"meridian/region-node/messages"
	"meridian/residency"
)

// Stream is one socket's way over the backbone: ordered messages, with a credit window of its own.
type Stream interface {
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, message []byte) error
	CloseWithCode(code uint16, reason string)
}

// Backbone reaches the other regions.
type Backbone interface {
	Call(ctx context.Context, peer chat.Region, method string, payload []byte) ([]byte, error)
	OpenStream(ctx context.Context, peer chat.Region, kind string, header []byte) (Stream, error)
	// Reachable says whether the link to peer is up, and its round trip.
	Reachable(peer chat.Region) (rtt time.Duration, up bool)
}

// The names under which edges speak to home regions.
const (
	StreamClient = "client"
	MethodHTTP   = "http"
)

// Options make an Edge.
type Options struct {
	Self     chat.Region
	Topology chat.Topology
	Limits   config.Limits
	Timing   config.Timing
	Verifier *auth.Verifier
	Gateway  *gateway.Gateway
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
	opt     Options
	sockets *addressCounter
}

// New makes an Edge.
func New(opt Options) *Edge {
	return &Edge{opt: opt, sockets: newAddressCounter(opt.Limits.SocketsPerAddress)}
}

// place is where a person of some zone is to be served.
type place struct {
	here bool
	// regions of the home zone, nearest first, when not here.
	regions []chat.Region
}

// place decides; the error has CodeWrongRegion, with endpoints, when this region may not handle the zone's people.
func (e *Edge) place(zone chat.Zone, addr netip.Addr) (place, error) {
	if e.opt.Topology.InZone(e.opt.Self, zone) {
		return e.placeHome(zone)
	}
	decision := residency.Handle(e.opt.Topology, zone, e.opt.Self)
	if err := decision.Err("edge.place"); err != nil {
		wrong := chat.AsError(err)
		wrong.Endpoints = e.opt.Endpoints(zone, addr)
		return place{}, wrong
	}
	spec, _ := e.opt.Topology.Zone(zone)
	return place{regions: e.nearest(spec.Regions)}, nil
}

// placeHome decides for people whose home is here: while this region does not serve, another one of the zone does.
func (e *Edge) placeHome(zone chat.Zone) (place, error) {
	why := e.opt.Serving()
	if why == nil {
		return place{here: true}, nil
	}
	spec, _ := e.opt.Topology.Zone(zone)
	if others := e.nearest(spec.Regions); len(others) > 0 {
		return place{regions: others}, nil
	}
	return place{}, why
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
	return up
}

// unreachable is what a person hears whose home zone cannot be reached from here. The data stays where it belongs.
func unreachable(zone chat.Zone) error {
	return &chat.Error{
		Code: chat.CodeZoneUnreachable, Op: "edge", RetryAfter: time.Second,
		Message: "no region of home zone " + string(zone) + " can be reached from here",
	}
}
