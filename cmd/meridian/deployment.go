package main

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/front"
	"meridian/observe"
	regionnode "meridian/region-node"
	"meridian/replication/link"
	"meridian/router"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/health"
	"meridian/web"
)

// deployment is what all processes of one deployment build from its configuration.
type deployment struct {
	cfg      *config.Config
	topology chat.Topology
	secrets  *secrets
	model    *decide.Model
	data     *geo.Data
	network  link.Network
	log      *slog.Logger
	web      http.Handler
	front    *front.Front
	// peers are the backbone addresses; simulate is true under `up` only.
	peers    map[chat.NodeRef]string
	simulate bool
	clock    *clock
	// reread is the configuration that the router of this process was told to read again.
	reread atomic.Pointer[config.Config]
	// setClock, if set, lets an admin call set the clock: a test of the system's own, see nodeCommand.
	setClock func(offset time.Duration)
	// watchEvery, if set, is how often files of learned round trips are looked at: a test of the system's own.
	watchEvery time.Duration
}

// newDeployment loads keys and address data. cfg must be valid and its addresses final.
func newDeployment(cfg *config.Config, logTo io.Writer, simulate bool) (*deployment, error) {
	d := &deployment{cfg: cfg, topology: cfg.Topology(), simulate: simulate, clock: &clock{}}
	d.log = observe.NewLogger(logTo, observe.Telemetry(cfg.Telemetry))
	var err error
	if d.secrets, err = loadSecrets(cfg); err != nil {
		return nil, err
	}
	world, err := geo.World()
	if err != nil {
		return nil, err
	}
	if d.model, err = decide.NewModel(cfg, world); err != nil {
		return nil, err
	}
	if d.front, err = front.New(cfg, d.log); err != nil {
		return nil, err
	}
	defer geo.Frugal(cfg.Router)()
	if d.data, err = geo.Open(cfg.Router, time.Now()); err != nil {
		return nil, err
	}
	d.peers = cfg.Backbones()
	d.web = web.Handler(web.Options{ConnectOrigins: d.connectOrigins, Version: version})
	d.network = d.buildNetwork()
	return d, nil
}

// connectOrigins lists what the page may connect to: every region, or the page's own rules would block failover.
func (d *deployment) connectOrigins() []string {
	var out []string
	for _, r := range d.routed().Regions {
		for _, url := range r.URLs() {
			out = append(out, url, "ws"+url[len("http"):])
		}
	}
	return out
}

// listeners are one node's.
type listeners struct{ http, admin, backbone net.Listener }

func (l listeners) close() {
	for _, one := range []net.Listener{l.http, l.admin, l.backbone} {
		if one != nil {
			_ = one.Close()
		}
	}
}

// startNode opens the node's store and what it shares with others, and serves it on ls. On an error the listeners are closed.
func (d *deployment) startNode(ctx context.Context, ref chat.NodeRef, ls listeners) (*regionnode.Node, error) {
	node, err := d.newNode(ctx, ref, ls)
	if err != nil {
		ls.close()
		return nil, err
	}
	return node, nil
}

func (d *deployment) newNode(ctx context.Context, ref chat.NodeRef, ls listeners) (node *regionnode.Node, err error) {
	metrics := observe.NewMetrics(ref.Region)
	places, err := router.NewPlaces(router.PlacesOptions{
		Config: d.cfg, Model: d.model, Data: d.data, WatchEvery: d.watchEvery, Metrics: metrics, Log: d.log.With("region", ref.Region, "node", ref.Node),
	})
	if err != nil {
		return nil, err
	}
	opt, err := d.nodeOptions(ref, ls, places)
	if err != nil {
		return nil, err
	}
	opt.Metrics, opt.Front = metrics, d.front.With(metrics)
	opt.Front.Own(d.namesOf(ref))
	probes, err := d.probesOf(ref.Region, metrics)
	if err != nil {
		return nil, err
	}
	if probes != nil {
		opt.Probed = probes.Verdicts
	}
	if opt.Store, opt.Under, err = d.openStore(ctx, ref, metrics); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = opt.Store.Close() // the first error is the one to tell
		}
	}()
	if opt.Shared, opt.Limiter, err = d.sharedParts(ref, metrics); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && opt.Shared.Close != nil {
			opt.Shared.Close()
		}
	}()
	if node, err = regionnode.New(ctx, opt); err != nil {
		return nil, err
	}
	pump, err := d.pumps(ref, node, opt.Store, metrics)
	if err != nil {
		return nil, err
	}
	if err = node.Start(); err == nil {
		pump()
		untilDone(node, places.Watch)
		if probes != nil {
			untilDone(node, probes.Run)
		}
	}
	return node, err
}

