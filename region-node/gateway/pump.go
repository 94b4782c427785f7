package gateway

import (
	"meridian/chat"
	"meridian/region-node/people"
	"meridian/region-node/wire"
	"meridian/replication"
)

// pageEntries is how many inbox entries one read takes.
const pageEntries = 256

// pump writes out what came since where the client stands: from what the socket was told, or from the inbox log, page by
// page. The marks are taken first: what they cover was told, and is in the log, by then ("stable time first, then the log").
func (s *session) pump() error {
	for {
		marks := s.g.opt.Messages.Marks()
		after, upTo, ok := s.reader.Query(marks)
		if !ok {
			return nil
		}
		rows, ops, ok := s.told(after, upTo)
		if !ok {
			var err error
			if rows, err = s.g.opt.Store.Inbox(s.ctx, s.self.ID, after, upTo, pageEntries); err != nil {
				return s.degraded(err)
			}
		}
		complete := ok || len(rows) < pageEntries
		entries := s.reader.Page(rows, complete)
		frames, err := s.framesOf(entries, ops)
		if err != nil {
			return s.degraded(err)
		}
		if err := s.send(frames); err != nil {
			return err
		}
		s.mu.Lock()
		s.cursor = s.reader.Cursor().String()
		s.mu.Unlock()
		s.markDelivered(entries)
		if complete {
			return nil
		}
	}
}

// degraded ends a socket whose store does not answer: the client resumes by cursor, here or elsewhere.
func (s *session) degraded(err error) error {
	if s.ctx.Err() == nil {
		s.log.Error("inbox log not readable", "session", s.id, "err", err)
		s.conn.Close(CloseCode(chat.CodeRegionDegraded), string(chat.CodeRegionDegraded))
	}
	return err
}

// framesOf gives the events for entries; ops, by id, spare reading what is at hand.
func (s *session) framesOf(entries []replication.Entry, ops map[chat.MessageID]*chat.Op) ([][]byte, error) {
	frames := make([][]byte, 0, len(entries))
	for i := range entries {
		frame, err := s.frameOf(&entries[i], ops[entries[i].Row.Op])
		if err != nil {
			return nil, err
		}
		if frame != nil {
			frames = append(frames, wire.Encode(frame))
		}
	}
	return frames, nil
}

// frameOf gives the event for one inbox entry; nil when this client is not to see it.
func (s *session) frameOf(e *replication.Entry, op *chat.Op) (any, error) {
	row := &e.Row
	switch row.Kind {
	case chat.InboxMessage:
		return s.messageFrame(e, op)
	case chat.InboxMark:
		if row.Mark == chat.MarkDelivered && row.Actor == s.self.ID {
			return nil, nil // what I received is news to others only
		}
		return wire.Receipt{
			T: "receipt", Cursor: e.Cursor.String(), ConversationID: row.Conversation.String(),
			User: row.Actor.String(), Kind: row.Mark.String(), MessageID: row.Ref.String(),
		}, nil
	case chat.InboxAlias:
		return s.aliasFrame(e)
	case chat.InboxContact:
		return s.contactFrame(e)
	case chat.InboxBlock:
		return nil, s.loadBlocks()
	case chat.InboxSession:
		return nil, s.recheck()
	}
	return nil, nil
}

func (s *session) messageFrame(e *replication.Entry, op *chat.Op) (any, error) {
	var row chat.MessageRow
	if op != nil && op.ID == e.Row.Ref {
		row = copyOf(op, s.self)
	} else {
		var ok bool
		var err error
		row, ok, err = s.g.opt.Store.Message(s.ctx, s.self.ID, e.Row.Conversation, e.Row.Ref)
		if err != nil || !ok || row.AliasOf != chat.NoMessage {
			return nil, err
		}
	}
	if row.Sender != s.self.ID {
		s.watch(row.Sender)
		if s.blocks.Load().Hidden(row.Sender, row.ID.Time()) {
			return nil, nil
		}
	} else if s.takeOwn(row.Client) {
		return nil, nil // this socket sent it and has the ack
	}
	return wire.MessageEvent{T: "message", Cursor: e.Cursor.String(), Message: wire.MessageOf(row)}, nil
}

func (s *session) takeOwn(c chat.ClientID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, own := s.own[c]
	delete(s.own, c)
	return own
}

func (s *session) aliasFrame(e *replication.Entry) (any, error) {
	row, ok, err := s.g.opt.Store.Message(s.ctx, s.self.ID, e.Row.Conversation, e.Row.Op)
	if err != nil || !ok {
		return nil, err
	}
	return wire.Alias{
		T: "alias", Cursor: e.Cursor.String(), ConversationID: row.Conversation.String(),
		ClientID: row.Client.String(), From: row.ID.String(), To: e.Row.Ref.String(),
	}, nil
}

func (s *session) contactFrame(e *replication.Entry) (any, error) {
	halves, err := s.g.opt.Store.Contact(s.ctx, s.self.ID, e.Row.Actor)
	if err != nil || len(halves) == 0 {
		return nil, err
	}
	return wire.ContactEvent{
		T: "contact", Cursor: e.Cursor.String(), State: string(people.StateOf(halves)),
		User: wire.User{ID: halves[0].Other.ID.String(), Username: halves[0].Other.Name},
	}, nil
}

// recheck ends the socket when its log-in has ended.
func (s *session) recheck() error {
	err := s.g.opt.Sessions.CheckSession(s.ctx, s.claims)
	if chat.CodeOf(err) == chat.CodeUnauthorized {
		Refuse(s.conn, err, "")
		return err
	}
	return nil
}

// markDelivered tells the others that their messages reached a device.
func (s *session) markDelivered(entries []replication.Entry) {
	for i := range entries {
		row := &entries[i].Row
		if row.Kind == chat.InboxMessage && row.Actor != s.self.ID {
			s.g.marker.delivered(s.self, row.Conversation, row.Ref)
		}
	}
}

// loadBlocks reads whom this person blocks; the log brings an entry when that changes.
func (s *session) loadBlocks() error {
	blocks, err := s.g.opt.People.BlocksOf(s.ctx, s.self.ID)
	if err == nil {
		s.blocks.Store(blocks)
	}
	return err
}
