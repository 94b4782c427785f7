package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"meridian/chat"
	pb "meridian/proto"
)

const (
	backbonePath = "/v1/backbone"
	subprotocol  = "meridian.backbone.v1"
	// ioBufferBytes is the size of a connection's read and write buffers.
	ioBufferBytes = 32 << 10
	// maxAccepted bounds the accepted connections, those that have not proved anything yet included.
	maxAccepted = 256
	// silentSteps is in how many steps silence is waited for. One in which this machine stood still, which says nothing of the other
	// side, then counts as one of them, and no link ends because of it.
	silentSteps = 3
)

// silenceConn gives up a read that brings nothing for dead, once that is set. It lies below TLS, so that every byte counts.
type silenceConn struct {
	net.Conn
	dead    atomic.Int64 // time.Duration
	release func()       // called by the first Close; nil for none
	closed  atomic.Bool
}

func (c *silenceConn) Close() error {
	if c.release != nil && c.closed.CompareAndSwap(false, true) {
		c.release()
	}
	return c.Conn.Close()
}

func (c *silenceConn) Read(p []byte) (n int, err error) {
	dead := time.Duration(c.dead.Load())
	if dead <= 0 {
		return c.Conn.Read(p)
	}
	for range silentSteps {
		if err := c.SetReadDeadline(time.Now().Add(dead / silentSteps)); err != nil {
			return 0, err
		}
		if n, err = c.Conn.Read(p); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return n, err
}

// abort closes conn without telling the other side, as far as the network can.
func abort(conn *silenceConn) {
	if c, ok := conn.Conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = c.SetLinger(0) // a connection that is closed already needs no reset
	}
	_ = conn.Close() // likewise
}

// dial connects to p, up to and including the hello.
func (m *Mesh) dial(p *peer) (*session, error) {
	ctx, cancel := m.attempt()
	defer cancel()
	raw, err := m.o.Network.Dial(ctx, m.o.Region, p.ref.Region, p.addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	conn := &silenceConn{Conn: raw}
	stop := context.AfterFunc(ctx, func() { abort(conn) })
	s, err := m.greetAsClient(ctx, p, conn)
	if err != nil {
		_ = conn.Close() // the error that matters is err
		m.countRefused(err)
		return nil, err
	}
	stop() // if it is too late for that, the session will find its connection closed
	return s, nil
}

func (m *Mesh) greetAsClient(ctx context.Context, p *peer, conn *silenceConn) (*session, error) {
	secured := tls.Client(conn, m.o.Identity.tlsConfig(func(region chat.Region, err error) error {
		if err == nil && region != p.ref.Region {
			err = &refusedError{why: refusedRegion, cause: fmt.Errorf("%s instead of %s", region, p.ref.Region)}
		}
		return err
	}))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	dialer := websocket.Dialer{
		NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { return secured, nil },
		Subprotocols:      []string{subprotocol}, ReadBufferSize: ioBufferBytes, WriteBufferSize: ioBufferBytes,
	}
	ws, response, err := dialer.DialContext(ctx, "wss://"+string(p.ref.Region)+backbonePath, nil)
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w (status %d)", err, response.StatusCode)
		}
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	return m.greet(conn, ws, &p.ref, func(h *pb.Hello) (*peer, error) {
		if got := nodeOf(h); got != p.ref {
			return nil, fmt.Errorf("hello of %s, dialled was %s", got, p.ref)
		}
		return p, nil
	})
}

// listener prepares the connections that the network brings, and bounds them.
type listener struct {
	net.Listener
	m    *Mesh
	open chan struct{} // holds a token for each open connection
}

