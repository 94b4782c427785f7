package messages

import (
	"sync"
	"sync/atomic"

	"meridian/chat"
)

const (
	// hubShards spreads the lock over owners; a power of two.
	hubShards = 64
	// tailRows bounds the newest entries kept of one owner's log.
	tailRows = 128
	// shardBytes bounds what a shard keeps of all its owners' logs, by the size of the ops: 8 MiB in all.
	shardBytes = 128 << 10
	// quietLogs bounds the groups of a shard whose last arrival is remembered.
	quietLogs = 4096
)

// Hub tells sockets that an inbox log which they read has grown, and keeps the newest entries of such logs, so that who keeps
// up need not read them. All of it is a hint: what the hub does not know for sure is read.
type Hub struct {
	shards [hubShards]hubShard
	// latest is the largest arrival that was told.
	latest atomic.Uint64
	// partial: other nodes write to the same logs, and what they write is not told here.
	partial bool
	// onStep is told of what changes a group, before anybody can read it.
	onStep func(Entry)
}

type hubShard struct {
	mu    sync.Mutex
	logs  map[chat.UserID]*tail
	queue []*kept // of all logs, in the order in which they were told
	bytes int
	// last is when a group's log grew last, complete for what came after since: it spares the reading of quiet logs.
	last  map[chat.UserID]chat.HLC
	since chat.HLC
}

// tail is the end of one owner's log that somebody reads: rows holds everything with an arrival after from that the marks cover.
type tail struct {
	readers map[Subscriber]struct{}
	rows    []*kept // ascending by (Arrival, Op)
	from    chat.HLC
}

// kept is an entry that a tail keeps, until it is evicted from the shard's queue.
type kept struct {
	Entry
	tail *tail // nil: forgotten
}

// Entry is an entry of an inbox log, with its op if that is at hand, and what all who read the log can share of it.
type Entry struct {
	Row    chat.InboxRow
	Op     *chat.Op
	Shared *Shared // nil: nothing
}

// Shared is something that is made of an entry once, by whoever needs it first.
type Shared struct {
	once sync.Once
	made []byte
}

// Get gives what was made, or makes it. Nobody may change it.
func (s *Shared) Get(make func() []byte) []byte {
	if s == nil {
		return make()
	}
	s.once.Do(func() { s.made = make() })
	return s.made
}

// compare orders entries as logs do.
func (e *Entry) compare(o *Entry) int {
	switch {
	case e.Row.Arrival < o.Row.Arrival:
		return -1
	case e.Row.Arrival > o.Row.Arrival:
		return 1
	}
	return e.Row.Op.Compare(o.Row.Op)
}

// size estimates what an entry keeps in memory, in bytes.
func (e *Entry) size() int {
	if e.Op == nil {
		return 128
	}
	return 1024 + 2*len(e.Op.Body)
}

// Subscriber is one socket.
type Subscriber interface {
	// Wake tells that the marks cover new entries. It must not block.
	Wake()
}

// NewHub makes an empty hub. It is told of every entry with an arrival after since; or, when it is partial, of this node's only:
// then logs are always read.
func NewHub(since chat.HLC, partial bool) *Hub {
	h := &Hub{partial: partial}
	for i := range h.shards {
		h.shards[i] = hubShard{logs: make(map[chat.UserID]*tail), last: make(map[chat.UserID]chat.HLC), since: since}
	}
	h.latest.Store(uint64(since))
	return h
}

// OnStep has f called with every entry of a group's log that says that the group or its members changed, before it is kept.
// Call it before the hub is used; f must not block.
func (h *Hub) OnStep(f func(Entry)) { h.onStep = f }

func (h *Hub) shard(u chat.UserID) *hubShard { return &h.shards[u[15]&(hubShards-1)] }

// Subscribe adds s to the readers of owner's log; it gives how many there are now.
func (h *Hub) Subscribe(owner chat.UserID, s Subscriber) int {
	sh := h.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.logs[owner]
	if t == nil {
		t = &tail{readers: make(map[Subscriber]struct{}, 1), from: chat.HLC(h.latest.Load())}
		sh.logs[owner] = t
	}
	t.readers[s] = struct{}{}
	return len(t.readers)
}

// Unsubscribe removes s; it gives how many readers are left.
func (h *Hub) Unsubscribe(owner chat.UserID, s Subscriber) int {
	sh := h.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.logs[owner]
	if t == nil {
		return 0
	}
	delete(t.readers, s)
	if len(t.readers) > 0 {
		return len(t.readers)
	}
	for _, k := range t.rows {
		sh.drop(k)
	}
	delete(sh.logs, owner)
	return 0
}

