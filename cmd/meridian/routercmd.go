package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	"meridian/observe"
	regionnode "meridian/region-node"
	"meridian/region-node/auth"
	"meridian/router"
	"meridian/router/decide"
	"meridian/router/discovery"
	"meridian/router/health"
	"meridian/router/table"
)

// routerProcess is a running router.
type routerProcess struct {
	router *router.Router
	stop   context.CancelFunc
	done   chan error
}

// bindRouter prepares GeoDNS, discovery and the web client and takes their ports; run serves. freePorts moves it to free ports
// where its own are taken; force takes a configuration without a region in which people are; file is what is
// read again when an operator says so, "": nothing is.
func (d *deployment) bindRouter(freePorts, force bool, file string) (*routerProcess, error) {
	metrics := observe.NewMetrics("router")
	handlers := map[string]http.Handler{"/": d.web, "GET /metrics": metrics.Handler()}
	if d.simulate {
		handlers["GET /v1/up.json"] = http.HandlerFunc(regionnode.ServeUpInfo)
	}
	var r *router.Router
	if file != "" {
		handlers["POST "+reloadPath] = d.reloadHandler(file, func(cfg *config.Config, force bool) error { return r.Reload(cfg, force) })
	}
	state := ""
	if !d.simulate { // a local `up` starts and ends with all of its regions
		state = filepath.Join(d.cfg.DataDir, "router-regions.json")
	}
	var err error
	r, err = router.New(router.Options{
		StateFile: state, Force: force, Config: d.cfg, Data: d.data, Key: d.secrets.routeKey, CookieSecret: d.secrets.cookieKey, TokenZone: d.tokenZone, BucketZones: d.bucketZones,
		Handlers: handlers, Front: d.front.With(metrics), Simulate: d.simulate, FreePorts: freePorts, WatchEvery: d.watchEvery,
		Log: d.log.With("part", "router"), Metrics: metrics,
	})
	if err != nil {
		return nil, err
	}
	if err := r.Listen(); err != nil {
		return nil, err
	}
	return &routerProcess{router: r, done: make(chan error, 1)}, nil
}

// run serves until close.
func (p *routerProcess) run() {
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() { p.done <- p.router.Run(ctx) }()
}

func (p *routerProcess) httpAddr() string { return p.router.HTTPAddr() }
func (p *routerProcess) dnsAddr() string  { return p.router.DNSAddr() }

func (p *routerProcess) close() error {
	if p.stop == nil {
		p.run() // Run closes what Listen opened
	}
	p.stop()
	return <-p.done
}

// tokenZone gives the home zone of a valid access token.
func (d *deployment) tokenZone(token string) (chat.Zone, error) {
	claims, err := auth.NewVerifier(d.cfg.Name, d.secrets.keys, auth.Certain(time.Now)).Verify(token, auth.Access)
	return claims.Zone, err
}

// bucketTimeout bounds asking one region for the zones of a bucket of names.
const bucketTimeout = time.Second

// bucketZones asks the regions, one after another, in which zones the names of a bucket live: the directory is in all of them.
func (d *deployment) bucketZones(ctx context.Context, bucket uint16) ([]chat.Zone, error) {
	var last error
	for _, r := range d.routed().Regions {
		for _, url := range r.URLs() {
			zones, err := askBucket(ctx, url, bucket)
			if err == nil {
				return zones, nil
			}
			last = err
		}
	}
	return nil, &chat.Error{Code: chat.CodeRegionDegraded, Op: "meridian.bucketZones", Message: "no region answers for names", Cause: last}
}

func askBucket(ctx context.Context, base string, bucket uint16) ([]chat.Zone, error) {
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/v1/route?name=%04x", base, bucket), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", base, resp.Status)
	}
	var route discovery.Route
	if err := json.NewDecoder(resp.Body).Decode(&route); err != nil {
		return nil, err
	}
	zones := make([]chat.Zone, 0, len(route.Zones))
	for _, z := range route.Zones {
		zones = append(zones, z.Zone)
	}
	return zones, nil
}

// routeHandler is GET /v1/route on a region node: the same decision, by what this node sees of the others.
func (d *deployment) routeHandler(node *regionnode.Node, places *router.Places, hints *health.Hints) http.Handler {
	return discovery.New(discovery.Options{
		Decide: func(q table.Query) (decide.Decision, error) {
			in := d.input(places, q.Address, d.states(node))
			in.Zone, in.Simulated = q.Zone, q.Simulated
			return d.model.Decide(in)
		},
		URLs: func(r chat.Region) []string { return d.urls(node, r) },
		Zone: d.topology.Zone, TokenZone: d.tokenZone, BucketZones: node.ZonesOfBucket,
		Simulate: d.simulate, Origins: d.origins(), Key: d.secrets.routeKey,
		Failed: func(region chat.Region, client netip.Addr) { hints.Tell(region, client) },
	})
}

// origins are the browser origins that may ask across origins.
func (d *deployment) origins() []string {
	origins := append(pageOrigins(d.cfg.Router.HTTP), d.cfg.Router.BaseURL())
	origins = append(origins, d.cfg.Network.AllowedOrigins...)
	for _, r := range d.cfg.Regions {
		origins = append(origins, r.URLs()...)
	}
	return origins
}

// routerCommand runs the router as a process of its own.
func routerCommand() *cobra.Command {
	var file string
	var force bool
	cmd := &cobra.Command{
		Use: "router", Short: "Run the geo router from a configuration file", Args: cobra.NoArgs,
		Long: `Run the geo router from a configuration file. It is refused (exit code 4) when the file leaves out a region that the router led
people to when it ran last, and in which people still are; --force does it all the same.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := runRouter(cmd.Context(), file, force, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if chat.CodeOf(err) == chat.CodeDenied {
				return &exitError{code: exitRefused, what: err.Error(), next: "meridian status --config OLD-FILE"}
			}
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "run although the configuration leaves out a region in which people are")
	cmd.Flags().StringVar(&file, "config", "", "configuration file of the deployment")
	_ = cmd.MarkFlagRequired("config") // the flag exists
	cmd.AddCommand(reloadCommand())
	return cmd
}

func runRouter(ctx context.Context, file string, force bool, stdout, stderr io.Writer) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	d, err := newDeployment(cfg, stderr, false)
	if err != nil {
		return err
	}
	p, err := d.bindRouter(false, force, file)
	if err != nil {
		return err
	}
	d.data = nil // only region nodes need it; the router has it, and swaps it
	p.run()
	fmt.Fprintf(stdout, "ready router http=%s dns=%s\n", p.httpAddr(), p.dnsAddr())
	select {
	case <-ctx.Done():
		return p.close()
	case err := <-p.done:
		return err
	}
}
