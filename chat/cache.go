package chat

import (
	"context"
	"time"
)

// CacheClass is a kind of cached things: it decides how long they live, and how hits are counted.
type CacheClass string

// The classes.
const (
	CacheProfile  CacheClass = "profile"
	CachePage     CacheClass = "page" // the newest messages of a conversation
	CacheContacts CacheClass = "contacts"
)

// How long what is cached lives at most. After that it is read anew, whatever was lost meanwhile.
const (
	TTLProfile  = time.Hour
	TTLPage     = 10 * time.Minute
	TTLContacts = 30 * time.Minute
	// TTLPresence bounds the leases of Presences.
	TTLPresence = 5 * time.Minute
)

// TTL gives how long a value of the class lives; 0 for an unknown class, whose values are not kept.
func (c CacheClass) TTL() time.Duration {
	switch c {
	case CacheProfile:
		return TTLProfile
	case CachePage:
		return TTLPage
	case CacheContacts:
		return TTLContacts
	}
	return 0
}

const (
	// MaxCacheName bounds the name in a CacheKey, in bytes.
	MaxCacheName = 256
	// MaxCacheValue bounds a cached value, in bytes; what is larger is not kept.
	MaxCacheValue = 256 << 10
	// CacheLeaseFor is how long a lease stands.
	CacheLeaseFor = 10 * time.Second
)

// CacheKey names a cached value. Name is 1 to MaxCacheName bytes, unique in its class and region.
type CacheKey struct {
	Class CacheClass
	Name  string
}

// Valid says whether a cache takes the key.
func (k CacheKey) Valid() bool {
	return k.Class.TTL() > 0 && k.Name != "" && len(k.Name) <= MaxCacheName
}

// CacheLevel is where a value was found.
type CacheLevel int

// The levels; the store itself is the third.
const (
	CacheMiss   CacheLevel = iota
	CacheMemory            // L1: the node's own memory
	CacheShared            // L2: what the nodes of a region share
)

// CacheLease entitles to fill in what was missing; "" to nothing.
type CacheLease string

// Cached is what a cache says to a key.
type Cached struct {
	// Value belongs to the cache: do not change it.
	Value []byte
	// Level is CacheMiss when there is none.
	Level CacheLevel
	// Lease comes with a miss. It is void as soon as somebody deletes the key, so that what was read before a change never
	// overwrites the change's delete.
	Lease CacheLease
}

// Cache keeps copies of what can be read from the store, for a region's nodes. It never fails: what it cannot say in time is a
// miss without a lease. Nothing in it is the only copy, nothing in it says who may read something, and no secret and no open
// body of a message goes into it, for its copy on a disk is data at rest. All methods are safe for concurrent use; none waits
// longer than the implementation's time-out (in memory: not at all).
//
// The use: Get; on a miss read the store, then Set with the lease of the miss. Whoever changes something durably calls Delete
// after that and before it says so.
type Cache interface {
	Get(ctx context.Context, key CacheKey) Cached
	// Set keeps value for the class's TTL, if lease still stands. The value belongs to the cache afterwards. A key that is not
	// valid, a value over MaxCacheValue or a void lease keeps nothing.
	Set(ctx context.Context, key CacheKey, lease CacheLease, value []byte)
	// Delete removes the keys and voids their leases. On return this node shows no value from before. The error has
	// CodeRegionDegraded when other nodes may do so for a while: until the shared cache answers again, at most for the TTL. The
	// cache tries again by itself.
	Delete(ctx context.Context, keys ...CacheKey) error
}
