package shared

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"meridian/chat"
)

// ClientOptions say which store a client is to use, and as whom. All but TLS and Log are required.
type ClientOptions struct {
	// Network and Address are as of net.Dial: "tcp" and "host:port", or "unix" and a path.
	Network, Address string
	Region           chat.Region
	Node             chat.NodeID
	Secret           []byte // as the server's
	TLS              *tls.Config
	Codec            chat.OpCodec
	Log              *slog.Logger // nil: nothing is logged
}

// Client is one node's handle of a store that a Server lends. It is a chat.Store; Checkpoint writes on the server's machine.
type Client struct {
	opts ClientOptions

	mu      sync.Mutex
	current *session // nil: not connected
	life    chat.Incarnation
	closed  bool
	refusal error // why the last try to connect failed
	commits int   // whose callbacks are due
	settled *sync.Cond

	callbacks outbox[func()]
	ctx       context.Context // done when the client is over
	cancel    context.CancelFunc
	dialing   sync.WaitGroup
	calling   sync.WaitGroup
}

var _ chat.Store = (*Client)(nil)

// Open connects, and waits for that until ctx ends. The error has CodeInvalid for options that cannot be, else
// CodeRegionDegraded with the cause.
func Open(ctx context.Context, o ClientOptions) (*Client, error) {
	if o.Network == "" || o.Address == "" || o.Region == "" || o.Node == "" || o.Codec == nil || len(o.Secret) < MinSecretBytes ||
		len(o.Region) > maxName || len(o.Node) > maxName {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "shared.Open", Message: fmt.Sprintf(
			"Network, Address, Region, Node, Codec and a Secret of at least %d bytes are required; names have at most %d bytes", MinSecretBytes, maxName)}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{opts: o}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.settled = sync.NewCond(&c.mu)
	c.callbacks.init()
	c.calling.Go(c.call)
	connected := make(chan struct{})
	c.dialing.Go(func() { c.keepConnected(connected) })
	select {
	case <-connected:
		return c, nil
	case <-ctx.Done():
		err := c.degraded("shared.Open")
		c.Abandon()
		return nil, err
	}
}

// keepConnected dials until the client is over. connected is closed with the first connection.
func (c *Client) keepConnected(connected chan struct{}) {
	pause, first := redialMin, true
	for {
		s, err := c.dial()
		if err == nil && c.use(s) {
			if first {
				close(connected)
			}
			pause, first = redialMin, false
			c.opts.Log.Info("store: connected", "address", c.opts.Address)
			err = s.run(c.ctx)
			c.drop(s)
		}
		if c.ctx.Err() != nil {
			return
		}
		c.note(err)
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, redialMax)
	}
}

// note keeps why there is no connection, and logs it when it is news.
func (c *Client) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal == nil || err == nil || c.refusal.Error() != err.Error() {
		c.opts.Log.Warn("store: not connected", "address", c.opts.Address, "err", err)
	}
	c.refusal = err
}

// dial connects and shows who this is.
func (c *Client) dial() (*session, error) {
	ctx, cancel := context.WithTimeout(c.ctx, handshakeTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, c.opts.Network, c.opts.Address)
	if err != nil {
		return nil, err
	}
	raw := conn
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	if c.opts.TLS != nil {
		conn = tls.Client(conn, c.opts.TLS)
	}
	s, err := c.greet(conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (c *Client) greet(conn net.Conn) (*session, error) {
	c.mu.Lock()
	h := hello{region: c.opts.Region, node: c.opts.Node, life: c.life}
	c.mu.Unlock()
	if err := greet(conn, c.opts.Secret, h); err != nil {
		return nil, err
	}
	s := newSession(conn)
	var welcome response
	if err := s.stream.read(&welcome); err != nil {
		return nil, err
	}
	if welcome.Failed != nil {
		return nil, welcome.Failed.err()
	}
	if welcome.Identity != nil {
		c.lives(welcome.Identity.Incarnation)
	}
	return s, nil
}

// lives notes in which life the client works, so that it says the same after it has connected again.
func (c *Client) lives(life chat.Incarnation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life = max(c.life, life)
}

func (c *Client) use(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		s.fail()
		return false
	}
	c.current, c.refusal = s, nil
	return true
}

func (c *Client) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == s {
		c.current = nil
	}
}

func (c *Client) degraded(op string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: "the region's store is not connected", Cause: c.refusal}
	if c.closed {
		e.Message = "the store is closed"
	}
	return e
}

func (c *Client) connection() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	return c.current
}

// ask makes a call and waits for its answer.
func (c *Client) ask(ctx context.Context, op string, q *request) (*response, error) {
	ended := func() error {
		return &chat.Error{Code: chat.CodeUnknownOutcome, Op: op, Message: "the call ended before the store answered", Cause: ctx.Err()}
	}
	if ctx.Err() != nil {
		return nil, ended()
	}
	if deadline, ok := ctx.Deadline(); ok {
		q.TimeoutMs = max(time.Until(deadline).Milliseconds(), 1)
	}
	s := c.connection()
	if s == nil {
		return nil, c.degraded(op)
	}
	answered := make(chan answer, 1)
	if err := s.start(q, func(a answer) { answered <- a }); err != nil {
		return nil, err
	}
	select {
	case a := <-answered:
		if a.err != nil {
			return nil, a.err
		}
		return a.response, nil
	case <-ctx.Done():
		s.forget(q.ID)
		return nil, ended()
	}
}

// Commit implements chat.Store. All callbacks come from one goroutine, in the order in which the store answered; those of
// batches that never left come in their turn.
func (c *Client) Commit(b *chat.Batch, done func(error)) {
	const op = "shared.Commit"
	q := &request{Call: callCommit, Batch: packBatch(b, c.opts.Codec)}
	c.mu.Lock()
	s, over := c.current, c.closed
	if !over {
		c.commits++
	}
	c.mu.Unlock()
	if over {
		go done(c.degraded(op))
		return
	}
	settle := func(err error) {
		c.callbacks.put(func() {
			done(err)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.commits--
			c.settled.Broadcast()
		})
	}
	var err error
	switch {
	case s == nil:
		err = c.degraded(op)
	case q.Batch.size() > maxContentBytes:
		err = &chat.Error{Code: chat.CodeTooLarge, Op: op, Message: fmt.Sprintf("the batch is larger than %d bytes", maxContentBytes)}
	default:
		err = s.start(q, func(a answer) { settle(a.err) })
	}
	if err != nil {
		settle(err)
	}
}

// call runs the callbacks of commits, in order.
func (c *Client) call() {
	for due := c.callbacks.take(); due != nil; due = c.callbacks.take() {
		for _, f := range due {
			f()
		}
	}
}

// Close implements chat.Store: it waits for commits under way and ends this handle. The store stays open.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	for c.commits > 0 {
		c.settled.Wait()
	}
	c.mu.Unlock()
	c.finish()
	return nil
}

// Abandon implements chat.Store: what is under way has an unknown outcome.
func (c *Client) Abandon() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.finish()
}

// finish ends what runs, when each callback is done. It may be called again.
func (c *Client) finish() {
	c.cancel()
	c.dialing.Wait() // ends the connection, and so whatever waits for it
	c.mu.Lock()
	for c.commits > 0 {
		c.settled.Wait()
	}
	c.mu.Unlock()
	c.callbacks.close()
	c.calling.Wait()
}
