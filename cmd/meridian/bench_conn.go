package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// loadConn is a WebSocket client that costs little: no masking work (a key of zeros is legal), no copies, no compression. The
// load must not be what limits a measurement.
type loadConn struct {
	net.Conn
	in    *bufio.Reader
	out   []byte
	frame []byte
}

const (
	loadDialTimeout  = 10 * time.Second
	loadWriteTimeout = 10 * time.Second
	// loadFrameMax bounds a frame of the server, in bytes.
	loadFrameMax = 1 << 20

	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa
)

// dialLoad opens a socket at an address and path.
func dialLoad(address, path, subprotocol string) (*loadConn, error) {
	conn, err := net.DialTimeout("tcp", address, loadDialTimeout)
	if err != nil {
		return nil, err
	}
	c := &loadConn{Conn: conn, in: bufio.NewReaderSize(conn, 2048)}
	if err := c.handshake(address, path, subprotocol); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *loadConn) handshake(address, path, subprotocol string) error {
	if err := c.SetDeadline(time.Now().Add(loadDialTimeout)); err != nil {
		return err
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if subprotocol != "" {
		request += "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	if _, err := io.WriteString(c.Conn, request+"\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 500)) // for the message only
		return fmt.Errorf("no socket: %s %s", answer.Status, body)
	}
	return c.SetDeadline(time.Time{})
}

// write queues a text frame; with flush all that is queued leaves.
func (c *loadConn) write(payload []byte, flush bool) error {
	c.put(opText, payload)
	if flush {
		return c.flush()
	}
	return nil
}

func (c *loadConn) put(op byte, payload []byte) {
	c.out = append(c.out, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		c.out = append(c.out, 0x80|byte(n))
	case n < 1<<16:
		c.out = binary.BigEndian.AppendUint16(append(c.out, 0x80|126), uint16(n))
	default:
		c.out = binary.BigEndian.AppendUint64(append(c.out, 0x80|127), uint64(n))
	}
	c.out = append(append(c.out, 0, 0, 0, 0), payload...) // the key of zeros
}

func (c *loadConn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if err := c.SetWriteDeadline(time.Now().Add(loadWriteTimeout)); err != nil {
		return err
	}
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// idle says that no frame of the server waits.
func (c *loadConn) idle() bool { return c.in.Buffered() == 0 }

// next reads one text frame; it is valid until the next call. Pings are answered.
func (c *loadConn) next() ([]byte, error) {
	for {
		op, payload, err := c.readFrame()
		switch {
		case err != nil:
			return nil, err
		case op == opText:
			return payload, nil
		case op == opPing:
			c.put(opPong, payload)
			if err := c.flush(); err != nil {
				return nil, err
			}
		case op == opClose && len(payload) >= 2:
			return nil, fmt.Errorf("closed with %d %s", binary.BigEndian.Uint16(payload), payload[2:])
		case op == opClose:
			return nil, io.EOF
		}
	}
}

func (c *loadConn) readFrame() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1] & 0x7f)
	extended := map[uint64]int{126: 2, 127: 8}[size]
	if extended > 0 {
		var b [8]byte
		if _, err := io.ReadFull(c.in, b[8-extended:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(b[:])
	}
	if size > loadFrameMax || head[0]&0x80 == 0 || head[1]&0x80 != 0 {
		return 0, nil, errors.New("a frame that is masked, in pieces or too large")
	}
	if uint64(cap(c.frame)) < size {
		c.frame = make([]byte, size)
	}
	c.frame = c.frame[:size]
	_, err = io.ReadFull(c.in, c.frame)
	return head[0] & 0x0f, c.frame, err
}

// discard reads until the connection ends.
func (c *loadConn) discard() {
	for {
		if _, err := c.next(); err != nil {
			return
		}
	}
}
