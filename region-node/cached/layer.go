// Package cached puts a chat.Cache before what people read most: profiles, contacts, the newest messages of a conversation.
//
// What is shown from it is right, however the cache fails: a page of messages is shown only after the inbox log has said that
// nothing of it changed since it was read, and blocks, memberships and refusals are never cached, but applied to what comes out.
// Profiles and contacts are deleted by the write that changes them; where the delete is lost they may be old until their TTL.
//
// Only requests that say so (Request) read from the cache. Whatever decides about a write reads the store.
package cached

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"meridian/chat"
)

// Metrics counts by names of the project's list.
type Metrics interface {
	Count(name string, labels ...string)
	Observe(name string, value float64, labels ...string)
}

// Layer is a node's cache. A nil Layer caches nothing.
type Layer struct {
	cache   chat.Cache
	metrics Metrics
}

// New makes a layer; nil where there is no cache.
func New(cache chat.Cache, metrics Metrics) *Layer {
	if cache == nil {
		return nil
	}
	return &Layer{cache: cache, metrics: metrics}
}

// read counts a read of a class.
func (l *Layer) read(class chat.CacheClass, level string, started time.Time) {
	l.metrics.Count("cache_reads_total", string(class), level)
	l.metrics.Observe("cache_read_seconds", time.Since(started).Seconds(), string(class), level)
}

// The levels that metrics tell.
const (
	levelMemory = "memory"
	levelShared = "shared"
	levelStore  = "store"
	levelStale  = "stale"
)

func levelOf(level chat.CacheLevel) string {
	if level == chat.CacheMemory {
		return levelMemory
	}
	return levelShared
}

// Profile gives a profile from the cache, or by find, which says too whether it may be kept.
func (l *Layer) Profile(ctx context.Context, name chat.ClaimKey, find func(context.Context) (chat.Owner, bool, error)) (chat.Owner, error) {
	if l == nil {
		owner, _, err := find(ctx)
		return owner, err
	}
	started, key := time.Now(), profileKey(name)
	got := l.cache.Get(ctx, key)
	var owner chat.Owner
	if got.Level != chat.CacheMiss && json.Unmarshal(got.Value, &owner) == nil {
		l.read(key.Class, levelOf(got.Level), started)
		return owner, nil
	}
	owner, keep, err := find(ctx)
	if err != nil {
		return owner, err
	}
	if value, err := json.Marshal(owner); keep && err == nil {
		l.cache.Set(ctx, key, got.Lease, value)
	}
	l.read(key.Class, levelStore, started)
	return owner, nil
}

// profileKey: the name itself stands in no key.
func profileKey(name chat.ClaimKey) chat.CacheKey {
	return chat.CacheKey{Class: chat.CacheProfile, Name: hex.EncodeToString(name[:])}
}

func contactsKey(owner chat.UserID) chat.CacheKey {
	return chat.CacheKey{Class: chat.CacheContacts, Name: owner.String()}
}

func pageKey(owner chat.UserID, id chat.ConversationID) chat.CacheKey {
	return chat.CacheKey{Class: chat.CachePage, Name: owner.String() + "/" + id.String()}
}

// Writes gives store so that what a commit changes is deleted from the cache, after it is durable and before anybody is told.
func (l *Layer) Writes(store chat.Store) chat.Store {
	if l == nil {
		return store
	}
	return &writes{Store: store, layer: l}
}

type writes struct {
	chat.Store
	layer *Layer
}

// Commit implements chat.Store.
func (w *writes) Commit(b *chat.Batch, done func(error)) {
	keys := keysOf(b)
	if len(keys) == 0 {
		w.Store.Commit(b, done)
		return
	}
	w.Store.Commit(b, func(err error) {
		go func() { // the store's own goroutine goes on
			// Also after an error: an unknown outcome may be a change. Where other nodes cannot be told, the TTL bounds it.
			_ = w.layer.cache.Delete(context.Background(), keys...)
			done(err)
		}()
	})
}

// keysOf gives what a batch changes of what is cached and does not see for itself. A page sees everything but another name of a
// message, which has no entry in the inbox log.
func keysOf(b *chat.Batch) []chat.CacheKey {
	var keys []chat.CacheKey
	add := func(key chat.CacheKey) {
		if len(keys) == 0 || keys[len(keys)-1] != key {
			keys = append(keys, key)
		}
	}
	for i := range b.Claims {
		add(profileKey(b.Claims[i].Key))
	}
	for i := range b.Contacts {
		add(contactsKey(b.Contacts[i].Owner))
	}
	for i := range b.Changes {
		if c := &b.Changes[i]; c.Kind == chat.ChangeAlias {
			add(pageKey(c.Owner, c.Conversation))
		}
	}
	return keys
}
