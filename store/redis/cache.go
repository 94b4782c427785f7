package redis

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"meridian/chat"
)

// What a cache key holds begins with one of these.
const (
	tagValue = 'v'
	tagLease = 'l'
)

const (
	// maxPending bounds the deletes that wait for the server; beyond it the whole cache is deleted instead.
	maxPending = 10_000
	// deleteAtOnce bounds the keys of one DEL, scanAtOnce those that one SCAN looks at.
	deleteAtOnce = 500
	scanAtOnce   = "1000"
)

// Cache is a chat.Cache: L2 is the server, L1 this node's memory, which the server keeps right by telling of every change of a
// key that this node has read (client-side caching). All keys carry the server's life, so that nothing from before a restart
// is shown.
//
// A key that is missing gets a lease in its place; a value comes in only in the place of its lease. So whatever a delete, a
// flush or a restart takes away, what was read before it does not come in after it.
type Cache struct {
	c *Client

	mu sync.RWMutex
	// pending is what was to be deleted and is not; all: more than that.
	pending map[chat.CacheKey]uint64
	all     uint64 // of the last delete that was too much, 0: none
	deletes uint64
	count   atomic.Int64 // of pending, and 1 for all
}

func newCache(c *Client) *Cache { return &Cache{c: c, pending: make(map[chat.CacheKey]uint64)} }

// Cache gives the client's cache.
func (c *Client) Cache() *Cache { return c.cache }

func (k *Cache) prefix() string { return k.c.prefix + "c:" }

func (k *Cache) name(e *epoch, key chat.CacheKey) string {
	return k.prefix() + e.id + ":" + string(key.Class) + ":" + key.Name
}

// fillScript puts a value in the place of its lease.
var fillScript = rueidis.NewLuaScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
	return 1
