package postgres

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"meridian/chat"
)

// The defaults and bounds of Options.
const (
	// DefaultMaxConns is the pool's size: PostgreSQL forks a process for each, and reads take a fraction of a millisecond.
	DefaultMaxConns = 8
	// MaxConnsMax bounds it; a server takes 100 by default, for all nodes together.
	MaxConnsMax = 1000
	// DefaultTimeout bounds one call, waiting for a connection included.
	DefaultTimeout = 3 * time.Second

	// connectTimeout bounds the opening of one connection.
	connectTimeout = 2 * time.Second
	// connLifetime renews connections, so that a change of the server's settings is noticed.
	connLifetime = 30 * time.Minute
	connIdle     = 5 * time.Minute
	// migrateTimeout bounds the migrations at start, the wait for another node's included.
	migrateTimeout = 30 * time.Second
	// retryAfter is told to who meets a server that does not answer.
	retryAfter = 2 * time.Second
	// maxOwners bounds one page of AccountOwners.
	maxOwners = 1000
)

// Options of a Store.
type Options struct {
	// URL is where the server is, as postgres://user:password@host:port/database?sslmode=…; it may hold a password, and is
	// never logged. Password and TLS, if set, stand before what it says; TLS without a ServerName expects the host's name.
	URL      string
	Password string
	TLS      *tls.Config
	// Lazy takes a server that does not answer at Open: it is prepared when it does, and calls are refused until then. What an
	// operator must put right (a password, a schema, a server that does not sync) is refused all the same.
	Lazy bool
	// MaxConns bounds the pool; 0: DefaultMaxConns.
	MaxConns int
	// Timeout bounds each call; 0: DefaultTimeout.
	Timeout time.Duration
	// Log, if set, is told of migrations.
	Log *slog.Logger
}

func (o *Options) fill() {
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// pool gives the configuration of the connections.
func (o *Options) pool() (*pgxpool.Config, error) {
	if o.MaxConns < 1 || o.MaxConns > MaxConnsMax {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "postgres.Open", Message: "MaxConns is out of bounds: 1 to 1000"}
	}
	c, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "postgres.Open", Message: "the URL is not one of PostgreSQL: postgres://user@host:port/database"}
	}
	c.MaxConns = int32(o.MaxConns)
	c.MinConns = 0
	c.MaxConnLifetime, c.MaxConnIdleTime, c.MaxConnLifetimeJitter = connLifetime, connIdle, connLifetime/10
	c.ConnConfig.ConnectTimeout = connectTimeout
	if o.Password != "" {
		c.ConnConfig.Password = o.Password
	}
	if o.TLS != nil {
		c.ConnConfig.TLSConfig, c.ConnConfig.Fallbacks = o.TLS.Clone(), nil // never without it
		if c.ConnConfig.TLSConfig.ServerName == "" {
			c.ConnConfig.TLSConfig.ServerName = c.ConnConfig.Host
		}
	}
	params := c.ConnConfig.RuntimeParams
	params["application_name"] = "meridian"
	params["timezone"] = "UTC"
	// The server gives up on what the caller has given up on.
	params["statement_timeout"] = milliseconds(o.Timeout)
	params["idle_in_transaction_session_timeout"] = milliseconds(migrateTimeout)
	c.AfterConnect = refuseUnsynced
	return c, nil
}
