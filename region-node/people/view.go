package people

import (
	"context"

	"meridian/chat"
	"meridian/region-node/groups"
)

// The bounds of reading a view.
const (
	// viewReads bounds the extra reads that fill a page when much of it is hidden.
	viewReads = 10
	// unreadMax is where counting unread messages stops.
	unreadMax = 100
	// scanRows is how many messages are read at once to find the last one and count the unread.
	scanRows = 50
)

// ConversationState is how a conversation stands, in the words of the client protocol.
type ConversationState string

// The states of a conversation.
const (
	ConversationRequest  ConversationState = "request" // a stranger wrote
	ConversationAccepted ConversationState = "accepted"
	ConversationBlocked  ConversationState = "blocked"
)

// Conversation is one conversation as somebody sees it: with Peer, or a group. Zero ids: none.
type Conversation struct {
	ID    chat.ConversationID
	Peer  chat.Owner
	Group *groups.Group // nil: a direct one
	Role  chat.Role     // in Group
	State ConversationState
	// Last is the newest message that is shown; nil when none is found.
	Last *Shown
	// Unread counts the others' messages after Read, up to 100.
	Unread                        int
	Read, PeerRead, PeerDelivered chat.MessageID
	UpdatedAt                     chat.HLC
}

// Conversation gives one. The error has CodeUnknownConversation when user has none of that id.
func (s *Service) Conversation(ctx context.Context, user chat.UserID, id chat.ConversationID) (Conversation, error) {
	row, err := s.row(ctx, user, id)
	if err != nil {
		return Conversation{}, err
	}
	blocks, err := s.BlocksOf(ctx, user)
	if err != nil {
		return Conversation{}, err
	}
	c, _, err := s.conversation(ctx, row, blocks)
	return c, err
}

func (s *Service) row(ctx context.Context, user chat.UserID, id chat.ConversationID) (chat.ConversationRow, error) {
	row, ok, err := s.opt.Store.Conversation(ctx, user, id)
	if err == nil && !ok {
		err = &chat.Error{Code: chat.CodeUnknownConversation, Op: "people.Service", Message: "no such conversation"}
	}
	return row, err
}

// ReaderOf gives row's owner as a reader of it. The error has CodeUnknownConversation for a group of which nothing is here yet.
func (s *Service) ReaderOf(ctx context.Context, row *chat.ConversationRow, blocks *Blocks) (*Reader, error) {
	r := &Reader{User: row.Owner, Mailbox: row.Owner, Blocks: blocks}
	if !row.Group {
		return r, nil
	}
	g, err := s.opt.Groups.Group(ctx, row.ID)
	if err == nil {
		r.Group, r.Mailbox = g, g.Mailbox()
	}
	return r, err
}

// conversation builds the view of row; shown is false when a block leaves nothing of it, or the person never was in the group.
func (s *Service) conversation(ctx context.Context, row chat.ConversationRow, blocks *Blocks) (c Conversation, shown bool, err error) {
	c = Conversation{ID: row.ID, Peer: row.Peer, State: ConversationAccepted, UpdatedAt: row.Last.Time()}
	r, err := s.ReaderOf(ctx, &row, blocks)
	if err != nil {
		return c, false, err
	}
	marks, err := s.opt.Store.Marks(ctx, row.Owner, row.ID)
	if err != nil {
		return c, false, err
	}
	if r.Group != nil { // of a large group the own mark is in the own mailbox
		theirs, err := s.opt.Store.Marks(ctx, r.Mailbox, row.ID)
		if err != nil {
			return c, false, err
		}
		marks = append(marks, theirs...)
	}
	c.readMarks(row.Owner, marks)
	hiddenOnly, err := s.scan(ctx, r, row.ID, &c)
	if err != nil {
		return c, false, err
	}
	if c.Last != nil && (r.Group == nil || c.Last.ID.Time() > c.UpdatedAt) {
		c.UpdatedAt = c.Last.ID.Time()
	}
	if r.Group != nil {
		c.Group, c.Role = r.Group, r.Group.Members.Role(row.Owner)
		return c, len(r.Group.Members.Spans(row.Owner)) > 0, nil
	}
	switch {
	case blocks.Now(row.Peer.ID):
		c.State = ConversationBlocked
	case !row.Answered && c.Last != nil && c.Last.Sender != row.Owner:
		halves, err := s.opt.Store.Contact(ctx, row.Owner, row.Peer.ID)
		if err != nil {
			return c, false, err
		}
		if state := StateOf(halves); state != StateAccepted && state != StateOutgoing {
			c.State = ConversationRequest
		}
	}
	return c, !hiddenOnly, nil
}