// Tell takes in an entry before the marks cover it.
func (h *Hub) Tell(e Entry) {
	owner := e.Row.Owner
	sh := h.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for {
		latest := h.latest.Load()
		if uint64(e.Row.Arrival) <= latest || h.latest.CompareAndSwap(latest, uint64(e.Row.Arrival)) {
			break
		}
	}
	if owner == chat.UserID(e.Row.Conversation) {
		sh.grew(owner, e.Row.Arrival)
		if h.onStep != nil && (e.Row.Kind == chat.InboxMember || e.Row.Kind == chat.InboxGroup) {
			h.onStep(e)
		}
	}
	if h.partial {
		return
	}
	if t := sh.logs[owner]; t != nil && e.Row.Arrival > t.from {
		sh.keep(t, e)
	}
}

// grew notes that a group's log has an entry.
func (sh *hubShard) grew(owner chat.UserID, arrival chat.HLC) {
	if _, known := sh.last[owner]; !known && len(sh.last) >= quietLogs {
		for _, at := range sh.last {
			sh.since = max(sh.since, at)
		}
		clear(sh.last)
	}
	sh.last[owner] = max(sh.last[owner], arrival)
}

// keep puts e in its place in t and evicts what is over the bounds.
func (sh *hubShard) keep(t *tail, e Entry) {
	if len(t.readers) > 1 && e.Op != nil {
		e.Shared = &Shared{}
	}
	k := &kept{Entry: e, tail: t}
	i := len(t.rows)
	for i > 0 && t.rows[i-1].compare(&e) > 0 {
		i--
	}
	if i > 0 && t.rows[i-1].compare(&e) == 0 && t.rows[i-1].Row.Kind == e.Row.Kind {
		return
	}
	t.rows = append(t.rows, nil)
	copy(t.rows[i+1:], t.rows[i:])
	t.rows[i] = k
	sh.queue = append(sh.queue, k)
	sh.bytes += k.size()
	for len(t.rows) > tailRows {
		sh.evict(t.rows[0])
	}
	for sh.bytes > shardBytes {
		k := sh.queue[0]
		sh.queue[0] = nil
		sh.queue = sh.queue[1:]
		if k.tail != nil {
			sh.evict(k)
		}
	}
	if len(sh.queue) > 2*shardBytes/128 { // mostly forgotten ones
		sh.compact()
	}
}

// evict has a tail begin after k.
func (sh *hubShard) evict(k *kept) {
	t := k.tail
	t.from = max(t.from, k.Row.Arrival)
	n := 0
	for n < len(t.rows) && t.rows[n].Row.Arrival <= t.from {
		sh.drop(t.rows[n])
		n++
	}
	t.rows = append(t.rows[:0], t.rows[n:]...)
}

// drop forgets what k holds; it stays in the queue, empty.
func (sh *hubShard) drop(k *kept) {
	sh.bytes -= k.size()
	k.tail, k.Op, k.Shared = nil, nil, nil
}

func (sh *hubShard) compact() {
	var left []*kept
	for _, k := range sh.queue {
		if k.tail != nil {
			left = append(left, k)
		}
	}
	sh.queue = left
}

// Since gives the entries of a log in (after, upTo], ascending; group says that it is a group's. ok is false when the log must
// be read. upTo must come from marks that were taken before.
func (h *Hub) Since(owner chat.UserID, group bool, after, upTo chat.HLC) (entries []Entry, ok bool) {
	sh := h.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.logs[owner]
	if t == nil || h.partial || after < t.from {
		return nil, group && !h.partial && after >= sh.since && sh.last[owner] <= after
	}
	for _, k := range t.rows {
		if k.Row.Arrival > after && k.Row.Arrival <= upTo {
			entries = append(entries, k.Entry)
		}
	}
	return entries, true
}

// Wake wakes all who read owner's log.
func (h *Hub) Wake(owner chat.UserID) {
	h.Each(owner, func(s Subscriber) { s.Wake() })
}

// Each calls f for everybody who reads owner's log, under the shard's lock: f must not block.
func (h *Hub) Each(owner chat.UserID, f func(Subscriber)) {
	sh := h.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if t := sh.logs[owner]; t != nil {
		for s := range t.readers {
			f(s)
		}
	}
}

// Count gives how many read owner's log.
func (h *Hub) Count(owner chat.UserID) int {
	sh := h.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if t := sh.logs[owner]; t != nil {
		return len(t.readers)
	}
	return 0
}
