package messages

import "sync"

// mailbox is the loop's queue of inputs. It is unbounded so that a store's completion never waits for the loop, which may
// itself be waiting for the store; what fills it is bounded elsewhere: submits by the core's in-flight limit, frames by the
// relay window.
type mailbox struct {
	mu     sync.Mutex
	items  []item
	closed bool
	wake   chan struct{} // holds one token while items wait
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put adds an item; false when the loop has ended.
func (m *mailbox) put(it item) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	m.items = append(m.items, it)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return true
}

// take gives all that waits, reusing spare as the next buffer.
func (m *mailbox) take(spare []item) []item {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := m.items
	m.items = spare[:0]
	return items
}

// close refuses further items and gives those left.
func (m *mailbox) close() []item {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	left := m.items
	m.items = nil
	return left
}
