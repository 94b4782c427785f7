package gateway

import (
	"net"
	"net/netip"

	"meridian/chat"
	"meridian/region-node/drain"
	"meridian/region-node/messages"
	"meridian/region-node/wire"
)

// Sockets gives the sockets that a drain moves: those that end in this node, and those that end in other regions. One that ends in
// another node of this region is moved there.
func (g *Gateway) Sockets() []drain.Socket {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []drain.Socket
	for s := range g.sessions {
		if !s.through || s.edge != g.opt.Identity.Region {
			out = append(out, s)
		}
	}
	return out
}

// Person gives whose socket it is, for drain.Socket.
func (s *session) Person() (chat.Zone, netip.Addr) { return s.self.Zone, s.addr }

// Edge gives the region where the socket ends.
func (s *session) Edge() chat.Region { return s.edge }

// NetConn gives the connection of a socket that ends here; nil for another.
func (s *session) NetConn() net.Conn {
	if own, ok := s.conn.(Socket); ok {
		return own.NetConn()
	}
	return nil
}

// GoAway asks the client to move.
func (s *session) GoAway(f wire.GoAway) { s.push(wire.Encode(f)) }

// End closes the socket.
func (s *session) End(code int, reason string) { s.conn.Close(code, reason) }

// Opened is an open socket of a person.
type Opened interface {
	Edge() chat.Region
	Address() netip.Addr
}

// Address gives the client's address.
func (s *session) Address() netip.Addr { return s.addr }

// Of gives the sockets of a person that are served here.
func (g *Gateway) Of(user chat.UserID) []Opened {
	var open []Opened
	g.opt.Messages.Hub().Each(user, func(s messages.Subscriber) {
		if one, ok := s.(*session); ok {
			open = append(open, one)
		}
	})
	return open
}
