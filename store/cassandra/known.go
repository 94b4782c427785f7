package cassandra

import (
	"sync"

	"meridian/chat"
)

// maxKnown bounds the index entries that a store remembers to have written; what it has forgotten it writes again.
const maxKnown = 200_000

// known is what a handle knows to be durable: entries of index tables, and high-water marks. Safe for concurrent use.
type known struct {
	mu       sync.Mutex
	now, old map[string]struct{} // two generations
	high     map[chat.StreamID]chat.HLC
}

func newKnown() *known {
	return &known{now: make(map[string]struct{}), high: make(map[chat.StreamID]chat.HLC)}
}

func (k *known) has(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.now[name]; ok {
		return true
	}
	_, ok := k.old[name]
	if ok {
		k.now[name] = struct{}{}
	}
	return ok
}

// raises says whether a life's stored high-water mark lies below to.
func (k *known) raises(life chat.StreamID, to chat.HLC) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return to > k.high[life]
}

// durable notes what has become durable with w.
func (k *known) durable(w *writes) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range w.indexes {
		if len(k.now) >= maxKnown/2 {
			k.old, k.now = k.now, make(map[string]struct{})
		}
		k.now[name] = struct{}{}
	}
	k.high[w.life] = max(k.high[w.life], w.highWater)
}

// forget drops the entries of an op log's buckets, which a sweep removes.
func (k *known) forget(names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range names {
		delete(k.now, name)
		delete(k.old, name)
	}
}
