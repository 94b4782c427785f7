package shared

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"meridian/chat"
)

// answer is what becomes of a request.
type answer struct {
	response *response
	err      error
}

// waiting is a request that is not answered yet.
type waiting struct {
	id    uint64
	call  call
	about func(answer)
}

// session is one connection of a client.
type session struct {
	stream *stream
	conn   net.Conn
	out    outbox[*request]

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]waiting
	failed  bool
}

func newSession(conn net.Conn) *session {
	s := &session{conn: conn, stream: newStream(conn, nil), waiting: make(map[uint64]waiting)}
	s.out.init()
	return s
}

// start sends q and calls about once with what becomes of it, unless it gives an error: then q does not leave.
func (s *session) start(q *request, about func(answer)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return lost(callPing)
	}
	if len(s.waiting) >= maxUnderWay {
		return &chat.Error{Code: chat.CodeRegionDegraded, Op: "shared.start", Message: fmt.Sprintf("%d requests wait for the store", maxUnderWay)}
	}
	s.last++
	q.ID = s.last
	s.waiting[q.ID] = waiting{q.ID, q.Call, about}
	s.out.put(q) // under the lock: what is sent first has the smaller number
	return nil
}

// lost is the error of a call whose connection broke.
func lost(c call) error {
	e := &chat.Error{Code: chat.CodeRegionDegraded, Op: "shared.lost", Message: "the connection to the region's store broke"}
	if c.writes() {
		e.Code = chat.CodeUnknownOutcome
	}
	return e
}

// forget says that nobody waits for an answer any more. Its place stays taken until it comes.
func (s *session) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.waiting[id]; ok {
		w.about = func(answer) {}
		s.waiting[id] = w
	}
}

// run carries the connection until it breaks or ctx ends, and then tells everybody who waits, in the order of the requests:
// nothing looks at them any more.
func (s *session) run(ctx context.Context) error {
	var all sync.WaitGroup
	over := make(chan struct{})
	all.Go(s.write)
	all.Go(func() { s.beat(ctx, over) })
	err := s.read()
	close(over)
	s.fail()
	all.Wait()
	left := slices.SortedFunc(maps.Values(s.waiting), func(a, b waiting) int { return cmp.Compare(a.id, b.id) })
	for _, w := range left {
		w.about(answer{err: lost(w.call)})
	}
	return err
}

// beat asks for a sign of life now and then.
func (s *session) beat(ctx context.Context, over <-chan struct{}) {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.out.put(&request{})
		case <-ctx.Done():
			s.fail()
			return
		case <-over:
			return
		}
	}
}

func (s *session) read() error {
	for {
		a := new(response)
		if err := s.stream.read(a); err != nil {
			return err
		}
		if a.ID == 0 {
			continue // a sign of life
		}
		s.mu.Lock()
		w, ok := s.waiting[a.ID]
		delete(s.waiting, a.ID)
		s.mu.Unlock()
		if !ok {
			return fmt.Errorf("an answer to request %d, which was not asked", a.ID)
		}
		if a.Failed != nil {
			w.about(answer{err: a.Failed.err()})
			continue
		}
		w.about(answer{response: a})
	}
}

func (s *session) write() {
	for due := s.out.take(); due != nil; due = s.out.take() {
		for _, q := range due {
			if err := s.stream.write(q); err != nil {
				s.fail()
				return
			}
		}
		if err := s.stream.flush(); err != nil {
			s.fail()
			return
		}
	}
}

// fail ends the connection; run tells those who wait.
func (s *session) fail() {
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
	_ = s.conn.Close()
	s.out.close()
}
