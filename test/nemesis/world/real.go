package world

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
)

// With Plan.Real each region's store is a Cassandra cluster of its own, of one node, in the place of the store's process: it is started,
// killed and frozen like one. Everything shares the loopback network then, which is where the clusters listen.

// realStart bounds the start of a cluster, on a machine that does other things too.
const realStart = 2 * time.Minute

// startClusters starts a cluster for each region, all at once, and makes their tables.
func (w *World) startClusters(ctx context.Context) error {
	w.clusters = make(map[chat.Region]*local.Cassandra)
	started := make(chan error, len(places))
	for _, region := range Regions() {
		c, err := local.NewCassandra(ctx, local.CassandraOptions{
			Datacenter: string(region), Dir: filepath.Join(w.DataDir(region), "cassandra"), Progress: func(line string) { w.plan.Log("%s", line) },
		})
		if err != nil {
			return err
		}
		w.clusters[region] = c
	}
	for _, c := range w.clusters {
		go func() { started <- c.Start(ctx) }()
	}
	var failed error
	for range w.clusters {
		if err := <-started; err != nil {
			failed = err
		}
	}
	return failed
}

// makeTables applies the schema of every region, as an operator does.
func (w *World) makeTables(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, w.plan.Binary, "schema", "apply", "--config", w.file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("meridian schema apply: %w: %s", err, out)
	}
	return nil
}

// cassandra gives the section of a region's configuration.
func (w *World) cassandra(region chat.Region) map[string]any {
	a := w.clusters[region].Access()
	return map[string]any{
		"hosts": a.Hosts, "keyspace": a.Keyspace, "replicas": a.Replication,
		"user": a.App.User, "password_file": a.App.PasswordFile, "owner": a.Owner.User, "owner_password_file": a.Owner.PasswordFile,
		"ca_file": a.TLS.CA, "cert_file": a.TLS.Cert, "key_file": a.TLS.Key,
	}
}

// cluster gives the cluster that stands for a process; nil for all others.
func (w *World) cluster(ref chat.NodeRef) *local.Cassandra {
	if ref.Node != StoreNode {
		return nil
	}
	return w.clusters[ref.Region]
}
