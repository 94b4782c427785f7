package link

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
)

// Mesh keeps one node connected to all others, those of its own region included. Of two nodes the one that sorts first
// dials, again and again until the other is there; the other listens. One connection per peer is in use at a time: a new
// one of the same node replaces the old one. All methods are safe for concurrent use.
type Mesh struct {
	o      Options
	peers  map[chat.NodeRef]*peer
	nodes  map[chat.Region][]*peer // the same by region
	ctx    context.Context         // ends with Close and Kill
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
	// Incarnation and Protocol are those of the last connection.
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
	m := &Mesh{o: o, peers: make(map[chat.NodeRef]*peer, len(o.Peers)), nodes: make(map[chat.Region][]*peer), redial: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	all := slices.SortedFunc(maps.Keys(o.Peers), chat.NodeRef.Compare)
	for _, ref := range all {
		p := newPeer(ref, o.Peers[ref], o.Now())
		m.peers[ref] = p
		m.nodes[ref.Region] = append(m.nodes[ref.Region], p)
	}
	if o.Listener != nil {
		m.serveHTTP()
	}
	for _, ref := range all {
		if !m.dialsUs(ref) {
			m.start(func() { m.dialLoop(m.peers[ref]) })
		}
	}
	return m, nil
}

// dialsUs says which side of a pair dials.
func (m *Mesh) dialsUs(peer chat.NodeRef) bool { return peer.Compare(m.o.self()) < 0 }

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
func (m *Mesh) Peers() map[chat.NodeRef]PeerStatus {
	all := make(map[chat.NodeRef]PeerStatus, len(m.peers))
	for ref, p := range m.peers {
		all[ref] = p.status()
	}
	return all
}
