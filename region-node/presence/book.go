package presence

import (
	"context"
	"time"

	"meridian/chat"
)

const (
	// maxNotes bounds what waits to be written into the book; beyond it is forgotten, and the leases end by themselves.
	maxNotes = 50_000
	// lookWithin bounds a question of the book.
	lookWithin = time.Second
)

// note is what the book is to be told of a person here.
type note struct {
	online bool
	at     time.Time
}

// note has the book told of user, soon; called with mu held.
func (s *Service) note(user chat.UserID, zone chat.Zone, online bool) {
	if s.opt.Book == nil || len(s.notes) >= maxNotes || !s.opt.Topology.InZone(s.opt.Self.Region, zone) {
		return
	}
	s.notes[user] = note{online: online, at: s.opt.Now()}
	select {
	case s.noted <- struct{}{}:
	default:
	}
}

// keepBook writes notes, and renews the leases of who is here, until ctx ends.
func (s *Service) keepBook(ctx context.Context) {
	renew := time.NewTicker(s.lease() / 3)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
			s.mu.Lock()
			for user, l := range s.local {
				s.note(user, l.zone, true)
			}
			s.mu.Unlock()
		case <-s.noted:
		}
		s.writeNotes(ctx)
	}
}

// lease is how long the book believes that somebody is here.
func (s *Service) lease() time.Duration { return min(s.opt.Lease, chat.TTLPresence) }

// writeNotes tells the book what waits. What it does not take is lost: leases end, and are renewed.
func (s *Service) writeNotes(ctx context.Context) {
	s.book.Lock()
	defer s.book.Unlock()
	s.mu.Lock()
	notes := s.notes
	s.writing, s.notes = notes, make(map[chat.UserID]note)
	s.mu.Unlock()
	var here []chat.UserID
	gone := make(map[time.Time][]chat.UserID)
	for user, n := range notes {
		if n.online {
			here = append(here, user)
		} else {
			at := n.at.Truncate(time.Second)
			gone[at] = append(gone[at], user)
		}
	}
	if len(here) > 0 {
		_ = s.opt.Book.Online(ctx, s.opt.Self, here, s.opt.Now().Add(s.lease()))
	}
	for at, users := range gone {
		_ = s.opt.Book.Offline(ctx, s.opt.Self, users, at)
	}
	s.mu.Lock()
	s.writing = nil
	s.mu.Unlock()
}

// SignOff tells the book that nobody is here any more: the node stops.
func (s *Service) SignOff() {
	if s.opt.Book == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookWithin)
	defer cancel()
	s.mu.Lock()
	for user, l := range s.local {
		s.note(user, l.zone, false)
	}
	s.mu.Unlock()
	s.writeNotes(ctx)
}

// Lookup gives whether user is online anywhere, and when they went if that is known: also what other nodes of the region know,
// and what this one knew before it started.
func (s *Service) Lookup(ctx context.Context, user chat.UserID) (online bool, lastSeen time.Time) {
	s.mu.Lock()
	online, lastSeen = s.state(user)
	_, noted := s.notes[user]
	_, writing := s.writing[user]
	s.mu.Unlock()
	if online || noted || writing || s.opt.Book == nil {
		return online, lastSeen
	}
	states, err := s.opt.Book.Lookup(ctx, []chat.UserID{user}, s.opt.Now())
	if err != nil || len(states) != 1 {
		return online, lastSeen
	}
	if states[0].LastSeen.After(lastSeen) {
		lastSeen = states[0].LastSeen
	}
	if states[0].Online {
		return true, time.Time{}
	}
	return false, lastSeen
}

// tellState tells w what is known of user, if anything is.
func (s *Service) tellState(user chat.UserID, w Watcher) {
	ctx, cancel := context.WithTimeout(context.Background(), lookWithin)
	defer cancel()
	if online, seen := s.Lookup(ctx, user); online || !seen.IsZero() {
		w.Presence(user, online, seen)
	}
}
