package link

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// Mesh keeps one node connected to the other regions. Of two regions the one whose name sorts first dials, again and again
// until the other is there; the other listens. One connection per peer is in use at a time: a new one of the same region
// replaces the old one. All methods are safe for concurrent use.
type Mesh struct {
	o      Options
	peers  map[chat.Region]*peer
	ctx    context.Context // ends with Close and Kill
	cancel context.CancelFunc
	server *http.Server
	redial chan struct{} // closed and made anew by Redial; guarded by mu
	silent atomic.Bool   // after Kill no handler is called

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// PeerStatus is what a mesh knows of one peer.
type PeerStatus struct {
	Up    bool
	Since time.Time // when Up last changed; at first when the mesh was made
	// RTT is the shortest of the last eight round trips; 0 before the first.
	RTT       time.Duration
	LastError string // why it is, or was last, down; "" when it never was
	// Node, Incarnation and Protocol are the peer's, of the last connection.
	Node        chat.NodeID
	Incarnation chat.Incarnation
	Protocol    int
	// RelayQueueBytes and ControlQueueBytes wait to be written.
	RelayQueueBytes, ControlQueueBytes int
	// Streams is the number of open streams.
	Streams int
}

// NewMesh starts a mesh: it listens and dials at once. The error has CodeInvalid for options that cannot work; then the
// listener stays open.
func NewMesh(o Options) (*Mesh, error) {
	o.setDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	m := &Mesh{o: o, peers: make(map[chat.Region]*peer, len(o.Peers)), redial: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	for region, addr := range o.Peers {
		m.peers[region] = newPeer(region, addr, o.Now())
	}
	if o.Listener != nil {
		m.serveHTTP()
	}
	for _, region := range slices.Sorted(maps.Keys(m.peers)) {
		if p := m.peers[region]; o.Region < region {
			m.start(func() { m.dialLoop(p) })
		}
	}
	return m, nil
}

// start runs f in a goroutine that Close waits for; false when the mesh is closed.
func (m *Mesh) start(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.wg.Go(f)
	return true
}

// Close tells every peer, ends all connections and waits for all handlers to return; OnDown is called for each peer that
// was up. It is safe to call it twice.
func (m *Mesh) Close() {
	m.stop(EndClosed)
	m.wg.Wait()
}

// Kill drops everything at once, as if the process had died: no close frame, no further call of a handler. It does
// not wait for handlers under way; their contexts and streams have ended.
func (m *Mesh) Kill() {
	m.silent.Store(true)
	m.stop(EndLost)
}

func (m *Mesh) stop(end End) {
	m.mu.Lock()
	first := !m.closed
	m.closed = true
	m.mu.Unlock()
	if !first {
		return
	}
	if m.server != nil {
		_ = m.server.Close() // closes the listener; its error says nothing that matters now
	}
	for _, p := range m.peers {
		if s := p.latestSession(); s != nil {
			if m.silent.Load() {
				abort(s.conn)
			}
			s.fail(&endError{end: end})
		}
	}
	m.cancel()
}

// Redial makes every dial that waits out its back-off try at once.
func (m *Mesh) Redial() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.redial)
	m.redial = make(chan struct{})
}

func (m *Mesh) redialSignal() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.redial
}

// Peers gives the state of each peer.
func (m *Mesh) Peers() map[chat.Region]PeerStatus {
	all := make(map[chat.Region]PeerStatus, len(m.peers))
	for region, p := range m.peers {
		all[region] = p.status()
	}
	return all
}

// session gives the connection in use to peer. The error has CodeRegionDegraded when there is none, CodeInvalid for a
// region that is no peer.
func (m *Mesh) session(peer chat.Region, op string) (*session, error) {
	p := m.peers[peer]
	if p == nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "no such region: " + string(peer)}
	}
	if s := p.current(); s != nil {
		return s, nil
	}
	return nil, unreachable(op, peer)
}

func unreachable(op string, peer chat.Region) error {
	return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: fmt.Sprintf("region %s cannot be reached", peer), RetryAfter: time.Second}
}

// SendRelay queues f for peer and does not block. False: the link is down, the queue is full or an op is too long; nothing
// of f is sent. True is no promise of delivery. A batch that is large for one frame arrives as several that mean the same.
func (m *Mesh) SendRelay(peer chat.Region, f replication.Frame) bool {
	s, err := m.session(peer, "link.SendRelay")
	if err != nil {
		return false
	}
	frames, err := encodeRelay(&f)
	if err != nil {
		m.o.Log.Error("relay frame not sent", "peer", peer, "error", err)
	}
	if err != nil || !s.out.putRelay(frames, m.o.Limits.RelayQueueBytes) {
		m.o.Metrics.Count(MetricDropped, string(peer), "relay")
		return false
	}
	return true
}

// Tell sends a message that may get lost: when the link is down, the queue full, or payload longer than MaxPayloadBytes
// or kind than MaxNameBytes, it is dropped and counted.
func (m *Mesh) Tell(peer chat.Region, kind string, payload []byte) {
	s, err := m.session(peer, "link.Tell")
	if err != nil || checkSize("link.Tell", kind, payload) != nil || !s.tell(kind, payload) {
		m.o.Metrics.Count(MetricDropped, string(peer), "tell")
	}
}

// Call asks peer's OnRequest and waits for the answer. ctx's deadline goes with the request.
//
// The error is the other side's (its code, message, retry-after and endpoints), or: CodeRegionDegraded when the link is
// down: nothing was sent; CodeUnknownOutcome when ctx or the link ended before the answer: the other side may have
// acted; CodeBusy when too much is under way; CodeTooLarge for a payload above MaxPayloadBytes.
func (m *Mesh) Call(ctx context.Context, peer chat.Region, method string, payload []byte) ([]byte, error) {
	s, err := m.session(peer, "link.Call")
	if err != nil {
		return nil, err
	}
	if err := checkSize("link.Call", method, payload); err != nil {
		return nil, err
	}
	return s.call(ctx, method, payload)
}

// OpenStream opens a stream that peer's OnStream will serve. It does not wait for the other side: a refusal arrives as the
// stream's end. ctx bounds only the opening. Errors: CodeRegionDegraded when the link is down, CodeBusy when
// Limits.Streams are open or ctx ends before there is room, CodeTooLarge for a header above MaxPayloadBytes.
func (m *Mesh) OpenStream(ctx context.Context, peer chat.Region, kind string, header []byte) (Stream, error) {
	s, err := m.session(peer, "link.OpenStream")
	if err != nil {
		return nil, err
	}
	if err := checkSize("link.OpenStream", kind, header); err != nil {
		return nil, err
	}
	return s.openStream(ctx, kind, header)
}

func checkSize(op, name string, payload []byte) error {
	if len(name) > MaxNameBytes || len(payload) > MaxPayloadBytes {
		return &chat.Error{Code: chat.CodeTooLarge, Op: op, Message: fmt.Sprintf("%d bytes, at most %d", len(payload), MaxPayloadBytes)}
	}
	return nil
}
