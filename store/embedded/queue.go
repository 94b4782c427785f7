package embedded

import (
	"runtime"
	"sync"
)

const (
	// maxGroup bounds the batches of one fsync, maxGroupBytes their size.
	maxGroup      = 4096
	maxGroupBytes = 8 << 20
	// maxQueued bounds the batches whose callbacks have not been called yet; beyond it Commit refuses at once.
	maxQueued = 64 << 10
	// lingerFrom is the size of a group after which the committer lets others run before it takes the next: under load
	// the groups grow, and a lone writer waits for nobody. It yields rather than sleeps, since a sleep below a
	// millisecond lasts about a millisecond.
	lingerFrom   = 32
	lingerYields = 8
)

// request is what waits for the committer: a batch, or a decision that needs to see what is there.
type request struct {
	batch *encoded
	// decide looks at g and adds to it; it adds nothing when it fails.
	decide func(g *group) error
	// err, if set, is the answer: the batch was malformed.
	err error
	// done is called once. direct: by the committer itself, for callers inside this package that only take the answer.
	done   func(error)
	direct bool
	// frees says that the request makes room: it is taken on a full disk too.
	frees bool
}

// queue is what waits, in order.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	open    int // requests that were put and are not answered
	closed  bool
	wake    chan struct{}
}

// put gives false when the queue is closed or too long. What the package itself asks (direct) is always taken: a callback
// may wait for it.
func (q *queue) put(r *request) (ok, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.open >= maxQueued && !r.direct {
		return false, q.closed
	}
	q.waiting = append(q.waiting, r)
	q.open++
	q.signal()
	return true, false
}

// answered says that so many requests got their answer.
func (q *queue) answered(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open -= n
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// take waits for something and gives what fits into one group; nil when the queue is closed and empty.
func (q *queue) take(maxBytes int) []*request {
	for {
		q.mu.Lock()
		n, bytes := 0, 0
		for n < len(q.waiting) && n < maxGroup {
			if b := q.waiting[n].batch; b != nil {
				if n > 0 && bytes+b.bytes > maxBytes {
					break
				}
				bytes += b.bytes
			}
			n++
		}
		taken := q.waiting[:n:n]
		q.waiting = q.waiting[n:]
		closed := q.closed
		q.mu.Unlock()
		if n > 0 {
			return taken
		}
		if closed {
			return nil
		}
		<-q.wake
	}
}

// linger lets the writers run as long as that brings in more.
func (q *queue) linger() {
	before := -1
	for range lingerYields {
		n := q.len()
		if n <= before || n >= maxGroup {
			return
		}
		before = n
		runtime.Gosched()
	}
}

// answer is a callback that is due.
type answer struct {
	done func(error)
	err  error
}

// answers are the callbacks that are due. The committer never waits for them; queue.open bounds them.
type answers struct {
	mu     sync.Mutex
	due    []answer
	closed bool
	wake   chan struct{}
}

func (a *answers) put(more []answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = append(a.due, more...)
	a.signal()
}

func (a *answers) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.signal()
}

func (a *answers) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// take waits for callbacks that are due; nil when there will be none.
func (a *answers) take() []answer {
	for {
		a.mu.Lock()
		due, closed := a.due, a.closed
		a.due = nil
		a.mu.Unlock()
		if len(due) > 0 || closed {
			return due
		}
		<-a.wake
	}
}
