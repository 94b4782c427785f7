// Package router is the geo router's process: the live table, the health monitor that feeds it, GeoDNS, discovery and an
// HTTP server around them. All of them, and `meridian explain`, ask the one decision of router/decide.
package router

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/front"
	"meridian/router/decide"
	"meridian/router/discovery"
	"meridian/router/dns"
	"meridian/router/geo"
	"meridian/router/health"
	"meridian/router/meter"
	"meridian/router/table"
)

// Options make a Router.
type Options struct {
	Config *config.Config
	// Regions says where regions are; of those that it does not name the configuration says it (see RegionsOf).
	Regions []Region
	// Data is the address data that Config names, where it is loaded already; nil loads it.
	Data *geo.Data
	// Key signs discovery's answers.
	Key ed25519.PrivateKey
	// CookieSecret makes GeoDNS's cookies; all routers have the same. See dns.Options.
	CookieSecret []byte
	// TokenZone and BucketZones are discovery's; see discovery.Options.
	TokenZone   func(token string) (chat.Zone, error)
	BucketZones func(ctx context.Context, bucket uint16) ([]chat.Zone, error)
	// Handlers are served beside the router's own, by pattern of http.ServeMux: the web client, "GET /metrics".
	Handlers map[string]http.Handler
	// StateFile remembers between runs which regions there are; "": nothing is remembered. Force takes a configuration that leaves out
	// a region in which people are.
	StateFile string
	Force     bool
	// WatchEvery is how often the files are looked at; default: 10 s.
	WatchEvery time.Duration
	// Simulate accepts simulated addresses. FreePorts takes a free port where the configured one is taken.
	Simulate  bool
	FreePorts bool
	// Front serves HTTP; nil: plain, and no proxy is believed.
	Front *front.Front
	// Metrics may be nil; Log defaults to silence.
	Metrics meter.Metrics
	Log     *slog.Logger
}

// Router is one router. Make it with New, bind it with Listen, then Run.
type Router struct {
	opts      Options
	inUse     atomic.Pointer[view]
	monitor   *health.Monitor
	discovery http.Handler
	dns       *dns.Server // nil when the configuration has no router.dns
	listener  net.Listener

	shown decide.States // what region_up tells, for take only

	// addresses and learned watch the files, from before they are loaded on; for watch only.
	addresses, learned watcher

	reload sync.Mutex // held while a view is made and put into use
}

// view is what hangs on the configuration that was taken last. It is replaced as a whole.
type view struct {
	cfg      *config.Config
	regions  []Region
	live     *table.Live
	hosts    []chat.ZoneSpec
	topology chat.Topology
}

func (r *Router) view() *view { return r.inUse.Load() }

// New loads the address data and prepares everything but sockets. The error has CodeInvalid and names the key or file.
func New(opts Options) (*Router, error) {
	opts.Metrics = meter.Or(opts.Metrics)
	opts.WatchEvery = cmp.Or(opts.WatchEvery, watchEvery)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	r := &Router{opts: opts}
	regions, err := r.regionsOf(opts.Config)
	if err != nil {
		return nil, err
	}
	if err := r.checkRemoved(context.Background(), regions); err != nil {
		return nil, err
	}
	r.addresses, r.learned = watcher{taken: stamps(geo.Files(opts.Config.Router))}, watcher{taken: stamps(learnedFiles(opts.Config))}
	defer geo.Frugal(opts.Config.Router)()
	model, data, err := load(opts.Config, opts.Data)
	if err != nil {
		return nil, err
	}
	v := newView(opts.Config, regions)
	if v.live, err = table.NewLearned(model, data, learnedAtStart(opts.Config, model, opts.Metrics, opts.Log), v.hosts); err != nil {
		return nil, err
	}
	r.opts.Data = nil // the table has it, until it is swapped
	r.inUse.Store(v)
	r.discovery = discovery.New(discovery.Options{
		Decide: func(q table.Query) (decide.Decision, error) { return r.Table().Decide(q) }, URLs: r.urls, Zone: r.zone,
		TokenZone: opts.TokenZone, BucketZones: opts.BucketZones,
		Simulate: opts.Simulate, Origins: opts.Config.Network.AllowedOrigins, Key: opts.Key, Metrics: opts.Metrics,
		Failed: func(region chat.Region, client netip.Addr) { r.monitor.Hint(region, client) },
	})
	r.monitor = health.NewMonitor(health.Options{
		Regions: opts.Config.Regions, Limits: opts.Config.Router.Health, Targets: targets(regions), OnStates: r.take, Metrics: opts.Metrics,
	})
	if opts.Config.Router.DNS != "" {
		r.dns, err = r.newDNS(v)
	}
	return r, err
}

// newView makes a view without its table.
func newView(cfg *config.Config, regions []Region) *view {
	v := &view{cfg: cfg, regions: regions, topology: cfg.Topology()}
	v.hosts, _ = hostsOf(cfg)
	return v
}

// newDNS makes what GeoDNS answers by a view.
func (r *Router) newDNS(v *view) (*dns.Server, error) {
	_, names := hostsOf(v.cfg)
	c := v.cfg.Router
	return dns.New(dns.Options{
		Table: v.live, Domain: c.Domain, Hosts: names, Regions: dnsRegions(v.regions), NameServers: nameServers(v.cfg),
		TTL: c.TTL, TTLDegraded: c.TTLDegraded, AnswerRegions: c.AnswerRegions,
		Serving: serving(v.cfg), CookieSecret: r.opts.CookieSecret, Metrics: r.opts.Metrics, Log: r.opts.Log,
	})
}

