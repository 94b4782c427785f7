package link

import (
	"context"
	"fmt"
	"sync"

	"meridian/chat"
	pb "meridian/proto"
)

// Stream is a two-way sequence of messages between two nodes. Messages arrive in order, each once, until the stream ends.
// Each direction has its own window: who does not read stops the other side of this stream, and nothing else.
type Stream interface {
	// Read gives the next message, which is the caller's. One goroutine may read at a time. After the messages that came
	// before it, the end is told for ever: *CloseError when the other side closed, CodeRegionDegraded when the link
	// ended, CodeInvalid when this side closed. The error is the one of ctx when that ends first; nothing is lost then.
	Read(ctx context.Context) ([]byte, error)
	// Write sends messages, together where it can, each when the other side has room for it; they may be reused at once. Done does
	// not mean arrived. Where nobody else writes to the link it does so itself, and then ctx does not cut short what the network takes
	// (writeStall at most). Errors: as Read, and CodeTooLarge above MaxStreamMessageBytes, when none is sent. It is safe for
	// concurrent use.
	Write(ctx context.Context, messages ...[]byte) error
	// CloseWithCode ends the stream both ways; the other side gets *CloseError after the messages written before. Only the
	// first close counts. The code is the application's (WebSocket close codes are a good choice); reason is cut at
	// MaxNameBytes.
	CloseWithCode(code uint16, reason string)
	// Done gives a channel that is closed when the stream has ended: what has arrived before can still be read.
	Done() <-chan struct{}
}

// CloseError tells that the other side closed a stream.
type CloseError struct {
	Code   uint16
	Reason string
}

// Error prints for the log.
func (e *CloseError) Error() string { return fmt.Sprintf("stream closed: %d %s", e.Code, e.Reason) }

// Codes that the link itself closes streams with.
const (
	// CloseDone: the handler returned.
	CloseDone = 1000
	// CloseRefused: the other side does not serve streams.
	CloseRefused = 1003
	// CloseTryLater: too many streams are open.
	CloseTryLater = 1013
)

// streams are a session's open streams.
type streams struct {
	s    *session
	odd  uint64 // 1 on the side that dialled: its ids are odd
	mu   sync.Mutex
	all  map[uint64]*stream
	next uint64
	// mine and theirs count the open streams that each side opened; theirs until the handler has returned.
	mine, theirs int
	lastTheirs   uint64 // ids only grow
	over         error  // set when the session has ended
}

func (ss *streams) init(s *session, dialled bool) {
	ss.s, ss.all, ss.next = s, make(map[uint64]*stream), 2
	if dialled {
		ss.odd, ss.next = 1, 1
	}
}

func (ss *streams) open() int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.all)
}

func (ss *streams) get(id uint64) *stream {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.all[id]
}

// remove forgets a stream; what still comes for it is dropped.
func (ss *streams) remove(id uint64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.all[id] == nil {
		return
	}
	delete(ss.all, id)
	if id%2 == ss.odd {
		ss.mine--
	}
}

// end ends all streams with the session.
func (ss *streams) end(err error) {
	ss.mu.Lock()
	ss.over = err
	all := ss.all
	ss.all = make(map[uint64]*stream)
	ss.mu.Unlock()
	for _, st := range all {
		st.finish(err)
	}
}

