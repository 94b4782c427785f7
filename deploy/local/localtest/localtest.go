// Package localtest gives tests real servers. A test binary starts each kind of cluster once, at the first test that asks;
// Main ends them all. A binary that dies takes them with it, and the next one clears away what they had written.
package localtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"meridian/deploy/local"
)

// Kind says what a shared Cassandra cluster is like. The zero value is as in production: authentication, TLS, batch.
type Kind struct {
	Open bool // without authentication and TLS: starts a second sooner
	Sync local.CommitLogSync
	// Nodes is 1 by default, with the replication factor 1; 3 start in about 15 s.
	Nodes int
}

// Datacenter is that of every shared cluster.
const Datacenter = "eu-west"

// shared is what the tests of this binary have in common.
var shared struct {
	mu       sync.Mutex
	dir      string
	unlock   func() // kept: a file that nobody refers to is closed, and its lock is gone
	clusters map[Kind]*local.Cassandra
	stops    []func() error
}

// Main runs the tests of a package that uses shared servers, ends the servers and removes what they wrote:
//
//	func TestMain(m *testing.M) { os.Exit(localtest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	var errs []error
	for _, stop := range shared.stops {
		errs = append(errs, stop())
	}
	if shared.dir != "" {
		errs = append(errs, os.RemoveAll(shared.dir))
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "localtest:", err)
		code = max(code, 1)
	}
	return code
}

// Cassandra gives this binary's cluster of the kind, started when it is asked for first. It stays for the other tests: who
// stops or kills a node starts it again, and who needs tables for itself makes a keyspace. Tests that need it are left out of
// runs with -short.
func Cassandra(t testing.TB, kind Kind) *local.Cassandra {
	t.Helper()
	notShort(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if c := shared.clusters[kind]; c != nil {
		return c
	}
	dir, err := sharedDir()
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.NewCassandra(t.Context(), local.CassandraOptions{
		Datacenter: Datacenter, Dir: filepath.Join(dir, fmt.Sprintf("cassandra%d", len(shared.clusters)+1)),
		Nodes: kind.Nodes, Open: kind.Open, CommitLogSync: kind.Sync, Progress: Progress,
	})
	if err != nil {
		t.Fatal(err)
	}
	shared.stops = append(shared.stops, c.Kill) // its data goes too: nothing has to be written
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if shared.clusters == nil {
		shared.clusters = make(map[Kind]*local.Cassandra)
	}
	shared.clusters[kind] = c
	return c
}

func notShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Cassandra takes some seconds: left out of -short")
	}
}

// Own starts a cluster for one test alone, which ends it. Where o names no directory it lies in a temporary one. Like Cassandra
// it is left out of runs with -short.
func Own(t testing.TB, o local.CassandraOptions) *local.Cassandra {
	t.Helper()
	notShort(t)
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Datacenter == "" {
		o.Datacenter = Datacenter
	}
	o.Progress = Progress
	c, err := local.NewCassandra(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Kill(); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// Progress shows what takes long while tests wait: fetching jars may take minutes.
func Progress(line string) { fmt.Fprintln(os.Stderr, "localtest: "+line) }

// sharedDir gives the directory of this binary's shared servers. The lock on its file owner lasts as long as the process: what
// lies in directories without one belongs to binaries that were killed, and is removed.
func sharedDir() (string, error) {
	if shared.dir != "" {
		return shared.dir, nil
	}
	old, err := filepath.Glob(filepath.Join(os.TempDir(), "meridian-localtest-*"))
	if err != nil {
		return "", err
	}
	for _, dir := range old {
		if unlock, ok := local.TryLock(filepath.Join(dir, "owner")); ok {
			_ = os.RemoveAll(dir) // a server that is still dying may write there: the next one clears it away
			unlock()
		}
	}
	made, err := os.MkdirTemp("", "meridian-starting-") // nobody takes it for one that was left before it has its lock
	if err != nil {
		return "", err
	}
	unlock, ok := local.TryLock(filepath.Join(made, "owner"))
	if !ok {
		return "", fmt.Errorf("the lock of %s is taken", made)
	}
	dir := strings.Replace(made, "meridian-starting-", "meridian-localtest-", 1)
	if err := os.Rename(made, dir); err != nil {
		return "", err
	}
	shared.dir, shared.unlock = dir, unlock
	return dir, nil
}
