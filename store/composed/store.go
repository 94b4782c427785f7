package composed

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"meridian/chat"
)

// Options of a Store. Main, Accounts and Node are needed.
type Options struct {
	Main     chat.Store
	Accounts chat.AccountStore
	// Node is whose handle Main is.
	Node chat.NodeRef
	Now  func() time.Time
	Log  *slog.Logger
	// Metrics may be empty.
	Metrics Metrics
}

// Metrics is told what happens; nil fields are left out.
type Metrics struct {
	// Up is told whether the account store answers, when that changes and at the start.
	Up func(bool)
	// Owed is told of rows that were put into the main store since the account store did not take them.
	Owed func(rows int)
}

// Store is a chat.Store. Close and Abandon end both stores.
type Store struct {
	chat.Store
	accounts chat.AccountStore
	guard    *guard
	debts    *debts
	now      func() time.Time
	owed     func(rows int)

	ctx  context.Context // ends with the store
	stop context.CancelFunc
	mu   sync.Mutex
	over bool
	work sync.WaitGroup // commits under way, and the worker
}

// New composes the stores, which belong to it from then on, and starts the worker.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics.Up == nil {
		o.Metrics.Up = func(bool) {}
	}
	if o.Metrics.Owed == nil {
		o.Metrics.Owed = func(int) {}
	}
	s := &Store{Store: o.Main, accounts: o.Accounts, now: o.Now, owed: o.Metrics.Owed, guard: newGuard(o)}
	s.debts = newDebts(s, o)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.work.Go(s.debts.work)
	return s
}

// Commit implements chat.Store.
func (s *Store) Commit(b *chat.Batch, done func(error)) {
	if len(b.Accounts)+len(b.Sessions) == 0 {
		s.Store.Commit(b, done)
		return
	}
	if err := b.Check(); err != nil { // before any step: nothing of a malformed batch is stored
		go done(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		s.Store.Commit(b, done) // which refuses it
		return
	}
	s.work.Go(func() { done(s.commit(b)) })
}

func (s *Store) commit(b *chat.Batch) error {
	if s.guard.resting() != nil {
		return s.owe(b, b.Accounts, b.Sessions)
	}
	intent, rest := b.Intent()
	begun := !intent.Empty()
	if begun {
		if err := s.main(intent); err != nil {
			return err
		}
	}
	rest.Accounts, rest.Sessions = nil, nil
	err := s.guard.ask(s.ctx, func() error { return s.accounts.Save(s.ctx, b.Accounts, b.Sessions) })
	switch {
	case err != nil:
		err = s.owe(rest, b.Accounts, b.Sessions)
	case rest.Empty():
	default:
		begun = true
		err = s.main(rest)
	}
	if err != nil && begun {
		return &chat.Error{Code: chat.CodeUnknownOutcome, Op: "composed.Commit", Message: "the batch is stored in part", Cause: err}
	}
	return err
}

// owe stores b with rows that the account store is owed.
func (s *Store) owe(b *chat.Batch, accounts []chat.Account, sessions []chat.Session) error {
	with := *b
	with.Accounts, with.Sessions = accounts, sessions
	with.Positions = s.debts.marked(b.Positions)
	err := s.debts.owe(func() error { return s.main(&with) }, accounts, sessions)
	if err == nil {
		s.owed(len(accounts) + len(sessions))
	}
	return err
}

// main commits to the main store and waits.
func (s *Store) main(b *chat.Batch) error {
	done := make(chan error, 1)
	s.Store.Commit(b, func(err error) { done <- err })
	return <-done
}

// Close implements chat.Store.
func (s *Store) Close() error {
	s.end()
	err := s.Store.Close()
	if cerr := s.accounts.Close(); err == nil {
		err = cerr
	}
	return err
}

// Abandon implements chat.Store.
func (s *Store) Abandon() {
	s.Store.Abandon()
	s.end()
	_ = s.accounts.Close() // nobody waits for anything any more
}

// end takes no further commits, ends the worker, and waits for the commits under way: each call of either store is bounded.
func (s *Store) end() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.debts.stop()
	s.work.Wait()
	s.stop()
}
