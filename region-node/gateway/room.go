package gateway

import (
	"context"
	"time"

	"meridian/chat"
	"meridian/region-node/groups"
	"meridian/region-node/people"
	"meridian/residency"
)

// room is a conversation that this person writes in.
type room struct {
	id     chat.ConversationID
	owners []chat.Owner     // of an op there
	after  []chat.MessageID // what an op there relies on
	peer   chat.Owner       // of a direct conversation
	group  *groups.Group    // nil: direct
	repeat bool             // what is to be done is done already: the core only repeats its answer
}

// maxCachedRooms bounds what a socket remembers of its conversations.
const maxCachedRooms = 64

// room finds an own conversation. Errors: CodeUnknownConversation; CodeNotMember for a group that one has left, but for the
// repetition, by client, of what was done there before.
func (s *session) room(ctx context.Context, text, field string, client chat.ClientID) (room, error) {
	u, err := chat.ParseUUID(text)
	if err != nil {
		return room{}, invalid(field + " must be a UUID")
	}
	row, err := s.conversation(ctx, chat.ConversationID(u))
	if err != nil {
		return room{}, err
	}
	if row.Group {
		return s.groupRoom(ctx, row.ID, client)
	}
	return s.directRoom(row.Peer), nil
}

// early makes of an unknown conversation something to try again, when what is said of it names a message that may still be on
// its way here: somebody who comes from another region is ahead of this one.
func (s *session) early(err error, ids ...chat.MessageID) error {
	if chat.CodeOf(err) != chat.CodeUnknownConversation {
		return err
	}
	global := s.g.opt.Messages.Marks().Global // every op that was originated at or before it is here
	for _, id := range ids {
		if id != chat.NoMessage && id.Time() > global {
			return &chat.Error{Code: chat.CodeAfterUnknown, Op: "gateway.early", Message: "the conversation may still be on its way here", RetryAfter: earlyRetry}
		}
	}
	return err
}

// earlyRetry is when to try again what came before its conversation.
const earlyRetry = 200 * time.Millisecond

func (s *session) directRoom(peer chat.Owner) room {
	return room{id: chat.DirectConversation(s.self.ID, peer.ID), owners: []chat.Owner{s.self, peer}, peer: peer}
}

func (s *session) groupRoom(ctx context.Context, id chat.ConversationID, client chat.ClientID) (room, error) {
	g, _, err := s.g.opt.Groups.Mine(ctx, "gateway.room", s.self.ID, id)
	r := room{id: id, group: g}
	if chat.CodeOf(err) == chat.CodeNotMember {
		if r.repeat = s.repeats(ctx, client); r.repeat {
			r.group, err = s.g.opt.Groups.Group(ctx, id)
		}
	}
	if err != nil {
		return room{}, err
	}
	r.owners, r.after = r.group.Owners(), []chat.MessageID{r.group.Members.Newest()}
	return r, nil
}

// repeats says whether something was done under this client id: what has changed since does not matter to its repetition.
func (s *session) repeats(ctx context.Context, client chat.ClientID) bool {
	if client == chat.NoClient {
		return false
	}
	rows, err := s.g.opt.Store.Retries(ctx, s.self.ID, client)
	return err == nil && len(rows) > 0
}

// conversation reads the row of an own conversation; what it says of peer and kind does not change.
func (s *session) conversation(ctx context.Context, id chat.ConversationID) (chat.ConversationRow, error) {
	s.mu.Lock()
	row, ok := s.rooms[id]
	s.mu.Unlock()
	if ok {
		return row, nil
	}
	row, ok, err := s.g.opt.Store.Conversation(ctx, s.self.ID, id)
	if err != nil {
		return row, err
	}
	if !ok {
		return row, &chat.Error{Code: chat.CodeUnknownConversation, Message: "no such conversation"}
	}
	s.mu.Lock()
	if len(s.rooms) < maxCachedRooms {
		s.rooms[id] = row
	}
	s.mu.Unlock()
	return row, nil
}

// readerOf gives this person as a reader of the room.
func (s *session) readerOf(r *room) *people.Reader {
	reader := &people.Reader{User: s.self.ID, Mailbox: s.self.ID, Blocks: s.blocks.Load(), Group: r.group}
	if r.group != nil {
		reader.Mailbox = r.group.Mailbox()
	}
	return reader
}

// mayWrite asks policy and, of one other person, the own block list.
func (s *session) mayWrite(r *room) error {
	for _, owner := range r.owners {
		if err := residency.Write(s.g.opt.Topology, s.self.Zone, owner.Zone).Err("gateway.mayWrite"); err != nil {
			return err
		}
	}
	if r.group == nil && s.blocks.Load().Now(r.peer.ID) {
		return &chat.Error{Code: chat.CodeBlocked, Message: "you blocked this user"}
	}
	return nil
}
