package link

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"meridian/chat"
	pb "meridian/proto"
	"meridian/replication/drift"
)

// session is one connection after its hello: one goroutine reads; one writes, and so do streams, one at a time (see outbox).
type session struct {
	m           *Mesh
	peer        *peer
	conn        *silenceConn
	ws          *websocket.Conn
	incarnation chat.Incarnation
	version     int

	out     *outbox
	rtt     roundTrips
	calls   calls
	streams streams
	started time.Time

	ctx    context.Context // ends with the session; its cause is an *endError
	cancel context.CancelCauseFunc
	once   sync.Once
}

func newSession(m *Mesh, p *peer, conn *silenceConn, ws *websocket.Conn, h *pb.Hello, version int, dialled bool) *session {
	s := &session{
		m: m, peer: p, conn: conn, ws: ws, incarnation: chat.Incarnation(h.Incarnation), version: version,
		out: newOutbox(), started: m.o.Now(),
	}
	s.ctx, s.cancel = context.WithCancelCause(m.ctx)
	context.AfterFunc(s.ctx, func() { s.fail(&endError{end: EndClosed}) }) // for a mesh that closed before it knew s
	s.calls.init()
	s.streams.init(s, dialled)
	conn.dead.Store(int64(m.o.DeadAfter))
	return s
}

// remote tells who is at the other end.
func (s *session) remote() Remote {
	return Remote{NodeRef: s.peer.ref, Incarnation: s.incarnation, Protocol: s.version}
}

// fail ends the session; only the first reason counts.
func (s *session) fail(why *endError) {
	s.once.Do(func() {
		s.cancel(why)
		sayEnd(s.ws, why.end)
		_ = s.conn.Close() // the reason is known already
	})
}

// ended gives why the session ended.
func (s *session) ended() *endError {
	return readEnd(context.Cause(s.ctx))
}

// run reads and writes until the session ends, and gives the reason.
func (s *session) run() *endError {
	var writer sync.WaitGroup
	writer.Go(s.write)
	err := s.read()
	s.fail(readEnd(err))
	writer.Wait()
	ended := s.ended()
	s.streams.end(&chat.Error{
		Code: chat.CodeRegionDegraded, Op: "link.Stream", Message: fmt.Sprintf("link to node %s ended", s.peer.ref), Cause: ended,
	})
	return ended
}

func (s *session) read() error {
	var buf bytes.Buffer
	for {
		packet, err := readPacket(s.ws, &buf)
		if err != nil {
			return err
		}
		if err := eachPart(packet, s.receivePart); err != nil {
			return err
		}
		if buf.Cap() > 4*packetBytes {
			buf = bytes.Buffer{} // after a large frame do not keep its room
		}
		if s.ctx.Err() != nil {
			return s.ended()
		}
	}
}

// receivePart handles one frame as it is encoded.
func (s *session) receivePart(part []byte) error {
	if id, message, ok := readStreamData(part); ok {
		return s.streams.data(id, message)
	}
	f, err := decodeFrame(part)
	if err != nil {
		return err
	}
	return s.receive(f)
}

// receive handles one frame.
func (s *session) receive(f *pb.Frame) error {
	switch k := f.Kind.(type) {
	case *pb.Frame_Ping:
		return s.answer(&pb.Frame{Kind: &pb.Frame_Pong{Pong: s.m.pong(k.Ping.Id)}})
	case *pb.Frame_Pong:
		s.ponged(k.Pong)
		return nil
	case *pb.Frame_Relay:
		relay, err := decodeRelay(k.Relay, s.version)
		if err == nil && s.m.o.Handlers.OnRelay != nil {
			s.m.handle(func() { s.m.o.Handlers.OnRelay(s.remote(), relay) })
		}
		return err
	case *pb.Frame_Tell:
		if s.m.o.Handlers.OnTell != nil {
			s.m.handle(func() { s.m.o.Handlers.OnTell(s.peer.ref, string(k.Tell.Kind), k.Tell.Payload) })
		}
		return nil
	case *pb.Frame_Request:
		return s.serveRequest(k.Request)
	case *pb.Frame_Response:
		s.calls.answer(k.Response)
		return nil
	case *pb.Frame_Cancel:
		s.calls.cancelled(k.Cancel.Id)
		return nil
	case *pb.Frame_StreamOpen:
		return s.streamOpened(k.StreamOpen)
	case *pb.Frame_StreamData:
		return s.streams.data(k.StreamData.Id, k.StreamData.Message)
	case *pb.Frame_StreamCredit:
		return s.streams.credit(k.StreamCredit)
	case *pb.Frame_StreamClose:
		s.streams.closed(k.StreamClose)
		return nil
	default: // a second hello
		return malformed("sequence of frames")
	}
}

