// Package messages is the durable heart of a region node: one loop that feeds what happens (submits, frames of other
// regions, finished writes) to the pure replication core and carries out what the core answers. Everything a user does that
// must last goes through Service.Submit.
package messages

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/replication"
	"meridian/replication/drift"
)

// tickEvery is how often the loop steps the core without other input.
const tickEvery = 50 * time.Millisecond

// Link sends frames to other nodes. SendRelay must not block; false means not sent, and the core sends again.
type Link interface {
	SendRelay(peer chat.NodeRef, f replication.Frame) bool
	// Tell sends a hint, which may get lost, to every node of a region; of the own region to the others.
	Tell(region chat.Region, kind string, payload []byte)
}

// Metrics counts by names of observe's list.
type Metrics interface {
	Count(name string, labels ...string)
	Observe(name string, value float64, labels ...string)
	Set(name string, value float64, labels ...string)
}

// Options make a Service.
type Options struct {
	Core  replication.Config
	Store chat.Store // seals bodies
	Link  Link
	// Now is the time by Clock.
	Now   func() time.Time
	Clock Clock
	// Refusing, if set, is told when the clock has this node refuse people from now on. It must not block.
	Refusing func(*chat.Error)
	Log      *slog.Logger
	// LifeOver, if set, is told once when this life of the node has ended: another node is answerable for its op log. The service
	// does nothing any more; whoever made it makes the node anew. It must not block.
	LifeOver func()
	// Metrics and Tracer may not be nil.
	Metrics Metrics
	Tracer  Tracer
}

// Tracer starts spans; parent and traceParent are W3C trace contexts, "" for none.
type Tracer interface {
	Start(parent, name string, attributes ...string) (traceParent string, end func(error))
}

// Service is the loop. Its methods are safe for concurrent use.
type Service struct {
	opt    Options
	core   *replication.Core // the loop's alone
	stream chat.StreamID
	hub    *Hub
	inputs *mailbox
	marks  atomic.Pointer[replication.Marks]
	status atomic.Pointer[Status]
	sick   atomic.Pointer[chat.Error] // why nothing can be written now; nil: it can
	clock  atomic.Pointer[drift.Judgement]
	ahead  atomic.Pointer[chat.Error] // why nothing is stamped for long though the clock is right; nil: it is

	nextToken uint64             // the loop's alone
	pending   map[uint64]*submit // by token, until durable; the loop's alone
	zone      map[uint64]*submit // by token, until zone-durable; the loop's alone
	walks     map[uint64]*walk   // by token, until durable; the loop's alone
	wakes     wakes
	lookups   lookups
	joined    atomic.Bool
	caughtUp  atomic.Bool
	left      chan struct{} // closed when the lease is given up
	lags      map[chat.Region]*lagMeter
	gathered  time.Time

	stop context.CancelFunc
	done sync.WaitGroup
}

// item is one thing for the loop: an input of the core, or a submit that has yet to become one.
type item struct {
	input  replication.Input
	submit *submit
	frame  *received
	wake   *wake
	walk   *walk
}

type received struct {
	peer  chat.NodeRef
	frame replication.Frame
}

// submit is one Submit on its way.
type submit struct {
	op       chat.Op
	after    []chat.MessageID
	previous chat.ClientID
	answer   func(replication.Submitted)
	zoned    func(chat.Op)
	started  time.Time
	stands   chat.Op
}

// New restores the core from the store. Run starts it.
func New(ctx context.Context, opt Options) (*Service, error) {
	last, err := lastOps(ctx, opt)
	if err != nil {
		return nil, err
	}
	identity, err := opt.Store.NewIncarnation(ctx, replication.FirstIncarnation(opt.Now()))
	if err != nil {
		return nil, err
	}
	stream := chat.StreamID{Region: identity.Region, Node: identity.Node, Incarnation: identity.Incarnation}
	lives, err := opt.Store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	applied, err := opt.Store.Applied(ctx)
	if err != nil {
		return nil, err
	}
	handed, err := handedOn(ctx, opt, applied)
	if err != nil {
		return nil, err
	}
	parked, err := opt.Store.Parked(ctx)
	if err != nil {
		return nil, err
	}
	core := replication.New(opt.Core, replication.Restored{
		Identity: identity, Applied: applied, Last: last, Lives: lives, HandedOn: handed, Parked: parked,
	})
	s := &Service{
		opt: opt, core: core, stream: stream, hub: NewHub(identity.HighWater, opt.Core.Lease > 0), inputs: newMailbox(),
		left: make(chan struct{}), pending: make(map[uint64]*submit), zone: make(map[uint64]*submit), lags: make(map[chat.Region]*lagMeter),
		lookups: newLookups(), walks: make(map[uint64]*walk),
	}
	s.clock.Store(&drift.Judgement{})
	s.joined.Store(core.Joined(opt.Now()))
	s.publish()
	return s, nil
}

// lastOps gives the last ops of the life before, where this node has its store alone: there nobody else looks after what a crash
// cut off.
func lastOps(ctx context.Context, opt Options) ([]chat.Op, error) {
	identity, err := opt.Store.Identity(ctx)
	if err != nil || opt.Core.Lease > 0 {
		return nil, err
	}
	stream := chat.StreamID{Region: identity.Region, Node: identity.Node, Incarnation: identity.Incarnation}
	from := identity.LastSeq - min(identity.LastSeq, replication.RestoredOps)
	return opt.Store.ReadLog(ctx, stream, from, identity.LastSeq, "", replication.RestoredOps)
}