end
return 0`)

// Get is chat.Cache's.
func (k *Cache) Get(ctx context.Context, key chat.CacheKey) chat.Cached {
	e := k.c.here()
	if e == nil || !key.Valid() || k.isPending(key) {
		return chat.Cached{}
	}
	var got chat.Cached
	name := k.name(e, key)
	err := k.c.call(ctx, "cache_get", func(ctx context.Context, conn rueidis.Client) error {
		reply := conn.DoCache(ctx, conn.B().Get().Key(name).Cache(), key.Class.TTL())
		held, err := reply.AsBytes()
		if err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
		level := chat.CacheShared
		if reply.IsCacheHit() {
			level = chat.CacheMemory
		}
		if err == nil {
			got = cached(held, level)
			return nil
		}
		got, err = k.lease(ctx, conn, name)
		return err
	})
	if err != nil || k.c.dials.Load() != e.dials || k.isPending(key) { // another server, or a delete meanwhile
		return chat.Cached{}
	}
	return got
}

func cached(held []byte, level chat.CacheLevel) chat.Cached {
	switch {
	case len(held) > 0 && held[0] == tagValue:
		return chat.Cached{Value: held[1:], Level: level}
	case len(held) > 0 && held[0] == tagLease:
		return chat.Cached{Lease: chat.CacheLease(held)}
	}
	return chat.Cached{}
}

// lease puts a lease in the place of what is missing, unless somebody was first.
func (k *Cache) lease(ctx context.Context, conn rueidis.Client, name string) (chat.Cached, error) {
	lease := string(tagLease) + rand.Text()
	held, err := conn.Do(ctx, conn.B().Set().Key(name).Value(lease).Nx().Get().Px(chat.CacheLeaseFor).Build()).AsBytes()
	switch {
	case rueidis.IsRedisNil(err):
		return chat.Cached{Lease: chat.CacheLease(lease)}, nil
	case err != nil:
		return chat.Cached{}, err
	}
	return cached(held, chat.CacheShared), nil
}

// Set is chat.Cache's.
func (k *Cache) Set(ctx context.Context, key chat.CacheKey, lease chat.CacheLease, value []byte) {
	e := k.c.here()
	if e == nil || !key.Valid() || lease == "" || len(value) > chat.MaxCacheValue || k.isPending(key) {
		return
	}
	held := make([]byte, 1, 1+len(value))
	held[0] = tagValue
	held = append(held, value...)
	ttl := strconv.FormatInt(key.Class.TTL().Milliseconds(), 10)
	_ = k.c.call(ctx, "cache_set", func(ctx context.Context, conn rueidis.Client) error {
		return fillScript.Exec(ctx, conn, []string{k.name(e, key)}, []string{string(lease), rueidis.BinaryString(held), ttl}).Error()
	}) // what does not come in is read again
}

// Delete is chat.Cache's.
func (k *Cache) Delete(ctx context.Context, keys ...chat.CacheKey) error {
	names := make([]string, 0, len(keys))
	valid := keys[:0:0]
	e := k.c.here()
	for _, key := range keys {
		if !key.Valid() {
			continue
		}
		valid = append(valid, key)
		if e != nil {
			names = append(names, k.name(e, key))
		}
	}
	if len(valid) == 0 {
		return nil
	}
	if e == nil {
		k.owe(valid)
		return degraded("cache_delete", errOpen)
	}
	err := k.c.call(ctx, "cache_delete", func(ctx context.Context, conn rueidis.Client) error { return del(ctx, conn, names) })
	if err == nil && k.c.dials.Load() == e.dials {
		return nil
	}
	k.owe(valid)
	k.c.probeSoon()
	return degraded("cache_delete", err)
}

// del deletes keys; on return this node's memory has lost them too: the server tells of the delete on this connection after it
// has answered it, and before it answers the PING.
func del(ctx context.Context, conn rueidis.Client, names []string) error {
	commands := make(rueidis.Commands, 0, len(names)/deleteAtOnce+2)
	if conn.Mode() == rueidis.ClientModeCluster { // the keys lie in different slots
		for _, name := range names {
			commands = append(commands, conn.B().Del().Key(name).Build())
		}
	} else {
		for len(names) > 0 {
			n := min(len(names), deleteAtOnce)
			commands = append(commands, conn.B().Del().Key(names[:n]...).Build())
			names = names[n:]
		}
		commands = append(commands, conn.B().Ping().Build())
	}
	for _, reply := range conn.DoMulti(ctx, commands...) {
		if err := reply.Error(); err != nil {
			return err
		}
	}
	return nil
}

// owe remembers what is to be deleted when the server answers; until then it is not shown here.
func (k *Cache) owe(keys []chat.CacheKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deletes++
	for _, key := range keys {
		if len(k.pending) < maxPending {
			k.pending[key] = k.deletes
		} else if _, known := k.pending[key]; known {
			k.pending[key] = k.deletes
		} else {
			k.all = k.deletes
		}
	}
	k.recount()
}

// recount is called with mu held.
func (k *Cache) recount() {
	n := int64(len(k.pending))
	if k.all > 0 {
		n++
	}
	k.count.Store(n)
	k.c.opt.Metrics.Set("cache_deletes_pending", float64(n))
}

func (k *Cache) pendingCount() int { return int(k.count.Load()) }

func (k *Cache) isPending(key chat.CacheKey) bool {
	if k.count.Load() == 0 {
		return false
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	_, is := k.pending[key]
	return is || k.all > 0
}

// settle deletes what is owed, in the epoch that is about to be read.
func (k *Cache) settle(ctx context.Context, e *epoch) error {
	if k.count.Load() == 0 {
		return nil
	}
	k.mu.RLock()
	upTo, all := k.deletes, k.all > 0
	var names []string
	for key := range k.pending {
		names = append(names, k.name(e, key))
	}
	k.mu.RUnlock()
	err := k.c.timed(ctx, "cache_settle", deadAfter, func(ctx context.Context, conn rueidis.Client) error {
		if all {
			return k.purge(ctx, conn, e)
		}
		return del(ctx, conn, names)
	})
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, at := range k.pending {
		if at <= upTo { // later ones are owed still
			delete(k.pending, key)
		}
	}
	if k.all <= upTo {
		k.all = 0
	}
	k.recount()
	return nil
}

// purge deletes the whole cache of an epoch.
func (k *Cache) purge(ctx context.Context, conn rueidis.Client, e *epoch) error {
	for _, node := range conn.Nodes() {
		cursor := uint64(0)
		for {
			page, err := node.Do(ctx, node.B().Arbitrary("SCAN", strconv.FormatUint(cursor, 10), "MATCH", k.prefix()+e.id+":*", "COUNT", scanAtOnce).Build()).AsScanEntry()
			if err != nil {
				return err
			}
			if err := del(ctx, conn, page.Elements); err != nil {
				return err
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	return nil
}
