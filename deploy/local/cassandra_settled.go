package local

import (
	"context"
	"fmt"
	"time"

	"github.com/gocql/gocql"
)

// settleWithin bounds the wait for gossip: it takes some seconds, and a majority serves without it.
const settleWithin = time.Minute

// settled waits until each of several nodes has heard of all others: that they are up, and have the same schema. Before that a statement that
// needs a majority may be refused, and a client is not told of all nodes.
func (c *Cassandra) settled(ctx context.Context) error {
	if len(c.nodes) == 1 {
		return nil
	}
	a := c.Access()
	return c.each(func(n *CassandraNode) error {
		cfg, err := a.Config(a.Admin)
		if err != nil {
			return err
		}
		return patiently(ctx, settleWithin, func(ctx context.Context) error {
			return with(n.at(cfg), func(s *gocql.Session) error { return n.knowsAll(ctx, s) })
		})
	})
}

// knowsAll says what the node has yet to hear of the others.
func (n *CassandraNode) knowsAll(ctx context.Context, s *gocql.Session) error {
	var own, theirs gocql.UUID
	if err := s.Query("SELECT schema_version FROM system.local").WithContext(ctx).Scan(&own); err != nil {
		return err
	}
	alike := 1
	peers := s.Query("SELECT schema_version FROM system.peers_v2").WithContext(ctx).Iter()
	for peers.Scan(&theirs) {
		if theirs == own {
			alike++
		}
	}
	if err := peers.Close(); err != nil {
		return err
	}
	if all := len(n.cluster.nodes); alike < all {
		return fmt.Errorf("%s knows of %d nodes of %d with its schema", n.Address, alike, all)
	}
	// At ALL the roles are read from every node, and refused at once if one is not known to be up.
	return s.Query("SELECT role FROM system_auth.roles WHERE role = ?", defaultRole).Consistency(gocql.All).WithContext(ctx).Exec()
}
