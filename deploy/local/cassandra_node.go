package local

import (
	"bytes"
	"context"
	_ "embed" // configuration files
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"
)

var (
	//go:embed cassandra/cassandra.yaml.tmpl
	yamlText string
	//go:embed cassandra/logback.xml
	logback string

	yamlTemplate = template.Must(template.New("cassandra.yaml").Parse(yamlText))
)

// Bounds for a machine that is busy with other things: otherwise a start takes 3 to 15 s and a stop one, or ten where the
// archive of classes is written at it.
const (
	nodeReadyWithin = 4 * time.Minute
	nodeStopWithin  = 3 * time.Minute
)

// CassandraNode is one node of a cluster.
type CassandraNode struct {
	*Process

	Address string // of its two ports, StoragePort and NativePort
	cluster *Cassandra
	index   int
	dir     string
}

func newCassandraNode(c *Cassandra, index int, address string) *CassandraNode {
	name := "n" + strconv.Itoa(index+1)
	n := &CassandraNode{Address: address, cluster: c, index: index, dir: filepath.Join(c.o.Dir, name)}
	n.Process = New(Spec{
		Name: "cassandra", Dir: n.dir, Path: c.jars.java, Args: []string{"@" + n.conf("java.args")},
		Ready: n.ready, ReadyWithin: nodeReadyWithin, StopWithin: nodeStopWithin, Progress: c.o.Progress, Detached: c.o.Detached,
	})
	return n
}

func (n *CassandraNode) conf(name string) string { return filepath.Join(n.dir, "conf", name) }

// Start starts the node with its configuration written anew, and returns when one can log in at it.
func (n *CassandraNode) Start(ctx context.Context) error {
	if !n.Running() {
		if err := n.configure(); err != nil {
			return err
		}
	}
	if err := n.Process.Start(ctx); err != nil {
		return fmt.Errorf("%s (%s): %w", n.cluster.o.ClusterName, n.Address, err)
	}
	return nil
}

// Restart is Stop and Start.
func (n *CassandraNode) Restart(ctx context.Context) error {
	if err := n.Stop(); err != nil {
		return err
	}
	return n.Start(ctx)
}

// configure writes the files that the node reads at its start.
func (n *CassandraNode) configure() error {
	for _, dir := range []string{n.conf(""), filepath.Join(n.dir, "tmp")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	jmx, err := Port("127.0.0.1")
	if err != nil {
		return err
	}
	yaml, err := n.yaml()
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(n.conf("cassandra.yaml"), yaml),
		writeFile(n.conf("cassandra-rackdc.properties"), fmt.Sprintf("dc=%s\nrack=r%d\nprefer_local=false\n", n.cluster.o.Datacenter, n.index+1)),
		writeFile(n.conf("logback.xml"), logback),
		writeFile(n.conf("jmx.port"), strconv.Itoa(jmx)+"\n"),
		writeFile(n.conf("java.args"), argumentFile(n.flags(jmx))),
	)
}

func (n *CassandraNode) flags(jmx int) []string {
	o, j := n.cluster.o, n.cluster.jars
	flags := append(strings.Fields(serverFlags), moduleFlags()...)
	if o.Nodes == 1 || !n.cluster.state.SetUp {
		flags = append(flags, strings.Fields(emptyClusterFlags)...)
	}
	for _, jar := range j.list {
		if strings.HasPrefix(filepath.Base(jar), "jamm-") {
			flags = append(flags, "-javaagent:"+jar)
		}
	}
	flags = append(flags, strings.Fields(archiveFlags)...)
	if j.archive != "" {
		flags = append(flags, "-XX:SharedArchiveFile="+j.archive)
	}
	tmp := filepath.Join(n.dir, "tmp")
	flags = append(flags,
		"-Djava.io.tmpdir="+tmp, "-Djna.tmpdir="+tmp, "-Dcassandra.storagedir="+n.dir, "-Dcassandra.logdir="+n.dir,
		"-Dcassandra.config="+fileURL(n.conf("cassandra.yaml")), "-Dcassandra-rackdc.properties="+fileURL(n.conf("cassandra-rackdc.properties")),
		"-Dlogback.configurationFile="+n.conf("logback.xml"), "-Dcassandra.jmx.local.port="+strconv.Itoa(jmx),
		// Roles and the like on every node: what one node alone knew would be lost with it.
		"-Dcassandra.system_auth.default_rf="+strconv.Itoa(o.Nodes),
	)
	flags = append(flags, o.javaFlags...)
	return append(flags, "-cp", j.classPath(), "org.apache.cassandra.service.CassandraDaemon")
}

func fileURL(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

// yaml gives the node's cassandra.yaml.
func (n *CassandraNode) yaml() (string, error) {
	o := n.cluster.o
	seeds := o.Seeds
	if len(seeds) == 0 {
		seeds = n.cluster.state.Addresses
	}
	withPort := make([]string, len(seeds))
	for i, s := range seeds {
		withPort[i] = fmt.Sprintf("%s:%d", s, StoragePort)
	}
	in := func(name string) string { return filepath.Join(n.dir, name) }
	var b bytes.Buffer
	err := yamlTemplate.Execute(&b, map[string]any{
		"ClusterName": o.ClusterName, "InitialToken": n.cluster.initialToken(n.index), "Seeds": strings.Join(withPort, ","),
		"Address": n.Address, "StoragePort": StoragePort, "NativePort": NativePort,
		"Data": in("data"), "CommitLog": in("commitlog"), "Hints": in("hints"), "SavedCaches": in("saved_caches"), "CDC": in("cdc_raw"),
		"Sync": string(o.CommitLogSync), "Open": o.Open,
		"NodePEM": n.cluster.certs.node(n.Address), "CAPEM": n.cluster.certs.ca(),
	})
	return b.String(), err
}

// DataDir is where the node's tables lie: KEYSPACE/TABLE-ID, with snapshots below.
func (n *CassandraNode) DataDir() string { return filepath.Join(n.dir, "data") }

// Dir holds all that the node writes: data, commit log, hints, configuration, log.
func (n *CassandraNode) Dir() string { return n.dir }

// Nodetool runs one command of Cassandra's own tool (flush, snapshot, repair, status …) on the node and gives its output.
func (n *CassandraNode) Nodetool(ctx context.Context, command ...string) (string, error) {
	port, err := os.ReadFile(n.conf("jmx.port"))
	if err != nil {
		return "", err
	}
	args := append(strings.Fields(toolFlags), moduleFlags()...)
	args = append(args, "-Duser.home="+n.dir, "-Dlogback.configurationFile="+n.conf("logback.xml"), "-cp", n.cluster.jars.classPath(), "org.apache.cassandra.tools.NodeTool",
		"-h", "127.0.0.1", "-p", strings.TrimSpace(string(port)))
	out, err := exec.CommandContext(ctx, n.cluster.jars.java, append(args, command...)...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("nodetool %s: %w: %s", strings.Join(command, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}
