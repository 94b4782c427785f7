package memory

import (
	"container/list"
	"context"
	"strconv"
	"sync"
	"time"

	"meridian/chat"
)

// entryBytes is about what an entry takes beside its key and value.
const entryBytes = 200

// Cache is a chat.Cache of one process: what was not used for longest goes first when it is full.
type Cache struct {
	max int
	now func() time.Time

	mu      sync.Mutex
	entries map[chat.CacheKey]*list.Element
	used    list.List // of *cacheEntry, last used first
	bytes   int
	leases  uint64
}

// cacheEntry is a value, or a lease to fill one in.
type cacheEntry struct {
	key   chat.CacheKey
	value []byte
	lease chat.CacheLease // "": it has a value
	until time.Time
}

func (e *cacheEntry) size() int { return entryBytes + len(e.key.Name) + len(e.value) }

// NewCache makes a cache of at most maxBytes, by now's clock (nil: the machine's).
func NewCache(maxBytes int, now func() time.Time) *Cache {
	if now == nil {
		now = time.Now
	}
	return &Cache{max: maxBytes, now: now, entries: make(map[chat.CacheKey]*list.Element)}
}

// Get is chat.Cache's.
func (c *Cache) Get(_ context.Context, key chat.CacheKey) chat.Cached {
	if !key.Valid() {
		return chat.Cached{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if at, ok := c.entries[key]; ok {
		e := at.Value.(*cacheEntry)
		if now.Before(e.until) {
			c.used.MoveToFront(at)
			if e.lease != "" {
				return chat.Cached{Lease: e.lease}
			}
			return chat.Cached{Value: e.value, Level: chat.CacheMemory}
		}
		c.drop(at)
	}
	c.leases++
	e := &cacheEntry{key: key, lease: chat.CacheLease(strconv.FormatUint(c.leases, 36)), until: now.Add(chat.CacheLeaseFor)}
	c.put(e)
	return chat.Cached{Lease: e.lease}
}

// Set is chat.Cache's.
func (c *Cache) Set(_ context.Context, key chat.CacheKey, lease chat.CacheLease, value []byte) {
	if !key.Valid() || lease == "" || len(value) > chat.MaxCacheValue {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.entries[key]
	if !ok {
		return
	}
	e := at.Value.(*cacheEntry)
	if now := c.now(); e.lease == lease && now.Before(e.until) {
		c.drop(at)
		c.put(&cacheEntry{key: key, value: value, until: now.Add(key.Class.TTL())})
	}
}

// Delete is chat.Cache's; it never fails.
func (c *Cache) Delete(_ context.Context, keys ...chat.CacheKey) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		if at, ok := c.entries[key]; ok {
			c.drop(at)
		}
	}
	return nil
}

// Bytes is about what the cache takes.
func (c *Cache) Bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// put adds e and lets go of what is over the bound; called with mu held.
func (c *Cache) put(e *cacheEntry) {
	c.entries[e.key] = c.used.PushFront(e)
	c.bytes += e.size()
	for c.bytes > c.max && c.used.Len() > 0 {
		c.drop(c.used.Back())
	}
}

// drop removes an entry; called with mu held.
func (c *Cache) drop(at *list.Element) {
	e := at.Value.(*cacheEntry)
	c.used.Remove(at)
	delete(c.entries, e.key)
	c.bytes -= e.size()
}
