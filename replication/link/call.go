package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"meridian/chat"
	pb "meridian/proto"
)

// calls are a session's requests, asked and being served.
type calls struct {
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan *pb.Response
	serving map[uint64]context.CancelFunc
}

func (c *calls) init() {
	c.waiting, c.serving = make(map[uint64]chan *pb.Response), make(map[uint64]context.CancelFunc)
}

// begin makes an id and the place where its answer will lie.
func (c *calls) begin(limit int) (uint64, chan *pb.Response, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) >= limit {
		return 0, nil, false
	}
	c.next++
	answer := make(chan *pb.Response, 1)
	c.waiting[c.next] = answer
	return c.next, answer, true
}

func (c *calls) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// answer hands a response to who waits for it; one that nobody waits for is dropped.
func (c *calls) answer(r *pb.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer := c.waiting[r.Id]; answer != nil {
		delete(c.waiting, r.Id)
		answer <- r
	}
}

// cancelled ends the context of a request being served.
func (c *calls) cancelled(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.serving[id]; cancel != nil {
		cancel()
	}
}

// serve notes a request being served; false when there are too many, or one has that id.
func (c *calls) serve(id uint64, cancel context.CancelFunc, limit int) (ok, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known = c.serving[id]; known || len(c.serving) >= limit {
		return false, known
	}
	c.serving[id] = cancel
	return true, false
}

func (c *calls) served(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.serving, id)
}

// call asks and waits.
func (s *session) call(ctx context.Context, method string, payload []byte) ([]byte, error) {
	op := "link.Call " + method
	request := &pb.Request{Method: []byte(method), Payload: payload}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, &chat.Error{Code: chat.CodeUnknownOutcome, Op: op, Message: "no time left", Cause: context.DeadlineExceeded}
		}
		request.TimeoutMs = uint32(min(left.Milliseconds()+1, 1<<31))
	}
	id, answer, ok := s.calls.begin(s.m.o.Limits.Calls)
	if ok {
		request.Id = id
		defer s.calls.forget(id)
		ok, _ = s.out.putControl(encodeFrame(&pb.Frame{Kind: &pb.Frame_Request{Request: request}}), s.m.o.Limits.ControlQueueBytes)
	}
	if !ok {
		return nil, &chat.Error{
			Code: chat.CodeBusy, Op: op, Message: fmt.Sprintf("too many requests to node %s", s.peer.ref), RetryAfter: 100 * time.Millisecond,
		}
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			return nil, decodeError(r.Error, method)
		}
		return r.Payload, nil
	case <-ctx.Done():
		s.owe(&pb.Frame{Kind: &pb.Frame_Cancel{Cancel: &pb.Cancel{Id: id}}})
		return nil, &chat.Error{Code: chat.CodeUnknownOutcome, Op: op, Message: "no answer in time from node " + s.peer.ref.String(), Cause: ctx.Err()}
	case <-s.ctx.Done():
		return nil, &chat.Error{
			Code: chat.CodeUnknownOutcome, Op: op, Message: fmt.Sprintf("link to node %s ended before the answer", s.peer.ref), Cause: s.ended(),
		}
	}
}

// serveRequest starts the handler of a request, or refuses it.
func (s *session) serveRequest(r *pb.Request) error {
	if s.m.o.Handlers.OnRequest == nil {
		return s.refuse(r.Id, &chat.Error{Code: chat.CodeNotFound, Message: "requests are not served here"})
	}
	longest := time.Duration(1<<32-1) * time.Millisecond // a request without time-out: 49 days are none
	if r.TimeoutMs > 0 {
		longest = time.Duration(r.TimeoutMs) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(s.ctx, longest)
	ok, known := s.calls.serve(r.Id, cancel, s.m.o.Limits.Calls)
	if known {
		cancel()
		return malformed("request: its id is in use")
	}
	if ok {
		ok = s.m.start(func() {
			defer cancel()
			defer s.calls.served(r.Id)
			s.m.handle(func() { s.serve(ctx, r) })
		})
	}
	if !ok {
		cancel()
		return s.refuse(r.Id, &chat.Error{Code: chat.CodeBusy, Message: "too many requests under way", RetryAfter: 100 * time.Millisecond})
	}
	return nil
}

func (s *session) refuse(id uint64, err error) error {
	return s.answer(&pb.Frame{Kind: &pb.Frame_Response{Response: &pb.Response{Id: id, Error: encodeError(err)}}})
}

func (s *session) serve(ctx context.Context, r *pb.Request) {
	payload, err := s.m.o.Handlers.OnRequest(ctx, s.peer.ref, string(r.Method), r.Payload)
	if err == nil && len(payload) > MaxPayloadBytes {
		err = &chat.Error{Code: chat.CodeTooLarge, Message: fmt.Sprintf("answer of %d bytes, at most %d", len(payload), MaxPayloadBytes)}
	}
	response := &pb.Response{Id: r.Id, Payload: payload}
	if err != nil {
		response.Payload, response.Error = nil, encodeError(err)
		if typed := (*chat.Error)(nil); !errors.As(err, &typed) || typed.Code == chat.CodeInternal {
			s.m.o.Log.Error("backbone request failed", "peer", s.peer.ref.String(), "method", string(r.Method), "error", err)
		}
	}
	s.owe(&pb.Frame{Kind: &pb.Frame_Response{Response: response}})
}
