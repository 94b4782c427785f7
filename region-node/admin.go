package regionnode

import (
	"context"
	"crypto/subtle"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/front"
	"meridian/region-node/drain"
	"meridian/region-node/edge"
	"meridian/region-node/messages"
	"meridian/region-node/wire"
	"meridian/replication/link"
)

// Status is what an operator sees of a region, on the admin listener.
type Status struct {
	Region   chat.Region `json:"region"`
	Node     chat.NodeID `json:"node"`
	Ready    bool        `json:"ready"`
	NotReady string      `json:"not_ready,omitempty"`
	// CatchingUp: the node has started and does not have yet what other regions originated meanwhile; it serves nobody.
	CatchingUp bool   `json:"catching_up,omitempty"`
	UpFor      string `json:"up_for"`
	Sockets    int    `json:"sockets"`
	Online     int    `json:"online"`
	// Peers are the other regions; Nodes are the other nodes, those of this region too, as region/node.
	Peers map[chat.Region]Peer `json:"peers"`
	Nodes map[string]Peer      `json:"nodes"`
	// Services are the nodes of this region that are there, with what they run and how busy they are.
	Services map[chat.NodeID]edge.Word `json:"services"`
	Streams  messages.Status           `json:"streams"`
	Zones    map[chat.Zone]ZoneRPO     `json:"zones"`
	Clock    ClockStatus               `json:"clock"`
	// Redis is how the node finds its region's; missing where there is none. Without it the node goes on, slower.
	Redis *SharedStatus `json:"redis,omitempty"`
	// Certificates are those that this node serves clients; missing where it speaks plain HTTP.
	Certificates []front.Certificate `json:"certificates,omitempty"`
	// Drain says how far this node's drain is; missing while the region does not drain.
	Drain *drain.Progress `json:"drain,omitempty"`
	// Forced are the regions that are forced up or down, as this node has heard from enough of them.
	Forced map[chat.Region]chat.Force `json:"forced,omitempty"`
	// DeadLetters counts the newest ops that could not be applied, at most 100.
	DeadLetters int `json:"dead_letters"`
}

// Peer is the link to another region or node.
type Peer struct {
	Up        bool    `json:"up"`
	RTTms     float64 `json:"rtt_ms"`
	Protocol  int     `json:"protocol,omitempty"`
	LastError string  `json:"last_error,omitempty"`
}

// ZoneRPO says what losing this region would cost a zone that it serves.
type ZoneRPO struct {
	MaxLevel chat.AckLevel `json:"max_level"`
	RPO      string        `json:"rpo"`
}

// Peers gives the links to the other regions.
func (n *Node) Peers() map[chat.Region]Peer {
	out := make(map[chat.Region]Peer)
	for r, p := range n.backbone.regions() {
		if r != n.opt.Region {
			out[r] = peerOf(p)
		}
	}
	return out
}

// Sockets gives how many sockets of clients are open here.
func (n *Node) Sockets() int { return n.gateway.Count() }

// Nodes gives the links to the other nodes, as region/node.
func (n *Node) Nodes() map[string]Peer {
	out := make(map[string]Peer)
	for ref, p := range n.backbone.mesh.Peers() {
		out[ref.String()] = peerOf(p)
	}
	return out
}

func peerOf(p link.PeerStatus) Peer {
	return Peer{Up: p.Up, RTTms: float64(p.RTT.Microseconds()) / 1000, Protocol: p.Protocol, LastError: p.LastError}
}

// Ready says whether this region can serve people: its store answers, and takes writes.
func (n *Node) Ready(ctx context.Context) error {
	if _, err := n.store.Identity(ctx); err != nil {
		return err
	}
	return n.messages.Ready()
}

// Status gathers what an operator sees.
func (n *Node) Status(ctx context.Context) Status {
	s := Status{
		Region: n.opt.Region, Node: n.identity.Node, UpFor: n.clock.Now().Sub(n.started).Round(time.Second).String(), Sockets: n.gateway.Count(),
		Peers: n.Peers(), Nodes: n.Nodes(), Services: n.Services(), Streams: n.messages.Status(), Zones: make(map[chat.Zone]ZoneRPO), Clock: n.clockStatus(), Drain: n.drain.Progress(),
		Certificates: n.opt.Front.Certificates(),
	}
	if err := n.Ready(ctx); err != nil {
		s.NotReady = err.Error()
	} else {
		s.Ready = true
	}
	s.CatchingUp = n.messages.CatchingUp() != nil
	s.Online = n.presence.Here()
	for name, zone := range n.topology.Zones {
		if zone.Has(n.opt.Region) {
			s.Zones[name] = rpo(zone)
		}
	}
	if n.opt.Shared.Status != nil {
		shared := n.opt.Shared.Status()
		s.Redis = &shared
	}
	for _, r := range n.topology.Regions {
		if word, _, ok := n.drain.Forced(r); ok {
			if s.Forced == nil {
				s.Forced = make(map[chat.Region]chat.Force)
			}
			s.Forced[r] = word
		}
	}
	if dead, err := n.store.DeadLetters(ctx, 100); err == nil {
		s.DeadLetters = len(dead)
	}
	return s
}

func rpo(zone chat.ZoneSpec) ZoneRPO {
	switch {
	case len(zone.Regions) == 1:
		return ZoneRPO{MaxLevel: zone.MaxLevel(), RPO: "the last backup: the zone has one region"}
	case zone.Ack == chat.AckZone:
		return ZoneRPO{MaxLevel: zone.MaxLevel(), RPO: "0: an ack means durable in two regions"}
	}
	return ZoneRPO{MaxLevel: zone.MaxLevel(), RPO: "relay lag; 0 while the sender's client lives, which sends again what is not zone-acknowledged"}
}

