package dns

import (
	"errors"
	"net"
	"time"

	"github.com/miekg/dns"
)

// servePlain answers one query after another, all of them by Respond, until conn is closed. It runs on every system.
func (s *Server) servePlain(conn *net.UDPConn) {
	buf := make([]byte, queryBytes)
	for {
		n, session, err := dns.ReadFromSessionUDP(conn, buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // the kernel is short of memory; nothing of ours is wrong
			continue
		}
		if out := s.shows.Load().Respond(buf[:n], addrOf(session.RemoteAddr()), false); out != nil {
			// A datagram that cannot be sent is one that is lost: the asker repeats its question.
			_, _ = dns.WriteToSessionUDP(conn, out, session)
		}
	}
}
