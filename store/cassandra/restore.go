package cassandra

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// Occupied gives a table of the keyspace that has rows, but for those of the schema itself; "" where there is none, or no keyspace.
func (s *Schema) Occupied(ctx context.Context) (table string, err error) {
	session, err := cluster(s.opts, "").CreateSession()
	if err != nil {
		return "", openError("looking for rows", err)
	}
	defer session.Close()
	const find = `SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?`
	tables := durable(session.Query(find, s.opts.Keyspace)).WithContext(ctx).Iter()
	var names []string
	for name := ""; tables.Scan(&name); {
		if !strings.HasPrefix(name, "schema_") {
			names = append(names, name)
		}
	}
	if err := tables.Close(); err != nil {
		return "", openError("looking for tables", err)
	}
	for _, name := range names {
		if !plainName(name) {
			return name, nil // none of ours
		}
		rows := durable(session.Query(fmt.Sprintf(`SELECT * FROM "%s"."%s" LIMIT 1`, s.opts.Keyspace, name))).WithContext(ctx).Iter()
		some := rows.NumRows() > 0
		if err := rows.Close(); err != nil {
			return "", openError("looking for rows in "+name, err)
		}
		if some {
			return name, nil
		}
	}
	return "", nil
}

// Restored ends the import of a backup: what is in the keyspace must be the region's, and its positions in other regions' op logs become those of
// the backup's beginning. The tables of a snapshot are not of one moment: a later position would pass over ops of which it lacks the
// rows. The error has CodeInvalid where the keyspace holds nothing, or another region.
func (s *Schema) Restored(ctx context.Context, applied []chat.AppliedRow) error {
	const op = "cassandra.Restored"
	session, err := cluster(s.opts, s.opts.Keyspace).CreateSession()
	if err != nil {
		return openError("looking at what was imported", err)
	}
	defer session.Close()
	var value *int64
	var region string
	err = durable(session.Query(selectSelf, selfRegion)).WithContext(ctx).Scan(&value, &region)
	switch {
	case errors.Is(err, gocql.ErrNotFound):
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "after the import keyspace " + s.opts.Keyspace + " holds no region's rows"}
	case err != nil:
		return openError("looking at what was imported", err)
	case region != string(s.opts.Region):
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: fmt.Sprintf("what was imported into keyspace %s is region %s's", s.opts.Keyspace, region)}
	}
	// Rows with a smaller position would lose against those that are there.
	if err := durable(session.Query(`TRUNCATE applied`)).WithContext(ctx).Exec(); err != nil {
		return openError("winding back the positions", err)
	}
	for i := range applied {
		a := &applied[i]
		q := durable(session.Query(insertApplied, shardOne, string(a.Stream.Region), string(a.Stream.Node), int64(a.Stream.Incarnation),
			int64(a.Seq), int64(a.Watermark), max(fixed, int64(a.Seq))))
		if err := q.WithContext(ctx).Exec(); err != nil {
			return openError("winding back the positions", err)
		}
	}
	return nil
}
