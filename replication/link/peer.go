package link

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"meridian/chat"
)

// Back-off between dials: a random time up to a limit that doubles from backoffMin to backoffMax.
const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 2 * time.Second
)

// peer is one other node: the connection in use, and what is known of the last.
type peer struct {
	ref  chat.NodeRef
	addr string
	turn chan struct{} // holds a token while a session is between OnUp and OnDown

	mu     sync.Mutex
	latest *session // the newest, maybe waiting for its turn
	cur    *session // the one in use
	last   PeerStatus
}

func newPeer(ref chat.NodeRef, addr string, now time.Time) *peer {
	return &peer{ref: ref, addr: addr, turn: make(chan struct{}, 1), last: PeerStatus{Since: now}}
}

func (p *peer) current() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur
}

func (p *peer) latestSession() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

func (p *peer) status() PeerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := p.last
	if p.cur != nil {
		status.RTT = p.cur.rtt.shortest()
		status.ControlQueueBytes, status.RelayQueueBytes = p.cur.out.waiting()
		status.Streams = p.cur.streams.open()
	}
	return status
}

// failed remembers why there is no connection.
func (p *peer) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last.LastError = err.Error()
}

// serve runs s as the connection of its peer, after the one before has ended, until s ends.
func (m *Mesh) serve(s *session) {
	p := s.peer
	p.mu.Lock()
	before := p.latest
	p.latest = s
	p.mu.Unlock()
	if before != nil {
		before.fail(&endError{end: EndReplaced})
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-s.ctx.Done():
		return
	}
	if s.ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	p.cur = s
	p.last = PeerStatus{
		Up: true, Since: m.o.Now(), LastError: p.last.LastError, Incarnation: s.incarnation, Protocol: s.version,
	}
	p.mu.Unlock()
	m.o.Metrics.Count(MetricConnected, p.ref.String())
	m.o.Log.Info("backbone link up", "peer", p.ref.String(), "protocol", s.version)
	m.handle(func() { m.call1(m.o.Handlers.OnUp, s.remote()) })

	ended := s.run()

	p.mu.Lock()
	p.cur = nil
	p.last.Up, p.last.Since, p.last.LastError, p.last.RTT = false, m.o.Now(), ended.Error(), s.rtt.shortest()
	p.mu.Unlock()
	m.o.Metrics.Count(MetricClosed, p.ref.String(), string(ended.end))
	m.o.Log.Info("backbone link down", "peer", p.ref.String(), "reason", string(ended.end), "error", ended.err)
	m.handle(func() { m.call1(m.o.Handlers.OnDown, s.remote()) })
}

// handle calls a handler unless the mesh was killed.
func (m *Mesh) handle(f func()) {
	if !m.silent.Load() {
		f()
	}
}

func (m *Mesh) call1(f func(Remote), peer Remote) {
	if f != nil {
		f(peer)
	}
}

// dialLoop keeps the peer connected until the mesh closes.
func (m *Mesh) dialLoop(p *peer) {
	limit := backoffMin
	for m.ctx.Err() == nil {
		changed, redial := m.o.Network.Changed(), m.redialSignal() // before the attempt: what changes meanwhile counts
		s, err := m.dial(p)
		if err == nil {
			began := time.Now()
			if m.serve(s); time.Since(began) > backoffMax { // a peer that takes every connection and drops it is no reason to hurry
				limit = backoffMin
			}
		} else {
			p.failed(err)
			m.o.Log.Debug("backbone dial failed", "peer", p.ref.String(), "error", err)
		}
		select {
		case <-m.ctx.Done():
			return
		case <-changed:
		case <-redial:
		case <-time.After(rand.N(limit)):
			limit = min(2*limit, backoffMax)
		}
	}
}

// attempt bounds one way up to the hello.
func (m *Mesh) attempt() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.ctx, m.o.DialTimeout)
}
