package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// queryBytes is more than any query needs; a longer one is not read.
const queryBytes = 4096

func (s *Server) serveTCP(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := newRoom(s.opts.Serving.TCPConnections, s.opts.Serving.TCPPerNetwork)
	for {
		conn, err := s.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no file descriptors left: wait for one
			continue
		}
		from := addrOf(conn.RemoteAddr())
		if !room.enter(from) { // full: the asker tries another server
			s.opts.Metrics.Count("dns_tcp_refused_total")
			_ = conn.Close()
			continue
		}
		wg.Go(func() {
			defer room.leave(from)
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			s.serveConn(conn, from)
		})
	}
}

// serveConn answers one query after another until the asker is done, silent for long, or sends what gets no answer.
func (s *Server) serveConn(conn net.Conn, from netip.Addr) {
	defer conn.Close()
	buf := make([]byte, queryBytes)
	for {
		if conn.SetDeadline(time.Now().Add(s.opts.Serving.TCPIdle)) != nil {
			return
		}
		query, err := readQuery(conn, buf)
		if err != nil {
			return
		}
		out := s.shows.Load().Respond(query, from, true)
		if out == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

// readQuery reads one query into buf. Of one that is too long it gives the header alone, which cannot be right by itself.
func readQuery(conn io.Reader, buf []byte) ([]byte, error) {
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(buf))
	if size <= len(buf) {
		_, err := io.ReadFull(conn, buf[:size])
		return buf[:size], err
	}
	if _, err := io.ReadFull(conn, buf[:headerBytes]); err != nil {
		return nil, err
	}
	_, err := io.CopyN(io.Discard, conn, int64(size-headerBytes))
	return buf[:headerBytes], err
}

// room counts connections, in all and by network.
type room struct {
	mu        sync.Mutex
	all, each int // the limits
	taken     int
	takenBy   map[netip.Prefix]int
}

func newRoom(all, each int) *room {
	return &room{all: all, each: each, takenBy: map[netip.Prefix]int{}}
}

// enter takes a place for a connection from an address; false when there is none.
func (r *room) enter(from netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	network := networkOf(from)
	if r.taken >= r.all || r.takenBy[network] >= r.each {
		return false
	}
	r.taken++
	r.takenBy[network]++
	return true
}

func (r *room) leave(from netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	network := networkOf(from)
	r.taken--
	if r.takenBy[network]--; r.takenBy[network] == 0 {
		delete(r.takenBy, network)
	}
}

// networkOf gives the network that an address is counted with.
func networkOf(a netip.Addr) netip.Prefix {
	bits := limitBits6
	if a.Is4() {
		bits = limitBits4
	}
	p, _ := a.WithZone("").Prefix(bits) // the zero prefix for no address
	return p
}
