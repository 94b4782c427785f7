package cassandra

import (
	"context"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

const (
	// maxQueued bounds the batches that wait; more are refused as degraded.
	maxQueued = 16_384
	// groupsInFlight is how many of them are under way at once.
	groupsInFlight = 4
	// tries is how often a write with an unknown outcome is sent before it is told as unknown; tryAgainAfter grows with each.
	tries         = 3
	tryAgainAfter = 50 * time.Millisecond
)

// request is a batch on its way, or what waits for those before it (w == nil).
type request struct {
	w      *writes
	claims []chat.Claim
	done   func(error)
	err    error
}

// committer gathers batches that wait into logged batches of the server: all rows of each become durable, or none. Some are
// under way at once; answers come in the order of the calls all the same.
type committer struct {
	s *Store

	mu      sync.Mutex
	queue   []*request
	pace    pace
	closed  error // why nothing is taken any more
	wake    chan struct{}
	flights chan *flight
	idle    sync.WaitGroup
}

// flight is a group under way.
type flight struct {
	requests []*request
	landed   chan struct{}
}

func newCommitter(s *Store) *committer {
	c := &committer{s: s, pace: newPace(), wake: make(chan struct{}, 1), flights: make(chan *flight, groupsInFlight-1)}
	c.idle.Go(c.gather)
	c.idle.Go(c.answer)
	return c
}

// Commit implements chat.Store.
func (s *Store) Commit(b *chat.Batch, done func(error)) {
	r := &request{done: done, claims: b.Claims}
	if r.err = b.Check(); r.err == nil {
		r.w, r.err = encode(b, s.life(), s.opts.Codec, s.known)
	}
	if err := s.commits.put(r); err != nil {
		s.opts.Metrics.Refused(1, chat.CodeOf(err))
		go done(err)
	}
}

func (c *committer) put(r *request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return c.closed
	}
	if len(c.queue) >= maxQueued {
		return degraded("cassandra.Commit", "too many batches wait", nil)
	}
	c.queue = append(c.queue, r)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// close takes nothing more and waits for what is under way. With drop what waits is answered with err.
func (c *committer) close(err error, drop bool) {
	c.mu.Lock()
	if c.closed == nil {
		c.closed = err
		if drop {
			for _, r := range c.queue {
				r.err = err
			}
		}
		close(c.wake)
	}
	c.mu.Unlock()
	c.idle.Wait()
}

// gather makes groups of what waits. A place among the flights is taken first: what comes meanwhile joins the group.
func (c *committer) gather() {
	defer close(c.flights)
	slots := make(chan struct{}, groupsInFlight)
	for open := true; open; {
		_, open = <-c.wake
		for {
			slots <- struct{}{}
			group := c.take()
			if len(group) == 0 {
				<-slots
				break
			}
			f := &flight{requests: group, landed: make(chan struct{})}
			c.flights <- f
			go func() {
				began := time.Now()
				c.s.fly(f.requests)
				c.landed(f.requests, time.Since(began))
				close(f.landed)
				<-slots
			}()
		}
	}
}

// landed tells the pace how a group went.
func (c *committer) landed(group []*request, took time.Duration) {
	late := false
	for _, r := range group {
		late = late || chat.CodeOf(r.err) == chat.CodeUnknownOutcome
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pace = c.pace.after(len(group), took, late)
	c.s.opts.Metrics.Paced(c.pace.batches)
}

// take gives the next group, bounded by the pace and by what the server takes as one batch.
func (c *committer) take() []*request {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes := 0, 0
	for n < len(c.queue) && n < c.pace.batches {
		r := c.queue[n]
		if r.err == nil {
			if n > 0 && (bytes+r.w.bytes > c.s.batchBytes || len(r.claims) > 0) {
				break
			}
			bytes += r.w.bytes
			if len(r.claims) > 0 { // alone: it is written in steps
				n++
				break
			}
		}
		n++
	}
	group := c.queue[:n:n]
	c.queue = c.queue[n:]
	return group
}

// answer calls back in the order of the calls.
func (c *committer) answer() {
	for f := range c.flights {
		<-f.landed
		for _, r := range f.requests {
			if r.err != nil {
				c.s.opts.Metrics.Refused(1, chat.CodeOf(r.err))
			}
			r.done(r.err)
		}
	}
}

// fly writes a group and notes in each request how it went.
func (s *Store) fly(requests []*request) {
	var group []*request
	for _, r := range requests {
		if r.err == nil {
			group = append(group, r)
		}
	}
	switch {
	case len(group) == 0:
		return
	case len(group) == 1 && (len(group[0].claims) > 0 || group[0].w.bytes > s.batchBytes):
		group[0].err = s.inSteps(group[0])
	default:
		s.together(group)
	}
}

// together writes a group as one batch; where the server finds fault with it, each by itself, so that one does not spoil the rest.
func (s *Store) together(group []*request) {
	began, bytes := time.Now(), 0
	var all []statement
	for _, r := range group {
		all = append(append(append(all, r.w.log...), r.w.rows...), r.w.end...)
		bytes += r.w.bytes
	}
	err := s.write("cassandra.Commit", all)
	if chat.CodeOf(err) == chat.CodeInvalid && len(group) > 1 {
		for _, r := range group {
			s.together([]*request{r})
		}
		return
	}
	for _, r := range group {
		if r.err = err; err == nil {
			s.known.durable(r.w)
		}
	}
	if err == nil {
		s.opts.Metrics.Committed(len(group), bytes, time.Since(began))
	}
}

// inSteps writes what cannot be one batch: the op log first, from which recovery applies again what a crash leaves undone, and
// the positions, which say that a thing is done, last. After the first step nothing is known to be undone.
func (s *Store) inSteps(r *request) error {
	steps := []func() error{
		func() error { return s.inParts(r.w.log) },
		func() error { return s.confirm(r.claims) },
		func() error { return s.inParts(r.w.rows) },
		func() error { return s.inParts(r.w.end) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			if i > 0 && chat.CodeOf(err) != chat.CodeInvalid {
				err = unknown("cassandra.Commit", err)
			}
			return err
		}
	}
	s.known.durable(r.w)
	return nil
}

// inParts writes statements in as many batches as the server's limit asks for. After the first one nothing is known to be undone.
func (s *Store) inParts(all []statement) error {
	for part := 0; len(all) > 0; part++ {
		n, bytes := 0, 0
		for n < len(all) && (n == 0 || bytes < s.batchBytes/2) {
			bytes += statementBytes(all[n].args)
			n++
		}
		if err := s.write("cassandra.Commit", all[:n]); err != nil {
			if part > 0 && chat.CodeOf(err) != chat.CodeInvalid {
				err = unknown("cassandra.Commit", err)
			}
			return err
		}
		all = all[n:]
	}
	return nil
}

// write makes statements durable as one logged batch: all of them, or none. With an outcome that is not known it sends the same
// again: each statement carries its time, so that twice is once.
func (s *Store) write(op string, all []statement) error {
	if len(all) == 0 {
		return s.ready(op)
	}
	return settle(op, func() error { return s.writeOnce(op, all) }, func(try int) bool {
		if try == tries || s.isClosed() {
			return false
		}
		s.opts.Metrics.Retried(op)
		time.Sleep(time.Duration(try) * tryAgainAfter)
		return true
	})
}

// settle writes until the outcome is known, for as long as again says so. What a try left open stays open when a later one is not taken:
// that the cluster cannot be reached now says nothing of what reached it before.
func settle(op string, once func() error, again func(try int) bool) error {
	doubtful := false
	for try := 1; ; try++ {
		err := once()
		if chat.CodeOf(err) == chat.CodeRegionDegraded && doubtful {
			err = unknown(op, err)
		}
		doubtful = doubtful || chat.CodeOf(err) == chat.CodeUnknownOutcome
		if chat.CodeOf(err) != chat.CodeUnknownOutcome || !again(try) {
			return err
		}
	}
}

func (s *Store) writeOnce(op string, all []statement) error {
	if err := s.ready(op); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.WriteTimeout)
	defer cancel()
	if len(all) == 1 {
		q := durable(s.session.Query(all[0].cql, all[0].args...)).WithContext(ctx)
		defer q.Release()
		return s.writeError(op, q.Exec())
	}
	b := durableBatch(s.session.NewBatch(gocql.LoggedBatch)).WithContext(ctx)
	for i := range all {
		b.Query(all[i].cql, all[i].args...)
	}
	return s.writeError(op, s.session.ExecuteBatch(b))
}
