package gateway

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"meridian/chat"
	"meridian/region-node/limits"
	"meridian/region-node/messages"
	"meridian/region-node/wire"
	"meridian/replication"
)

// onSend checks a send, finds its receivers and originates it. The ack comes when it is durable.
func (s *session) onSend(ctx context.Context, in wire.In) error {
	client, err := chat.ParseUUID(in.ClientID)
	if err != nil {
		return invalid("client_id must be a UUID")
	}
	ids, err := parseIDs(in)
	if err != nil {
		return err
	}
	text, err := s.checkText(in)
	if err != nil {
		return err
	}
	if err := s.allow(); err != nil {
		return err
	}
	r, err := s.target(ctx, in.To, chat.ClientID(client))
	if err != nil {
		return s.early(err, ids.after...)
	}
	if !r.repeat {
		if err := s.mayWrite(&r); err != nil {
			return err
		}
		if ids.replyTo, err = s.parent(ctx, &r, ids.replyTo); err != nil {
			return err
		}
	}
	ids.after = append(ids.after, r.after...)
	s.originate(chat.Op{
		Kind: chat.OpMessage, Author: s.self, Owners: r.owners, Client: chat.ClientID(client),
		Conversation: r.id, ReplyTo: ids.replyTo, Body: []byte(text), BodyHash: sha256.Sum256([]byte(text)),
	}, ids)
	return nil
}

// parent gives the message that is answered by the id that it has now; one that may still be on its way here keeps its id.
func (s *session) parent(ctx context.Context, r *room, id chat.MessageID) (chat.MessageID, error) {
	if id == chat.NoMessage {
		return id, nil
	}
	row, found, err := s.find(ctx, r, id, "reply_to")
	if !found {
		return id, err
	}
	return row.ID, nil
}

// allow takes one of the person's sends.
func (s *session) allow() error {
	return s.g.opt.Limiter.Take(s.ctx, limits.Sends, limits.User(s.self.ID))
}

type sendIDs struct {
	previous chat.ClientID
	replyTo  chat.MessageID
	after    []chat.MessageID
}

func parseIDs(in wire.In) (sendIDs, error) {
	var ids sendIDs
	if in.After != "" {
		u, err := chat.ParseUUID(in.After)
		if err != nil {
			return ids, invalid("after must be a client_id")
		}
		ids.previous = chat.ClientID(u)
	}
	for _, f := range []struct{ name, value string }{{"reply_to", in.ReplyTo}, {"seen", in.Seen}} {
		if f.value == "" {
			continue
		}
		u, err := chat.ParseUUID(f.value)
		if err != nil || chat.MessageID(u).Time() == 0 {
			return ids, invalid(f.name + " must be a message id")
		}
		ids.after = append(ids.after, chat.MessageID(u))
		if f.name == "reply_to" {
			ids.replyTo = chat.MessageID(u)
		}
	}
	return ids, nil
}

func (s *session) checkText(in wire.In) (string, error) {
	if in.Body == nil {
		return "", invalid("body is missing")
	}
	text := in.Body.Text
	if len(text) > s.g.opt.Limits.TextBytes {
		return "", &chat.Error{Code: chat.CodeTooLarge, Message: fmt.Sprintf("text of %d bytes; at most %d are allowed", len(text), s.g.opt.Limits.TextBytes)}
	}
	if strings.TrimSpace(text) == "" {
		return "", &chat.Error{Code: chat.CodeEmptyText, Message: "a message needs text"}
	}
	return text, nil
}

// target finds where a send goes.
func (s *session) target(ctx context.Context, to *wire.Target, client chat.ClientID) (room, error) {
	switch {
	case to == nil || (to.User == "") == (to.Conversation == ""):
		return room{}, invalid("to must name a user or a conversation")
	case to.User != "":
		peer, err := s.named(ctx, to.User)
		return s.directRoom(peer), err
	}
	return s.room(ctx, to.Conversation, "to.conversation", client)
}

// named finds a person by name. Names never go to somebody else, so what was found once is remembered.
func (s *session) named(ctx context.Context, name string) (chat.Owner, error) {
	if peer, ok := s.names[name]; ok {
		return peer, nil
	}
	peer, err := s.g.opt.Directory.Resolve(ctx, name)
	if err != nil {
		return chat.Owner{}, err
	}
	if peer.ID == s.self.ID {
		return chat.Owner{}, &chat.Error{Code: chat.CodeSelfMessage, Message: "a message to oneself"}
	}
	if len(s.names) < maxCachedRooms {
		s.names[name] = peer
	}
	return peer, nil
}

// originate hands the op to the durable part and answers when it is done.
func (s *session) originate(op chat.Op, ids sendIDs) {
	var end func(error)
	op.TraceParent, end = s.g.opt.Tracer.Start("", "send conversation")
	client := op.Client
	if op.Kind == chat.OpMessage {
		s.mu.Lock()
		if len(s.own) < maxOwnWaiting {
			s.own[client] = struct{}{}
		}
		s.mu.Unlock()
	}
	s.g.opt.Metrics.Count("sends_total")
	s.g.opt.Messages.SubmitAsync(messages.Request{
		Op: op, After: ids.after, Previous: ids.previous,
		Answer: func(a replication.Submitted) {
			end(a.Err)
			if a.Err != nil || a.Known {
				s.takeOwn(client)
			}
			if a.Err != nil {
				s.fail(a.Err, client.String())
				return
			}
			s.ack(client, a.Op, chat.AckRegion)
		},
		Zoned: func(stands chat.Op) { s.ack(client, stands, chat.AckZone) },
	})
}

func (s *session) ack(client chat.ClientID, op chat.Op, level chat.AckLevel) {
	s.push(wire.Encode(wire.Ack{
		T: "ack", ClientID: client.String(), MessageID: op.ID.String(), ConversationID: op.Conversation.String(),
		Level: level, SentAt: wire.Time(op.ID.Time()),
	}))
}
