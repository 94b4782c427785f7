package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"meridian/chat"
)

// Conn is one client's connection: a WebSocket that ends here, or a stream from the edge region where it ends. Read and
// Write are each called by one goroutine at a time; Close by any.
type Conn interface {
	// Read gives the next text frame. The error is *chat.Error for what the client did wrong, else the connection is gone.
	Read() ([]byte, error)
	// Write sends frames, together where it can; it fails when the peer takes too long.
	Write(frames [][]byte) error
	// Close ends the connection with a close code of docs/protocol.md.
	Close(code int, reason string)
}

const (
	// readBufferBytes is kept per idle socket. gorilla adopts the hijacked reader when it holds more than 256 bytes.
	readBufferBytes = 272
	// writeBufferBytes is taken from a pool while a socket writes.
	writeBufferBytes = 1024
	// collectMaxBytes: a collecting buffer that grew beyond it is not kept.
	collectMaxBytes = 64 << 10
	// hardFrameFactor: a frame above the limit gets a typed error, above so many times the limit the socket is closed (1009).
	hardFrameFactor = 4
)

// Subprotocol is the client protocol's name on the upgrade.
const Subprotocol = "meridian.v1.json"

var (
	writeBuffers   = &sync.Pool{}
	collectBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// socket is a Conn over gorilla/websocket, with little memory while idle: the read buffer is small, the write buffer pooled,
// and several frames leave in one write.
type socket struct {
	ws           *websocket.Conn
	net          *collector
	idle, write  time.Duration
	closeOnce    sync.Once
	lockForWrite sync.Mutex
}

// Timeouts of a socket.
type Timeouts struct {
	Idle  time.Duration // silence from the client for longer closes the socket
	Write time.Duration // one write that takes longer closes the socket
}

// Socket is a Conn that ends here.
type Socket interface {
	Conn
	// SetIdle changes how long the client may be silent. Call it from the reading goroutine.
	SetIdle(d time.Duration)
	// NetConn gives the connection under it.
	NetConn() net.Conn
}

// SetIdle changes how long the client may be silent.
func (s *socket) SetIdle(d time.Duration) { s.idle = d }

// NetConn gives the connection under the WebSocket.
func (s *socket) NetConn() net.Conn { return s.net.Conn }

// Upgrade turns a request into a Socket. On failure the request has been answered.
func Upgrade(w http.ResponseWriter, r *http.Request, frameBytes int, t Timeouts, checkOrigin func(*http.Request) bool) (Socket, error) {
	up := websocket.Upgrader{
		WriteBufferSize: writeBufferBytes, WriteBufferPool: writeBuffers, Subprotocols: []string{Subprotocol},
		CheckOrigin: checkOrigin,
	}
	hijacker := &smallHijacker{ResponseWriter: w}
	ws, err := up.Upgrade(hijacker, r, nil)
	if err != nil {
		return nil, err
	}
	s := &socket{ws: ws, net: hijacker.conn, idle: t.Idle, write: t.Write}
	ws.SetReadLimit(int64(frameBytes) * hardFrameFactor)
	ws.SetPingHandler(func(data string) error {
		s.lockForWrite.Lock()
		defer s.lockForWrite.Unlock()
		return ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(t.Write))
	})
	ws.SetCloseHandler(func(code int, _ string) error {
		s.Close(code, "")
		return nil
	})
	return s, nil
}

func (s *socket) Read() ([]byte, error) {
	if err := s.ws.SetReadDeadline(time.Now().Add(s.idle)); err != nil {
		return nil, err
	}
	kind, data, err := s.ws.ReadMessage()
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, &chat.Error{Code: chat.CodeHeartbeatTimeout, Message: "nothing heard for " + s.idle.String(), Cause: err}
	case errors.Is(err, websocket.ErrReadLimit):
		return nil, &chat.Error{Code: chat.CodeTooLarge, Message: "frame far over the limit", Cause: err}
	case err != nil:
		return nil, err
	case kind != websocket.TextMessage:
		return nil, &chat.Error{Code: chat.CodeBadFrame, Message: "frames are text, not binary", Cause: errBinary}
	}
	return data, nil
}

var errBinary = errors.New("binary frame")

func (s *socket) Write(frames [][]byte) error {
	s.lockForWrite.Lock()
	defer s.lockForWrite.Unlock()
	if err := s.ws.SetWriteDeadline(time.Now().Add(s.write)); err != nil { // gorilla sets it on the connection with every frame
		return err
	}
	s.net.collect()
	for _, f := range frames {
		if err := s.ws.WriteMessage(websocket.TextMessage, f); err != nil {
			_ = s.net.flush() // the close frame, because of which nothing may follow, may be among what is collected
			return err
		}
	}
	return s.net.flush()
}

func (s *socket) Close(code int, reason string) {
	s.closeOnce.Do(func() {
		if code > 0 && code != websocket.CloseNoStatusReceived && code != websocket.CloseAbnormalClosure {
			// A writer stuck on a slow reader holds the lock: the close frame is a courtesy, waited for briefly.
			if s.lockWithin(closeWait) {
				_ = s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(closeWait))
				s.lockForWrite.Unlock()
			}
		}
		_ = s.ws.Close()
	})
}

// lockWithin takes the lock for writing, unless another writer holds it for longer than d.
func (s *socket) lockWithin(d time.Duration) bool {
	for end := time.Now().Add(d); !s.lockForWrite.TryLock(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// closeWait bounds the courtesy of a close frame.
const closeWait = 200 * time.Millisecond

// smallHijacker hands gorilla our own net.Conn and a small reader, so that net/http's two 4 KiB buffers go.
type smallHijacker struct {
	http.ResponseWriter
	conn *collector
}

func (h *smallHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	hj, ok := h.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("connection cannot be hijacked")
	}
	conn, rw, err := hj.Hijack()
	if err != nil {
		return nil, nil, err
	}
	if rw.Reader.Buffered() > 0 { // gorilla would check this on its reader, which is ours and empty
		_ = conn.Close()
		return nil, nil, errors.New("client sent data before the handshake was done")
	}
	h.conn = &collector{Conn: conn}
	return h.conn, bufio.NewReadWriter(bufio.NewReaderSize(h.conn, readBufferBytes), bufio.NewWriterSize(h.conn, 16)), nil
}

// collector is a net.Conn that can gather writes and send them as one. One goroutine collects and flushes; beside it the one
// that reads may write: gorilla answers a breach of the protocol by itself.
type collector struct {
	net.Conn
	mu  sync.Mutex
	buf *bytes.Buffer // nil: write through
}

func (c *collector) collect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = collectBuffers.Get().(*bytes.Buffer)
}

func (c *collector) Write(p []byte) (int, error) {
	if c.gather(p) {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *collector) gather(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf == nil {
		return false
	}
	c.buf.Write(p)
	return true
}

// flush sends what was gathered, and writes through from then on.
func (c *collector) flush() error {
	c.mu.Lock()
	buf := c.buf
	c.buf = nil
	c.mu.Unlock()
	_, err := c.Conn.Write(buf.Bytes())
	if buf.Cap() <= collectMaxBytes {
		buf.Reset()
		collectBuffers.Put(buf)
	}
	return err
}
