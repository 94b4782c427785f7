package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Ports of every Cassandra node, as in production: nodes differ by their addresses.
const (
	StoragePort = 7000 // between the nodes of a cluster
	NativePort  = 9042 // for clients
)

// CommitLogSync says when a node acknowledges a write.
type CommitLogSync string

// With SyncBatch and SyncGroup an acknowledged write is synced to the disk; with SyncPeriodic, Cassandra's own default, it is
// up to ten seconds later: only to test that Meridian refuses it.
const (
	SyncBatch    CommitLogSync = "batch"
	SyncGroup    CommitLogSync = "group"
	SyncPeriodic CommitLogSync = "periodic"
)

// CassandraOptions says what a cluster is like. Datacenter and Dir are required.
type CassandraOptions struct {
	Datacenter  string // the region's name
	ClusterName string // default meridian-DATACENTER
	// Dir holds everything of the cluster: n1, n2 … for the nodes, certs, secrets. A cluster that lies there already is gone on
	// with; its addresses stay.
	Dir string
	// Nodes is the number of nodes, and the replication factor; 0: as many as the cluster in Dir has, or one.
	Nodes int
	// Open leaves authentication and TLS away.
	Open          bool
	CommitLogSync CommitLogSync // default SyncBatch
	Keyspaces     []string      // made at the first start, with the rights for the roles; default: Keyspace
	// Seeds are addresses of nodes that a first start asks; default: the cluster's own.
	Seeds    []string
	Cache    string // where the jars are, see Install
	Detached bool   // see Spec
	Progress Progress

	javaFlags []string // added for one start that records its classes
}

// Keyspace is what a cluster has when its options name no other.
const Keyspace = "meridian"

// Cassandra is one region's cluster on this machine.
type Cassandra struct {
	o     CassandraOptions
	jars  *jars
	certs certs
	nodes []*CassandraNode

	mu    sync.Mutex // one start or stop at a time
	state clusterState
}

// clusterState is what Dir/cluster.json keeps of a cluster.
type clusterState struct {
	Addresses []string `json:"addresses"`
	Open      bool     `json:"open"`
	// SetUp: roles and keyspaces are there. A cluster without is begun anew.
	SetUp bool `json:"set_up"`
}

// NewCassandra prepares a cluster: jars, addresses, certificates, passwords. It starts nothing; nodes that run already in Dir
// are taken for the cluster's.
func NewCassandra(ctx context.Context, o CassandraOptions) (*Cassandra, error) {
	j, err := install(ctx, o.Cache, o.Progress)
	if err != nil {
		return nil, err
	}
	return newCassandra(j, o)
}

