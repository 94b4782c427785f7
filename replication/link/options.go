package link

import (
	"context"
	"log/slog"
	"net"
	"time"

	"meridian/chat"
	"meridian/replication"
	"meridian/replication/drift"
)

// Options say what a Mesh is made of. Fields without a default are required.
type Options struct {
	Region      chat.Region
	Node        chat.NodeID
	Incarnation chat.Incarnation
	// Identity proves Region, and checks the others.
	Identity *Identity
	// Listener takes connections of other nodes; the mesh closes it. Required when a peer sorts before this node: of two
	// nodes the smaller (chat.NodeRef.Compare) dials.
	Listener net.Listener
	// Peers are all other nodes, those of this region too, and where they listen, host:port.
	Peers    map[chat.NodeRef]string
	Handlers Handlers
	Network  Network // default: TCP
	Limits   Limits
	// DeadAfter: a connection that brings nothing for so long is given up; pings go three times as often. Default 3 s.
	DeadAfter time.Duration
	// DialTimeout bounds a connection attempt up to the hello. Default 5 s.
	DialTimeout time.Duration
	Log         *slog.Logger // default: none
	Metrics     Metrics      // default: none
	// Now is the clock for PeerStatus.Since and round trips; default time.Now. Timers are real.
	Now func() time.Time
	// Clock, if set, is what peers are told when they ask: what this node's clock shows, and what the node thinks of it.
	Clock func() (time.Time, drift.Standing)

	// protocolMax is the newest version to speak; a test plays an older build with it.
	protocolMax int
}

// Limits bound what a mesh keeps, per connection. 0 takes the default.
type Limits struct {
	// RelayQueueBytes bounds relay frames that wait to be written. Default 8 MiB.
	RelayQueueBytes int
	// ControlQueueBytes bounds what else waits: tells, requests, stream messages. Default 8 MiB; answers and pongs may
	// use up to four times as much, beyond it the connection ends.
	ControlQueueBytes int
	// Streams bounds the open streams that one side has opened. Default 16384.
	Streams int
	// Calls bounds the requests under way in one direction. Default 1024.
	Calls int
}

// Handlers are what the mesh calls. A nil one ignores its event; requests and streams are then refused with CodeNotFound.
//
// For one peer OnUp, OnRelay, OnTell, OnClock and OnDown are called one after the other: OnUp first, OnDown last. While one
// runs nothing is read from that peer, which holds up its requests and streams too, so they should only hand on.
// OnRequest and OnStream run in goroutines of their own. None may call Mesh.Close.
type Handlers struct {
	OnUp    func(peer Remote)
	OnDown  func(peer Remote)
	OnRelay func(peer Remote, f replication.Frame)
	OnTell  func(peer chat.NodeRef, kind string, payload []byte)
	// OnClock tells what peer's clock showed, some time within the round trip that ends now, and what peer thinks of it.
	OnClock func(peer chat.NodeRef, roundTrip time.Duration, clock time.Time, standing drift.Standing)
	// OnRequest answers a Call of peer. Of its error the code, message, retry-after and endpoints cross the wire. ctx ends
	// with the caller's deadline, when the caller gives up and when the connection ends.
	OnRequest func(ctx context.Context, peer chat.NodeRef, method string, payload []byte) ([]byte, error)
	// OnStream serves a stream that peer opened. When it returns, a stream that is still open is closed with code 1000.
	OnStream func(peer chat.NodeRef, s Stream, kind string, header []byte)
}

// Remote is the other side of one connection. The certificate proved its region; which of the region's nodes it is it says
// itself, and every node of a region may speak for the region.
type Remote struct {
	chat.NodeRef
	Incarnation chat.Incarnation
	// Protocol is the version that both agreed on; proto/backbone.proto tells what each step brought.
	Protocol int
}

// Metrics counts what happens, by name and label values.
type Metrics interface {
	Count(name string, labelValues ...string)
}

// The names given to Metrics.Count.
const (
	// MetricConnected counts connections that came up. Label peer, as region/node.
	MetricConnected = "link_connected_total"
	// MetricClosed counts connections that ended after they were up. Labels peer, reason (an End).
	MetricClosed = "link_closed_total"
	// MetricRefused counts peers that were not who they should be, on either side. Label reason: authority, expired, name,
	// deployment, region, hello or version.
	MetricRefused = "link_refused_total"
	// MetricDropped counts what was not sent because a queue was full or the link down. Labels peer, what (relay or tell).
	MetricDropped = "link_dropped_total"
)

// writeStall: a connection whose other side reads nothing for so long is given up, though it is heard from.
const writeStall = 30 * time.Second

type noMetrics struct{}

func (noMetrics) Count(string, ...string) {}

func (o *Options) setDefaults() {
	setDefault(&o.DeadAfter, 3*time.Second)
	setDefault(&o.DialTimeout, 5*time.Second)
	setDefault(&o.protocolMax, ProtocolMax)
	setDefault(&o.Limits.RelayQueueBytes, 8<<20)
	setDefault(&o.Limits.ControlQueueBytes, 8<<20)
	setDefault(&o.Limits.Streams, 16384)
	setDefault(&o.Limits.Calls, 1024)
	if o.Network == nil {
		o.Network = TCP{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = noMetrics{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) self() chat.NodeRef { return chat.NodeRef{Region: o.Region, Node: o.Node} }

// check refuses what cannot work. The error has CodeInvalid.
func (o *Options) check() error {
	wrong := ""
	switch {
	case o.Identity == nil:
		wrong = "no identity"
	case o.Identity.Region != o.Region:
		wrong = "the identity is of region " + string(o.Identity.Region) + ", not " + string(o.Region)
	case o.Node == "":
		wrong = "no node name"
	}
	for peer := range o.Peers {
		if peer == o.self() {
			wrong = "a node is no peer of itself"
		}
		if peer.Compare(o.self()) < 0 && o.Listener == nil {
			wrong = "no listener, but " + peer.String() + " would dial"
		}
	}
	if wrong == "" {
		return nil
	}
	return &chat.Error{Code: chat.CodeInvalid, Op: "link.NewMesh", Message: wrong}
}