// write writes what waits, and pings, until the session ends.
func (s *session) write() {
	ticker := time.NewTicker(s.m.o.DeadAfter / 3)
	defer ticker.Stop()
	s.ping()
	for s.ctx.Err() == nil {
		if s.writePacket() {
			select {
			case <-ticker.C:
				s.ping()
			default:
			}
			continue
		}
		select {
		case <-s.out.wake:
		case <-ticker.C:
			s.ping()
		case <-s.ctx.Done():
		}
	}
}

// writePacket writes one packet of what waits; false when nothing does, or somebody else writes.
func (s *session) writePacket() bool {
	packet := s.out.take()
	if len(packet) == 0 {
		return false
	}
	defer s.out.written()
	_ = s.ws.SetWriteDeadline(time.Now().Add(writeStall)) // never fails
	if err := s.ws.WriteMessage(websocket.BinaryMessage, packet); err != nil {
		end := readEnd(err)
		if end.end == EndDead {
			end.end = EndStalled
		}
		s.fail(end)
	}
	return true
}

// writeOwn writes what the caller has just queued, and what others have, unless somebody else is about to. So a frame that is alone
// is under way without another goroutine; where many come at once, the first lets the others add theirs to the packet.
func (s *session) writeOwn() {
	lead, shared := s.out.lead()
	if !lead {
		return
	}
	if shared {
		runtime.Gosched()
	}
	s.writePacket()
}

// ping asks for a pong; its id is the time since the session began, in nanoseconds.
func (s *session) ping() {
	_ = s.answer(&pb.Frame{Kind: &pb.Frame_Ping{Ping: &pb.Ping{Id: uint64(s.m.o.Now().Sub(s.started))}}}) // an overflow ends the reader too
}

// pong answers a ping, with what this node's clock shows.
func (m *Mesh) pong(id uint64) *pb.Pong {
	p := &pb.Pong{Id: id}
	if m.o.Clock != nil {
		now, standing := m.o.Clock()
		p.Clock, p.Standing = uint64(now.UnixMicro()), uint32(standing)
	}
	return p
}

// ponged takes the answer to a ping: how long it took, and what the peer's clock showed in between.
func (s *session) ponged(p *pb.Pong) {
	took := s.m.o.Now().Sub(s.started) - time.Duration(p.Id)
	s.rtt.add(took)
	if p.Clock == 0 || took < 0 || p.Clock > math.MaxInt64 || p.Standing > math.MaxUint8 || s.m.o.Handlers.OnClock == nil {
		return
	}
	s.m.handle(func() {
		s.m.o.Handlers.OnClock(s.peer.ref, took, time.UnixMicro(int64(p.Clock)), drift.Standing(p.Standing))
	})
}

// answer queues what the other side is owed; when it lets too much of that pile up the session is to end.
func (s *session) answer(f *pb.Frame) error {
	if ok, _ := s.out.putControl(encodeFrame(f), 4*s.m.o.Limits.ControlQueueBytes); !ok {
		return &endError{end: EndOverflow, err: fmt.Errorf("more than %d bytes of answers wait", 4*s.m.o.Limits.ControlQueueBytes)}
	}
	return nil
}

// owe is answer for those that are not the reader: it ends the session itself.
func (s *session) owe(f *pb.Frame) {
	if err := s.answer(f); err != nil {
		s.fail(readEnd(err))
	}
}

// tell queues a tell if there is room.
func (s *session) tell(kind string, payload []byte) bool {
	f := &pb.Frame{Kind: &pb.Frame_Tell{Tell: &pb.Tell{Kind: []byte(kind), Payload: payload}}}
	ok, _ := s.out.putControl(encodeFrame(f), s.m.o.Limits.ControlQueueBytes)
	return ok
}

// roundTrips keeps the last few round trips.
type roundTrips struct {
	mu    sync.Mutex
	last  [8]time.Duration
	count int
}

func (r *roundTrips) add(d time.Duration) {
	if d <= 0 {
		return // a pong that nobody asked for
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[r.count%len(r.last)] = d
	r.count++
}

func (r *roundTrips) shortest() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best time.Duration
	for _, d := range r.last[:min(r.count, len(r.last))] {
		if best == 0 || d < best {
			best = d
		}
	}
	return best
}