func (l listener) Accept() (net.Conn, error) {
	select {
	case l.open <- struct{}{}:
	case <-l.m.ctx.Done():
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &silenceConn{Conn: l.m.o.Network.Accepted(l.m.o.Region, conn), release: func() { <-l.open }}, nil
}

// serveHTTP takes connections of peers.
func (m *Mesh) serveHTTP() {
	secured := m.o.Identity.tlsConfig(func(region chat.Region, err error) error {
		if err == nil && len(m.dialling(region)) == 0 {
			err = &refusedError{why: refusedRegion, cause: fmt.Errorf("%s does not dial %s", region, m.o.self())}
		}
		m.countRefused(err)
		return err
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+backbonePath, m.accept)
	m.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: m.o.DialTimeout, IdleTimeout: m.o.DialTimeout, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(m.o.Log.Handler(), slog.LevelDebug),
		// Only HTTP/1.1: WebSockets need the connection for themselves.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	accepted := listener{Listener: m.o.Listener, m: m, open: make(chan struct{}, maxAccepted)}
	m.start(func() {
		err := m.server.Serve(tls.NewListener(accepted, secured))
		if !errors.Is(err, http.ErrServerClosed) {
			m.o.Log.Error("backbone listener failed", "error", err)
		}
	})
}

// dialling gives the nodes of region that dial this one.
func (m *Mesh) dialling(region chat.Region) []*peer {
	var all []*peer
	for _, p := range m.nodes[region] {
		if m.dialsUs(p.ref) {
			all = append(all, p)
		}
	}
	return all
}

// accept turns a request into a session.
func (m *Mesh) accept(w http.ResponseWriter, r *http.Request) {
	region, err := m.o.Identity.verify(*r.TLS)
	if err != nil {
		http.Error(w, "forbidden", http.StatusForbidden) // cannot be: the handshake has asked the same
		return
	}
	upgrader := websocket.Upgrader{
		Subprotocols: []string{subprotocol}, ReadBufferSize: ioBufferBytes, WriteBufferSize: ioBufferBytes,
		CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "" }, // no browser speaks here
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	conn := ws.NetConn().(*tls.Conn).NetConn().(*silenceConn)
	if !m.start(func() { m.acceptSession(region, conn, ws) }) {
		_ = conn.Close() // the mesh is closed; nothing to tell
	}
}

func (m *Mesh) acceptSession(region chat.Region, conn *silenceConn, ws *websocket.Conn) {
	ctx, cancel := m.attempt()
	stop := context.AfterFunc(ctx, func() { abort(conn) })
	s, err := m.greet(conn, ws, nil, func(h *pb.Hello) (*peer, error) {
		node := nodeOf(h)
		if node.Region != region {
			return nil, fmt.Errorf("hello of %s, certificate of %s", node, region)
		}
		if wanted := string(h.Dialled); wanted != "" && wanted != m.o.self().String() {
			return nil, fmt.Errorf("node %s wants %s, this is %s", node, wanted, m.o.self())
		}
		if p := m.peers[node]; p != nil && m.dialsUs(node) {
			return p, nil
		}
		return nil, fmt.Errorf("node %s does not dial %s", node, m.o.self())
	})
	stop() // if it is too late for that, the session will find its connection closed
	cancel()
	if err != nil {
		_ = conn.Close() // the error that matters is err
		m.countRefused(err)
		for _, p := range m.dialling(region) { // which of them it was is not sure
			p.failed(err)
		}
		m.o.Log.Debug("backbone connection refused", "peer", region, "error", err)
		return
	}
	m.serve(s)
}

// greet exchanges hellos and agrees on a version. dialled is the node that was dialled, nil on the other side; who tells
// which node the other's hello names, or that it may not be here.
func (m *Mesh) greet(conn *silenceConn, ws *websocket.Conn, dialled *chat.NodeRef, who func(*pb.Hello) (*peer, error)) (*session, error) {
	ws.SetReadLimit(MaxFrameBytes)
	hello := &pb.Hello{
		ProtocolMin: ProtocolMin, ProtocolMax: uint32(m.o.protocolMax),
		Region: []byte(m.o.Region), Node: []byte(m.o.Node), Incarnation: uint64(m.o.Incarnation),
	}
	if dialled != nil {
		hello.Dialled = []byte(dialled.String())
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, encodeFrame(&pb.Frame{Kind: &pb.Frame_Hello{Hello: hello}})); err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	var buf bytes.Buffer
	packet, err := readPacket(ws, &buf)
	if err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	theirs, err := readHello(packet)
	var p *peer
	if err == nil {
		if p, err = who(theirs); err != nil {
			err = &endError{end: EndIdentity, err: &refusedError{why: refusedHello, cause: err}}
		} else {
			err = m.checkVersion(theirs)
		}
	}
	if err != nil {
		sayEnd(ws, readEnd(err).end)
		return nil, err
	}
	version := min(m.o.protocolMax, int(theirs.ProtocolMax))
	return newSession(m, p, conn, ws, theirs, version, dialled != nil), nil
}

// readHello reads the first packet: a hello and nothing else.
func readHello(packet []byte) (hello *pb.Hello, err error) {
	err = eachFrame(packet, func(f *pb.Frame) error {
		if hello == nil {
			hello = f.GetHello()
		}
		if hello == nil || f.GetHello() != hello {
			return malformed("hello")
		}
		return nil
	})
	if err == nil && hello == nil {
		err = malformed("hello")
	}
	return hello, err
}

func nodeOf(h *pb.Hello) chat.NodeRef {
	return chat.NodeRef{Region: chat.Region(h.Region), Node: chat.NodeID(h.Node)}
}

// checkVersion demands a protocol version that both speak.
func (m *Mesh) checkVersion(h *pb.Hello) error {
	if h.ProtocolMax >= ProtocolMin && h.ProtocolMin <= uint32(m.o.protocolMax) && h.ProtocolMin <= h.ProtocolMax {
		return nil
	}
	why := &refusedError{why: refusedVersion, cause: fmt.Errorf("peer speaks %d to %d, this %d to %d", h.ProtocolMin, h.ProtocolMax, ProtocolMin, m.o.protocolMax)}
	return &endError{end: EndVersion, err: why}
}

// countRefused counts err if it tells that a peer was refused.
func (m *Mesh) countRefused(err error) {
	var refused *refusedError
	if errors.As(err, &refused) {
		m.o.Metrics.Count(MetricRefused, string(refused.why))
		m.o.Log.Warn("backbone peer refused", "reason", string(refused.why), "error", err)
	}
}

// readPacket reads one message into buf. The result is valid until buf is used again.
func readPacket(ws *websocket.Conn, buf *bytes.Buffer) ([]byte, error) {
	kind, r, err := ws.NextReader()
	if err != nil {
		return nil, err
	}
	if kind != websocket.BinaryMessage {
		return nil, malformed("message: not binary")
	}
	buf.Reset()
	if _, err := buf.ReadFrom(r); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// sayEnd sends a close frame if the end has one; if that is not possible at once, the close of the connection must do.
func sayEnd(ws *websocket.Conn, end End) {
	if code := end.closeCode(); code != 0 {
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, string(end)), time.Now().Add(closeWait))
	}
}

// closeWait bounds the wait for the writer when a close frame is due.
const closeWait = 200 * time.Millisecond
