package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// engineFailed is what Pebble said when it gave up.
type engineFailed struct{ text string }

func (e engineFailed) Error() string { return "storage engine: " + e.text }

func sprint(format string, args []any) string { return fmt.Sprintf(format, args...) }

// view is what readers see: everything up to one fsync.
type view struct {
	snap *pebble.Snapshot
	refs int // guarded by views.mu; the current view has one for being current
}

// views holds the current view and counts who reads.
type views struct {
	mu      sync.Mutex
	current *view // nil: the store is closed
	open    sync.WaitGroup
}

// publish makes snap what new readers see.
func (v *views) publish(snap *pebble.Snapshot) {
	v.open.Add(1)
	v.mu.Lock()
	old := v.current
	v.current = &view{snap: snap, refs: 1}
	v.mu.Unlock()
	v.release(old)
}

// shut refuses new readers and waits for those that read.
func (v *views) shut() {
	v.mu.Lock()
	old := v.current
	v.current = nil
	v.mu.Unlock()
	v.release(old)
	v.open.Wait()
}

func (v *views) acquire() *view {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.current != nil {
		v.current.refs++
	}
	return v.current
}

func (v *views) release(old *view) {
	if old == nil {
		return
	}
	v.mu.Lock()
	old.refs--
	last := old.refs == 0
	v.mu.Unlock()
	if last {
		_ = old.snap.Close()
		v.open.Done()
	}
}

func closedError(op string) error {
	return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: "the store is closed"}
}

func readError(op string, err error) error {
	var e *chat.Error
	if errors.As(err, &e) {
		return e
	}
	return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: "the store cannot read", Cause: err}
}

func ctxError(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return &chat.Error{Code: chat.CodeUnknownOutcome, Op: op, Message: "the call ended before the store answered", Cause: err}
	}
	return nil
}

// read runs f on what is durable now.
func (s *Store) read(ctx context.Context, op string, f func(pebble.Reader) error) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	v := s.views.acquire()
	if v == nil {
		return closedError(op)
	}
	defer s.views.release(v)
	if err := f(v.snap); err != nil {
		return readError(op, err)
	}
	return nil
}

// get reads one key; v is a copy.
func get(r pebble.Reader, k []byte) (v []byte, ok bool, err error) {
	found, closer, err := r.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	v = append([]byte(nil), found...)
	return v, true, closer.Close()
}

// scan calls f for each key in [from, to), ascending, until f is done or fails. Keys and values are f's only for the call.
func scan(r pebble.Reader, from, to []byte, f func(k, v []byte) (done bool, err error)) (err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if done, err := f(it.Key(), v); done || err != nil {
			return err
		}
	}
	return it.Error()
}

func checkLimit(op string, limit, most int) error {
	if limit < 1 || limit > most {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: fmt.Sprintf("limit is %d, allowed is 1 to %d", limit, most)}
	}
	return nil
}