// openStream opens one from this side.
func (s *session) openStream(ctx context.Context, kind string, header []byte) (Stream, error) {
	const op = "link.OpenStream"
	ss := &s.streams
	for {
		// The id is taken and queued under one lock: ids must arrive in growing order.
		ss.mu.Lock()
		if ss.over != nil {
			ss.mu.Unlock()
			return nil, unreachable(op, "node "+s.peer.ref.String())
		}
		if ss.mine >= s.m.o.Limits.Streams {
			ss.mu.Unlock()
			return nil, &chat.Error{Code: chat.CodeBusy, Op: op, Message: "too many streams to node " + s.peer.ref.String()}
		}
		id := ss.next
		ok, room := s.out.putControl(encodeFrame(&pb.Frame{Kind: &pb.Frame_StreamOpen{StreamOpen: &pb.StreamOpen{
			Id: id, Kind: []byte(kind), Header: header,
		}}}), s.m.o.Limits.ControlQueueBytes)
		if ok {
			st := newStream(s, id)
			ss.next += 2
			ss.mine++
			ss.all[id] = st
			ss.mu.Unlock()
			return st, nil
		}
		ss.mu.Unlock()
		select {
		case <-room:
		case <-s.ctx.Done():
			return nil, unreachable(op, "node "+s.peer.ref.String())
		case <-ctx.Done():
			return nil, &chat.Error{Code: chat.CodeBusy, Op: op, Message: "no room before the deadline", Cause: ctx.Err()}
		}
	}
}

// streamOpened starts the handler of a stream that the other side opened.
func (s *session) streamOpened(o *pb.StreamOpen) error {
	ss := &s.streams
	if o.Id%2 == ss.odd || o.Id <= ss.lastTheirs || len(o.Kind) > MaxNameBytes {
		return malformed("stream: its id is in use")
	}
	ss.lastTheirs = o.Id
	if s.m.o.Handlers.OnStream == nil {
		return s.answer(closeFrame(o.Id, CloseRefused, "streams are not served here"))
	}
	st := newStream(s, o.Id)
	ss.mu.Lock()
	full := ss.theirs >= s.m.o.Limits.Streams
	if !full {
		ss.theirs++
		ss.all[o.Id] = st
	}
	ss.mu.Unlock()
	started := !full && s.m.start(func() {
		s.m.handle(func() { s.m.o.Handlers.OnStream(s.peer.ref, st, string(o.Kind), o.Header) })
		st.CloseWithCode(CloseDone, "")
		ss.mu.Lock()
		ss.theirs--
		ss.mu.Unlock()
	})
	if !started {
		ss.remove(o.Id)
		return s.answer(closeFrame(o.Id, CloseTryLater, "too many streams"))
	}
	return nil
}

// data takes a copy of a message in. One for a stream that is closed here was under way: it is dropped.
func (ss *streams) data(id uint64, message []byte) error {
	st := ss.get(id)
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.end != nil {
		return nil
	}
	cost := len(message) + streamMessageCost
	if len(message) > MaxStreamMessageBytes || cost > st.granted {
		return &endError{end: EndCredit, err: fmt.Errorf("stream %d: %d bytes, %d allowed", id, cost, st.granted)}
	}
	st.granted -= cost
	st.in = append(st.in, append([]byte{}, message...))
	signal(st.readable)
	return nil
}

// credit lets this side send more.
func (ss *streams) credit(c *pb.StreamCredit) error {
	st := ss.get(c.Id)
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.allowed += int(c.Bytes); st.allowed > StreamWindowBytes {
		return &endError{end: EndCredit, err: fmt.Errorf("stream %d: credit of %d", c.Id, st.allowed)}
	}
	signal(st.writable)
	return nil
}

// closed ends a stream that the other side closed.
func (ss *streams) closed(c *pb.StreamClose) {
	if st := ss.get(c.Id); st != nil {
		ss.remove(c.Id)
		st.finish(&CloseError{Code: uint16(c.Code), Reason: string(c.Reason)})
	}
}

// stream is one side of a Stream.
type stream struct {
	s        *session
	id       uint64
	writing  chan struct{} // holds a token while a Write is under way
	readable chan struct{} // holds a token when in may have grown
	writable chan struct{} // holds a token when allowed may have grown
	done     chan struct{} // closed with end

	mu      sync.Mutex
	in      [][]byte
	granted int // what the other side may still send
	unread  int // what was read and not yet granted again
	allowed int // what this side may still send
	end     error
}

