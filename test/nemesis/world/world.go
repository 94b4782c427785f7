// Package world runs a deployment as processes of bin/meridian, each in a network namespace of its own, and lets a test kill,
// stop, cut off and starve them from outside. Where the machine allows no namespaces the processes share the loopback network
// and only the backbone can be cut, by the nodes' own admin calls: Limits says so.
package world

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	"meridian/test/nemesis/netns"
)

// Plan says what to run.
type Plan struct {
	// Binary is the program.
	Binary string
	// Nodes is how many each region has. Several share a store, which is one process more in each region.
	Nodes int
	// Services is what each node runs; one that is not listed runs everything.
	Services map[chat.NodeID][]chat.Service
	// Ack is the level of zone world.
	Ack chat.AckLevel
	// SmallDisk is a region whose data lies on a disk of SmallDiskBytes; empty: none.
	SmallDisk chat.Region
	// Real gives each region a Cassandra cluster for its store.
	Real bool
	// Log is told what happens, in lines.
	Log func(format string, args ...any)
}

// SmallDiskBytes is the size of the small disk.
const SmallDiskBytes = 192 << 20

// World is a running deployment.
type World struct {
	Config *config.Config
	// Limits says why not everything can be done on this machine; "" when it can.
	Limits string

	plan  Plan
	dir   string
	file  string
	net   *netns.Net // nil without namespaces
	hosts map[chat.NodeRef]*netns.Host
	disk  string // where the small disk is mounted; "": nowhere
	// clusters are the regions' stores with Plan.Real.
	clusters map[chat.Region]*local.Cassandra

	mu        sync.Mutex
	processes map[chat.NodeRef]*process
	// exits are processes that ended without having been told to.
	exits []string
}

const readyTimeout = 2 * time.Minute

// Start makes the network and the configuration in dir and starts every node. On an error nothing is left running.
func Start(dir string, plan Plan) (*World, error) {
	w := &World{plan: plan, dir: dir, hosts: make(map[chat.NodeRef]*netns.Host), processes: make(map[chat.NodeRef]*process)}
	err := w.prepare()
	for _, region := range Regions() { // together: whoever comes first makes the keys that all of them read
		for _, ref := range w.ProcessesOf(region) {
			if err == nil {
				err = w.Launch(ref, Launch{})
			}
		}
	}
	for _, ref := range w.Nodes() {
		if err == nil {
			err = w.WaitReady(ref, readyTimeout)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, w.Logs())
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *World) prepare() error {
	var err error
	if w.plan.Real {
		w.Limits = "the clusters listen on the loopback network: only links between regions can be cut, both ways"
	} else if w.net, err = netns.New(); err != nil {
		w.Limits = "no network namespaces (" + err.Error() + "): only links between regions can be cut, both ways"
	}
	for i, region := range Regions() {
		for j, ref := range w.ProcessesOf(region) {
			host := &netns.Host{Addr: fmt.Sprintf("127.77.%d.%d", i+1, j+1)}
			if w.net != nil {
				if host, err = w.net.Host(i+1, j+1); err != nil {
					return err
				}
			}
			w.hosts[ref] = host
		}
	}
	if err := os.MkdirAll(w.dataDir(), 0o700); err != nil {
		return err
	}
	if w.plan.SmallDisk != "" {
		if err := w.mountSmallDisk(); err != nil {
			w.Limits = fmt.Sprintf("%s; no small disk: %v", w.Limits, err)
		}
	}
	if !w.plan.Real {
		return w.configure()
	}
	ctx, cancel := context.WithTimeout(context.Background(), realStart)
	defer cancel()
	if err := w.startClusters(ctx); err != nil {
		return err
	}
	if err := w.configure(); err != nil {
		return err
	}
	return w.makeTables(ctx)
}

func (w *World) dataDir() string { return filepath.Join(w.dir, "data") }

// DataDir is where a region keeps its data.
func (w *World) DataDir(region chat.Region) string { return filepath.Join(w.dataDir(), string(region)) }

func (w *World) outside() string {
	if w.net == nil {
		return "127.0.0.1"
	}
	return w.net.Outside().Addr
}

func (w *World) cidr() string {
	if w.net == nil {
		return "127.0.0.0/8"
	}
	return w.net.CIDR()
}

// Nodes lists every node, region by region.
func (w *World) Nodes() []chat.NodeRef {
	var all []chat.NodeRef
	for _, region := range Regions() {
		all = append(all, w.NodesOf(region)...)
	}
	return all
}

// NodesOf lists the nodes of a region.
func (w *World) NodesOf(region chat.Region) []chat.NodeRef {
	var all []chat.NodeRef
	for _, node := range w.nodesOf(region) {
		all = append(all, chat.NodeRef{Region: region, Node: node})
	}
	return all
}

// StoreOf names the process of a region's store; false where the store lives in the one node.
func (w *World) StoreOf(region chat.Region) (chat.NodeRef, bool) {
	return chat.NodeRef{Region: region, Node: StoreNode}, w.plan.Nodes > 1 || w.plan.Real
}

// ProcessesOf lists every process of a region, in the order in which they start: its store, then its nodes.
func (w *World) ProcessesOf(region chat.Region) []chat.NodeRef {
	var all []chat.NodeRef
	if store, ok := w.StoreOf(region); ok {
		all = append(all, store)
	}
	return append(all, w.NodesOf(region)...)
}

// Processes lists every process.
func (w *World) Processes() []chat.NodeRef {
	var all []chat.NodeRef
	for _, region := range Regions() {
		all = append(all, w.ProcessesOf(region)...)
	}
	return all
}

// URL is where clients reach a node.
func (w *World) URL(ref chat.NodeRef) string {
	return "http://" + w.addresses(ref.Region, ref.Node)["http"]
}

// NodeAt gives the node of a URL that clients use.
func (w *World) NodeAt(url string) (chat.NodeRef, bool) {
	i := slices.IndexFunc(w.Nodes(), func(ref chat.NodeRef) bool { return w.URL(ref) == url })
	if i < 0 {
		return chat.NodeRef{}, false
	}
	return w.Nodes()[i], true
}

var probe = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Ready says whether a node answers that it serves, or a store that it is there.
func (w *World) Ready(ref chat.NodeRef) bool {
	if c := w.cluster(ref); c != nil {
		return c.Running()
	}
	if ref.Node == StoreNode {
		conn, err := net.DialTimeout("tcp", w.storeAddress(ref.Region), time.Second)
		if err == nil {
			_ = conn.Close() // it was there
		}
		return err == nil
	}
	answer, err := probe.Get(w.URL(ref) + "/readyz")
	if err != nil {
		return false
	}
	_ = answer.Body.Close() // only the status counts
	return answer.StatusCode == http.StatusOK
}

// WaitReady waits until a node serves.
func (w *World) WaitReady(ref chat.NodeRef, limit time.Duration) error {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if w.Ready(ref) {
			return nil
		}
	}
	status, err := w.Admin(ref, http.MethodGet, "/v1/admin/status")
	if err != nil {
		status = err.Error()
	}
	return fmt.Errorf("%s does not serve after %v: %s", ref, limit, status)
}

// Close ends every process and takes the network down.
func (w *World) Close() {
	for _, ref := range w.Processes() {
		w.Kill(ref)
	}
	if w.disk != "" {
		w.unmountSmallDisk()
	}
	if w.net != nil {
		w.net.Close()
	}
}
