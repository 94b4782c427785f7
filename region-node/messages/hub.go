package messages

import (
	"sync"

	"meridian/chat"
)

// hubShards spreads the lock over owners; a power of two.
const hubShards = 64

// Hub wakes the sockets of an owner when its inbox log has grown. A wake is a hint: the socket reads the log.
type Hub struct {
	shards [hubShards]hubShard
}

type hubShard struct {
	mu   sync.Mutex
	subs map[chat.UserID]map[Subscriber]struct{}
}

// Subscriber is one socket. Wake must not block.
type Subscriber interface{ Wake() }

// NewHub makes an empty hub.
func NewHub() *Hub {
	h := &Hub{}
	for i := range h.shards {
		h.shards[i].subs = make(map[chat.UserID]map[Subscriber]struct{})
	}
	return h
}

func (h *Hub) shard(u chat.UserID) *hubShard { return &h.shards[u[15]&(hubShards-1)] }

// Subscribe adds s to u's sockets; it gives how many u has now.
func (h *Hub) Subscribe(u chat.UserID, s Subscriber) int {
	sh := h.shard(u)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	set := sh.subs[u]
	if set == nil {
		set = make(map[Subscriber]struct{}, 1)
		sh.subs[u] = set
	}
	set[s] = struct{}{}
	return len(set)
}

// Unsubscribe removes s; it gives how many sockets u has left.
func (h *Hub) Unsubscribe(u chat.UserID, s Subscriber) int {
	sh := h.shard(u)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.subs[u], s)
	left := len(sh.subs[u])
	if left == 0 {
		delete(sh.subs, u)
	}
	return left
}

// Wake wakes all sockets of u.
func (h *Hub) Wake(u chat.UserID) {
	h.Each(u, func(s Subscriber) { s.Wake() })
}

// Each calls f for every socket of u, under the shard's lock: f must not block.
func (h *Hub) Each(u chat.UserID, f func(Subscriber)) {
	sh := h.shard(u)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for s := range sh.subs[u] {
		f(s)
	}
}

// Count gives how many sockets u has.
func (h *Hub) Count(u chat.UserID) int {
	sh := h.shard(u)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.subs[u])
}

// Users calls f for every user with a socket here, shard by shard; f must not block.
func (h *Hub) Users(f func(chat.UserID)) {
	for i := range h.shards {
		sh := &h.shards[i]
		sh.mu.Lock()
		for u := range sh.subs {
			f(u)
		}
		sh.mu.Unlock()
	}
}
