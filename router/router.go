// Package router is the geo router's process: the live table, the health monitor that feeds it, GeoDNS, discovery and an
// HTTP server around them. All of them, and `meridian explain`, ask the one decision of router/decide.
package router

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
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

// Region is where a region is reached.
type Region struct {
	Name chat.Region
	// URLs are the bases that clients use, one for each node, or one for all. The router probes Ready's /readyz and asks
	// Admins, the admin listeners of the nodes, for /v1/peers.
	URLs   []string
	Admins []string
	// Addresses are what GeoDNS answers.
	Addresses []netip.Addr
}

// Options make a Router.
type Options struct {
	Config *config.Config
	// Regions says where the regions are; nil takes it from Config (see RegionsOf).
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
	live      *table.Live
	hosts     []chat.ZoneSpec
	topology  atomic.Pointer[chat.Topology]
	monitor   *health.Monitor
	discovery http.Handler
	dns       *dns.Server // nil when the configuration has no router.dns
	listener  net.Listener

	reload sync.Mutex
	cfg    *config.Config // the last that was taken
}

// New loads the address data and prepares everything but sockets. The error has CodeInvalid and names the key or file.
func New(opts Options) (*Router, error) {
	opts.Metrics = meter.Or(opts.Metrics)
	opts.WatchEvery = cmp.Or(opts.WatchEvery, watchEvery)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Regions == nil {
		regions, err := RegionsOf(opts.Config)
		if err != nil {
			return nil, err
		}
		opts.Regions = regions
	}
	r := &Router{opts: opts, cfg: opts.Config}
	if err := r.checkRemoved(context.Background()); err != nil {
		return nil, err
	}
	defer geo.Frugal(opts.Config.Router)()
	model, data, err := load(opts.Config, opts.Data)
	if err != nil {
		return nil, err
	}
	topology := opts.Config.Topology()
	r.topology.Store(&topology)
	var names []dns.Host
	r.hosts, names = hostsOf(opts.Config)
	if r.live, err = table.NewLearned(model, data, learnedAtStart(opts, model), r.hosts); err != nil {
		return nil, err
	}
	r.opts.Data = nil // the table has it, until it is swapped
	r.discovery = discovery.New(discovery.Options{
		Decide: r.live.Decide, URLs: r.urls, Zone: r.zone, TokenZone: opts.TokenZone, BucketZones: opts.BucketZones,
		Simulate: opts.Simulate, Origins: opts.Config.Network.AllowedOrigins, Key: opts.Key, Metrics: opts.Metrics,
		Failed: func(region chat.Region, client netip.Addr) { r.monitor.Hint(region, client) },
	})
	r.monitor = health.NewMonitor(health.Options{
		Regions: opts.Config.Regions, Limits: opts.Config.Router.Health, Targets: r.targets(), OnStates: r.take, Metrics: opts.Metrics,
	})
	if opts.Config.Router.DNS == "" {
		return r, nil
	}
	r.dns, err = dns.New(dns.Options{
		Table: r.live, Domain: opts.Config.Router.Domain, Hosts: names, Regions: r.dnsRegions(), NameServers: nameServers(opts.Config),
		TTL: opts.Config.Router.TTL, TTLDegraded: opts.Config.Router.TTLDegraded, AnswerRegions: opts.Config.Router.AnswerRegions,
		Serving: serving(opts.Config), CookieSecret: opts.CookieSecret, Metrics: opts.Metrics, Log: opts.Log,
	})
	return r, err
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

// Table gives the live table.
func (r *Router) Table() *table.Live { return r.live }

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
	for name, s := range states {
		up := 1.0
		if s.Health == decide.HealthDown {
			up = 0
		}
		r.opts.Metrics.Set("region_up", up, string(name))
	}
	r.opts.Metrics.Set("geo_data_age_seconds", time.Since(r.live.Data().Sources()[0].Built).Seconds())
	if set := r.live.Learned(); set != nil {
		r.opts.Metrics.Set("learned_age_seconds", time.Since(set.Collected()).Seconds())
	}
	before := r.live.States()
	if !r.live.SetStates(states) {
		return
	}
	for _, name := range r.live.Model().Regions() {
		if old, now := before[name], states[name]; old.Health != now.Health || old.Draining != now.Draining || old.Forced != now.Forced {
			r.opts.Log.Info("a region's state changed", "region", name, "health", string(now.Health), "draining", now.Draining, "forced", string(now.Forced), "forced_why", now.ForcedWhy, "why", now.Why)
		}
	}
}

