package dns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/router/meter"
)

// Server serves DNS. Make it with New, bind it with Listen, then Run.
type Server struct {
	opts    Options
	apexes  []string
	nodes   map[string]*node
	regions []endpoint // by the table's numbers
	servers []string
	chains  map[string]*chain // by apex
	fast    *fast
	counts  fastCounts

	id, version string // what we tell about ourselves; "" hides it
	cookies     *cookieJar
	limit       *limiter // nil: no limit
	began       time.Time
	signer      atomic.Pointer[signer]
	keyStamps   []stamp // of the key files that New has read

	// shows is whose names and rules are answered on this server's sockets: its own, or those of the last one that it took.
	shows atomic.Pointer[Server]
	udp   []*udpSocket // on Linux one for each processor, on the same address
	tcp   net.Listener
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
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Serving = opts.Serving.WithDefaults()
	s := &Server{opts: opts, began: opts.Now()}
	s.shows.Store(s)
	err := s.build()
	if err == nil {
		err = s.prepare()
	}
	if err == nil {
		s.fast, err = s.newFast()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// prepare makes what stands beside the names.
func (s *Server) prepare() (err error) {
	if s.id, err = told(s.opts.Serving.ID); err != nil {
		return invalid("router.name_server.id: the machine's name cannot be found: %v", err)
	}
	if s.version, err = told(s.opts.Serving.Version); err != nil {
		return invalid("router.name_server.version: the machine's name cannot be found: %v", err)
	}
	if s.cookies, err = newCookieJar(s.opts.CookieSecret); err != nil {
		return err
	}
	if s.limit, err = newLimiter(s.opts.Serving.RateLimit); err != nil {
		return err
	}
	s.keyStamps = stamps(s.opts.Serving.DNSSEC.KeyDir)
	return s.loadKeys()
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
	return s.udp[0].addr()
}

// Run serves until ctx ends, then closes the sockets and waits for what is under way.
func (s *Server) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, socket := range s.udp {
		socket.serve(&wg, s)
	}
	wg.Go(func() { s.serveTCP(ctx) })
	wg.Go(func() { s.counts.run(ctx, s.opts.Metrics) })
	wg.Go(func() { s.watchKeys(ctx) })
	wg.Go(func() { s.watchPieces(ctx) })
	<-ctx.Done()
	err := s.tcp.Close()
	for _, socket := range s.udp {
		err = errors.Join(err, socket.close())
	}
	wg.Wait()
	s.counts.report(s.opts.Metrics)
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