// nodeOptions gives what a node needs beside its store, what it shares and its metrics.
func (d *deployment) nodeOptions(ref chat.NodeRef, ls listeners, places *router.Places) (opt regionnode.Options, err error) {
	region := ref.Region
	log := d.log.With("region", region, "node", ref.Node)
	tracer, err := observe.NewTracer(observe.Telemetry(d.cfg.Telemetry), region, log)
	if err != nil {
		return opt, err
	}
	identity, err := link.LoadIdentity(d.secrets.dir, region)
	if err != nil {
		return opt, err
	}
	hints := health.NewHints(d.topology.Regions, nil)
	return regionnode.Options{
		Config: d.cfg, Region: region, StoreInfo: d.storeInfo(ref), Keys: d.secrets.keys.Only(d.zonesOf(region)...), DirectoryKey: d.secrets.directoryKey,
		AdminToken: d.secrets.adminToken, HTTP: ls.http, Admin: ls.admin, Backbone: ls.backbone,
		Peers: d.peersOf(ref), Identity: identity, Network: d.network, Web: d.web,
		Route: func(node *regionnode.Node) http.Handler { return d.routeHandler(node, places, hints) },
		Endpoints: func(node *regionnode.Node, zone chat.Zone, addr netip.Addr) []chat.Endpoint {
			return d.endpoints(node, places, zone, addr)
		},
		Elsewhere: func(node *regionnode.Node, zone chat.Zone, addr netip.Addr) []chat.Endpoint {
			return d.elsewhere(node, places, zone, addr)
		},
		Reported:    hints.Count,
		Unreachable: func(r chat.Region, client netip.Addr) { hints.Tell(r, client) },
		Country:     d.country, NetworkOf: d.networkOf, Simulate: d.simulate, Now: d.clock.now, SetClock: d.setClock, Log: log,
		Tracer: tracer,
	}, nil
}

// namesOf gives the host names by which clients reach a node: its own, and that of its region where a load balancer stands before it.
func (d *deployment) namesOf(ref chat.NodeRef) []string {
	r, _ := d.cfg.Region(ref.Region)
	n, _ := r.Node(ref.Node)
	var names []string
	for _, u := range []string{r.URL, n.URL} {
		if parsed, err := url.Parse(u); err == nil && parsed.Hostname() != "" {
			names = append(names, parsed.Hostname())
		}
	}
	return names
}

func (d *deployment) zonesOf(region chat.Region) []chat.Zone {
	var zones []chat.Zone
	for _, z := range d.cfg.Zones {
		if d.topology.InZone(region, z.Name) {
			zones = append(zones, z.Name)
		}
	}
	return zones
}

func (d *deployment) peersOf(ref chat.NodeRef) map[chat.NodeRef]string {
	peers := maps.Clone(d.peers)
	delete(peers, ref)
	return peers
}

// country gives the country of an address, for the rule of home zones.
func (d *deployment) country(addr netip.Addr) string {
	place, _ := d.data.Lookup(addr)
	return place.Country
}

// networkOf gives the country and the autonomous system of an address.
func (d *deployment) networkOf(addr netip.Addr) (string, uint32) {
	place, _ := d.data.Lookup(addr)
	return place.Country, place.ASN
}

