package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
)

// up is a whole deployment in one process: every region with its own directory, real sockets between them, the router and
// the web client.
type up struct {
	deployment *deployment
	router     *routerProcess
	control    *http.Server
	ready      ready

	mu    sync.Mutex
	nodes map[chat.Region]*regionnode.Node // running ones
	cuts  map[[2]chat.Region]bool
}

type upFlags struct {
	data, config string
	// dataGiven: the person chose data; stores on real servers have another default.
	dataGiven     bool
	stores, local string
	readyJSON     bool
	delayScale    float64
	noDemo        bool
}

func upCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run three regions, the router and the web client in this process",
		Long: `Run three regions (us-east, eu-west, ap-south), the router and the web client in this process, each region with its own
directory under --data and real sockets with the real world's delays between them. With --stores real each region keeps its data
in a Cassandra cluster and a Redis of its own, which deploy/local/up runs. Ctrl-C ends it cleanly.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.dataGiven = cmd.Flags().Changed("data")
			return failed(runUp(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().StringVar(&f.data, "data", "data", "directory for everything; with --stores real the default is data in that of the servers")
	cmd.Flags().StringVar(&f.stores, "stores", storesEmbedded, "where regions keep their data: embedded, in this process, or real, on the servers of deploy/local/up")
	cmd.Flags().StringVar(&f.local, "local", "", "directory of deploy/local/up, for --stores real; default .cache/local")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file instead of the built-in one")
	cmd.Flags().BoolVar(&f.readyJSON, "ready-json", false, "print one JSON line when everything serves")
	cmd.Flags().Float64Var(&f.delayScale, "delay-scale", 1, "multiplies the delays between regions; 0 switches them off")
	cmd.Flags().BoolVar(&f.noDemo, "no-demo-users", false, "do not make the demo users")
	return cmd
}

func runUp(ctx context.Context, f upFlags, stdout, stderr io.Writer) error {
	cfg := config.Default()
	if f.config != "" {
		var err error
		if cfg, err = config.Load(f.config); err != nil {
			return err
		}
	}
	if f.config == "" {
		widen(&cfg.Limits)
	}
	if err := cmp.Or(onlyOneNode(cfg), onlyPlain(cfg)); err != nil {
		return err
	}
	for i := range cfg.Regions {
		cfg.Regions[i].Store = "" // this process is all there is
	}
	if err := useStores(ctx, cfg, &f, stderr); err != nil {
		return err
	}
	cfg.DataDir = f.data
	cfg.Network.DelayScale *= f.delayScale
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return err
	}
	unlock, err := lockData(cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	logFile, err := os.OpenFile(filepath.Join(cfg.DataDir, "meridian.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	u, err := startUp(ctx, cfg, logFile)
	if err != nil {
		return err
	}
	defer u.close()
	if !f.noDemo {
		u.makeDemoUsers(ctx)
	}
	if err := u.ready.save(cfg.DataDir); err != nil {
		return err
	}
	defer os.Remove(readyPath(cfg.DataDir))
	if f.readyJSON {
		line, err := json.Marshal(u.ready)
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, string(line))
	} else {
		u.banner(stdout, f.data)
	}
	<-ctx.Done()
	fmt.Fprintln(stderr, "stopping …")
	return nil
}

// onlyOneNode refuses regions of several nodes: they share a store process, which is more than one process can be.
func onlyOneNode(cfg *config.Config) error {
	for _, r := range cfg.Regions {
		if len(r.Nodes) > 0 {
			return &exitError{
				code: exitUsage, what: fmt.Sprintf("region %s lists its nodes: `up` runs every region as one node in this process", r.Name),
				next: fmt.Sprintf("meridian node --config FILE --region %s --node %s", r.Name, r.Nodes[0].Name),
			}
		}
	}
	return nil
}

// onlyPlain refuses TLS: what `up` runs is for this machine's own clients.
func onlyPlain(cfg *config.Config) error {
	if !cfg.Network.TLS.On() {
		return nil
	}
	return &exitError{
		code: exitUsage, what: "the configuration has network.tls: `up` serves plain HTTP, to this machine",
		next: "meridian router --config FILE, and meridian node --config FILE --region NAME for each node",
	}
}

// widen raises the limits per address and person of the built-in configuration: on a laptop everybody has the same address,
// and scripts stand for crowds.
func widen(l *config.Limits) {
	l.AuthPerMinute, l.SocketsPerAddress, l.SocketsPerUser, l.SendsPerSecond = 6000, 20_000, 100, 1000
	l.AddressRequestsPerSecond, l.UserReadsPerSecond, l.UserWritesPerSecond, l.LookupsPerSecond = 10_000, 1000, 1000, 100
}

// startUp starts everything; on an error what was started is stopped again.
func startUp(ctx context.Context, cfg *config.Config, logTo io.Writer) (*up, error) {
	u := &up{nodes: make(map[chat.Region]*regionnode.Node), cuts: make(map[[2]chat.Region]bool), ready: ready{Regions: make(map[chat.Region]readyRegion)}}
	bound := make(map[chat.Region]listeners)
	for i := range cfg.Regions {
		ls, err := bindRegion(&cfg.Regions[i])
		if err != nil {
			closeAll(bound)
			return nil, err
		}
		bound[cfg.Regions[i].Name] = ls
		u.ready.Regions[cfg.Regions[i].Name] = readyRegion{HTTP: cfg.Regions[i].HTTP, Admin: cfg.Regions[i].Admin}
	}
	var err error
	if u.deployment, err = newDeployment(cfg, logTo, true); err != nil {
		closeAll(bound)
		return nil, err
	}
	// The router's address comes before the nodes: its pages are an origin that they let in.
	if u.router, err = u.deployment.bindRouter(true, false, ""); err != nil {
		closeAll(bound)
		return nil, err
	}
	cfg.Network.AllowedOrigins = append(cfg.Network.AllowedOrigins, pageOrigins(u.router.httpAddr())...)
	for _, r := range cfg.Regions {
		node, err := u.deployment.startNode(ctx, onlyNode(r.Name), bound[r.Name])
		delete(bound, r.Name)
		if err != nil {
			closeAll(bound)
			u.close()
			return nil, err
		}
		u.nodes[r.Name] = node
		go u.renew(r.Name, node)
	}
	if err := u.startFront(); err != nil {
		u.close()
		return nil, err
	}
	return u, u.waitReady(ctx)
}

// pageOrigins gives the origins under which a browser may have opened the web client at addr.
func pageOrigins(addr string) []string {
	origins := []string{"http://" + addr}
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "127.0.0.1" {
		origins = append(origins, "http://localhost:"+port)
	}
	return origins
}

func closeAll(bound map[chat.Region]listeners) {
	for _, ls := range bound {
		ls.close()
	}
}

// bindRegion opens a region's listeners and writes the addresses it got into r: a taken port is replaced by a free one.
func bindRegion(r *config.Region) (ls listeners, err error) {
	defer func() {
		if err != nil {
			ls.close()
		}
	}()
	if ls.http, err = listenFree(r.HTTP, true); err != nil {
		return ls, err
	}
	if ls.admin, err = listenFree(r.Admin, true); err != nil {
		return ls, err
	}
	if ls.backbone, err = listenFree(r.Backbone, true); err != nil {
		return ls, err
	}
	r.HTTP, r.Admin, r.Backbone = ls.http.Addr().String(), ls.admin.Addr().String(), ls.backbone.Addr().String()
	return ls, nil
}

// startFront starts the router with the web client, and the control listener.
func (u *up) startFront() error {
	u.router.run()
	u.ready.Router = readyRouter{HTTP: u.router.httpAddr(), DNS: u.router.dnsAddr()}
	u.ready.Web = "http://" + u.router.httpAddr()
	u.ready.AdminToken = u.deployment.secrets.adminToken
	l, err := listenFree("127.0.0.1:8070", true)
	if err != nil {
		return err
	}
	u.ready.Control = "http://" + l.Addr().String()
	u.control = &http.Server{Handler: u.controlHandler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = u.control.Serve(l) }() // ends with close
	return nil
}

// readyWait bounds the start: every region must see every other, and serve.
const readyWait = 15 * time.Second

func (u *up) waitReady(ctx context.Context) error {
	wait := readyWait
	if u.deployment.cfg.Regions[0].Cassandra != nil {
		wait = realWait
	}
	deadline := time.Now().Add(wait)
	for {
		missing := cmp.Or(u.missingLinks(), u.unready(ctx))
		if missing == "" {
			return nil
		}
		if time.Now().After(deadline) {
			u.close()
			return errors.New("not ready in time: " + missing)
		}
		select {
		case <-ctx.Done():
			u.close()
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// unready names a region that does not serve yet.
func (u *up) unready(ctx context.Context) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	for region, node := range u.nodes {
		if err := node.Ready(ctx); err != nil {
			return fmt.Sprintf("%s does not serve (%v)", region, err)
		}
	}
	return ""
}

func (u *up) missingLinks() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	for region, node := range u.nodes {
		for peer, p := range node.Peers() {
			if !p.Up {
				return fmt.Sprintf("%s has no link to %s (%s)", region, peer, p.LastError)
			}
		}
	}
	return ""
}

func (u *up) close() {
	if u.control != nil {
		_ = u.control.Close()
	}
	if u.router != nil {
		if err := u.router.close(); err != nil {
			u.deployment.log.Error("router did not close cleanly", "err", err)
		}
	}
	u.mu.Lock()
	nodes := u.nodes
	u.nodes = nil
	u.mu.Unlock()
	var done sync.WaitGroup
	for region, node := range nodes {
		done.Go(func() {
			if err := node.Close(); err != nil {
				u.deployment.log.Error("region did not close cleanly", "region", region, "err", err)
			}
		})
	}
	done.Wait()
}

// status gives every region, by name.
func (u *up) status(ctx context.Context) []regionState {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []regionState
	for _, r := range u.deployment.topology.Regions {
		s := regionState{Region: r, Cut: u.cutsOf(r)}
		if node := u.nodes[r]; node != nil {
			status := node.Status(ctx)
			s.Running, s.Status = true, &status
		}
		out = append(out, s)
	}
	return out
}

func (u *up) cutsOf(r chat.Region) []chat.Region {
	var out []chat.Region
	for _, peer := range u.deployment.topology.Regions {
		if u.cuts[[2]chat.Region{r, peer}] {
			out = append(out, peer)
		}
	}
	return out
}

// regionVerb does what `meridian region VERB` asks.
func (u *up) regionVerb(ctx context.Context, region chat.Region, verb string, peer chat.Region) error {
	if _, ok := u.deployment.cfg.Region(region); !ok {
		return &chat.Error{Code: chat.CodeInvalid, Message: fmt.Sprintf("%q is not a region; known: %v", region, u.deployment.topology.Regions)}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch verb {
	case "kill":
		return u.kill(region)
	case "start":
		return u.start(ctx, region)
	case "cut", "heal":
		return u.cut(region, peer, verb == "cut")
	}
	return &chat.Error{Code: chat.CodeNotFound, Message: "no such verb: " + verb}
}

func (u *up) kill(region chat.Region) error {
	node := u.nodes[region]
	if node == nil {
		return &chat.Error{Code: chat.CodeVersionConflict, Message: string(region) + " is not running"}
	}
	delete(u.nodes, region)
	node.Kill()
	u.deployment.log.Warn("region killed", "region", region)
	return nil
}

func (u *up) start(ctx context.Context, region chat.Region) error {
	if u.nodes[region] != nil {
		return &chat.Error{Code: chat.CodeVersionConflict, Message: string(region) + " is running"}
	}
	r, _ := u.deployment.cfg.Region(region)
	ls, err := rebind(r.NodeList()[0])
	if err != nil {
		return &chat.Error{Code: chat.CodeRegionDegraded, Message: err.Error()}
	}
	node, err := u.deployment.startNode(ctx, onlyNode(region), ls)
	if err != nil {
		return err
	}
	u.nodes[region] = node
	go u.renew(region, node)
	u.deployment.log.Info("region started", "region", region)
	return nil
}

// renew makes a region's node anew when its life is over, unless it was killed meanwhile.
func (u *up) renew(region chat.Region, node *regionnode.Node) {
	select {
	case <-node.Over():
	case <-node.Done():
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.nodes[region] != node {
		return
	}
	delete(u.nodes, region)
	err := node.Close()
	if err == nil {
		err = u.start(context.Background(), region)
	}
	if err != nil {
		u.deployment.log.Error("the region does not begin its new life", "region", region, "err", err)
	}
}

// onlyNode is the one node of a region under `up`.
func onlyNode(region chat.Region) chat.NodeRef {
	return chat.NodeRef{Region: region, Node: config.OnlyNode}
}

// rebind opens the same addresses again: clients know them.
func rebind(n config.Node) (ls listeners, err error) {
	defer func() {
		if err != nil {
			ls.close()
		}
	}()
	if ls.http, err = listenFree(n.HTTP, false); err != nil {
		return ls, err
	}
	if ls.admin, err = listenFree(n.Admin, false); err != nil {
		return ls, err
	}
	ls.backbone, err = listenFree(n.Backbone, false)
	return ls, err
}

func (u *up) cut(region, peer chat.Region, cut bool) error {
	peers := []chat.Region{peer}
	if peer == "" {
		peers = u.deployment.topology.Regions
	} else if _, ok := u.deployment.cfg.Region(peer); !ok || peer == region {
		return &chat.Error{Code: chat.CodeInvalid, Message: fmt.Sprintf("peer %q is not another region", peer)}
	}
	for _, p := range peers {
		if p == region {
			continue
		}
		if cut {
			u.deployment.simulated().Cut(region, p, true)
		} else {
			u.deployment.simulated().Heal(region, p)
		}
		for _, pair := range [][2]chat.Region{{region, p}, {p, region}} {
			if cut {
				u.cuts[pair] = true
			} else {
				delete(u.cuts, pair)
			}
		}
	}
	return nil
}
