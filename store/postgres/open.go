package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"meridian/chat"
)

// Store is a chat.AccountStore.
type Store struct {
	pool    *pgxpool.Pool
	timeout time.Duration
}

// Open connects, refuses a server that acknowledges what is not on its disk, and brings the schema up to date. Errors: CodeInvalid for
// a configuration that can never work (a wrong URL, a server that does not sync), CodeUpgradePending for a schema that a newer
// build has made, CodeRegionDegraded with RetryAfter when the server does not answer or refuses the user.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.fill()
	c, err := o.pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, failure("postgres.Open", err, false)
	}
	s := &Store{pool: pool, timeout: o.Timeout}
	if err := migrate(ctx, pool, migrations, o.Log); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

// refuseUnsynced keeps the pool from using a connection whose commits are not on disk when they are acknowledged. It is asked
// of every new connection: a user or a database may have settings of its own.
func refuseUnsynced(ctx context.Context, conn *pgx.Conn) error {
	var fsync, commit, pages string
	err := conn.QueryRow(ctx, `SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes')`).
		Scan(&fsync, &commit, &pages)
	if err != nil {
		return err
	}
	for _, setting := range []struct{ name, value string }{{"fsync", fsync}, {"synchronous_commit", commit}, {"full_page_writes", pages}} {
		if setting.value == "off" {
			return &chat.Error{
				Code: chat.CodeInvalid, Op: "postgres.Open",
				Message: fmt.Sprintf("PostgreSQL runs with %s=off and may lose what it has acknowledged: set %s=on", setting.name, setting.name),
			}
		}
	}
	return nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// within bounds a call by the store's time-out.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// Stat describes the pool, for metrics: connections in use and open.
func (s *Store) Stat() (used, open int) {
	st := s.pool.Stat()
	return int(st.AcquiredConns()), int(st.TotalConns())
}

// Close implements chat.AccountStore.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}