func newCassandra(j *jars, o CassandraOptions) (*Cassandra, error) {
	if o.Datacenter == "" || o.Dir == "" {
		return nil, errors.New("cassandra: options without a datacenter or a directory")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	o.ClusterName = cmp.Or(o.ClusterName, "meridian-"+o.Datacenter)
	o.CommitLogSync = cmp.Or(o.CommitLogSync, SyncBatch)
	if len(o.Keyspaces) == 0 {
		o.Keyspaces = []string{Keyspace}
	}
	c := &Cassandra{o: o, jars: j, certs: certs{dir: filepath.Join(dir, "certs")}}
	if err := c.load(); err != nil {
		return nil, err
	}
	for i, addr := range c.state.Addresses {
		c.nodes = append(c.nodes, newCassandraNode(c, i, addr))
	}
	if o.Open {
		return c, nil
	}
	return c, c.certs.make(o.ClusterName, c.state.Addresses)
}

func (c *Cassandra) stateFile() string { return filepath.Join(c.o.Dir, "cluster.json") }

// load reads what is known of the cluster, or gives it addresses.
func (c *Cassandra) load() error {
	b, err := os.ReadFile(c.stateFile())
	if err == nil {
		if err := json.Unmarshal(b, &c.state); err != nil {
			return fmt.Errorf("%s: %w", c.stateFile(), err)
		}
		if c.o.Nodes == 0 {
			c.o.Nodes = len(c.state.Addresses)
		}
		if len(c.state.Addresses) != c.o.Nodes || c.state.Open != c.o.Open {
			return fmt.Errorf("%s holds a cluster of %d nodes (open: %v), not of %d (open: %v): remove it, or choose another directory",
				c.o.Dir, len(c.state.Addresses), c.state.Open, c.o.Nodes, c.o.Open)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c.o.Nodes, c.state.Open = max(c.o.Nodes, 1), c.o.Open
	for range c.o.Nodes {
		addr, err := Address(StoragePort, NativePort)
		if err != nil {
			return err
		}
		c.state.Addresses = append(c.state.Addresses, addr)
	}
	if err := os.MkdirAll(c.o.Dir, 0o700); err != nil {
		return err
	}
	return c.save()
}

func (c *Cassandra) save() error {
	b, err := json.MarshalIndent(c.state, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(c.stateFile(), string(b)+"\n")
}

// Nodes gives the cluster's nodes, each of which can be stopped, killed, frozen and started by itself.
func (c *Cassandra) Nodes() []*CassandraNode { return c.nodes }

// Start starts the nodes that do not run, side by side, and returns when each lets us log in and knows that the others are up, or after a
// minute of that all the same: a majority serves. The first start makes the roles and keyspaces.
func (c *Cassandra) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	started := time.Now()
	if err := c.startOrBegin(ctx); err != nil {
		return err
	}
	c.o.Progress.say("cassandra: ready after %.1f s, %d node(s)", time.Since(started).Seconds(), len(c.nodes))
	return nil
}

func (c *Cassandra) startOrBegin(ctx context.Context) error {
	if !c.state.SetUp {
		return c.begin(ctx)
	}
	if err := c.startNodes(ctx); err != nil {
		return err
	}
	if err := c.settled(ctx); err != nil {
		c.o.Progress.say("cassandra: not all nodes know of each other after %v: %v", settleWithin, err)
	}
	return nil
}

func (c *Cassandra) startNodes(ctx context.Context) error {
	return c.each(func(n *CassandraNode) error { return n.Start(ctx) })
}

// begins is how often an empty cluster is begun. Nodes that are all new and start at once now and then do not find each other, and stay so:
// there is nothing in them to lose yet.
const begins = 3

// begin starts a cluster that holds nothing yet.
func (c *Cassandra) begin(ctx context.Context) error {
	for try := 1; ; try++ {
		if err := c.startEmpty(ctx); err != nil {
			return err
		}
		err := c.settled(ctx)
		if err == nil || try == begins {
			break
		}
		c.o.Progress.say("cassandra: new nodes have not found each other after %v, beginning anew: %v", settleWithin, err)
	}
	c.state.SetUp = true
	return c.save()
}

// startEmpty starts the nodes with nothing in them, and makes the roles and keyspaces.
func (c *Cassandra) startEmpty(ctx context.Context) error {
	if err := c.wipe(); err != nil {
		return err
	}
	if err := c.startNodes(ctx); err != nil {
		return err
	}
	if err := c.setUp(ctx); err != nil {
		return fmt.Errorf("cassandra %s: %w", c.o.ClusterName, err)
	}
	return nil
}

// wipe clears away what a first start that was broken off has left.
func (c *Cassandra) wipe() error {
	return c.each(func(n *CassandraNode) error {
		return errors.Join(n.Kill(), os.RemoveAll(n.dir))
	})
}

// Stop ends all nodes in order (SIGTERM): what was acknowledged is in the commit log either way.
func (c *Cassandra) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.each(func(n *CassandraNode) error { return n.Stop() })
}

// Kill ends all nodes by SIGKILL.
func (c *Cassandra) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.each(func(n *CassandraNode) error { return n.Kill() })
}

// Running says whether every node runs.
func (c *Cassandra) Running() bool {
	for _, n := range c.nodes {
		if !n.Running() {
			return false
		}
	}
	return true
}

func (c *Cassandra) each(do func(*CassandraNode) error) error {
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() { errs[i] = do(n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// initialToken spreads a cluster's nodes evenly over the ring, so that three empty ones may start at once.
func (c *Cassandra) initialToken(i int) string {
	if c.o.Nodes == 1 {
		return ""
	}
	step := ^uint64(0)/uint64(c.o.Nodes) + 1
	return strconv.FormatInt(int64(step*uint64(i)-1<<63), 10) //nolint:gosec // wraps around the ring by design
}
