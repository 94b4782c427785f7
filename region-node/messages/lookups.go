package messages

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/replication"
)

const (
	// retryReads is how many sends are looked up at once.
	retryReads = 32
	// lookUpFor bounds one look-up; with what then passes until the core is given it, lookUpFresh.
	lookUpFor   = 4 * time.Second
	lookUpFresh = replication.RecentFor - 200*time.Millisecond
)

// lookups are the inputs from outside, in the order in which they came. Before the core is given one, it has to be known what the
// store holds of the sends in it. That is read beside the loop and side by side: a store across a network that is slow delays these
// inputs, but neither the node's lease nor what is under way. What is written meanwhile the core has in mind, for RecentFor. All but the
// readers is the loop's alone.
type lookups struct {
	queue   []*asked
	readers readers
	ready   chan struct{} // holds one token when the first of the queue may have been read
}

// send names a send: what a person's device calls it.
type send struct {
	sender chat.UserID
	client chat.ClientID
}

// asked is an input of which it is being looked up what came before it.
type asked struct {
	item  item
	sends []known
	since time.Time    // when its look-up began
	left  atomic.Int32 // how many of its sends are still to be read
}

// known is what the store holds of a send.
type known struct {
	send
	op   int // of a frame: which of its ops brings the send
	rows []chat.RetryRow
	err  error
}

func newLookups() lookups { return lookups{ready: make(chan struct{}, 1)} }

// lookUp lets an item wait for its look-up, and for all that came before it.
func (s *Service) lookUp(ctx context.Context, it item) {
	a := &asked{item: it, sends: it.sends()}
	s.lookups.queue = append(s.lookups.queue, a)
	s.read(ctx, a)
}

// read begins the look-up of an input.
func (s *Service) read(ctx context.Context, a *asked) {
	l := &s.lookups
	a.since = s.opt.Now()
	a.left.Store(int32(len(a.sends)))
	for i := range a.sends {
		k := &a.sends[i]
		l.readers.add(&s.done, func() {
			ctx, cancel := context.WithTimeout(ctx, lookUpFor)
			defer cancel()
			k.rows, k.err = s.opt.Store.Retries(ctx, k.sender, k.client)
			if a.left.Add(-1) == 0 {
				l.tell()
			}
		})
	}
	if len(a.sends) == 0 {
		l.tell()
	}
}

func (l *lookups) tell() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// stepLookedUp steps the core for all at the front of the queue that is known by now. What had to wait too long behind others is looked
// up anew.
func (s *Service) stepLookedUp(ctx context.Context) {
	l := &s.lookups
	for len(l.queue) > 0 {
		a := l.queue[0]
		if a.left.Load() > 0 {
			return
		}
		if len(a.sends) > 0 && s.opt.Now().Sub(a.since) > lookUpFresh {
			s.read(ctx, a)
			return
		}
		l.queue[0] = nil
		l.queue = l.queue[1:]
		if input, ok := s.inputOf(a); ok {
			s.step(ctx, input)
		}
	}
	l.queue = nil
}

// readers do what they are given, some of it at once.
type readers struct {
	mu      sync.Mutex
	jobs    []func()
	running int
}

func (r *readers) add(done *sync.WaitGroup, job func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs = append(r.jobs, job)
	if r.running < retryReads {
		r.running++
		done.Go(r.work)
	}
}

func (r *readers) work() {
	for job := r.next(); job != nil; job = r.next() {
		job()
	}
}

// next gives the next job; nil: the reader ends.
func (r *readers) next() func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.jobs) == 0 {
		r.running--
		r.jobs = nil
		return nil
	}
	job := r.jobs[0]
	r.jobs[0] = nil
	r.jobs = r.jobs[1:]
	return job
}

// fromOutside says that the item is to be stepped in the order in which it came among its like. The others answer what the core has
// asked for, and go first.
func (it *item) fromOutside() bool {
	switch it.input.(type) {
	case replication.PeerUp, replication.PeerDown, replication.Leave:
		return true
	}
	return it.submit != nil || it.frame != nil || it.walk != nil
}

// sends lists the sends of which the core must know whether they came before.
func (it *item) sends() []known {
	switch {
	case it.submit != nil:
		return it.submit.sends()
	case it.frame != nil:
		return it.frame.sends()
	case it.walk != nil:
		return []known{{send: send{it.walk.owner, it.walk.client}}}
	}
	return nil
}

// sends lists the submit's own send, then the one that it names as its previous.
func (sub *submit) sends() []known {
	if sub.op.Kind != chat.OpMessage && sub.op.Kind != chat.OpChange {
		return nil
	}
	all := []known{{send: send{sub.op.Author.ID, sub.op.Client}}}
	if sub.previous != chat.NoClient {
		all = append(all, known{send: send{sub.op.Author.ID, sub.previous}})
	}
	return all
}

// sends lists what the frame's ops are, or bring.
func (r *received) sends() []known {
	var all []known
	for i := range r.frame.Ops {
		for _, one := range sendsOf(&r.frame.Ops[i]) {
			all = append(all, known{op: i, send: one})
		}
	}
	return all
}

// sendsOf lists the sends that op is, or brings.
func sendsOf(op *chat.Op) []send {
	switch op.Kind {
	case chat.OpMessage:
		return []send{{op.Author.ID, op.Client}}
	case chat.OpRows:
		all := make([]send, len(op.Rows.Messages))
		for i := range op.Rows.Messages {
			all[i] = send{op.Rows.Messages[i].Sender, op.Rows.Messages[i].Client}
		}
		return all
	}
	return nil
}

// inputOf turns what was looked up into the core's input; false: the store did not answer, and that was told.
func (s *Service) inputOf(a *asked) (replication.Input, bool) {
	switch {
	case a.item.submit != nil:
		return s.submitInput(a.item.submit, a.sends)
	case a.item.frame != nil:
		return s.receivedInput(a.item.frame, a.sends)
	case a.item.walk != nil:
		return s.walkInput(a.item.walk, a.sends)
	}
	return a.item.input, true
}

func (s *Service) submitInput(sub *submit, sends []known) (replication.Input, bool) {
	if err := firstError(sends); err != nil {
		sub.answer(replication.Submitted{Err: err})
		return nil, false
	}
	s.nextToken++
	in := replication.Submit{Token: s.nextToken, Op: sub.op, After: sub.after, Previous: sub.previous}
	if len(sends) > 0 {
		in.Known = sends[0].rows
	}
	if len(sends) > 1 {
		in.PreviousKnown = sends[1].rows
	}
	s.pending[in.Token] = sub
	return in, true
}

func (s *Service) receivedInput(r *received, sends []known) (replication.Input, bool) {
	if err := firstError(sends); err != nil {
		s.opt.Log.Warn("frame dropped: the store does not answer; the peer sends it again", "peer", r.peer, "err", err)
		return nil, false
	}
	in := replication.Received{Peer: r.peer, Frame: r.frame, Known: make(map[int][]chat.RetryRow)}
	for _, k := range sends {
		if len(k.rows) > 0 {
			in.Known[k.op] = append(in.Known[k.op], k.rows...)
		}
	}
	return in, true
}

func firstError(sends []known) error {
	for i := range sends {
		if sends[i].err != nil {
			return sends[i].err
		}
	}
	return nil
}
