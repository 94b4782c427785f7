package regionnode

import (
	"net"
	"sync"
)

// connSet knows every accepted connection, hijacked ones too, so that Kill can drop them all at once.
type connSet struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

func newConnSet() *connSet { return &connSet{conns: make(map[net.Conn]struct{})} }

func (s *connSet) wrap(l net.Listener) net.Listener { return &trackedListener{Listener: l, set: s} }

func (s *connSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	clear(s.conns)
}

type trackedListener struct {
	net.Listener
	set *connSet
}

func (l *trackedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t := &trackedConn{Conn: c, set: l.set}
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	if l.set.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	l.set.conns[c] = struct{}{}
	return t, nil
}

type trackedConn struct {
	net.Conn
	set *connSet
}

func (c *trackedConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.conns, c.Conn)
	c.set.mu.Unlock()
	return c.Conn.Close()
}

// NetConn gives the connection itself.
func (c *trackedConn) NetConn() net.Conn { return c.Conn }
