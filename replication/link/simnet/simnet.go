// Package simnet is a network between regions on one machine: real TCP connections whose bytes arrive after a delay of
// choice, and which can be cut, healed and reset at will. Regions may share one Network in a process, or have one each in
// several: each side delays what it sends, and holds up both directions of what it was told to cut.
package simnet

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"meridian/chat"
)

// Direction is what travels From one region To another.
type Direction struct{ From, To chat.Region }

// Network fulfils link.Network. It is safe for concurrent use.
type Network struct {
	mu      sync.Mutex
	delay   func(from, to chat.Region) time.Duration
	cut     map[Direction]bool
	changed chan struct{} // closed and made anew when something is cut or healed
	conns   map[*conn]struct{}
	closed  bool
	pumps   sync.WaitGroup
}

// New makes a network in which bytes need delay(from, to) for one way; nil means none. delay must be safe for concurrent use.
func New(delay func(from, to chat.Region) time.Duration) *Network {
	n := &Network{cut: make(map[Direction]bool), changed: make(chan struct{}), conns: make(map[*conn]struct{})}
	n.SetDelay(delay)
	return n
}

// SetDelay changes the delays, for bytes sent from now on.
func (n *Network) SetDelay(delay func(from, to chat.Region) time.Duration) {
	if delay == nil {
		delay = func(chat.Region, chat.Region) time.Duration { return 0 }
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = delay
}

// Delay gives the one-way delay.
func (n *Network) Delay(from, to chat.Region) time.Duration {
	n.mu.Lock()
	delay := n.delay
	n.mu.Unlock()
	return delay(from, to)
}

// Cut lets nothing through from a to b any more, and with bothWays nothing from b to a: no byte, no reset, no new
// connection. What is under way is held and arrives after Heal, if the connection lives that long.
func (n *Network) Cut(a, b chat.Region, bothWays bool) {
	n.change(func() {
		n.cut[Direction{a, b}] = true
		if bothWays {
			n.cut[Direction{b, a}] = true
		}
	})
}

// Heal undoes Cut, in both directions.
func (n *Network) Heal(a, b chat.Region) {
	n.change(func() {
		delete(n.cut, Direction{a, b})
		delete(n.cut, Direction{b, a})
	})
}

// Cuts gives what is cut, sorted.
func (n *Network) Cuts() []Direction {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []Direction
	for d := range n.cut {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Direction) int {
		return slices.Compare([]chat.Region{a.From, a.To}, []chat.Region{b.From, b.To})
	})
	return all
}

// Kill resets all connections of region, as the loss of its machines does.
func (n *Network) Kill(region chat.Region) {
	for _, c := range n.connections() {
		if local, remote := c.ends(); local == region || remote == region {
			c.reset()
		}
	}
}

// Close resets all connections and waits until nothing of them is left. Dial fails from now on.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	for _, c := range n.connections() {
		c.reset()
	}
	n.pumps.Wait()
}

// Changed gives a channel that is closed with the next Cut or Heal.
func (n *Network) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// Dial connects from one region to another. It takes a round trip, as a TCP handshake does, and while either direction
// is cut it waits.
func (n *Network) Dial(ctx context.Context, from, to chat.Region, addr string) (net.Conn, error) {
	trip := time.NewTimer(n.Delay(from, to) + n.Delay(to, from))
	defer trip.Stop()
	select {
	case <-trip.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		open, changed := n.state(from, to)
		if back, _ := n.state(to, from); open && back {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := writeName(raw, from); err != nil {
		_ = raw.Close() // the error that matters is err
		return nil, err
	}
	return n.wrap(raw, from, to)
}

// Accepted wraps a connection that region local has taken. Who is at its other end is learnt from its first bytes, which
// Dial wrote; that is for the delay only and proves nothing.
func (n *Network) Accepted(local chat.Region, raw net.Conn) net.Conn {
	c, err := n.wrap(raw, local, "")
	if err != nil {
		_ = raw.Close() // the network is closed: whoever reads will notice
		return raw
	}
	return c
}

func (n *Network) wrap(raw net.Conn, local, remote chat.Region) (*conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		_ = raw.Close() // nobody else knows it
		return nil, fmt.Errorf("simnet: %w", net.ErrClosed)
	}
	c := newConn(n, raw, local, remote)
	n.conns[c] = struct{}{}
	n.pumps.Go(c.pump)
	return c, nil
}

func (n *Network) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

func (n *Network) connections() []*conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		all = append(all, c)
	}
	return all
}

func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// state tells whether bytes pass, and gives the channel that is closed when that may change.
func (n *Network) state(from, to chat.Region) (open bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[Direction{from, to}], n.changed
}
