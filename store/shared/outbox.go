package shared

import "sync"

// outbox holds what one goroutine is to handle, in order. Who puts does not wait: what is under way is bounded elsewhere.
type outbox[T any] struct {
	mu     sync.Mutex
	due    []T
	closed bool
	wake   chan struct{}
}

func (o *outbox[T]) init() { o.wake = make(chan struct{}, 1) }

// put gives false when the outbox is closed.
func (o *outbox[T]) put(v T) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.due = append(o.due, v)
	o.signal()
	return true
}

func (o *outbox[T]) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.signal()
}

func (o *outbox[T]) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take waits for something; nil when there will be nothing more.
func (o *outbox[T]) take() []T {
	for {
		o.mu.Lock()
		due, closed := o.due, o.closed
		o.due = nil
		o.mu.Unlock()
		if len(due) > 0 || closed {
			return due
		}
		<-o.wake
	}
}
