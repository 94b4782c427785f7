package cassandra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gocql/gocql"
)

// change makes changes of the schema, in order, and returns when all nodes have them: who asks one that lacks a table, or writes to it, is
// refused. One node makes them all, whichever answers first, so that each stands on those before it, and only the last is waited for: gossip
// takes a second or two to tell of one. When that node goes away change fails. It changes nothing before all nodes agree on what was made so far:
// a second table of one name would take the place of the first.
func (s *Schema) change(ctx context.Context, from *gocql.Session, keyspace string, statements []string, before func(i int) error) error {
	it := durable(from.Query(selectOwnVersion)).WithContext(ctx).Iter()
	node := it.Host()
	if err := it.Close(); err != nil {
		return err
	}
	c := only(s.opts, keyspace, node)
	c.MaxWaitSchemaAgreement = 0 // gocql's own wait, after each statement
	session, err := c.CreateSession()
	if err != nil {
		return err
	}
	defer session.Close()
	if err := agree(ctx, session); err != nil {
		return err
	}
	for i, cql := range statements {
		if err := before(i); err != nil {
			return err
		}
		if err := durable(session.Query(cql)).WithContext(ctx).Exec(); err != nil {
			return fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return agree(ctx, session)
}

const (
	selectOwnVersion    = `SELECT schema_version FROM system.local`
	selectOtherVersions = `SELECT schema_version FROM system.peers_v2`
)

var errDiffer = errors.New("they have not yet")

// agree waits until the one node of a session has heard from all others that they have its schema.
func agree(ctx context.Context, session *gocql.Session) error {
	ctx, cancel := context.WithTimeout(ctx, schemaWait)
	defer cancel()
	for {
		alike, err := agreed(ctx, session)
		if alike {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(agreeEvery):
		}
		if ctx.Err() != nil || away(err) {
			return fmt.Errorf("waiting until all nodes have the schema: %w", cmp.Or(err, errDiffer))
		}
	}
}

// agreeEvery is how often a node is asked whether the others have its schema.
const agreeEvery = 100 * time.Millisecond

func agreed(ctx context.Context, session *gocql.Session) (bool, error) {
	var own gocql.UUID
	if err := durable(session.Query(selectOwnVersion)).WithContext(ctx).Scan(&own); err != nil {
		return false, err
	}
	alike, theirs := true, new(gocql.UUID)
	it := durable(session.Query(selectOtherVersions)).WithContext(ctx).Iter()
	for it.Scan(&theirs) {
		alike = alike && (theirs == nil || *theirs == own) // nil: a node that was never there
	}
	err := it.Close()
	return alike && err == nil, err
}