// Reload takes new rules, biases, zones and address files while serving. The regions, their places in the order and the
// zones' hosts must be as they were, because names and probes hang on them. Address files are compared with those in use (see
// geo.CheckSwap). After an error everything stays as it was: CodeInvalid, which names the key or file, or CodeDenied when a region is
// left out in which people are.
func (r *Router) Reload(cfg *config.Config) error {
	r.reload.Lock()
	defer r.reload.Unlock()
	err := r.replace(cfg)
	r.countReload(err)
	return err
}

func (r *Router) replace(cfg *config.Config) error {
	if err := r.refuseRemoved(r.removedBy(cfg)); err != nil {
		return err
	}
	same := slices.EqualFunc(cfg.Regions, r.cfg.Regions, func(a, b config.Region) bool { return a.Name == b.Name })
	hosts, names := hostsOf(cfg)
	_, oldNames := hostsOf(r.cfg)
	if !same || !slices.Equal(names, oldNames) {
		return &chat.Error{Code: chat.CodeInvalid, Op: "router.Reload", Message: "regions or zones' hosts have changed: this needs a restart"}
	}
	defer geo.Frugal(cfg.Router)()
	model, data, err := load(cfg, nil)
	if err != nil {
		return err
	}
	if err := geo.CheckSwap(model, r.live.Data(), data, cfg.Router.CanaryAddresses(), cfg.Router.CanaryChangedShare); err != nil {
		return err
	}
	set, err := r.openLearned(cfg, model, data)
	if err != nil {
		return err
	}
	if err := r.live.ReplaceLearned(model, data, set, hosts); err != nil {
		return err
	}
	topology := cfg.Topology()
	r.topology.Store(&topology)
	r.cfg = cfg
	return nil
}

// urls gives what clients use for a region: the nodes that serve, or all when none seems to.
func (r *Router) urls(name chat.Region) []string {
	i := slices.IndexFunc(r.opts.Regions, func(region Region) bool { return region.Name == name })
	if i < 0 {
		return nil
	}
	var serving []string
	for _, url := range r.opts.Regions[i].URLs {
		if r.monitor.Serves(strings.TrimSuffix(url, "/")) {
			serving = append(serving, url)
		}
	}
	if len(serving) == 0 {
		return r.opts.Regions[i].URLs
	}
	return serving
}

func (r *Router) zone(name chat.Zone) (chat.ZoneSpec, bool) { return r.topology.Load().Zone(name) }

func (r *Router) targets() []health.Target {
	out := make([]health.Target, len(r.opts.Regions))
	for i, region := range r.opts.Regions {
		out[i] = health.Target{Region: region.Name, Ready: region.Bases(), Admins: bases(region.Admins)}
	}
	return out
}

// Bases gives URLs without the slash at their end.
func (r Region) Bases() []string { return bases(r.URLs) }

func bases(urls []string) []string {
	out := make([]string, len(urls))
	for i, url := range urls {
		out[i] = strings.TrimSuffix(url, "/")
	}
	return out
}

func (r *Router) dnsRegions() []dns.Region {
	out := make([]dns.Region, len(r.opts.Regions))
	for i, region := range r.opts.Regions {
		out[i] = dns.Region{Name: region.Name, Addresses: region.Addresses, URL: region.URLs[0]}
	}
	return out
}

// RegionsOf reads from the configuration where the regions are: the URLs default to http://<http> of each node, the addresses
// to the hosts of http. The error has CodeInvalid and names the key.
func RegionsOf(cfg *config.Config) ([]Region, error) {
	out := make([]Region, len(cfg.Regions))
	for i, c := range cfg.Regions {
		r := Region{Name: c.Name, URLs: c.ClientURLs()}
		list := c.Addresses
		for _, n := range c.NodeList() {
			r.Admins = append(r.Admins, "http://"+n.Admin)
			if host := addressOf(n.HTTP); len(c.Addresses) == 0 && host != "" && !slices.Contains(list, host) {
				list = append(list, host)
			}
		}
		for _, s := range list {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, &chat.Error{Code: chat.CodeInvalid, Op: "router.RegionsOf", Message: fmt.Sprintf("regions.%s.addresses: %q is not an IP address", c.Name, s)}
			}
			r.Addresses = append(r.Addresses, a.Unmap())
		}
		out[i] = r
	}
	return out, nil
}

// addressOf gives the host of host:port when it is an address that can be dialled, else "".
func addressOf(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return ""
	}
	if a, err := netip.ParseAddr(host); err != nil || a.IsUnspecified() {
		return ""
	}
	return host
}

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
