package gateway

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/region-node/wire"
	"meridian/replication"
	"meridian/residency"
)

// frame handles one frame of the client; false ends the socket.
func (s *session) frame(ctx context.Context, data []byte) bool {
	in, err := wire.ParseIn(data, s.g.opt.Limits.FrameBytes)
	if err != nil {
		if chat.CodeOf(err) == chat.CodeInvalidUTF8 {
			s.g.opt.Metrics.Count("refused_total", string(chat.CodeInvalidUTF8))
			Refuse(s.conn, err, "")
			return false
		}
		s.fail(err, in.ClientID)
		return true
	}
	switch in.T {
	case "ping":
		s.mu.Lock()
		cursor := s.cursor
		s.mu.Unlock()
		s.push(wire.Encode(wire.Pong{T: "pong", Cursor: cursor}))
		s.Wake() // keeps the cursor of an idle client close to the stable time
	case "pong":
	case "send":
		if err := s.onSend(ctx, in); err != nil {
			s.fail(err, in.ClientID)
		}
	case "read":
		if err := s.onRead(ctx, in); err != nil {
			s.fail(err, "read")
		}
	case "typing":
		if err := s.onTyping(ctx, in); err != nil {
			s.fail(err, "typing")
		}
	case "hello":
		s.fail(&chat.Error{Code: chat.CodeBadFrame, Message: "hello comes once"}, "hello")
	default:
		s.fail(&chat.Error{Code: chat.CodeUnknownFrame, Message: fmt.Sprintf("frame type %.32q is not known", in.T)}, in.T)
	}
	return true
}

// onSend checks a send, finds its receiver and originates it. The ack comes when it is durable.
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
	if ok, after := s.g.sends.Allow(s.self.ID.String(), s.g.opt.Now()); !ok {
		return &chat.Error{Code: chat.CodeRateLimited, Message: "too many sends", RetryAfter: after}
	}
	peer, err := s.target(ctx, in.To)
	if err != nil {
		return err
	}
	if err := s.mayWrite(peer); err != nil {
		return err
	}
	op := chat.Op{
		Kind: chat.OpMessage, Author: s.self, Owners: []chat.Owner{s.self, peer}, Client: chat.ClientID(client),
		Conversation: chat.DirectConversation(s.self.ID, peer.ID), ReplyTo: ids.replyTo,
		Body: []byte(text), BodyHash: sha256.Sum256([]byte(text)),
	}
	s.originate(op, ids)
	return nil
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

// target finds who a send is for.
func (s *session) target(ctx context.Context, to *wire.Target) (chat.Owner, error) {
	switch {
	case to == nil || (to.User == "") == (to.Conversation == ""):
		return chat.Owner{}, invalid("to must name a user or a conversation")
	case to.User != "":
		return s.named(ctx, to.User)
	}
	u, err := chat.ParseUUID(to.Conversation)
	if err != nil {
		return chat.Owner{}, invalid("to.conversation must be a UUID")
	}
	return s.peerOf(ctx, chat.ConversationID(u))
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
	if len(s.names) < maxCachedPeers {
		s.names[name] = peer
	}
	return peer, nil
}

// peerOf finds the other one of an own conversation.
func (s *session) peerOf(ctx context.Context, id chat.ConversationID) (chat.Owner, error) {
	s.mu.Lock()
	peer, ok := s.peers[id]
	s.mu.Unlock()
	if ok {
		return peer, nil
	}
	row, ok, err := s.g.opt.Store.Conversation(ctx, s.self.ID, id)
	if err != nil {
		return chat.Owner{}, err
	}
	if !ok {
		return chat.Owner{}, &chat.Error{Code: chat.CodeUnknownConversation, Message: "no such conversation"}
	}
	s.mu.Lock()
	if len(s.peers) < maxCachedPeers {
		s.peers[id] = row.Peer
	}
	s.mu.Unlock()
	return row.Peer, nil
}

// maxCachedPeers bounds what a socket remembers of its conversations.
const maxCachedPeers = 64

// mayWrite asks policy and the own block list.
func (s *session) mayWrite(peer chat.Owner) error {
	if err := residency.Write(s.g.opt.Topology, s.self.Zone, peer.Zone).Err("gateway.mayWrite"); err != nil {
		return err
	}
	if s.blocks.Load().Now(peer.ID) {
		return &chat.Error{Code: chat.CodeBlocked, Message: "you blocked this user"}
	}
	return nil
}

// originate hands the op to the durable part and answers when it is done.
func (s *session) originate(op chat.Op, ids sendIDs) {
	var end func(error)
	op.TraceParent, end = s.g.opt.Tracer.Start("", "send conversation")
	s.mu.Lock()
	if len(s.own) < maxOwnWaiting {
		s.own[op.Client] = struct{}{}
	}
	s.mu.Unlock()
	client := op.Client
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

// onRead moves the own read mark forward.
func (s *session) onRead(ctx context.Context, in wire.In) error {
	conversation, err := chat.ParseUUID(in.Conversation)
	if err != nil {
		return invalid("conversation_id must be a UUID")
	}
	id, err := chat.ParseUUID(in.MessageID)
	if err != nil {
		return invalid("message_id must be a UUID")
	}
	_, ok, err := s.g.opt.Store.Message(ctx, s.self.ID, chat.ConversationID(conversation), chat.MessageID(id))
	if err != nil {
		return err
	}
	if !ok {
		return &chat.Error{Code: chat.CodeUnknownMessage, Message: "no such message in this conversation"}
	}
	mk := chat.Mark{Conversation: chat.ConversationID(conversation), User: s.self.ID, Kind: chat.MarkRead, UpTo: chat.MessageID(id)}
	state, err := readMark(ctx, s.g.opt.Store, s.self.ID, mk)
	if err != nil || state.upTo.Compare(mk.UpTo) >= 0 { // a mark only moves forward
		return err
	}
	submitMark(s.g.opt, s.self, state.peer, mk, func(err error) {
		if err != nil {
			s.fail(err, "read")
		}
	})
	return nil
}

// onTyping passes the hint on; it is neither stored nor acknowledged.
func (s *session) onTyping(ctx context.Context, in wire.In) error {
	u, err := chat.ParseUUID(in.Conversation)
	if err != nil {
		return invalid("conversation_id must be a UUID")
	}
	peer, err := s.peerOf(ctx, chat.ConversationID(u))
	if err != nil {
		return err
	}
	s.g.opt.Presence.Typing(s.self, peer, chat.ConversationID(u))
	return nil
}

func invalid(message string) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "gateway", Message: message}
}

// Typing brings another's typing hint to this socket.
func (s *session) Typing(from chat.UserID, conversation chat.ConversationID) {
	s.pushEphemeral(wire.Encode(wire.Typing{T: "typing", ConversationID: conversation.String(), User: from.String()}))
}

// Presence brings a watched person's state to this socket.
func (s *session) Presence(user chat.UserID, online bool, lastSeen time.Time) {
	p := wire.Presence{T: "presence", User: user.String(), State: "offline"}
	if online {
		p.State = "online"
	} else if !lastSeen.IsZero() {
		p.LastSeen = lastSeen.UTC().Format(wire.TimeFormat)
	}
	s.pushEphemeral(wire.Encode(p))
}
