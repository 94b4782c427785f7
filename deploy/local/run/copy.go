package main

import (
	"context"
	"fmt"
	"path/filepath"

	"meridian/deploy/local"
)

// cluster gives the cluster of a region that has servers in dir.
func cluster(ctx context.Context, dir, region string) (*local.Cassandra, error) {
	if _, err := access(dir, region); err != nil {
		return nil, err
	}
	dir, err := local.UpDir(dir)
	if err != nil {
		return nil, err
	}
	return local.NewCassandra(ctx, local.CassandraOptions{Datacenter: region, Dir: filepath.Join(dir, region, "cassandra")})
}

// copyFiles takes a snapshot of a keyspace of a region's cluster, or imports one: REGION KEYSPACE DIR.
func copyFiles(ctx context.Context, dir, verb string, args []string) error {
	if len(args) != 3 || !filepath.IsAbs(args[2]) {
		return fmt.Errorf("usage: deploy/local/%s REGION KEYSPACE DIR, the last as an absolute path", verb)
	}
	c, err := cluster(ctx, dir, args[0])
	if err != nil {
		return err
	}
	if verb == "snapshot" {
		return c.Snapshot(ctx, args[1], args[2])
	}
	return c.Import(ctx, args[1], args[2])
}
