package simnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"meridian/chat"
)

const (
	// inFlightBytes bounds what one connection has sent and not yet delivered; then Write waits. It allows about 64 MB/s
	// over 120 ms.
	inFlightBytes = 8 << 20
	// lingerTime: after Close what was written before is still delivered for so long, beyond the delay.
	lingerTime = time.Second
)

// conn delays what is written, and holds what is read or written while its direction is cut.
type conn struct {
	net.Conn
	n     *Network
	local chat.Region

	mu     sync.Mutex
	remote chat.Region // "" until the first bytes are read; no byte is written before
	queue  []chunk
	bytes  int
	last   time.Time // when the newest chunk is due
	closed bool
	broken error // why the pump ended early
	held   []byte

	more         chan struct{} // a token: the queue has grown, or the connection is closed
	room         chan struct{} // a token: the queue has shrunk
	gone         chan struct{} // closed by Close
	over         chan struct{} // closed when the pump has ended
	readLimit    *deadline
	writeLimit   *deadline
	resetOnce    sync.Once
	abandon      chan struct{} // closed by reset: what waits is dropped
	identifyOnce sync.Once
	identifyErr  error
}

type chunk struct {
	data []byte
	due  time.Time
}

func newConn(n *Network, raw net.Conn, local, remote chat.Region) *conn {
	return &conn{
		Conn: raw, n: n, local: local, remote: remote,
		more: make(chan struct{}, 1), room: make(chan struct{}, 1),
		gone: make(chan struct{}), over: make(chan struct{}), abandon: make(chan struct{}),
		readLimit: newDeadline(), writeLimit: newDeadline(),
	}
}

func (c *conn) ends() (local, remote chat.Region) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local, c.remote
}

// Read gives what has arrived; nothing while the direction to here is cut.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.identify(); err != nil {
		return 0, err
	}
	for {
		if err := c.waitOpen(); err != nil {
			return 0, err
		}
		c.mu.Lock()
		if len(c.held) > 0 {
			n := copy(p, c.held)
			c.held = c.held[n:]
			c.mu.Unlock()
			return n, nil
		}
		c.mu.Unlock()
		n, err := c.Conn.Read(p)
		if err != nil && c.isClosed() {
			return n, net.ErrClosed
		}
		_, remote := c.ends()
		if open, _ := c.n.state(remote, c.local); open || n == 0 && isTimeout(err) {
			return n, err
		}
		// Cut while the read was under way: what it brought, be it an end, is not known here before the heal.
		c.mu.Lock()
		c.held = append(c.held, p[:n]...)
		c.mu.Unlock()
	}
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// waitOpen waits until bytes from the other side may pass.
func (c *conn) waitOpen() error {
	for {
		_, remote := c.ends()
		open, changed := c.n.state(remote, c.local)
		if open {
			return nil
		}
		select {
		case <-changed:
		case <-c.gone:
			return net.ErrClosed
		case <-c.abandon:
			return net.ErrClosed
		case <-c.readLimit.wait():
			return os.ErrDeadlineExceeded
		}
	}
}

// identify reads who has connected, once.
func (c *conn) identify() error {
	c.identifyOnce.Do(func() {
		if _, remote := c.ends(); remote != "" {
			return
		}
		remote, err := readName(c.Conn)
		c.mu.Lock()
		c.remote, c.identifyErr = remote, err
		c.mu.Unlock()
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.identifyErr
}

// Write takes p for delivery after the delay; it waits when too much is under way.
func (c *conn) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		n, err := c.enqueue(p)
		total += n
		if err != nil {
			return total, err
		}
		if p = p[n:]; len(p) == 0 {
			break
		}
		select {
		case <-c.room:
		case <-c.gone:
		case <-c.over:
		case <-c.writeLimit.wait():
			return total, os.ErrDeadlineExceeded
		}
	}
	return total, nil
}

