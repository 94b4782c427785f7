package link

import (
	"context"
	"net"

	"meridian/chat"
)

// Network makes the connections below TLS. TCP is the plain one; package simnet has one with delays and cuts.
type Network interface {
	// Dial connects region from to region to at addr (host:port). It obeys ctx.
	Dial(ctx context.Context, from, to chat.Region, addr string) (net.Conn, error)
	// Accepted gives the connection to use for one that the listener of region local took. It does not block.
	Accepted(local chat.Region, conn net.Conn) net.Conn
	// Changed gives a channel that is closed when a dial that failed may succeed now; nil if that is never known.
	Changed() <-chan struct{}
}

// TCP is the network as it is.
type TCP struct{}

var _ Network = TCP{}

// Dial connects to addr.
func (TCP) Dial(ctx context.Context, _, _ chat.Region, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// Accepted gives conn.
func (TCP) Accepted(_ chat.Region, conn net.Conn) net.Conn { return conn }

// Changed gives nil.
func (TCP) Changed() <-chan struct{} { return nil }
