package cassandra

import "github.com/gocql/gocql"

// The consistency of all statements, in this one place: a majority of the region's own replicas, and nothing of other regions,
// which are clusters of their own. It is no option: everything else would break "what is acknowledged is durable" or "what
// was read stays".
const (
	consistency       = gocql.LocalQuorum
	serialConsistency = gocql.LocalSerial
)

// durable sets what every statement goes by.
func durable(q *gocql.Query) *gocql.Query {
	return q.Consistency(consistency).SerialConsistency(serialConsistency).DefaultTimestamp(false).NoSkipMetadata()
}

func durableBatch(b *gocql.Batch) *gocql.Batch {
	b.SetConsistency(consistency)
	return b.SerialConsistency(serialConsistency).DefaultTimestamp(false)
}

// serial reads what conditional writes decide on: it sees, or ends, those under way.
func serial(q *gocql.Query) *gocql.Query {
	return durable(q).Consistency(gocql.Consistency(serialConsistency))
}