func (c *Conversation) readMarks(owner chat.UserID, marks []chat.MarkRow) {
	forward := func(to *chat.MessageID, m chat.MarkRow) {
		if m.UpTo.Compare(*to) > 0 {
			*to = m.UpTo
		}
	}
	for _, m := range marks {
		switch {
		case m.User == owner && m.Kind == chat.MarkRead:
			forward(&c.Read, m)
		case m.User == owner:
		case m.Kind == chat.MarkRead:
			forward(&c.PeerRead, m)
			forward(&c.PeerDelivered, m) // who has read it has it
		default:
			forward(&c.PeerDelivered, m)
		}
	}
}

// scan finds the newest message shown and counts the unread ones, in a bounded number of reads. hiddenOnly says that there
// are messages, and all are hidden.
func (s *Service) scan(ctx context.Context, r *Reader, id chat.ConversationID, c *Conversation) (hiddenOnly bool, err error) {
	before, oldest := r.stretch(chat.NoMessage)
	hidden := false
	var last *chat.MessageRow
	done := func() (bool, error) {
		if last == nil {
			return hidden, nil
		}
		shown, err := s.Show(ctx, r, *last)
		if err == nil {
			c.Last = &shown[0]
		}
		return false, err
	}
	for range viewReads {
		rows, err := s.opt.Store.Messages(ctx, r.Mailbox, id, before, scanRows)
		if err != nil {
			return false, err
		}
		for i := range rows {
			m := &rows[i]
			unreadDone := c.Unread >= unreadMax || m.ID.Compare(c.Read) <= 0
			if last != nil && unreadDone || m.ID.Compare(oldest) < 0 {
				return done()
			}
			if !r.visible(m) {
				hidden = hidden || m.AliasOf == chat.NoMessage
				continue
			}
			if last == nil {
				last = m
			}
			if !unreadDone && m.Sender != r.User {
				c.Unread++
			}
		}
		if len(rows) < scanRows {
			return done()
		}
		before = rows[len(rows)-1].ID
	}
	hidden = false
	return done()
}

// stretch bounds what there is to see for the reader below before: in a group from the first joining to the last leaving.
func (r *Reader) stretch(before chat.MessageID) (from, oldest chat.MessageID) {
	if r.Group == nil {
		return before, chat.NoMessage
	}
	spans := r.Group.Members.Spans(r.User)
	if len(spans) == 0 {
		return before, chat.NoMessage
	}
	if last := spans[len(spans)-1]; last.Role == chat.RoleNone && (before == chat.NoMessage || last.Op.Compare(before) < 0) {
		before = last.Op
	}
	return before, spans[0].Op
}

// Messages gives what user sees of a conversation before the given message (zero: from the newest), newest first, at most
// limit. next, if not zero, is where to go on; where very much is hidden a page may hold less than limit and still have a
// next. Errors: CodeUnknownConversation when user has none of that id, and the store's.
func (s *Service) Messages(ctx context.Context, user chat.UserID, id chat.ConversationID, before chat.MessageID, limit int) (list []Shown, next chat.MessageID, err error) {
	row, err := s.row(ctx, user, id)
	if err != nil {
		return nil, chat.NoMessage, err
	}
	blocks, err := s.BlocksOf(ctx, user)
	if err != nil {
		return nil, chat.NoMessage, err
	}
	r, err := s.ReaderOf(ctx, &row, blocks)
	if err != nil {
		return nil, chat.NoMessage, err
	}
	rows, next, err := s.page(ctx, r, id, before, limit)
	if err != nil {
		return nil, chat.NoMessage, err
	}
	list, err = s.Show(ctx, r, rows...)
	return list, next, err
}

// page gives the rows of a page.
func (s *Service) page(ctx context.Context, r *Reader, id chat.ConversationID, before chat.MessageID, limit int) (list []chat.MessageRow, next chat.MessageID, err error) {
	before, oldest := r.stretch(before)
	for range viewReads {
		rows, err := s.opt.Store.Messages(ctx, r.Mailbox, id, before, limit+1)
		if err != nil {
			return nil, chat.NoMessage, err
		}
		for i := range rows {
			switch {
			case rows[i].ID.Compare(oldest) < 0:
				return list, chat.NoMessage, nil
			case len(list) == limit:
				return list, before, nil
			case r.visible(&rows[i]):
				list = append(list, rows[i])
			}
			before = rows[i].ID
		}
		if len(rows) <= limit {
			return list, chat.NoMessage, nil
		}
	}
	return list, before, nil
}