// load makes the model of cfg and, unless it is given, the data.
func load(cfg *config.Config, data *geo.Data) (*decide.Model, *geo.Data, error) {
	world, err := geo.World()
	if err != nil {
		return nil, nil, err
	}
	model, err := decide.NewModel(cfg, world)
	if err != nil {
		return nil, nil, err
	}
	if data == nil {
		data, err = geo.Open(cfg.Router, time.Now())
	}
	return model, data, err
}

// Listen binds the HTTP port and, when the configuration has one, the DNS port (UDP and TCP alike). The error has
// CodeInvalid and names the address.
func (r *Router) Listen() error {
	addr := r.opts.Config.Router.HTTP
	l, err := net.Listen("tcp", addr)
	if host, _, splitErr := net.SplitHostPort(addr); err != nil && splitErr == nil && r.opts.FreePorts {
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return &chat.Error{Code: chat.CodeInvalid, Op: "router.Listen", Message: "router.http: cannot listen on " + addr, Cause: err}
	}
	if r.dns != nil {
		if err := r.dns.Listen(r.opts.Config.Router.DNS, r.opts.FreePorts); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	r.listener = l
	if err := r.remember(); err != nil {
		r.opts.Log.Error("the regions are not remembered: a later configuration may leave out one with people", "error", err)
	}
	return nil
}

// HTTPAddr gives the bound HTTP address, host:port; "" before Listen.
func (r *Router) HTTPAddr() string {
	if r.listener == nil {
		return ""
	}
	return r.listener.Addr().String()
}

// DNSAddr gives the bound DNS address, host:port; "" before Listen and without DNS.
func (r *Router) DNSAddr() string {
	if r.dns == nil {
		return ""
	}
	return r.dns.Addr()
}

// Table gives the table in use.
func (r *Router) Table() *table.Live { return r.view().live }

// Discovery gives the handler of GET /v1/route, for region nodes to mount too.
func (r *Router) Discovery() http.Handler { return r.discovery }

// Run serves until ctx ends, then stops everything and returns nil; or it returns the first error.
func (r *Router) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: r.mux(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	var wg sync.WaitGroup
	failed := make(chan error, 2)
	wg.Go(func() { r.monitor.Run(ctx) })
	wg.Go(func() { r.watch(ctx) })
	if r.dns != nil {
		wg.Go(func() { failed <- r.dns.Run(ctx) })
	}
	wg.Go(func() {
		if err := r.opts.Front.Serve(server, r.listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	})
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer done()
	if server.Shutdown(stop) != nil { // somebody holds on to a request
		err = errors.Join(err, server.Close())
	}
	wg.Wait()
	return err
}

// take puts new states into the table.
func (r *Router) take(states decide.States) {
	for name := range r.shown {
		if _, known := states[name]; !known { // a configuration left it out
			r.opts.Metrics.Remove("region_up", string(name))
		}
	}
	r.shown = states
	for name, s := range states {
		up := 1.0
		if s.Health == decide.HealthDown {
			up = 0
		}
		r.opts.Metrics.Set("region_up", up, string(name))
	}
	live := r.Table()
	r.opts.Metrics.Set("geo_data_age_seconds", time.Since(live.Data().Sources()[0].Built).Seconds())
	tellLearned(r.opts.Metrics, live.Learned())
	before := live.States()
	if !live.SetStates(states) {
		return
	}
	for _, name := range live.Model().Regions() {
		if old, now := before[name], states[name]; old.Health != now.Health || old.Draining != now.Draining || old.Forced != now.Forced {
			r.opts.Log.Info("a region's state changed", "region", name, "health", string(now.Health), "draining", now.Draining, "forced", string(now.Forced), "forced_why", now.ForcedWhy, "why", now.Why)
		}
	}
}

// urls gives what clients use for a region: the nodes that serve, or all when none seems to.
func (r *Router) urls(name chat.Region) []string {
	regions := r.view().regions
	i := slices.IndexFunc(regions, func(region Region) bool { return region.Name == name })
	if i < 0 {
		return nil
	}
	var serving []string
	for _, url := range regions[i].URLs {
		if r.monitor.Serves(strings.TrimSuffix(url, "/")) {
			serving = append(serving, url)
		}
	}
	if len(serving) == 0 {
		return regions[i].URLs
	}
	return serving
}

func (r *Router) zone(name chat.Zone) (chat.ZoneSpec, bool) { return r.view().topology.Zone(name) }

// hostsOf gives the zones with a host of their own, and their names for DNS by the same numbers.
func hostsOf(cfg *config.Config) ([]chat.ZoneSpec, []dns.Host) {
	var zones []chat.ZoneSpec
	var names []dns.Host
	topology := cfg.Topology()
	for _, z := range cfg.Zones {
		if z.Host == "" {
			continue
		}
		spec, _ := topology.Zone(z.Name)
		zones = append(zones, spec)
		names = append(names, dns.Host{Name: z.Host, Number: len(zones)})
	}
	return zones, names
}

// serving gives how GeoDNS answers, with the directory of keys as a path.
func serving(cfg *config.Config) config.NameServer {
	n := cfg.Router.NameServer
	n.DNSSEC.KeyDir = cfg.KeyPath()
	return n
}

// nameServers names this router, with its address where the configuration binds one.
func nameServers(cfg *config.Config) []dns.NameServer {
	ns := dns.NameServer{Name: "ns." + cfg.Router.Domain}
	if host, _, err := net.SplitHostPort(cfg.Router.DNS); err == nil {
		if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
			ns.Addresses = []netip.Addr{a}
		}
	}
	return []dns.NameServer{ns}
}
