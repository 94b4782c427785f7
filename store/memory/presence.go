package memory

import (
	"context"
	"sync"
	"time"

	"meridian/chat"
)

// Presences is a chat.Presences of one process, of at most a bounded number of people.
type Presences struct {
	maxUsers int

	mu    sync.Mutex
	users map[chat.UserID]*presence
}

type presence struct {
	leases map[chat.NodeRef]time.Time
	seen   time.Time
}

// NewPresences makes one that remembers at most maxUsers people.
func NewPresences(maxUsers int) *Presences {
	return &Presences{maxUsers: maxUsers, users: make(map[chat.UserID]*presence)}
}

func (p *Presences) of(user chat.UserID) *presence {
	u := p.users[user]
	if u == nil {
		for other := range p.users { // any: all of it may be forgotten
			if len(p.users) < p.maxUsers {
				break
			}
			delete(p.users, other)
		}
		u = &presence{leases: make(map[chat.NodeRef]time.Time)}
		p.users[user] = u
	}
	return u
}

// Online is chat.Presences's.
func (p *Presences) Online(_ context.Context, node chat.NodeRef, users []chat.UserID, until time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, user := range users {
		p.of(user).leases[node] = until
	}
	return nil
}

// Offline is chat.Presences's.
func (p *Presences) Offline(_ context.Context, node chat.NodeRef, users []chat.UserID, at time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, user := range users {
		u := p.of(user)
		delete(u.leases, node)
		if at.After(u.seen) {
			u.seen = at
		}
	}
	return nil
}

// Lookup is chat.Presences's.
func (p *Presences) Lookup(_ context.Context, users []chat.UserID, now time.Time) ([]chat.PresenceState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	states := make([]chat.PresenceState, len(users))
	for i, user := range users {
		if u := p.users[user]; u != nil {
			states[i] = u.state(now)
		}
	}
	return states, nil
}

// state gives what leases and the last good-bye say: a lease that has ended was a sighting.
func (u *presence) state(now time.Time) chat.PresenceState {
	seen := u.seen
	for _, until := range u.leases {
		if until.After(now) {
			return chat.PresenceState{Online: true}
		}
		if until.After(seen) {
			seen = until
		}
	}
	if now.Sub(seen) > chat.LastSeenKeep {
		seen = time.Time{}
	}
	return chat.PresenceState{LastSeen: seen}
}
