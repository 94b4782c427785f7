package gateway

import (
	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/region-node/people"
	"meridian/region-node/wire"
	"meridian/replication"
)

// frameOf gives the event for one inbox entry; nil when this client is not to see it.
func (s *session) frameOf(e *messages.Entry, cursor string) (any, error) {
	row := &e.Row
	switch row.Kind {
	case chat.InboxMessage:
		return s.messageFrame(e, cursor)
	case chat.InboxMark:
		return s.receiptFrame(row, cursor)
	case chat.InboxAlias:
		return s.aliasFrame(row, cursor)
	case chat.InboxChange:
		return s.changeFrame(row, cursor)
	case chat.InboxGroup, chat.InboxMember:
		f, err := s.groupFrame(row, cursor)
		if f == nil || err != nil || s.told.again(toldEvent{row.Op, f.Change, f.Name, f.Role}) {
			return nil, err
		}
		return *f, nil
	case chat.InboxFailed:
		return s.failedFrame(e, cursor)
	case chat.InboxContact:
		return s.contactFrame(row, cursor)
	case chat.InboxBlock:
		return nil, s.loadBlocks()
	case chat.InboxSession:
		return nil, s.recheck()
	}
	return nil, nil
}

// reading gives this person as a reader of the log that row is from.
func (s *session) reading(row *chat.InboxRow) (*people.Reader, error) {
	return s.g.opt.People.ReaderOf(s.ctx, &chat.ConversationRow{Owner: s.self.ID, ID: row.Conversation, Group: row.Owner != s.self.ID}, s.blocks.Load())
}

func (s *session) messageFrame(e *messages.Entry, cursor string) (any, error) {
	r, err := s.reading(&e.Row)
	if err != nil || !r.Sees(e.Row.Actor, e.Row.Ref.Time()) {
		return nil, err
	}
	op := e.Op
	if op == nil || op.ID != e.Row.Ref || op.Stream.Region != s.g.opt.Identity.Region || op.Logged != op.Time {
		shown, ok, err := s.shown(e, r)
		if err != nil || !ok || !s.isNews(shown.Sender, shown.Client) {
			return nil, err
		}
		return wire.MessageEvent{T: "message", Cursor: cursor, Message: wire.MessageOf(shown.MessageRow, shown.Viewed, shown.Refusals...)}, nil
	}
	// A message at hand that began in this region cannot have been changed before it was shown here.
	if !s.isNews(op.Author.ID, op.Client) {
		return nil, nil
	}
	return wire.MessageFrame(cursor, e.Shared.Get(func() []byte {
		return wire.Encode(wire.MessageOf(copyOf(op, r.Mailbox), replication.Viewed{Body: op.Body}))
	})), nil
}

// isNews says whether this socket wants a message: an own one that it sent it has by the ack.
func (s *session) isNews(sender chat.UserID, client chat.ClientID) bool {
	if sender == s.self.ID {
		return !s.takeOwn(client)
	}
	s.watch(sender)
	return true
}

// shown gives the message of an entry as it is now.
func (s *session) shown(e *messages.Entry, r *people.Reader) (people.Shown, bool, error) {
	if e.Op != nil && e.Op.ID == e.Row.Ref {
		return s.show(r, copyOf(e.Op, r.Mailbox))
	}
	row, ok, err := s.g.opt.Store.Message(s.ctx, r.Mailbox, e.Row.Conversation, e.Row.Ref)
	if err != nil || !ok || row.AliasOf != chat.NoMessage {
		return people.Shown{}, false, err
	}
	return s.show(r, row)
}

func (s *session) show(r *people.Reader, row chat.MessageRow) (people.Shown, bool, error) {
	list, err := s.g.opt.People.Show(s.ctx, r, row)
	if err != nil {
		return people.Shown{}, false, err
	}
	return list[0], true, nil
}

// copyOf gives the copy of the message op in a mailbox.
func copyOf(op *chat.Op, owner chat.UserID) chat.MessageRow {
	return chat.MessageRow{
		Owner: owner, Conversation: op.Conversation, ID: op.ID, Sender: op.Author.ID,
		SenderName: op.Author.Name, Client: op.Client, ReplyTo: op.ReplyTo, Body: op.Body,
	}
}

func (s *session) takeOwn(c chat.ClientID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, own := s.own[c]
	delete(s.own, c)
	return own
}

func (s *session) receiptFrame(row *chat.InboxRow, cursor string) (any, error) {
	if row.Mark == chat.MarkDelivered && row.Actor == s.self.ID {
		return nil, nil // what I received is news to others only
	}
	if row.Owner != s.self.ID {
		r, err := s.reading(row)
		if err != nil || !r.Group.Members.Shows(s.self.ID, row.Actor, row.Op.Time()) {
			return nil, err
		}
	}
	return wire.Receipt{
		T: "receipt", Cursor: cursor, ConversationID: row.Conversation.String(),
		User: row.Actor.String(), Kind: row.Mark.String(), MessageID: row.Ref.String(),
	}, nil
}

