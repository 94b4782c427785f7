package gateway

import (
	"context"
	"time"

	"meridian/chat"
	"meridian/region-node/wire"
)

// onRead moves the own read mark forward.
func (s *session) onRead(ctx context.Context, in wire.In) error {
	u, err := chat.ParseUUID(in.MessageID)
	if err != nil {
		return invalid("message_id must be a UUID")
	}
	r, err := s.room(ctx, in.Conversation, "conversation_id", chat.NoClient)
	if err != nil {
		return s.early(err, chat.MessageID(u))
	}
	row, found, err := s.g.opt.People.Find(ctx, s.readerOf(&r), r.id, chat.MessageID(u))
	if err != nil {
		return err
	}
	if !found || r.group != nil && !r.group.Members.Sees(s.self.ID, row.ID.Time()) {
		return &chat.Error{Code: chat.CodeUnknownMessage, Message: "no such message in this conversation"}
	}
	mk := chat.Mark{Conversation: r.id, User: s.self.ID, Kind: chat.MarkRead, UpTo: row.ID}
	upTo, err := marked(ctx, s.g.opt.Store, s.self.ID, mk)
	if err == nil && r.group != nil && upTo == chat.NoMessage {
		upTo, err = marked(ctx, s.g.opt.Store, r.group.Mailbox(), mk)
	}
	if err != nil || upTo.Compare(mk.UpTo) >= 0 { // a mark only moves forward
		return err
	}
	owners := r.owners
	if r.group != nil && r.group.Members.Count() > s.g.opt.Limits.GroupReceiptMembers {
		owners = []chat.Owner{s.self} // of a large group nobody is told
	}
	submitMark(s.g.opt, s.self, owners, mk, func(err error) {
		if err != nil {
			s.fail(err, "read")
		}
	})
	return nil
}

// typingEvery is how often a hint that somebody types in a group is passed on, per socket.
const typingEvery = time.Second

// onTyping passes the hint on; it is neither stored nor acknowledged.
func (s *session) onTyping(ctx context.Context, in wire.In) error {
	r, err := s.room(ctx, in.Conversation, "conversation_id", chat.NoClient)
	if err != nil {
		return err
	}
	if r.group == nil {
		s.g.opt.Presence.Typing(s.self, r.id, r.peer)
		return nil
	}
	now := s.g.opt.Now()
	if r.group.Members.Count() <= s.g.opt.Limits.GroupReceiptMembers && now.Sub(s.typed) >= typingEvery {
		s.typed = now
		s.g.opt.Presence.Typing(s.self, r.id, r.owners...)
	}
	return nil
}
