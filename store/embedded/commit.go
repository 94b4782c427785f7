package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

const (
	// usualBatch is room for what one message writes; groupOverhead for what a group adds to its batches. Both in bytes.
	usualBatch    = 2048
	groupOverhead = 512
	// spaceEvery is how often free space is looked up while writes come in.
	spaceEvery = 100 * time.Millisecond
	// spaceShare: every byte that is committed may take so many on the disk before it is asked again: the log, the table,
	// and tables that are made of tables.
	spaceShare = 8
	// troubleFor is how long writes are refused after an error with a table or with space.
	troubleFor = time.Second
)

// Commit implements chat.Store. The callbacks of all batches share one goroutine, apart from the committer: a slow one holds
// up the others, but no fsync.
func (s *Store) Commit(b *chat.Batch, done func(error)) {
	if err := s.ready(context.Background(), "embedded.Commit"); err != nil {
		go done(err)
		return
	}
	r := &request{done: done}
	if r.err = s.somebody("embedded.Commit"); r.err == nil {
		r.batch, r.err = encode(s.db.NewBatchWithSize(usualBatch), s.life(), b, s.opts.Codec)
	}
	s.enqueue(r)
}

func (s *engine) enqueue(r *request) {
	ok, closed := s.queue.put(r)
	if ok {
		return
	}
	err := closedError("embedded.Commit")
	if !closed {
		err = &chat.Error{Code: chat.CodeRegionDegraded, Op: "embedded.Commit", Message: fmt.Sprintf("%d batches wait for the disk", maxQueued)}
	}
	s.opts.Metrics.Refused(1, chat.CodeOf(err))
	if r.direct {
		r.done(err)
		return
	}
	go r.done(err)
}

// decide runs f in the committer and waits until what it wrote is durable.
func (s *Store) decide(ctx context.Context, op string, frees bool, f func(g *group) error) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	answer := make(chan error, 1)
	s.enqueue(&request{decide: f, done: func(err error) { answer <- err }, direct: true, frees: frees})
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctxError(ctx, op)
	}
}

// group is what one fsync makes durable.
type group struct {
	s       *engine
	batch   *pebble.Batch
	buckets map[string]*logBucket
	spans   spans
	// written holds what this group sets in tables whose rows are decided by looking: the engine does not show it yet.
	written map[string][]byte
	swept   func()                     // called when what a sweep dropped is gone for readers
	high    map[chat.StreamID]chat.HLC // high-water marks that the group raises
}

// raise moves the high-water mark of a life.
func (g *group) raise(life chat.StreamID, to chat.HLC) {
	if to <= max(g.high[life], g.s.high[life]) {
		return
	}
	if g.high == nil {
		g.high = make(map[chat.StreamID]chat.HLC, 1)
	}
	g.high[life] = to
}

// get sees what is durable and what this group has written in such tables. Only the committer writes, so nothing changes
// between the look and the write.
func (g *group) get(k []byte) ([]byte, bool, error) {
	if v, ok := g.written[string(k)]; ok {
		return v, v != nil, nil
	}
	return get(g.s.db, k)
}

func (g *group) set(k, v []byte) {
	g.note(k, v)
	_ = g.batch.Set(k, v, nil)
}

func (g *group) delete(k []byte) {
	g.note(k, nil)
	_ = g.batch.Delete(k, nil)
}

func (g *group) note(k, v []byte) {
	if g.written == nil {
		g.written = make(map[string][]byte)
	}
	g.written[string(k)] = v
}

// add puts a batch into the group: all of it or, with an error, nothing.
func (g *group) add(e *encoded) error {
	stand, err := g.standing(e.claims)
	if err != nil {
		return err
	}
	if err := g.batch.Apply(e.rows, nil); err != nil {
		return err
	}
	g.confirm(e.claims, stand)
	for k, l := range e.buckets {
		if g.buckets == nil {
			g.buckets = make(map[string]*logBucket)
		}
		if g.buckets[k] == nil {
			g.buckets[k] = l
			continue
		}
		g.buckets[k].add(l.time, l.seq, l.to)
	}
	g.spans.add(e.spans)
	g.raise(e.life, e.highWater)
	return nil
}

// commitLoop is the committer.
func (s *engine) commitLoop() {
	defer s.background.Done()
	defer s.answers.close()
	maxBytes := min(maxGroupBytes, int(s.opts.MemTableBytes)/4)
	for {
		requests := s.queue.take(maxBytes)
		if requests == nil {
			return
		}
		s.commit(requests)
		if len(requests) >= lingerFrom {
			s.queue.linger()
		}
	}
}