// peersAnswer is what the router asks of every region: how it sees the others, and what its operator has ordered.
type peersAnswer struct {
	Region     chat.Region              `json:"region"`
	Peers      map[chat.Region]peerView `json:"peers"`
	Draining   bool                     `json:"draining,omitempty"`
	DrainFrom  time.Time                `json:"drain_from,omitzero"`
	DrainUntil time.Time                `json:"drain_until,omitzero"`
	Sockets    int                      `json:"sockets"`
	// Drains are the orders about all regions, as this node has heard them from those.
	Drains map[chat.Region]drain.Order `json:"drains,omitempty"`
	// Forces are what this region's operator has forced, by region.
	Forces map[chat.Region]chat.Force `json:"forces,omitempty"`
	// Reported counts the networks whose clients say that they cannot reach a region.
	Reported map[chat.Region]int `json:"reported,omitempty"`
}

// peerView is how this region sees another: by the link, and by its own probe of the way of a message there, "ok" or what went wrong.
type peerView struct {
	Peer
	Probe string `json:"probe,omitempty"`
}

// peerViews gives how this region sees the others.
func (n *Node) peerViews() map[chat.Region]peerView {
	var probed map[chat.Region]string
	if n.opt.Probed != nil {
		probed = n.opt.Probed()
	}
	out := make(map[chat.Region]peerView)
	for region, p := range n.Peers() {
		out[region] = peerView{Peer: p, Probe: probed[region]}
	}
	return out
}

func (n *Node) servePeers(w http.ResponseWriter, _ *http.Request) {
	order := n.drain.Order(n.opt.Region)
	answer := peersAnswer{
		Region: n.opt.Region, Peers: n.peerViews(), Draining: order.On, DrainFrom: order.From, DrainUntil: order.Until, Sockets: n.Load(),
		Drains: n.drain.Orders(), Forces: n.drain.Forces()[n.opt.Region],
	}
	if n.opt.Reported != nil {
		answer.Reported = n.opt.Reported()
	}
	wire.WriteJSON(w, http.StatusOK, answer)
}

// adminHandler serves operators and routers; what changes something needs the admin token.
func (n *Node) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", n.serveReady)
	mux.Handle("GET /metrics", n.opt.Metrics.Handler())
	mux.HandleFunc("GET /v1/peers", n.servePeers)
	mux.HandleFunc("GET /v1/admin/status", n.guard(func(w http.ResponseWriter, r *http.Request) {
		wire.WriteJSON(w, http.StatusOK, n.Status(r.Context()))
	}))
	mux.HandleFunc("POST /v1/admin/cut", n.guard(n.serveCut))
	mux.HandleFunc("POST /v1/admin/heal", n.guard(n.serveCut))
	mux.HandleFunc("/v1/admin/drain", n.guard(n.serveDrain))
	mux.HandleFunc("GET /v1/admin/force", n.guard(n.serveForce))
	mux.HandleFunc("POST /v1/admin/force", n.guard(n.serveForce))
	mux.HandleFunc("GET /v1/admin/population", n.guard(n.servePopulation))
	mux.HandleFunc("GET /v1/admin/rtt", n.guard(n.serveRoundTrips))
	mux.HandleFunc("GET /v1/admin/user", n.guard(n.serveUser))
	mux.HandleFunc("POST /v1/admin/clock", n.guard(n.serveClock))
	mux.HandleFunc("POST /v1/admin/verify", n.guard(n.serveVerify))
	mux.HandleFunc("POST /v1/admin/verify/names", n.guard(n.serveVerifyNames))
	mux.HandleFunc("POST /v1/admin/backup", n.guard(n.serveBackup))
	mux.HandleFunc("GET /debug/pprof/", n.guard(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/profile", n.guard(pprof.Profile))
	return mux
}

func (n *Node) guard(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if n.opt.AdminToken == "" || subtle.ConstantTimeCompare([]byte(token), []byte(n.opt.AdminToken)) != 1 {
			wire.WriteError(w, r, &chat.Error{Code: chat.CodeUnauthorized, Message: "the admin token is missing or wrong"})
			return
		}
		next(w, r)
	}
}

// cutter is a network that can be cut: the one with simulated delays.
type cutter interface {
	Cut(a, b chat.Region, bothWays bool)
	Heal(a, b chat.Region)
}

// serveCut cuts or heals the link to ?peer= on the simulated network.
func (n *Node) serveCut(w http.ResponseWriter, r *http.Request) {
	peer := chat.Region(r.URL.Query().Get("peer"))
	net, ok := n.opt.Network.(cutter)
	switch {
	case !ok:
		wire.WriteError(w, r, &chat.Error{Code: chat.CodeInvalid, Message: "this network is real and cannot be cut: set network.delay_scale for a simulated one"})
		return
	case !slices.Contains(n.topology.Regions, peer) || peer == n.opt.Region:
		wire.WriteError(w, r, &chat.Error{Code: chat.CodeInvalid, Message: "peer must name another region"})
		return
	}
	if strings.HasSuffix(r.URL.Path, "/cut") {
		net.Cut(n.opt.Region, peer, true)
	} else {
		net.Heal(n.opt.Region, peer)
	}
	w.WriteHeader(http.StatusNoContent)
}