func newStream(s *session, id uint64) *stream {
	return &stream{
		s: s, id: id, granted: StreamWindowBytes, allowed: StreamWindowBytes,
		writing: make(chan struct{}, 1), readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// finish ends the stream here; only the first end counts.
func (st *stream) finish(err error) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.end != nil {
		return false
	}
	st.end = err
	close(st.done)
	return true
}

func (st *stream) Done() <-chan struct{} { return st.done }

func (st *stream) Read(ctx context.Context) ([]byte, error) {
	for {
		if message, credit, ok, err := st.pop(); ok || err != nil {
			if credit > 0 {
				st.s.owe(&pb.Frame{Kind: &pb.Frame_StreamCredit{StreamCredit: &pb.StreamCredit{Id: st.id, Bytes: uint32(credit)}}})
			}
			return message, err
		}
		select {
		case <-st.readable:
		case <-st.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pop gives the next message and the credit to give back, or the end.
func (st *stream) pop() (message []byte, credit int, ok bool, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.in) == 0 {
		return nil, 0, false, st.end
	}
	message, st.in[0] = st.in[0], nil
	if st.in = st.in[1:]; len(st.in) == 0 {
		st.in = nil
	}
	st.unread += len(message) + streamMessageCost
	// Credit goes back in quarters of the window; in less only where a largest message would have to wait for it.
	if st.end == nil && (st.unread >= StreamWindowBytes/4 || st.granted+st.unread >= StreamWindowBytes && st.granted < MaxStreamMessageBytes+streamMessageCost) {
		credit, st.unread = st.unread, 0
		st.granted += credit
	}
	return message, credit, true, nil
}

func (st *stream) Write(ctx context.Context, messages ...[]byte) error {
	for _, m := range messages {
		if len(m) > MaxStreamMessageBytes {
			return &chat.Error{Code: chat.CodeTooLarge, Op: "link.Stream.Write", Message: fmt.Sprintf("%d bytes, at most %d", len(m), MaxStreamMessageBytes)}
		}
	}
	select {
	case st.writing <- struct{}{}:
		defer func() { <-st.writing }()
	case <-st.done:
		return st.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
	defer st.s.writeOwn()
	for _, m := range messages {
		if err := st.queue(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// queue queues a message for the link when there is room on both sides. It is called with the token of writing held; what it queued
// is to be written by writeOwn, which it calls itself before it waits.
func (st *stream) queue(ctx context.Context, message []byte) error {
	cost := len(message) + streamMessageCost
	for !st.spend(cost) {
		st.s.writeOwn()
		select {
		case <-st.writable:
		case <-st.done:
			return st.ended()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	frame := encodeStreamData(st.id, message)
	for {
		ok, room, err := st.put(frame)
		if ok || err != nil {
			return err
		}
		st.s.writeOwn()
		select {
		case <-room:
		case <-st.done:
			return st.ended()
		case <-ctx.Done():
			st.refund(cost)
			return ctx.Err()
		}
	}
}

// spend takes credit for a message if there is enough.
func (st *stream) spend(cost int) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.allowed < cost {
		return false
	}
	st.allowed -= cost
	return true
}

func (st *stream) refund(cost int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.allowed += cost
}

// put queues a frame of the stream, unless it has ended: nothing may follow its close.
func (st *stream) put(frame []byte) (bool, <-chan struct{}, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.end != nil {
		return false, nil, st.end
	}
	ok, room := st.s.out.put(frame, st.s.m.o.Limits.ControlQueueBytes)
	return ok, room, nil
}

func (st *stream) ended() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.end
}

func (st *stream) CloseWithCode(code uint16, reason string) {
	closedHere := &chat.Error{Code: chat.CodeInvalid, Op: "link.Stream", Message: "the stream was closed on this side"}
	if !st.finish(closedHere) {
		return
	}
	st.mu.Lock()
	st.in = nil
	st.mu.Unlock()
	st.s.streams.remove(st.id)
	st.s.owe(closeFrame(st.id, code, reason[:min(len(reason), MaxNameBytes)]))
}

func closeFrame(id uint64, code uint16, reason string) *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_StreamClose{StreamClose: &pb.StreamClose{Id: id, Code: uint32(code), Reason: []byte(reason)}}}
}
