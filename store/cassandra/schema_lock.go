package cassandra

import (
	"context"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

const (
	// schemaLease is how long who changes the schema keeps others from it without a word.
	schemaLease = 2 * time.Minute
	// schemaWait bounds the wait for another who changes it, and for the nodes to agree.
	schemaWait = 5 * time.Minute

	takeLock     = `INSERT INTO schema_lock (shard, holder) VALUES (?, ?) IF NOT EXISTS USING TTL ?`
	keepLock     = `UPDATE schema_lock USING TTL ? SET holder = ? WHERE shard = ? IF holder = ?`
	giveBackLock = `DELETE FROM schema_lock WHERE shard = ? IF holder = ?`
)

// schemaLock is the right to change the schema. It ends by itself when its holder dies.
type schemaLock struct {
	session *gocql.Session
	holder  gocql.UUID
	since   time.Time
}

// takeSchemaLock waits for the lock.
func takeSchemaLock(ctx context.Context, session *gocql.Session) (*schemaLock, error) {
	holder, err := gocql.RandomUUID()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, schemaWait)
	defer cancel()
	for {
		var had gocql.UUID
		var shard int
		l := &schemaLock{session: session, holder: holder, since: time.Now()}
		taken, err := durable(session.Query(takeLock, shardOne, holder, leaseSeconds)).WithContext(ctx).ScanCAS(&shard, &had)
		if err != nil && (ctx.Err() != nil || !again(err)) {
			return nil, openError("locking the schema", err)
		}
		if taken || had == holder {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, lockTaken(ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

const leaseSeconds = int(schemaLease / time.Second)

func lockTaken(cause error) error {
	return &chat.Error{Code: chat.CodeBusy, Op: "cassandra.Apply", Message: "another changes the schema", Cause: cause}
}

// keep makes the lock last, where a good part of its time is over, or always; it refuses who has waited for so long that another has taken it.
func (l *schemaLock) keep(ctx context.Context, always bool) error {
	if !always && time.Since(l.since) < schemaLease/4 {
		return nil
	}
	now := time.Now()
	kept, err := durable(l.session.Query(keepLock, leaseSeconds, l.holder, shardOne, l.holder)).WithContext(ctx).MapScanCAS(map[string]any{})
	if err != nil {
		return openError("keeping the schema's lock", err)
	}
	if !kept {
		return lockTaken(nil)
	}
	l.since = now
	return nil
}

// giveBack lets the next one take the lock at once; else it runs out.
func (l *schemaLock) giveBack() {
	var had gocql.UUID
	_, _ = durable(l.session.Query(giveBackLock, shardOne, l.holder)).ScanCAS(&had)
}
