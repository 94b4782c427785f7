package messages

import (
	"sync"

	"meridian/chat"
)

// hubShards spreads the lock over owners; a power of two.
const hubShards = 64

// Hub tells the sockets of an owner that its inbox log has grown: first what the new entries are, then, when the marks cover
// them, to look. Both are hints: a socket that lost one reads the log.
type Hub struct {
	shards [hubShards]hubShard
}

type hubShard struct {
	mu   sync.Mutex
	subs map[chat.UserID]*ownerSockets
}

// ownerSockets are the sockets of one owner. last is the arrival of the newest entry they were told of, 0 for none yet.
type ownerSockets struct {
	set  map[Subscriber]struct{}
	last chat.HLC
}

// Subscriber is one socket. Its methods must not block.
type Subscriber interface {
	// Hint brings a new entry before the marks cover it, with its op if that is at hand. prev is the arrival of the owner's
	// entry before it, 0 when that is not known.
	Hint(prev chat.HLC, row chat.InboxRow, op *chat.Op)
	// Wake tells that the marks cover what was hinted.
	Wake()
}

// NewHub makes an empty hub.
func NewHub() *Hub {
	h := &Hub{}
	for i := range h.shards {
		h.shards[i].subs = make(map[chat.UserID]*ownerSockets)
	}
	return h
}

func (h *Hub) shard(u chat.UserID) *hubShard { return &h.shards[u[15]&(hubShards-1)] }

// Subscribe adds s to u's sockets; it gives how many u has now.
func (h *Hub) Subscribe(u chat.UserID, s Subscriber) int {
	sh := h.shard(u)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o := sh.subs[u]
	if o == nil {
		o = &ownerSockets{set: make(map[Subscriber]struct{}, 1)}
		sh.subs[u] = o
	}
	o.set[s] = struct{}{}
	return len(o.set)
}

// Unsubscribe removes s; it gives how many sockets u has left.
func (h *Hub) Unsubscribe(u chat.UserID, s Subscriber) int {
	sh := h.shard(u)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o := sh.subs[u]
	if o == nil {
		return 0
	}
	delete(o.set, s)
	if len(o.set) == 0 {
		delete(sh.subs, u)
	}
	return len(o.set)
}

// Hint tells row's owner's sockets of it. Rows of one owner come in the order of their arrivals, all of them.
func (h *Hub) Hint(row chat.InboxRow, op *chat.Op) {
	sh := h.shard(row.Owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o := sh.subs[row.Owner]
	if o == nil {
		return
	}
	prev := o.last
	o.last = row.Arrival
	for s := range o.set {
		s.Hint(prev, row, op)
	}
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
	o := sh.subs[u]
	if o == nil {
		return
	}
	for s := range o.set {
		f(s)
	}
}

// Count gives how many sockets u has.
func (h *Hub) Count(u chat.UserID) int {
	sh := h.shard(u)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if o := sh.subs[u]; o != nil {
		return len(o.set)
	}
	return 0
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