// states gives the regions as node sees them: the links are its probes, and it has heard of every operator's drain.
func (d *deployment) states(node *regionnode.Node) decide.States {
	states := make(decide.States)
	for r, p := range node.Peers() {
		state := decide.State{Health: decide.HealthUp, Why: "the backbone link is up"}
		if !p.Up {
			state = decide.State{Health: decide.HealthDown, Why: "the backbone link is down"}
		}
		states[r] = state
	}
	for r, order := range node.Drains() {
		if state := states[r]; order.On {
			state.Draining, state.DrainUntil, state.DrainWeight = true, order.Until, decide.DrainWeight(order.From, order.Until, d.clock.now())
			states[r] = state
		}
	}
	for _, r := range d.topology.Regions {
		if word, by, ok := node.Forced(r); ok {
			state := states[r]
			state.Force(word, by)
			states[r] = state
		}
	}
	return states
}

// elsewhere ranks the regions for somebody as if node's region were drained; none when nobody else may serve them.
func (d *deployment) elsewhere(node *regionnode.Node, places *router.Places, zone chat.Zone, addr netip.Addr) []chat.Endpoint {
	states := d.states(node)
	state := states[node.Region()]
	state.Draining, state.DrainWeight = true, 0
	states[node.Region()] = state
	decision := d.decide(places, states, zone, addr)
	if decision.Region == "" || decision.Region == node.Region() {
		return nil
	}
	return d.endpointsOf(node, decision)
}

// endpoints ranks the regions for a person of zone at addr, by the same decision that DNS and explain give.
func (d *deployment) endpoints(node *regionnode.Node, places *router.Places, zone chat.Zone, addr netip.Addr) []chat.Endpoint {
	return d.endpointsOf(node, d.decide(places, d.states(node), zone, addr))
}

// decide decides for a person of zone at addr. Where no region may serve, the ranking stands all the same.
func (d *deployment) decide(places *router.Places, states decide.States, zone chat.Zone, addr netip.Addr) decide.Decision {
	in := d.input(places, addr, states)
	if spec, ok := d.topology.Zone(zone); ok {
		in.Zone = &spec
	}
	decision, _ := d.model.Decide(in) // the error says that the zone's regions seem to be down
	return decision
}

// input is what every decision about addr begins with.
func (d *deployment) input(places *router.Places, addr netip.Addr, states decide.States) decide.Input {
	in := decide.Input{Address: addr, States: states, Now: d.clock.now()}
	places.Tell(&in)
	return in
}

// endpointsOf gives where clients find the regions of a decision. Those that are down stand last: a client keeps the list, and they may
// be back when it needs them.
func (d *deployment) endpointsOf(node *regionnode.Node, decision decide.Decision) []chat.Endpoint {
	var out []chat.Endpoint
	for _, c := range decision.Regions {
		if c.ExcludedBy == decide.ByResidency || c.ExcludedBy == decide.ByRule {
			continue
		}
		for _, url := range d.urls(node, c.Region) {
			out = append(out, chat.Endpoint{Region: c.Region, URL: url, RTTms: c.RTTms})
		}
	}
	return out
}

// urls gives what clients use for a region, as node sees its nodes: of those that serve sockets the ones that are linked first, for
// the others may be back when a client needs them.
func (d *deployment) urls(node *regionnode.Node, region chat.Region) []string {
	r, _ := d.cfg.Region(region)
	if r.URL != "" || len(r.Nodes) == 0 {
		return r.ClientURLs()
	}
	links := node.Nodes()
	var up, down []string
	for _, n := range r.Nodes {
		ref := chat.NodeRef{Region: region, Node: n.Name}
		if !node.Runs(ref, chat.ServiceChat) {
			continue
		}
		if p, other := links[ref.String()]; !other || p.Up {
			up = append(up, n.BaseURL())
		} else {
			down = append(down, n.BaseURL())
		}
	}
	return append(up, down...)
}
