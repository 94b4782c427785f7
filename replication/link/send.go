package link

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// session gives the connection in use to peer. The error has CodeRegionDegraded when there is none, CodeInvalid for a
// node that is no peer.
func (m *Mesh) session(peer chat.NodeRef, op string) (*session, error) {
	p := m.peers[peer]
	if p == nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "no such node: " + peer.String()}
	}
	if s := p.current(); s != nil {
		return s, nil
	}
	return nil, unreachable(op, "node "+peer.String())
}

// sessions gives the connections to a region's nodes, the shortest round trip first. Errors as session's.
func (m *Mesh) sessions(region chat.Region, op string) ([]*session, error) {
	nodes := m.nodes[region]
	if len(nodes) == 0 {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "no such region, or no other node of it: " + string(region)}
	}
	var up []*session
	for _, p := range nodes {
		if s := p.current(); s != nil {
			up = append(up, s)
		}
	}
	if len(up) == 0 {
		return nil, unreachable(op, "region "+string(region))
	}
	if len(up) > 1 {
		distance := func(s *session) time.Duration {
			if rtt := s.rtt.shortest(); rtt > 0 {
				return rtt
			}
			return math.MaxInt64 // not known yet
		}
		slices.SortStableFunc(up, func(a, b *session) int { return cmp.Compare(distance(a), distance(b)) })
	}
	return up, nil
}

func unreachable(op, who string) error {
	return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: who + " cannot be reached", RetryAfter: time.Second}
}

// SendRelay queues f for peer and does not block. False: the link is down, the queue is full, an op is too long, or the
// peer's protocol does not have this kind of frame; nothing of f is sent. True is no promise of delivery. A batch that is
// large for one frame arrives as several that mean the same. What the peer's protocol does not know of a frame is left out.
func (m *Mesh) SendRelay(peer chat.NodeRef, f replication.Frame) bool {
	s, err := m.session(peer, "link.SendRelay")
	if err != nil {
		return false
	}
	frames, err := encodeRelay(&f, s.version)
	if err != nil {
		m.o.Log.Error("relay frame not sent", "peer", peer, "error", err)
	}
	if err != nil || !s.out.putRelay(frames, m.o.Limits.RelayQueueBytes) {
		m.o.Metrics.Count(MetricDropped, peer.String(), "relay")
		return false
	}
	return true
}

// Tell sends a message that may get lost: when the link is down, the queue full, or payload longer than MaxPayloadBytes
// or kind than MaxNameBytes, it is dropped and counted.
func (m *Mesh) Tell(peer chat.NodeRef, kind string, payload []byte) {
	s, err := m.session(peer, "link.Tell")
	if err != nil || checkSize("link.Tell", kind, payload) != nil || !s.tell(kind, payload) {
		m.o.Metrics.Count(MetricDropped, peer.String(), "tell")
	}
}

// TellRegion tells every node of region, this one excepted.
func (m *Mesh) TellRegion(region chat.Region, kind string, payload []byte) {
	for _, p := range m.nodes[region] {
		m.Tell(p.ref, kind, payload)
	}
}

// Call asks OnRequest of a node of region and waits for the answer: the node with the shortest round trip, and where it
// turns out that that one was not asked, or is too busy to act, the next. ctx's deadline goes with the request.
//
// The error is the other side's (its code, message, retry-after and endpoints), or: CodeRegionDegraded when no link is
// up: nothing was sent; CodeUnknownOutcome when ctx or the link ended before the answer: the other side may have
// acted; CodeBusy when too much is under way; CodeTooLarge for a payload above MaxPayloadBytes.
func (m *Mesh) Call(ctx context.Context, region chat.Region, method string, payload []byte) ([]byte, error) {
	all, err := m.sessions(region, "link.Call")
	if err != nil {
		return nil, err
	}
	return callOne(ctx, all, method, payload)
}

// CallNode is Call of one node.
func (m *Mesh) CallNode(ctx context.Context, peer chat.NodeRef, method string, payload []byte) ([]byte, error) {
	s, err := m.session(peer, "link.Call")
	if err != nil {
		return nil, err
	}
	return callOne(ctx, []*session{s}, method, payload)
}

func callOne(ctx context.Context, sessions []*session, method string, payload []byte) (answer []byte, err error) {
	if err := checkSize("link.Call", method, payload); err != nil {
		return nil, err
	}
	for _, s := range sessions {
		if answer, err = s.call(ctx, method, payload); chat.CodeOf(err) != chat.CodeBusy {
			break
		}
	}
	return answer, err
}

// OpenStream opens a stream that OnStream of a node of region will serve: of the one with the shortest round trip, the
// others where that is not possible. It does not wait for the other side: a refusal arrives as the stream's end. ctx bounds
// only the opening. Errors: CodeRegionDegraded when no link is up, CodeBusy when Limits.Streams are open or ctx ends before
// there is room, CodeTooLarge for a header above MaxPayloadBytes.
func (m *Mesh) OpenStream(ctx context.Context, region chat.Region, kind string, header []byte) (Stream, error) {
	all, err := m.sessions(region, "link.OpenStream")
	if err != nil {
		return nil, err
	}
	return openOne(ctx, all, kind, header)
}

// OpenStreamNode is OpenStream to one node.
func (m *Mesh) OpenStreamNode(ctx context.Context, peer chat.NodeRef, kind string, header []byte) (Stream, error) {
	s, err := m.session(peer, "link.OpenStream")
	if err != nil {
		return nil, err
	}
	return openOne(ctx, []*session{s}, kind, header)
}

func openOne(ctx context.Context, sessions []*session, kind string, header []byte) (stream Stream, err error) {
	if err := checkSize("link.OpenStream", kind, header); err != nil {
		return nil, err
	}
	for _, s := range sessions {
		if stream, err = s.openStream(ctx, kind, header); err == nil || ctx.Err() != nil {
			break
		}
	}
	return stream, err
}

func checkSize(op, name string, payload []byte) error {
	if len(name) > MaxNameBytes || len(payload) > MaxPayloadBytes {
		return &chat.Error{Code: chat.CodeTooLarge, Op: op, Message: fmt.Sprintf("%d bytes, at most %d", len(payload), MaxPayloadBytes)}
	}
	return nil
}
