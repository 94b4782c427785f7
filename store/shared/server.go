package shared

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"meridian/chat"
)

// ServerOptions say what a server lends, and to whom. Region, Secret, Codec and Node are required.
type ServerOptions struct {
	Region chat.Region
	// Secret is what the region's nodes and its store know: at least MinSecretBytes. It proves who speaks and hides nothing:
	// where others can listen, give TLS too.
	Secret []byte
	// TLS, if set, is the server's side of every connection.
	TLS *tls.Config
	// Codec turns ops into bytes, as the clients' does.
	Codec chat.OpCodec
	// Node gives the handle of a node in a life, in its latest one for 0. The server closes it.
	Node func(ctx context.Context, node chat.NodeID, life chat.Incarnation) (chat.Store, error)
	Log  *slog.Logger // nil: nothing is logged
}

// Server lends one store to the nodes of a region.
type Server struct {
	opts     ServerOptions
	listener net.Listener

	mu     sync.Mutex
	conns  map[*lending]bool
	closed bool
	all    sync.WaitGroup
}

// Serve lends on l until Close. The error has CodeInvalid for options that cannot be; l is the server's then only when there
// is none.
func Serve(l net.Listener, o ServerOptions) (*Server, error) {
	if o.Region == "" || len(o.Region) > maxName || o.Codec == nil || o.Node == nil || len(o.Secret) < MinSecretBytes {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "shared.Serve", Message: fmt.Sprintf(
			"Region, Codec, Node and a Secret of at least %d bytes are required", MinSecretBytes)}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: o, listener: l, conns: make(map[*lending]bool)}
	s.all.Go(s.accept)
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close takes no more requests, answers those under way, and ends every connection. It waits for commits; a read that takes
// longer than drainFor is told to end. The store stays open.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	err := s.listener.Close()
	for c := range s.conns {
		c.stop()
	}
	s.mu.Unlock()
	s.all.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if s.isClosed() || errors.Is(err, net.ErrClosed) {
				return
			}
			s.opts.Log.Warn("store: cannot take a connection", "err", err)
			time.Sleep(redialMin) // out of files, perhaps
			continue
		}
		c := &lending{server: s, raw: conn, slots: make(chan struct{}, maxUnderWay), stopping: make(chan struct{})}
		if !s.add(c) {
			_ = conn.Close()
			continue
		}
		s.all.Go(func() {
			defer s.remove(c)
			if err := c.run(); err != nil {
				s.opts.Log.Warn("store: a connection ended", "peer", conn.RemoteAddr(), "node", c.peer.node, "err", err)
			}
		})
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) add(c *lending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxConnections {
		return false
	}
	s.conns[c] = true
	return true
}

func (s *Server) remove(c *lending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// lending is one client's connection.
type lending struct {
	server *Server
	raw    net.Conn
	peer   hello
	store  chat.Store
	stream *stream
	out    outbox[*response]
	// slots has one for each request that is not answered yet.
	slots    chan struct{}
	once     sync.Once
	stopping chan struct{}
}

// stop lets the connection take no more requests.
func (c *lending) stop() {
	c.once.Do(func() { close(c.stopping) })
	_ = c.raw.SetReadDeadline(time.Now()) // wakes the reader, which sees stopping
}

func (c *lending) stopped() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

// run serves the connection to its end. What is under way then is finished and, where it can be, answered.
func (c *lending) run() error {
	defer c.raw.Close()
	if err := c.admit(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	welcome, err := c.lend(ctx)
	if c.store != nil {
		defer c.store.Close()
	}
	c.out.init()
	c.out.put(welcome)
	var writer, requests sync.WaitGroup
	writer.Go(c.write)
	if err == nil {
		err = c.read(ctx, &requests)
		if !c.stopped() {
			cancel() // nobody waits for reads any more
		}
		defer time.AfterFunc(drainFor, cancel).Stop()
	}
	requests.Wait()
	c.out.close()
	writer.Wait()
	if c.stopped() || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// admit lets in who knows the secret.
func (c *lending) admit() (err error) {
	if err := c.raw.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	conn := c.raw
	if c.server.opts.TLS != nil {
		conn = tls.Server(conn, c.server.opts.TLS)
	}
	if c.peer, err = admit(conn, c.server.opts.Secret); err != nil {
		return err
	}
	c.stream = newStream(conn, c.stopping)
	return c.raw.SetDeadline(time.Time{})
}

// lend takes the node's handle, and gives what to welcome it with.
func (c *lending) lend(ctx context.Context) (*response, error) {
	welcome := &response{}
	var err error
	if c.peer.region != c.server.opts.Region || c.peer.node == "" {
		err = &chat.Error{Code: chat.CodeInvalid, Op: "shared.lend", Message: fmt.Sprintf(
			"node %s/%s asks the store of region %s", c.peer.region, c.peer.node, c.server.opts.Region)}
	} else if c.store, err = c.server.opts.Node(ctx, c.peer.node, c.peer.life); err == nil {
		err = serve(ctx, c.store, c.server.opts.Codec, &request{Call: callIdentity}, welcome)
	}
	if err != nil {
		return &response{Failed: failed(err)}, err
	}
	return welcome, nil
}

// read takes requests until the connection ends. Commits reach the store from here, so in their order.
func (c *lending) read(ctx context.Context, under *sync.WaitGroup) error {
	for !c.stopped() {
		q := new(request)
		if err := c.stream.read(q); err != nil {
			return err
		}
		if q.ID == 0 { // a sign of life
			c.out.put(&response{})
			continue
		}
		select {
		case c.slots <- struct{}{}:
		case <-c.stopping:
			return nil
		}
		under.Add(1)
		if q.Call == callCommit {
			c.commit(q, under)
			continue
		}
		go func() {
			defer under.Done()
			c.out.put(c.answer(ctx, q))
		}()
	}
	return nil
}

func (c *lending) commit(q *request, under *sync.WaitGroup) {
	done := func(err error) {
		defer under.Done()
		a := &response{ID: q.ID}
		if err != nil {
			a.Failed = failed(err)
		}
		c.out.put(a)
	}
	if q.Batch == nil {
		done(unknownCall(q.Call))
		return
	}
	b, err := q.Batch.unpack(c.server.opts.Codec)
	if err != nil {
		done(err)
		return
	}
	c.store.Commit(b, done)
}

func (c *lending) answer(ctx context.Context, q *request) *response {
	if q.TimeoutMs > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(q.TimeoutMs)*time.Millisecond)
		defer cancel()
	}
	a := &response{ID: q.ID}
	err := serve(ctx, c.store, c.server.opts.Codec, q, a)
	if err == nil && a.size() > maxContentBytes {
		err = &chat.Error{Code: chat.CodeTooLarge, Op: "shared.answer", Message: fmt.Sprintf("the answer is larger than %d bytes: ask for less", maxContentBytes)}
	}
	if err != nil {
		return &response{ID: q.ID, Failed: failed(err)}
	}
	return a
}

// write sends what is due, until the outbox closes or the connection breaks; then it drops what comes.
func (c *lending) write() {
	broken := false
	for due := c.out.take(); due != nil; due = c.out.take() {
		for _, a := range due {
			broken = broken || c.stream.write(a) != nil
			if a.ID != 0 {
				<-c.slots
			}
		}
		if broken = broken || c.stream.flush() != nil; broken {
			_ = c.raw.Close() // the reader ends too
		}
	}
}