// handedOn gives what this region has handed on of other regions' streams.
func handedOn(ctx context.Context, opt Options, applied []chat.AppliedRow) ([]chat.PositionRow, error) {
	var rows []chat.PositionRow
	for i := range applied { // nothing is kept of other streams
		positions, err := opt.Store.Positions(ctx, applied[i].Stream)
		if err != nil {
			return nil, err
		}
		for region, seq := range positions {
			rows = append(rows, chat.PositionRow{Stream: applied[i].Stream, To: region, Seq: seq})
		}
	}
	return rows, nil
}

// Identity gives the life that the service runs as.
func (s *Service) Identity() chat.StreamID { return s.stream }

// Hub gives the wake-up hub of this node's sockets.
func (s *Service) Hub() *Hub { return s.hub }

// Marks gives the positions to put into a cursor. Take them before reading the inbox log.
func (s *Service) Marks() replication.Marks { return *s.marks.Load() }

// Ready says why this node cannot take what must last, nil when it can. An idle node writes every second, so the answer is
// never old. Errors: CodeStoreFull, CodeClockSkew and CodeRegionDegraded.
func (s *Service) Ready() error {
	if err := s.clockReady(); err != nil {
		return err
	}
	if !s.joined.Load() {
		return &chat.Error{Code: chat.CodeRegionDegraded, Op: "messages.Ready", Message: "the node is joining the others of its region"}
	}
	if e := s.CatchingUp(); e != nil {
		return e
	}
	if e := s.sick.Load(); e != nil {
		return e
	}
	return nil
}

// CatchingUp says why this node serves nobody yet: it has started, its store may be an old copy, and what other regions originated
// meanwhile is not all here; nil: it is. Errors: CodeRegionDegraded.
func (s *Service) CatchingUp() *chat.Error {
	if s.caughtUp.Load() {
		return nil
	}
	return &chat.Error{
		Code: chat.CodeRegionDegraded, Op: "messages.Ready", RetryAfter: catchUpRetry, Message: "the node has started and is catching up with the other regions",
	}
}

// catchUpRetry is when to try a node again that catches up.
const catchUpRetry = time.Second

// wrote notes how the last write went.
func (s *Service) wrote(err error) { s.sick.Store(chat.AsError(err)) }

// Run starts the loop; Close or Kill ends it.
func (s *Service) Run() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.done.Go(func() {
		s.loop(ctx)
	})
}

// leaveWithin bounds how long an orderly end waits for what is under way.
const leaveWithin = time.Second

// Leave ends the writing in good order, so that another node adopts this one's op log at once; it waits a second at most.
func (s *Service) Leave() {
	if !s.inputs.put(item{input: replication.Leave{}}) {
		return
	}
	select {
	case <-s.left:
	case <-time.After(leaveWithin):
	}
}

// Close ends the loop: submits still waiting are answered with CodeUnknownOutcome.
func (s *Service) Close() {
	s.stop()
	s.done.Wait()
}

// Request is one op to originate.
type Request struct {
	Op chat.Op
	// After and Previous are those of replication.Submit.
	After    []chat.MessageID
	Previous chat.ClientID
	// Answer is called once, from the loop: it must not block.
	Answer func(replication.Submitted)
	// Zoned, when not nil, is called at most once, after Answer, when the op is durable in one more region of its author's zone.
	Zoned func(chat.Op)
}

// SubmitAsync originates an op. The answer comes through r.Answer, also when the service has ended.
func (s *Service) SubmitAsync(r Request) {
	sub := &submit{op: r.Op, after: r.After, previous: r.Previous, answer: r.Answer, zoned: r.Zoned, started: s.opt.Now()}
	if !s.inputs.put(item{submit: sub}) {
		r.Answer(replication.Submitted{Err: &chat.Error{Code: chat.CodeRegionDegraded, Op: "messages.Submit", Message: "the node is stopping"}})
	}
}

// Submit originates op and waits until it is durable here; it gives the op as it stands, stamped. When ctx ends first the
// error has CodeUnknownOutcome: the op may become durable all the same.
func (s *Service) Submit(ctx context.Context, op chat.Op) (chat.Op, error) {
	return s.SubmitAfter(ctx, op)
}

// SubmitAfter is Submit of an op that is stamped after all of the given ids.
func (s *Service) SubmitAfter(ctx context.Context, op chat.Op, after ...chat.MessageID) (chat.Op, error) {
	answer := make(chan replication.Submitted, 1)
	s.SubmitAsync(Request{Op: op, After: after, Answer: func(a replication.Submitted) { answer <- a }})
	select {
	case a := <-answer:
		return a.Op, a.Err
	case <-ctx.Done():
		return chat.Op{}, &chat.Error{Code: chat.CodeUnknownOutcome, Op: "messages.Submit", Message: "not confirmed in time", Cause: ctx.Err()}
	}
}

// Up tells that the link to peer works, and which protocol version it speaks.
func (s *Service) Up(peer chat.NodeRef) {
	s.inputs.put(item{input: replication.PeerUp{Peer: peer}})
}

// Down tells that it does not.
func (s *Service) Down(peer chat.NodeRef) {
	s.inputs.put(item{input: replication.PeerDown{Peer: peer}})
}

// Receive brings a frame of peer.
func (s *Service) Receive(peer chat.NodeRef, f replication.Frame) {
	s.inputs.put(item{frame: &received{peer: peer, frame: f}})
}