// commit makes requests durable and answers them.
func (s *engine) commit(requests []*request) {
	size := groupOverhead
	for _, r := range requests {
		if r.batch != nil {
			size += r.batch.bytes
		}
	}
	g := &group{s: s, batch: s.db.NewBatchWithSize(size)}
	errs := make([]error, len(requests))
	refusal, frees := s.refusal()
	for i, r := range requests {
		switch {
		case r.err != nil:
			errs[i] = r.err
		case refusal != nil && !(r.frees && frees):
			errs[i] = refusal
		case r.decide != nil:
			errs[i] = r.decide(g)
		default:
			errs[i] = g.add(r.batch)
		}
	}
	if err := s.write(g, len(requests)); err != nil {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = err
			}
		}
	}
	answers := make([]answer, 0, len(requests))
	for i, r := range requests {
		if errs[i] != nil {
			s.opts.Metrics.Refused(1, chat.CodeOf(errs[i]))
		}
		if r.batch != nil {
			_ = r.batch.rows.Close()
		}
		if r.direct {
			r.done(errs[i])
			continue
		}
		answers = append(answers, answer{r.done, errs[i]})
	}
	s.queue.answered(len(requests) - len(answers))
	s.answers.put(answers)
}

// write applies the group with one fsync and shows it to readers.
func (s *engine) write(g *group, batches int) error {
	for k, l := range g.buckets {
		_ = g.batch.Merge([]byte(k), packLogBucket(l), nil)
	}
	for life, to := range g.high {
		_ = g.batch.Merge(streamKey(tagHighWater, life), packNumber(uint64(to)), nil)
	}
	if g.batch.Empty() {
		return g.batch.Close()
	}
	bytes, began := g.batch.Len(), time.Now()
	if err := s.room(); err != nil {
		return err
	}
	s.spaceUsed += int64(bytes)
	if err := s.apply(g.batch); err != nil {
		return err
	}
	maps.Copy(s.high, g.high)
	_ = g.batch.Close()
	s.inbox.grow(g.spans.inbox.first, g.spans.inbox.end)
	s.retries.grow(g.spans.retries.first, g.spans.retries.end)
	s.views.publish(s.db.NewSnapshot())
	if g.swept != nil {
		g.swept()
	}
	s.opts.Metrics.Committed(batches, bytes, time.Since(began))
	return nil
}

// apply gives an error with CodeUnknownOutcome: some of what Pebble wrote may be on the disk.
func (s *engine) apply(b *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.gate.shut(fmt.Errorf("storage engine: %v", r))
		}
		if err == nil {
			err = s.gate.err()
		}
		if err != nil {
			s.opts.Log.Error("store: a write failed; the store is read-only until it is opened again", "dir", s.opts.Dir, "err", err)
			err = &chat.Error{Code: chat.CodeUnknownOutcome, Op: "embedded.Commit", Message: "the disk failed during the write", Cause: err}
		}
	}()
	sync := pebble.Sync
	if s.opts.noSync {
		sync = pebble.NoSync
	}
	return s.db.Apply(b, sync)
}

// refusal says why no writes are taken now; frees: those that make room are.
func (s *engine) refusal() (err error, frees bool) {
	if why := s.gate.err(); why != nil {
		code, message := chat.CodeRegionDegraded, "the disk failed; the store is read-only until it is opened again"
		switch {
		case errors.Is(why, errAbandoned):
			message = "the store is closed"
		case noSpace(why):
			code, message = chat.CodeStoreFull, "the disk was full; the store is read-only until it is opened again"
		}
		return &chat.Error{Code: code, Op: "embedded.Commit", Message: message, Cause: why}, false
	}
	if time.Since(time.Unix(0, s.gate.troubled.Load())) < troubleFor {
		code, message := chat.CodeRegionDegraded, "the disk fails"
		if s.gate.full.Load() {
			code, message = chat.CodeStoreFull, "the disk is full"
		}
		return &chat.Error{Code: code, Op: "embedded.Commit", Message: message, RetryAfter: troubleFor}, true
	}
	if s.lowSpace() {
		return &chat.Error{
			Code: chat.CodeStoreFull, Op: "embedded.Commit", RetryAfter: troubleFor,
			Message: fmt.Sprintf("less than %d bytes are free", s.opts.ReserveBytes),
		}, true
	}
	return nil, true
}

// lowSpace says whether the reserve is touched. A file system that cannot say is taken to have room. The disk is asked
// again after a while, and when what was written since could have used up a good part of what was free.
func (s *engine) lowSpace() bool {
	if s.opts.ReserveBytes <= 0 {
		return false
	}
	now := time.Now()
	if now.Sub(s.spaceChecked) < spaceEvery && s.spaceUsed*spaceShare < s.spaceFree {
		return s.spaceFree < 0
	}
	s.spaceChecked, s.spaceUsed, s.spaceFree = now, 0, math.MaxInt64
	if usage, err := s.opts.FS.GetDiskUsage(s.opts.Dir); err == nil {
		s.spaceFree = int64(min(usage.AvailBytes, math.MaxInt64)) - s.opts.ReserveBytes
	}
	return s.spaceFree < 0
}

// answerLoop calls back, in order.
func (s *engine) answerLoop() {
	defer s.background.Done()
	for due := s.answers.take(); due != nil; due = s.answers.take() {
		for _, a := range due {
			a.done(a.err)
		}
		s.queue.answered(len(due))
	}
}
