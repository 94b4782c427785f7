package meridian

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// world is a deployment in memory: servers by host name, each a script of what it does with a socket or a request. It runs
// inside a synctest bubble, so its time is not the machine's.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	servers map[string]*server
	dials   []string // hosts, in the order of the attempts
	sockets sync.WaitGroup
	turn    chan struct{} // holds a token while no script runs: a client has one link, and what one script notes the next may read
}

// server is one region's fake.
type server struct {
	pipe   chan net.Conn
	once   sync.Once
	http   *http.Server
	socket func(*peer)
	rest   http.HandlerFunc
}

// peer is the server's end of a socket.
type peer struct {
	t    *testing.T
	conn *websocket.Conn
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, servers: map[string]*server{}, turn: make(chan struct{}, 1)}
	w.turn <- struct{}{}
	return w
}

// Accept, Close and Addr make a server's pipe a listener.
func (s *server) Accept() (net.Conn, error) {
	c, ok := <-s.pipe
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (s *server) Close() error   { s.once.Do(func() { close(s.pipe) }); return nil }
func (s *server) Addr() net.Addr { return &net.IPAddr{} }

// serve starts a fake under the name host.
func (w *world) serve(host string, socket func(*peer), rest http.HandlerFunc) {
	s := &server{pipe: make(chan net.Conn), socket: socket, rest: rest}
	upgrader := websocket.Upgrader{Subprotocols: []string{subprotocol}}
	s.http = &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/ws" {
			s.rest(rw, r)
			return
		}
		conn, err := upgrader.Upgrade(rw, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		w.sockets.Add(1)
		defer w.sockets.Done()
		<-w.turn
		defer func() { w.turn <- struct{}{} }()
		s.socket(&peer{t: w.t, conn: conn})
	})}
	w.mu.Lock()
	w.servers[host] = s
	w.mu.Unlock()
	go func() { _ = s.http.Serve(s) }()
}

func (w *world) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	w.mu.Lock()
	w.dials = append(w.dials, host)
	s := w.servers[host]
	w.mu.Unlock()
	if s == nil {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case s.pipe <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *world) dialed() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.dials...)
}

func (w *world) close() {
	for _, s := range w.servers {
		_ = s.http.Close()
	}
	w.sockets.Wait() // what the scripts noted can be read now
}

// run starts a client on the hosts and gives its events; stop ends it and everything else.
func (w *world) run(opt Options, hosts ...string) (c *Client, events chan Event, stop func() error) {
	for _, h := range hosts {
		opt.Endpoints = append(opt.Endpoints, Endpoint{Region: h, URL: "http://" + h})
	}
	if opt.Tokens.Access == "" {
		opt.Tokens = Tokens{Access: "token", Refresh: "refresh"}
	}
	if opt.Random == nil {
		opt.Random = func() float64 { return 0.5 }
	}
	opt.Dial = w.dial
	events = make(chan Event, 1000)
	opt.Handle = func(e Event) { events <- e }
	c = New(opt)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	return c, events, func() error {
		cancel()
		err := <-ended
		w.close()
		return err
	}
}

// frame is what a test sends or sees.
type frame = map[string]any

func (p *peer) send(f frame) {
	if err := p.conn.WriteJSON(f); err != nil && p.t.Context().Err() == nil {
		p.t.Logf("fake: write: %v", err)
	}
}

// next gives the next frame of the client that is no ping; nil when the socket ended.
func (p *peer) next() frame {
	for {
		var f frame
		if p.conn.ReadJSON(&f) != nil {
			return nil
		}
		if f["t"] != "ping" {
			return f
		}
		p.send(frame{"t": "pong"})
	}
}

// drain answers pings until the socket ends.
func (p *peer) drain() {
	for p.next() != nil {
	}
}

// close says goodbye with a code.
func (p *peer) close(code int, text string) {
	_ = p.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(time.Second))
}

// welcome reads hello, answers it and gives it.
func (p *peer) welcome(region string, more frame) frame {
	hello := p.next()
	if hello == nil {
		return nil
	}
	w := frame{
		"t": "welcome", "session": "s", "user": frame{"id": ada, "username": "ada"}, "region": region,
		"home_zone": "world", "max_level": "zone", "cursor": "c0", "heartbeat_ms": 25000,
		"limits": frame{"frame_bytes": 65536, "text_bytes": 16384, "client_outbox_ms": 604800000},
	}
	maps.Copy(w, more)
	p.send(w)
	return hello
}

func (p *peer) ack(send frame, id, level string) {
	p.send(frame{
		"t": "ack", "client_id": send["client_id"], "message_id": id, "conversation_id": talk,
		"level": level, "sent_at": "2026-05-04T10:20:30.123Z",
	})
}

func messageFrame(id, client, text, cursor string) frame {
	return frame{"t": "message", "cursor": cursor, "message": messageJSON(id, client, text)}
}

func messageJSON(id, client, text string) frame {
	return frame{
		"id": id, "conversation_id": talk, "sender": frame{"id": grace, "username": "grace"}, "client_id": client,
		"body": frame{"text": text}, "sent_at": "2026-05-04T10:20:30.123Z",
	}
}

const (
	ada   = "0a1b2c3d-0000-4000-8000-000000000001"
	grace = "0a1b2c3d-0000-4000-8000-000000000002"
	// talk is the conversation of the two, as another implementation computed it.
	talk = "ae72851d-cbe8-5922-a8fc-9339c824b064"
	// first to third are message ids in the order of their time.
	first  = "00000001-4a01-11f1-8000-000000000001"
	second = "00000002-4a01-11f1-8000-000000000001"
	third  = "00000003-4a01-11f1-8000-000000000001"
)

// want gives the next event of type T and fails when a minute of the bubble's time brings none. Events of other types are passed over.
func want[T Event](t *testing.T, events chan Event) T {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case e := <-events:
			if got, ok := e.(T); ok {
				return got
			}
		case <-limit:
			var none T
			t.Fatalf("no %T came", none)
			return none
		}
	}
}

// answer writes JSON as the REST calls do.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
