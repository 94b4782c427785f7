package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"meridian/chat"
	"meridian/router/meter"
)

// The limits of the TCP side.
const (
	tcpConnections = 256
	tcpIdle        = 10 * time.Second
	queryBytes     = 4096 // no query is longer
)

// Server serves DNS. Make it with New, bind it with Listen, then Run.
type Server struct {
	opts    Options
	apexes  []string
	nodes   map[string]*node
	regions []endpoint // by the table's numbers
	servers []string
	fast    *fast
	counts  fastCounts

	udp []*net.UDPConn // on Linux one for each processor, on the same address
	tcp net.Listener
}

// New makes a server. The error has CodeInvalid and names the option that is wrong.
func New(opts Options) (*Server, error) {
	if opts.TTL <= 0 {
		opts.TTL = 30 * time.Second
	}
	if opts.TTLDegraded <= 0 || opts.TTLDegraded > opts.TTL {
		opts.TTLDegraded = opts.TTL
	}
	if opts.AnswerRegions <= 0 {
		opts.AnswerRegions = 1
	}
	opts.Metrics = meter.Or(opts.Metrics)
	s := &Server{opts: opts}
	err := s.build()
	if err == nil {
		s.fast, err = s.newFast()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Listen binds UDP and TCP to one port of addr, host:port; port 0 takes a free one. With freePort a taken port is replaced
// by a free one. The error has CodeInvalid.
func (s *Server) Listen(addr string, freePort bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return &chat.Error{Code: chat.CodeInvalid, Op: "dns.Listen", Message: "router.dns: " + addr + " is not host:port", Cause: err}
	}
	err = s.bind(addr)
	if err != nil && (freePort || port == "0") {
		for range 20 { // a port that is free for UDP may be taken for TCP
			if err = s.bind(net.JoinHostPort(host, "0")); err == nil {
				break
			}
		}
	}
	if err != nil {
		return &chat.Error{Code: chat.CodeInvalid, Op: "dns.Listen", Message: "router.dns: cannot listen on " + addr, Cause: err}
	}
	return nil
}

// bind takes the TCP port first: that one is never shared, so it keeps out a second server, which UDP would let in beside us.
func (s *Server) bind(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	port := tcp.Addr().(*net.TCPAddr).Port
	udp, err := listenUDP(net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	s.udp, s.tcp = udp, tcp
	return nil
}

// Addr gives the bound address, "" before Listen.
func (s *Server) Addr() string {
	if s.udp == nil {
		return ""
	}
	return s.udp[0].LocalAddr().String()
}

// Run serves until ctx ends, then closes the sockets and waits for what is under way.
func (s *Server) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, conn := range s.udp {
		s.serveUDP(&wg, conn)
	}
	wg.Go(func() { s.serveTCP(ctx) })
	wg.Go(func() { s.counts.run(ctx, s.opts.Metrics) })
	<-ctx.Done()
	err := errors.Join(s.tcp.Close(), closeAll(s.udp))
	wg.Wait()
	s.counts.report(s.opts.Metrics)
	return err
}

func (s *Server) serveTCP(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, tcpConnections)
	for {
		conn, err := s.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no file descriptors left: wait for one
			continue
		}
		select {
		case room <- struct{}{}:
		default: // full: the asker tries another server
			_ = conn.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-room }()
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			s.serveConn(conn)
		})
	}
}

// serveConn answers one query after another until the asker is done, silent for long, or sends what is no query.
func (s *Server) serveConn(conn net.Conn) {
	defer conn.Close()
	from := addrOf(conn.RemoteAddr())
	buf := make([]byte, queryBytes)
	for {
		if conn.SetDeadline(time.Now().Add(tcpIdle)) != nil {
			return
		}
		if _, err := io.ReadFull(conn, buf[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(buf))
		if n > len(buf) {
			s.opts.Metrics.Count(metricMalformed)
			return
		}
		if _, err := io.ReadFull(conn, buf[:n]); err != nil {
			return
		}
		out := s.Respond(buf[:n], from, true)
		if out == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

func closeAll(conns []*net.UDPConn) error {
	var err error
	for _, c := range conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
