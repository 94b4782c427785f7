package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"meridian/chat"
)

// Store is a chat.AccountStore.
type Store struct {
	pool    *pgxpool.Pool
	timeout time.Duration
	log     *slog.Logger

	preparing sync.Mutex
	prepared  atomic.Bool
}

// Open connects, refuses a server that acknowledges what is not on its disk, and brings the schema up to date. Errors: CodeInvalid for
// a configuration that can never work (a wrong URL, a server that does not sync or is not trusted), CodeUpgradePending for a schema that a newer
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
	s := &Store{pool: pool, timeout: o.Timeout, log: o.Log}
	err = s.prepare(ctx)
	if err == nil || o.Lazy && mayCome(err) {
		return s, nil
	}
	pool.Close()
	if chat.Untrusted(err) != "" {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "postgres.Open", Message: chat.AsError(err).Message, Cause: err}
	}
	return nil, err
}

// prepare brings the schema up to date, once.
func (s *Store) prepare(ctx context.Context) error {
	if s.prepared.Load() {
		return nil
	}
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if s.prepared.Load() {
		return nil
	}
	err := migrate(ctx, s.pool, migrations, s.log)
	s.prepared.Store(err == nil)
	return err
}

// mayCome says that the server is away, and nothing that it said itself needs an operator.
func mayCome(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return strings.HasPrefix(pg.Code, "57") || strings.HasPrefix(pg.Code, "53") // starting, stopping, too many connections
	}
	return chat.CodeOf(err) == chat.CodeRegionDegraded && chat.Untrusted(err) == ""
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

// begin bounds a call by the store's time-out, and prepares a server that was away when the store was opened.
func (s *Store) begin(ctx context.Context, op string) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	if err := s.prepare(ctx); err != nil {
		cancel()
		return nil, nil, &chat.Error{
			Code: chat.CodeRegionDegraded, Op: op, Message: "the account store cannot be worked with yet", Cause: err, RetryAfter: retryAfter,
		}
	}
	return ctx, cancel, nil
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