func (s *session) aliasFrame(entry *chat.InboxRow, cursor string) (any, error) {
	r, err := s.reading(entry)
	if err != nil || !r.Sees(entry.Actor, entry.Op.Time()) {
		return nil, err
	}
	row, ok, err := s.g.opt.Store.Message(s.ctx, r.Mailbox, entry.Conversation, entry.Op)
	if err != nil || !ok {
		return nil, err
	}
	return wire.Alias{
		T: "alias", Cursor: cursor, ConversationID: row.Conversation.String(),
		ClientID: row.Client.String(), From: row.ID.String(), To: entry.Ref.String(),
	}, nil
}

// changeFrame tells of a change that counts and was not overtaken; what overtook it has an entry of its own.
func (s *session) changeFrame(row *chat.InboxRow, cursor string) (any, error) {
	r, err := s.reading(row)
	if err != nil {
		return nil, err
	}
	change, message, ok, err := s.g.opt.People.Change(s.ctx, r, row.Conversation, row.Ref, row.Op)
	if err != nil || !ok {
		return nil, err
	}
	f := wire.Change{
		Cursor: cursor, ConversationID: row.Conversation.String(), MessageID: message.String(),
		ClientID: change.Client.String(), User: change.User.String(), At: wire.Time(change.Version),
	}
	switch change.Kind {
	case chat.ChangeEdit:
		f.T, f.Body = "edit", &wire.Body{Text: string(change.Body)}
	case chat.ChangeDelete:
		f.T = "delete"
	default:
		f.T, f.Emoji, f.On = "react", change.Emoji, &change.On
	}
	return f, nil
}

// groupFrame tells what happened to a group: of oneself always, of others what one sees.
func (s *session) groupFrame(row *chat.InboxRow, cursor string) (*wire.GroupEvent, error) {
	g, err := s.g.opt.Groups.Group(s.ctx, row.Conversation)
	if err != nil {
		if chat.CodeOf(err) == chat.CodeUnknownConversation {
			return nil, nil
		}
		return nil, err
	}
	if row.Owner != s.self.ID && !g.Members.Sees(s.self.ID, row.Op.Time()) {
		return nil, nil
	}
	f := &wire.GroupEvent{T: "group", Cursor: cursor, ConversationID: row.Conversation.String(), At: wire.Time(row.Op.Time())}
	by, _ := g.Members.User(row.Actor)
	by.ID = row.Actor
	f.By = wire.UserOf(by)
	step, ok := g.Members.Step(row.Op)
	switch {
	case row.Kind == chat.InboxGroup && ok:
		f.Change, f.Name = "created", g.Name
		f.Role = wire.RoleOf(g.Members.RoleAt(s.self.ID, row.Op.Time()))
		return f, nil
	case row.Kind == chat.InboxGroup:
		if g.Row.Op != row.Op { // another name came after it, with an entry of its own
			return nil, nil
		}
		f.Change, f.Name = "renamed", g.Name
		return f, nil
	case !ok:
		return nil, nil
	}
	before, after, counts := g.Members.Change(row.Op, step.User.ID)
	if !counts {
		return nil, nil
	}
	user := wire.UserOf(step.User)
	f.User, f.Name, f.Role = &user, g.Name, wire.RoleOf(after)
	switch {
	case before == chat.RoleNone:
		f.Change = "joined"
	case after != chat.RoleNone:
		f.Change = "role"
	case step.By == step.User.ID:
		f.Change = "left"
	default:
		f.Change = "removed"
	}
	return f, nil
}

// failedFrame tells of a refusal by a region.
func (s *session) failedFrame(e *messages.Entry, cursor string) (any, error) {
	r, err := s.refusal(e)
	if err != nil || r == nil {
		return nil, err
	}
	return wire.Failed{
		T: "failed", Cursor: cursor, ConversationID: r.Conversation.String(), ClientID: r.Client.String(), MessageID: r.Op.String(),
		Region: r.Region, Code: r.Code, Message: r.Detail,
	}, nil
}

// refusal gives what an entry tells of; nil when it is not here.
func (s *session) refusal(e *messages.Entry) (*chat.Refusal, error) {
	if e.Op != nil && e.Op.Refused != nil {
		return e.Op.Refused, nil
	}
	rows, err := s.g.opt.Store.Refusals(s.ctx, []chat.MessageID{e.Row.Ref})
	for i := range rows {
		if rows[i].Told == e.Row.Op {
			return &rows[i].Refusal, nil
		}
	}
	return nil, err
}

func (s *session) contactFrame(row *chat.InboxRow, cursor string) (any, error) {
	halves, err := s.g.opt.Store.Contact(s.ctx, s.self.ID, row.Actor)
	if err != nil || len(halves) == 0 {
		return nil, err
	}
	return wire.ContactEvent{
		T: "contact", Cursor: cursor, State: string(people.StateOf(halves)),
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
