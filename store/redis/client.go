package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"meridian/chat"
)

const (
	// DefaultTimeout bounds a call unless Options say otherwise.
	DefaultTimeout = 100 * time.Millisecond
	// DefaultCacheBytes bounds what the node keeps in memory of the cache.
	DefaultCacheBytes = 16 << 20
	// DefaultMaxJobs bounds the jobs in a queue.
	DefaultMaxJobs = 100_000
	// openAfter failed calls in a row open the circuit; a connection that fails opens it at once.
	openAfter = 3
	// probeEvery is how often the server is looked at: what another node deleted while the server hung is shown no longer than
	// this and a time-out. probeOpenEvery is the same while the circuit is open.
	probeEvery     = 500 * time.Millisecond
	probeOpenEvery = 100 * time.Millisecond
	// dialTimeout bounds a new connection with its log-in; it is waited for by the probe only.
	dialTimeout = 2 * time.Second
	// deadAfter is how long a connection may be silent with something asked before it is given up; it is no shorter than a call may wait.
	deadAfter = 2 * time.Second
	keepAlive = time.Second
)

// Metrics counts by names of the project's list.
type Metrics interface {
	Count(name string, labels ...string)
	Set(name string, value float64, labels ...string)
	Observe(name string, value float64, labels ...string)
}

// Options make a Client. Addresses, Region, Log and Metrics are needed.
type Options struct {
	// Addresses are host:port of one server, or of some of a Redis Cluster.
	Addresses          []string
	Username, Password string
	TLS                *tls.Config // nil: none
	// Region begins all keys: two regions that share a server by mistake do not see each other's.
	Region chat.Region
	// Timeout bounds each call; a blocking Take may wait longer, as long as it was told.
	Timeout    time.Duration
	CacheBytes int
	MaxJobs    int
	Log        *slog.Logger
	Metrics    Metrics
}

// Status is how a client finds its server.
type Status struct {
	Up bool `json:"up"`
	// Error says why not.
	Error string `json:"error,omitempty"`
	// Since is when that began.
	Since time.Time `json:"since"`
	// PendingDeletes counts what is to be deleted from the shared cache when the server answers.
	PendingDeletes int `json:"pending_deletes,omitempty"`
}

// Client is a node's connection to its region's Redis. It is safe for concurrent use.
type Client struct {
	opt    Options
	prefix string

	conn     atomic.Pointer[rueidis.Client] // nil until the first connection
	up       atomic.Bool
	failures atomic.Int32
	// dials counts connections: a new one may lead to another server, or to one that has come back old.
	dials atomic.Uint64
	epoch atomic.Pointer[epoch]
	kick  chan struct{} // asks for a probe at once

	mu    sync.Mutex
	err   error
	since time.Time

	cache *Cache
	ctx   context.Context
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// epoch is one life of the server, as of a number of connections.
type epoch struct {
	id    string
	dials uint64
}

// Open makes a client, which connects in the background: it works, degraded, without a server. The error has CodeInvalid for
// options that make no sense.
func Open(opt Options) (*Client, error) {
	if len(opt.Addresses) == 0 || opt.Region == "" || opt.Log == nil || opt.Metrics == nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "redis.Open", Message: "addresses, region, log and metrics are needed"}
	}
	if opt.Timeout <= 0 {
		opt.Timeout = DefaultTimeout
	}
	if opt.CacheBytes <= 0 {
		opt.CacheBytes = DefaultCacheBytes
	}
	if opt.MaxJobs <= 0 {
		opt.MaxJobs = DefaultMaxJobs
	}
	c := &Client{opt: opt, prefix: "meridian:" + string(opt.Region) + ":", kick: make(chan struct{}, 1), since: time.Now(), err: errNotYet}
	c.cache = newCache(c)
	c.ctx, c.stop = context.WithCancel(context.Background())
	opt.Metrics.Set("redis_up", 0)
	c.done.Go(c.watch)
	return c, nil
}

// Close ends the client; what is under way fails.
func (c *Client) Close() {
	c.stop()
	c.done.Wait()
	if conn := c.conn.Load(); conn != nil {
		(*conn).Close()
	}
}

// Status gives how the server is found.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Up: c.up.Load(), Since: c.since, PendingDeletes: c.cache.pendingCount()}
	if c.err != nil && !s.Up {
		s.Error = c.err.Error()
	}
	return s
}