func (c *conn) enqueue(p []byte) (int, error) {
	local, remote := c.ends()
	delay := c.n.Delay(local, remote)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if c.broken != nil {
		return 0, c.broken
	}
	p = p[:min(len(p), inFlightBytes-c.bytes)]
	if len(p) == 0 {
		return 0, nil
	}
	if due := time.Now().Add(delay); due.After(c.last) {
		c.last = due
	}
	c.queue = append(c.queue, chunk{data: append([]byte(nil), p...), due: c.last})
	c.bytes += len(p)
	token(c.more)
	return len(p), nil
}

// pump delivers what was written, each chunk when it is due and its direction is open, until the connection ends.
func (c *conn) pump() {
	defer c.n.forget(c)
	defer func() { _ = c.Conn.Close() }() // may be closed already
	defer close(c.over)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, ok := c.next()
		if !ok {
			return
		}
		for {
			timer.Reset(time.Until(next.due))
			open, changed := c.passes()
			due := timer.C
			if open && time.Until(next.due) <= 0 {
				break
			}
			if !open {
				due = nil // there is no use in waking up before the heal
			}
			select {
			case <-due:
			case <-changed:
			case <-c.abandon:
				return
			}
		}
		if _, err := c.Conn.Write(next.data); err != nil {
			c.mu.Lock()
			c.broken = err
			c.mu.Unlock()
			return
		}
		c.mu.Lock()
		c.bytes -= len(next.data)
		c.mu.Unlock()
		token(c.room)
	}
}

// passes tells whether bytes from here pass.
func (c *conn) passes() (bool, <-chan struct{}) {
	local, remote := c.ends()
	return c.n.state(local, remote)
}

// next waits for a chunk; false when there will be none.
func (c *conn) next() (chunk, bool) {
	for {
		c.mu.Lock()
		if len(c.queue) > 0 {
			next := c.queue[0]
			if c.queue = c.queue[1:]; len(c.queue) == 0 {
				c.queue = nil
			}
			c.mu.Unlock()
			return next, true
		}
		closed := c.closed
		c.mu.Unlock()
		if closed {
			return chunk{}, false
		}
		select {
		case <-c.more:
		case <-c.abandon:
			return chunk{}, false
		}
	}
}

// Close ends the connection here at once; the other side learns of it after what was written before.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	wait := max(0, time.Until(c.last)) + lingerTime
	c.mu.Unlock()
	close(c.gone)
	token(c.more)
	linger := time.AfterFunc(wait, c.reset)
	go func() { <-c.over; linger.Stop() }()
	return c.Conn.SetReadDeadline(time.Unix(1, 0)) // wakes a Read
}

// SetLinger with 0 resets the connection: what waits is dropped, and the other side gets an error. Other values do nothing.
func (c *conn) SetLinger(seconds int) error {
	if seconds == 0 {
		c.reset()
	}
	return nil
}

// reset ends the connection as a crash does.
func (c *conn) reset() {
	c.resetOnce.Do(func() {
		close(c.abandon)
		if tcp, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
			_ = tcp.SetLinger(0) // closed already: then there is nothing to reset
		}
		_ = c.Conn.Close() // likewise
	})
}

func (c *conn) SetDeadline(t time.Time) error {
	c.writeLimit.set(t)
	return c.SetReadDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.readLimit.set(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline bounds the wait for room, not the delivery.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writeLimit.set(t)
	return nil
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// The first bytes of a connection name the region that dialled: its length in one byte, then the name.
func writeName(w io.Writer, region chat.Region) error {
	if len(region) == 0 || len(region) > 255 {
		return fmt.Errorf("simnet: region name of %d bytes", len(region))
	}
	_, err := w.Write(append([]byte{byte(len(region))}, region...))
	return err
}

func readName(r io.Reader) (chat.Region, error) {
	var b [256]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return "", err
	}
	name := b[1 : 1+int(b[0])]
	if len(name) == 0 {
		return "", fmt.Errorf("simnet: a connection without a name")
	}
	_, err := io.ReadFull(r, name)
	return chat.Region(name), err
}
