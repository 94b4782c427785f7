package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"meridian/chat"
)

// maxDead bounds the dead letters of a group; the oldest go first.
const maxDead = 10_000

// Jobs is a chat.Jobs of one process: it ends with it.
type Jobs struct {
	maxJobs int
	now     func() time.Time

	mu     sync.Mutex
	queues map[string]*queue
	next   uint64
}

type queue struct {
	jobs   map[chat.JobID][]byte
	order  []chat.JobID // ascending; ended ones are left out when it is compacted
	groups map[string]*group
	// put is closed, and made anew, when a job comes in.
	put chan struct{}
}

type group struct {
	next int // of order: what nobody was given yet
	held map[chat.JobID]*held
	dead []chat.DeadJob
}

// held is a job that somebody of a group works at, or that waits for another attempt.
type held struct {
	attempt int
	until   time.Time
	waiting bool
}

// NewJobs makes queues of at most maxJobs each, by now's clock (nil: the machine's).
func NewJobs(maxJobs int, now func() time.Time) *Jobs {
	if now == nil {
		now = time.Now
	}
	return &Jobs{maxJobs: maxJobs, now: now, queues: make(map[string]*queue)}
}

func (j *Jobs) queue(name string) *queue {
	q := j.queues[name]
	if q == nil {
		q = &queue{jobs: make(map[chat.JobID][]byte), groups: make(map[string]*group), put: make(chan struct{})}
		j.queues[name] = q
	}
	return q
}

func (q *queue) group(name string) *group {
	g := q.groups[name]
	if g == nil {
		g = &group{held: make(map[chat.JobID]*held)}
		q.groups[name] = g
	}
	return g
}

// Enqueue is chat.Jobs's.
func (j *Jobs) Enqueue(_ context.Context, name string, payload []byte) (chat.JobID, error) {
	if !chat.JobName(name) || len(payload) > chat.MaxJobPayload {
		return "", &chat.Error{Code: chat.CodeInvalid, Op: "memory.Jobs.Enqueue", Message: "the queue's name is malformed, or the payload too large"}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	q := j.queue(name)
	if len(q.jobs) >= j.maxJobs {
		return "", &chat.Error{Code: chat.CodeBusy, Op: "memory.Jobs.Enqueue", Message: "the queue is full", RetryAfter: time.Second}
	}
	j.next++
	id := chat.JobID(fmt.Sprintf("%016x", j.next))
	q.jobs[id] = append([]byte(nil), payload...)
	q.order = append(q.order, id)
	close(q.put)
	q.put = make(chan struct{})
	return id, nil
}

// takePoll is how often a waiting Take looks for jobs whose wait or hold is over.
const takePoll = 50 * time.Millisecond

// Take is chat.Jobs's.
func (j *Jobs) Take(ctx context.Context, g chat.JobGroup, consumer string, limit int, wait time.Duration) ([]chat.Job, error) {
	if err := g.Check(consumer); err != nil {
		return nil, err
	}
	limit = min(max(limit, 1), chat.MaxJobsTaken)
	over := time.NewTimer(max(wait, 0))
	defer over.Stop()
	for {
		jobs, put := j.take(g, limit)
		if len(jobs) > 0 || wait <= 0 {
			return jobs, nil
		}
		select {
		case <-put:
		case <-time.After(takePoll):
		case <-over.C:
			return nil, nil
		case <-ctx.Done():
			return nil, &chat.Error{Code: chat.CodeUnknownOutcome, Op: "memory.Jobs.Take", Message: "the request ended", Cause: ctx.Err()}
		}
	}
}

func (j *Jobs) take(g chat.JobGroup, limit int) (jobs []chat.Job, put <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	q := j.queue(g.Queue)
	grp, now := q.group(g.Group), j.now()
	for _, id := range grp.due(now) {
		h := grp.held[id]
		if !h.waiting && h.attempt >= g.Attempts {
			j.bury(q, grp, id, h.attempt, "the consumer held it too long")
			continue
		}
		if len(jobs) < limit {
			h.attempt, h.until, h.waiting = h.attempt+1, now.Add(g.Hold), false
			jobs = append(jobs, chat.Job{ID: id, Payload: q.jobs[id], Attempt: h.attempt})
		}
	}
	for ; grp.next < len(q.order) && len(jobs) < limit; grp.next++ {
		id := q.order[grp.next]
		if _, ok := q.jobs[id]; !ok { // ended before this group was there
			continue
		}
		grp.held[id] = &held{attempt: 1, until: now.Add(g.Hold)}
		jobs = append(jobs, chat.Job{ID: id, Payload: q.jobs[id], Attempt: 1})
	}
	return jobs, q.put
}

// due gives the jobs whose wait or hold is over, ascending.
func (g *group) due(now time.Time) []chat.JobID {
	var ids []chat.JobID
	for id, h := range g.held {
		if !now.Before(h.until) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Ack is chat.Jobs's.
func (j *Jobs) Ack(_ context.Context, g chat.JobGroup, ids ...chat.JobID) error {
	if err := g.Check(g.Group); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	q := j.queue(g.Queue)
	for _, id := range ids {
		q.end(q.group(g.Group), id)
	}
	return nil
}

// Fail is chat.Jobs's.
func (j *Jobs) Fail(_ context.Context, g chat.JobGroup, job chat.Job, reason string) error {
	if err := g.Check(g.Group); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	q := j.queue(g.Queue)
	grp := q.group(g.Group)
	h := grp.held[job.ID]
	switch {
	case h == nil || h.waiting || h.attempt != job.Attempt:
	case h.attempt >= g.Attempts:
		j.bury(q, grp, job.ID, h.attempt, reason)
	default:
		h.until, h.waiting = j.now().Add(g.Backoff(h.attempt)), true
	}
	return nil
}

// bury makes a job a dead letter; called with mu held.
func (j *Jobs) bury(q *queue, g *group, id chat.JobID, attempt int, reason string) {
	g.dead = append(g.dead, chat.DeadJob{
		Job: chat.Job{ID: id, Payload: q.jobs[id], Attempt: attempt}, Reason: reason[:min(len(reason), chat.MaxJobReason)], At: j.now(),
	})
	g.dead = g.dead[max(0, len(g.dead)-maxDead):]
	q.end(g, id)
}

// end takes a job from a group, and from the queue when no group has it any more; called with mu held.
func (q *queue) end(g *group, id chat.JobID) {
	if _, ok := g.held[id]; !ok {
		return
	}
	delete(g.held, id)
	at, _ := slices.BinarySearch(q.order, id)
	for _, other := range q.groups {
		if _, ok := other.held[id]; ok || other.next <= at {
			return
		}
	}
	delete(q.jobs, id)
	q.compact()
}

// compact drops the ended jobs at the beginning of order.
func (q *queue) compact() {
	n := 0
	for n < len(q.order) {
		if _, ok := q.jobs[q.order[n]]; ok {
			break
		}
		n++
	}
	if n < len(q.order) && n < 256 {
		return
	}
	q.order = append([]chat.JobID(nil), q.order[n:]...)
	for _, g := range q.groups {
		g.next -= n
	}
}

// Dead is chat.Jobs's.
func (j *Jobs) Dead(_ context.Context, g chat.JobGroup, limit int) ([]chat.DeadJob, error) {
	if err := g.Check(g.Group); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	dead := slices.Clone(j.queue(g.Queue).group(g.Group).dead)
	slices.Reverse(dead)
	return dead[:min(len(dead), max(limit, 0))], nil
}
