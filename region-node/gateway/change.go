package gateway

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"meridian/chat"
	"meridian/region-node/people"
	"meridian/region-node/wire"
)

// onChange checks an edit, a deletion or a reaction, and originates it. The ack comes when it is durable.
func (s *session) onChange(ctx context.Context, in wire.In) error {
	client, err := chat.ParseUUID(in.ClientID)
	if err != nil {
		return invalid("client_id must be a UUID")
	}
	id, err := messageID(in.MessageID, "message_id")
	if err != nil {
		return err
	}
	change, body, err := s.changeOf(in)
	if err != nil {
		return err
	}
	if err := s.allow(); err != nil {
		return err
	}
	change.Target = id
	r, err := s.room(ctx, in.Conversation, "conversation_id", chat.ClientID(client))
	if err != nil {
		return s.early(err, id)
	}
	if err := s.mayChange(ctx, &r, &change); err != nil && !s.repeats(ctx, chat.ClientID(client)) {
		return err
	}
	s.originate(chat.Op{
		Kind: chat.OpChange, Author: s.self, Owners: r.owners, Client: chat.ClientID(client), Conversation: r.id,
		Change: &change, Body: body,
	}, sendIDs{after: append(r.after, id)})
	return nil
}

// changeOf reads what is to be done to a message.
func (s *session) changeOf(in wire.In) (chat.Change, []byte, error) {
	switch in.T {
	case "edit":
		text, err := s.checkText(in)
		return chat.Change{Kind: chat.ChangeEdit}, []byte(text), err
	case "delete":
		return chat.Change{Kind: chat.ChangeDelete}, nil, nil
	}
	switch {
	case in.Emoji == "":
		return chat.Change{}, nil, invalid("emoji is missing")
	case len(in.Emoji) > chat.MaxEmojiBytes:
		return chat.Change{}, nil, &chat.Error{Code: chat.CodeTooLarge, Message: fmt.Sprintf("emoji of %d bytes; at most %d are allowed", len(in.Emoji), chat.MaxEmojiBytes)}
	case strings.ContainsFunc(in.Emoji, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return chat.Change{}, nil, invalid("emoji holds a blank or a control character")
	case in.On == nil:
		return chat.Change{}, nil, invalid("on must be true or false")
	}
	return chat.Change{Kind: chat.ChangeReaction, Emoji: in.Emoji, On: *in.On}, nil, nil
}

// mayChange refuses what would not count: a change of a message that is not there, or of somebody else's. A message that may
// still be on its way here is not known to be missing. An own message may be deleted whatever else holds.
func (s *session) mayChange(ctx context.Context, r *room, change *chat.Change) error {
	if change.Kind != chat.ChangeDelete {
		if err := s.mayWrite(r); err != nil {
			return err
		}
	}
	row, found, err := s.find(ctx, r, change.Target, "message_id")
	if err != nil || !found {
		return err
	}
	shown, err := s.g.opt.People.Show(ctx, s.readerOf(r), row)
	if err != nil {
		return err
	}
	own := row.Sender == s.self.ID
	switch {
	case change.Kind == chat.ChangeDelete && !own && (r.group == nil || r.group.Members.Role(s.self.ID) < chat.RoleAdmin):
		return &chat.Error{Code: chat.CodeDenied, Message: "only its sender deletes a message; in a group owner and admins too"}
	case change.Kind == chat.ChangeEdit && !own:
		return &chat.Error{Code: chat.CodeDenied, Message: "only its sender edits a message"}
	case change.Kind != chat.ChangeDelete && shown[0].Deleted:
		return &chat.Error{Code: chat.CodeUnknownMessage, Message: "the message is deleted"}
	case change.Kind == chat.ChangeReaction && change.On:
		return s.roomForReaction(&shown[0], change.Emoji)
	}
	return nil
}

// roomForReaction refuses one reaction too many of one person.
func (s *session) roomForReaction(m *people.Shown, emoji string) error {
	mine, limit := 0, s.g.opt.Limits.ReactionsPerUser
	for _, r := range m.Reactions {
		for _, user := range r.Users {
			if user != s.self.ID {
				continue
			}
			if r.Emoji == emoji {
				return nil
			}
			mine++
		}
	}
	if mine >= limit {
		return invalid(fmt.Sprintf("at most %d reactions of one person on a message", limit))
	}
	return nil
}

// find gives a message of the room that this person sees. Not found, without an error: it may be on its way here. Every op
// that was originated at or before the stable time is here, so an older one that is missing does not exist.
func (s *session) find(ctx context.Context, r *room, id chat.MessageID, field string) (row chat.MessageRow, found bool, err error) {
	global := s.g.opt.Messages.Marks().Global // before the reading
	reader := s.readerOf(r)
	row, found, err = s.g.opt.People.Find(ctx, reader, r.id, id)
	switch {
	case err != nil:
		return row, false, err
	case found && reader.Sees(row.Sender, row.ID.Time()):
		return row, true, nil
	case !found && id.Time() > global:
		return row, false, nil
	}
	return row, false, &chat.Error{Code: chat.CodeUnknownMessage, Message: field + ": no such message in this conversation"}
}

// messageID reads a message id.
func messageID(text, field string) (chat.MessageID, error) {
	u, err := chat.ParseUUID(text)
	if err != nil || chat.MessageID(u).Time() == 0 {
		return chat.NoMessage, invalid(field + " must be a message id")
	}
	return chat.MessageID(u), nil
}
