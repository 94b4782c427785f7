package messages

import (
	"context"
	"time"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/replication"
)

// The steps of a message's way through a node, in their order.
const (
	StepLoop  = "loop"  // from its place in the queue over the look-up to the core
	StepStore = "store" // being made durable
	StepHub   = "hub"   // being shown to who reads the log
	StepRead  = "read"  // the store shows what it took
)

// walk is one probe on the way of a message.
type walk struct {
	owner  chat.UserID
	client chat.ClientID
	at     func(step string)
	answer chan replication.Probed // takes one answer without waiting
	woken  chan struct{}           // holds one token when the hub has woken
}

// Wake implements Subscriber.
func (w *walk) Wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// Walk goes the way of a message through this node, as somebody would who writes to himself: queue, look-up, core, store, marks,
// hub, store. Nothing of it stays (see replication.Probe). at is told each step as it begins, from any goroutine; it must not block.
// ctx ends the waiting, not what is under way. Errors: those of Ready and of the store, CodeUnknownOutcome
// when ctx ends.
func (s *Service) Walk(ctx context.Context, at func(step string)) error {
	if err := s.Ready(); err != nil {
		return err
	}
	id := uuid.New() // one of its own: what comes late of another walk wakes nobody
	w := &walk{owner: chat.UserID(id), client: chat.ClientID(id), at: at, answer: make(chan replication.Probed, 1), woken: make(chan struct{}, 1)}
	s.hub.Subscribe(w.owner, w)
	defer s.hub.Unsubscribe(w.owner, w)
	at(StepLoop)
	if !s.inputs.put(item{walk: w}) {
		return &chat.Error{Code: chat.CodeRegionDegraded, Op: "messages.Walk", Message: "the node is stopping"}
	}
	var done replication.Probed
	select {
	case done = <-w.answer:
	case <-ctx.Done():
		return walkEnded(ctx)
	}
	if done.Err != nil {
		return done.Err
	}
	at(StepHub)
	if err := s.shown(ctx, w, done.At); err != nil {
		return err
	}
	at(StepRead)
	identity, err := s.opt.Store.Identity(ctx)
	if err == nil && identity.HighWater < done.At {
		err = &chat.Error{Code: chat.CodeRegionDegraded, Op: "messages.Walk", Message: "the store does not show what it took"}
	}
	return err
}

func walkEnded(ctx context.Context) error {
	return &chat.Error{Code: chat.CodeUnknownOutcome, Op: "messages.Walk", Message: "not through in time", Cause: ctx.Err()}
}

// shownEvery is how often a walk that was woken before its time looks again.
const shownEvery = 20 * time.Millisecond

// shown waits until the hub has woken the walk and shows what became visible at a time.
func (s *Service) shown(ctx context.Context, w *walk, at chat.HLC) error {
	select {
	case <-w.woken:
	case <-ctx.Done():
		return walkEnded(ctx)
	}
	for !s.shows(w.owner, at) {
		select {
		case <-w.woken:
		case <-time.After(shownEvery): // too many wait for the marks: it was woken early
		case <-ctx.Done():
			return walkEnded(ctx)
		}
	}
	return nil
}

// shows says whether who reads a log would be shown what became visible in it at a time: the marks cover it and, where this node is
// told of all that there is, the hub has it.
func (s *Service) shows(owner chat.UserID, at chat.HLC) bool {
	local := s.Marks().Local
	if local < at {
		return false
	}
	entries, known := s.hub.Since(owner, false, at-1, local)
	return !known || len(entries) > 0
}

// walkInput gives the core a walk whose look-up is done; false: the store did not answer, and that was told.
func (s *Service) walkInput(w *walk, sends []known) (replication.Input, bool) {
	if err := firstError(sends); err != nil {
		w.answer <- replication.Probed{Err: err}
		return nil, false
	}
	s.nextToken++
	s.walks[s.nextToken] = w
	w.at(StepStore)
	return replication.Probe{Token: s.nextToken, Owner: w.owner}, true
}

func (s *Service) walked(out replication.Probed) {
	if w := s.walks[out.Token]; w != nil {
		delete(s.walks, out.Token)
		w.answer <- out
	}
}
