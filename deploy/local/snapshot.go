package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Snapshot takes a snapshot of a keyspace on every node of the cluster and puts its files into dir, which it makes: NODE/TABLE/FILE.
// On the nodes nothing is left of it. An error leaves no dir.
func (c *Cassandra) Snapshot(ctx context.Context, keyspace, dir string) error {
	unfinished := dir + ".unfinished"
	if err := os.MkdirAll(unfinished, 0o700); err != nil {
		return err
	}
	name := fmt.Sprintf("meridian-%d", time.Now().UnixNano())
	var errs []error
	for i, node := range c.nodes {
		to := filepath.Join(unfinished, fmt.Sprintf("n%d", i+1))
		if _, err := node.Nodetool(ctx, "snapshot", "-t", name, keyspace); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, collect(filepath.Join(node.DataDir(), keyspace), name, to))
		_, err := node.Nodetool(ctx, "clearsnapshot", "-t", name, keyspace)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, os.RemoveAll(unfinished))
	}
	return os.Rename(unfinished, dir)
}

// collect copies the files of a snapshot of a keyspace's tables, TABLE-ID/snapshots/NAME/FILE, to to/TABLE/FILE.
func collect(keyspaceDir, name, to string) error {
	tables, err := os.ReadDir(keyspaceDir)
	if err != nil {
		return err
	}
	for _, table := range tables {
		from := filepath.Join(keyspaceDir, table.Name(), "snapshots", name)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		short, _, _ := strings.Cut(table.Name(), "-")
		if err := os.CopyFS(filepath.Join(to, short), os.DirFS(from)); err != nil {
			return err
		}
	}
	return nil
}

// Import brings the tables of a snapshot into a keyspace that has the same tables, beside what is in them. The snapshot stays as it is. Every
// node of the cluster is given every file: it takes what belongs to it.
func (c *Cassandra) Import(ctx context.Context, keyspace, dir string) error {
	sources, err := filepath.Glob(filepath.Join(dir, "n*", "*"))
	if err != nil || len(sources) == 0 {
		return errors.Join(err, fmt.Errorf("%s holds no snapshot: NODE/TABLE/FILE", dir))
	}
	tables := make(map[string][]string) // what the nodes had of each
	for _, source := range sources {
		data, err := filepath.Glob(filepath.Join(source, "*-Data.db"))
		if err != nil {
			return err
		}
		if len(data) > 0 { // it had rows
			tables[filepath.Base(source)] = append(tables[filepath.Base(source)], source)
		}
	}
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, node := range c.nodes {
		all.Go(func() {
			for _, table := range slices.Sorted(maps.Keys(tables)) {
				args := append([]string{"import", "--copy-data", keyspace, table}, tables[table]...)
				if _, errs[i] = node.Nodetool(ctx, args...); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
