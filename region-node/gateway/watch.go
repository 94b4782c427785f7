package gateway

import (
	"meridian/chat"
)

// maxWatched bounds the people whose presence one socket follows.
const maxWatched = 500

// watchPeers follows the presence of contacts and of the people of the latest conversations.
func (s *session) watchPeers() {
	defer s.contain()
	contacts, err := s.g.opt.Store.Contacts(s.ctx, s.self.ID, chat.NoUser, maxWatched)
	if err != nil {
		return // the socket is ending, or the store is: the pump says so
	}
	for i := range contacts {
		if contacts[i].Theirs && contacts[i].Want {
			s.watch(contacts[i].Other.ID)
		}
	}
	conversations, err := s.g.opt.Store.Conversations(s.ctx, s.self.ID, chat.NoMessage, maxWatched/5)
	if err != nil {
		return
	}
	for i := range conversations {
		s.watch(conversations[i].Peer.ID)
	}
}

// watch follows one person, once.
func (s *session) watch(user chat.UserID) {
	s.mu.Lock()
	_, known := s.watching[user]
	take := !known && !s.ended && len(s.watching) < maxWatched
	if take {
		s.watching[user] = struct{}{}
		s.g.opt.Presence.Watch(user, s)
	}
	s.mu.Unlock()
}