// connect makes the first connection.
func (c *Client) connect() error {
	if c.conn.Load() != nil {
		return nil
	}
	conn, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: c.opt.Addresses, Username: c.opt.Username, Password: c.opt.Password, TLSConfig: c.opt.TLS, ClientName: "meridian",
		Dialer: net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}, ConnWriteTimeout: max(deadAfter, c.opt.Timeout), DialCtxFn: c.dial,
		CacheSizeEachConn: c.opt.CacheBytes, DisableRetry: true,
		// One connection for all commands: the order of replies and invalidations on it is what cache.go builds on.
		PipelineMultiplex: -1, RingScaleEachConn: ringScale, ReadBufferEachConn: bufferBytes, WriteBufferEachConn: bufferBytes,
	})
	if why := chat.Untrusted(err); why != "" {
		return &chat.Error{Code: chat.CodeRegionDegraded, Op: "redis.connect", Message: "the region's Redis is not trusted: " + why, Cause: err, RetryAfter: probeOpenEvery}
	}
	if err != nil {
		return err
	}
	c.conn.Store(&conn)
	return nil
}

const (
	ringScale   = 12 // 4096 commands may wait on the connection
	bufferBytes = 64 << 10
)

// dial counts a connection before anything can be read from it.
func (c *Client) dial(ctx context.Context, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error) {
	c.dials.Add(1)
	c.probeSoon()
	if cfg != nil {
		return (&tls.Dialer{NetDialer: d, Config: cfg}).DialContext(ctx, "tcp", addr)
	}
	return d.DialContext(ctx, "tcp", addr)
}

func (c *Client) probeSoon() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// degraded is the error of a call that was not tried or not answered.
func degraded(op string, cause error) error {
	return &chat.Error{Code: chat.CodeRegionDegraded, Op: "redis." + op, Message: "the region's Redis does not answer", Cause: cause, RetryAfter: time.Second}
}

var (
	errOpen   = errors.New("the circuit is open")
	errNotYet = errors.New("not connected yet")
)

// call does something within the time-out, unless the circuit is open. What is named counts in the metrics. A nil reply is no
// error. Errors: CodeRegionDegraded; CodeUnknownOutcome when ctx ends first.
func (c *Client) call(ctx context.Context, what string, do func(context.Context, rueidis.Client) error) error {
	if !c.up.Load() {
		c.opt.Metrics.Count("redis_calls_total", what, "refused")
		return degraded(what, errOpen)
	}
	return c.timed(ctx, what, c.opt.Timeout, do)
}

// timed is call with another bound.
func (c *Client) timed(ctx context.Context, what string, timeout time.Duration, do func(context.Context, rueidis.Client) error) error {
	conn := c.conn.Load()
	if conn == nil {
		return degraded(what, errOpen)
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	err := do(bounded, *conn)
	if rueidis.IsRedisNil(err) {
		err = nil
	}
	c.opt.Metrics.Observe("redis_call_seconds", time.Since(start).Seconds(), what)
	switch {
	case err == nil:
		c.failures.Store(0)
		c.opt.Metrics.Count("redis_calls_total", what, "ok")
		return nil
	case over(ctx):
		c.opt.Metrics.Count("redis_calls_total", what, "cancelled")
		return &chat.Error{Code: chat.CodeUnknownOutcome, Op: "redis." + what, Message: "the request ended", Cause: err}
	}
	c.opt.Metrics.Count("redis_calls_total", what, "failed")
	c.failed(err)
	return degraded(what, err)
}

// over says whether the caller's own time is over. The connection looks at the deadline too, perhaps a moment earlier than ctx.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) < deadlineSlack
}

const deadlineSlack = 2 * time.Millisecond

// failed counts a failed call, and opens the circuit when it is one too many.
func (c *Client) failed(err error) {
	timeout := errors.Is(err, context.DeadlineExceeded)
	if n := c.failures.Add(1); timeout && n < openAfter {
		return
	}
	if _, reply := rueidis.IsRedisErr(err); reply && c.failures.Load() < openAfter {
		return // the server speaks
	}
	c.open(err)
	c.probeSoon()
}

func (c *Client) open(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if c.up.CompareAndSwap(true, false) {
		c.since = time.Now()
		c.opt.Metrics.Set("redis_up", 0)
		c.opt.Metrics.Count("redis_lost_total")
		c.opt.Log.Error("Redis is lost: the node goes on without it", "err", err)
	}
}

func (c *Client) closeCircuit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures.Store(0)
	c.err = nil
	if c.up.CompareAndSwap(false, true) {
		c.opt.Log.Info("Redis answers", "after", time.Since(c.since).Round(time.Millisecond))
		c.since = time.Now()
		c.opt.Metrics.Set("redis_up", 1)
	}
}

// here gives the epoch in which the cache may be read and written; nil: not now.
func (c *Client) here() *epoch {
	e := c.epoch.Load()
	if e == nil || !c.up.Load() || e.dials != c.dials.Load() {
		return nil
	}
	return e
}
