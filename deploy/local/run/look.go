package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"meridian/deploy/local"
)

// nodetool runs Cassandra's tool on a node: REGION, or REGION/nN for another than the first, then the tool's own arguments.
func nodetool(ctx context.Context, dir string, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: deploy/local/nodetool REGION[/n1] COMMAND…")
	}
	region, node, given := strings.Cut(args[0], "/")
	c, err := cluster(ctx, dir, region)
	if err != nil {
		return err
	}
	index := 1
	if given {
		if index, err = strconv.Atoi(strings.TrimPrefix(node, "n")); err != nil || index < 1 || index > len(c.Nodes()) {
			return fmt.Errorf("%s has nodes n1 to n%d, no %q", region, len(c.Nodes()), node)
		}
	}
	out, err := c.Nodes()[index-1].Nodetool(ctx, args[1:]...)
	if err == nil {
		fmt.Print(out)
	}
	return err
}

func access(dir, region string) (local.CassandraAccess, error) {
	d, err := local.Load(dir)
	if err != nil {
		return local.CassandraAccess{}, err
	}
	r, ok := d.Regions[region]
	if !ok {
		return local.CassandraAccess{}, fmt.Errorf("no region %q has servers here", region)
	}
	return r.Cassandra, nil
}

// cql sends one statement to a region's cluster and prints the rows, a line each.
func cql(dir, as string, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: deploy/local/cql [--as app|owner|admin] REGION STATEMENT")
	}
	a, err := access(dir, args[0])
	if err != nil {
		return err
	}
	login := map[string]*local.Login{"app": a.App, "owner": a.Owner, "admin": a.Admin}[as]
	if login == nil {
		return fmt.Errorf("no role %q; known: app, owner, admin", as)
	}
	cfg, err := a.Config(login)
	if err != nil {
		return err
	}
	session, err := cfg.CreateSession()
	if err != nil {
		return err
	}
	defer session.Close()
	rows := session.Query(args[1]).Iter()
	for row := make(map[string]any); rows.MapScan(row); row = make(map[string]any) {
		for i, column := range rows.Columns() {
			if i > 0 {
				fmt.Print("\t")
			}
			if b, ok := row[column.Name].([]byte); ok {
				fmt.Printf("%s=0x%x", column.Name, b)
			} else {
				fmt.Printf("%s=%v", column.Name, row[column.Name])
			}
		}
		fmt.Println()
	}
	return rows.Close()
}
