package people

import (
	"context"

	"meridian/chat"
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

// Conversation is one conversation as its owner sees it. Zero ids: none.
type Conversation struct {
	ID    chat.ConversationID
	Peer  chat.Owner
	State ConversationState
	// Last is the newest message that is shown; nil when none is found.
	Last *chat.MessageRow
	// Unread counts the other's messages after Read, up to 100.
	Unread                        int
	Read, PeerRead, PeerDelivered chat.MessageID
	UpdatedAt                     chat.HLC
}

// Conversations gives user's conversations whose newest message comes before the given one (zero: from the latest), latest
// first, at most limit. One in which nothing is left to see, since its only writer is blocked, is left out. next, if not
// zero, is where to go on. Errors are the store's.
func (s *Service) Conversations(ctx context.Context, user chat.UserID, before chat.MessageID, limit int) (list []Conversation, next chat.MessageID, err error) {
	blocks, err := s.BlocksOf(ctx, user)
	if err != nil {
		return nil, chat.NoMessage, err
	}
	for range viewReads {
		rows, err := s.opt.Store.Conversations(ctx, user, before, limit+1)
		if err != nil {
			return nil, chat.NoMessage, err
		}
		for i, row := range rows {
			if len(list) == limit {
				return list, before, nil
			}
			c, shown, err := s.conversation(ctx, row, blocks)
			if err != nil {
				return nil, chat.NoMessage, err
			}
			if shown {
				list = append(list, c)
			}
			before = rows[i].Last
		}
		if len(rows) <= limit {
			return list, chat.NoMessage, nil
		}
	}
	return list, before, nil
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

// conversation builds the view of row; shown is false when a block leaves nothing of it.
func (s *Service) conversation(ctx context.Context, row chat.ConversationRow, blocks *Blocks) (c Conversation, shown bool, err error) {
	c = Conversation{ID: row.ID, Peer: row.Peer, State: ConversationAccepted, UpdatedAt: row.Last.Time()}
	marks, err := s.opt.Store.Marks(ctx, row.Owner, row.ID)
	if err != nil {
		return c, false, err
	}
	c.readMarks(row.Owner, marks)
	hiddenOnly, err := s.scan(ctx, row, blocks, &c)
	if err != nil {
		return c, false, err
	}
	if c.Last != nil {
		c.UpdatedAt = c.Last.ID.Time()
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
func (s *Service) scan(ctx context.Context, row chat.ConversationRow, blocks *Blocks, c *Conversation) (hiddenOnly bool, err error) {
	before, hidden := chat.NoMessage, false
	for range viewReads {
		rows, err := s.opt.Store.Messages(ctx, row.Owner, row.ID, before, scanRows)
		if err != nil {
			return false, err
		}
		for i := range rows {
			m := &rows[i]
			unreadDone := c.Unread >= unreadMax || m.ID.Compare(c.Read) <= 0
			if c.Last != nil && unreadDone {
				return false, nil
			}
			if !visible(m, blocks) {
				hidden = hidden || m.AliasOf == chat.NoMessage
				continue
			}
			if c.Last == nil {
				c.Last = m
			}
			if !unreadDone && m.Sender != row.Owner {
				c.Unread++
			}
		}
		if len(rows) < scanRows {
			return hidden && c.Last == nil, nil
		}
		before = rows[len(rows)-1].ID
	}
	return false, nil
}

// visible says whether m is shown: it is no alias, and no block of the reader's hides it.
func visible(m *chat.MessageRow, blocks *Blocks) bool {
	return m.AliasOf == chat.NoMessage && !blocks.Hidden(m.Sender, m.ID.Time())
}

// Messages gives what user sees of a conversation before the given message (zero: from the newest), newest first, at most
// limit. next, if not zero, is where to go on; where very much is hidden a page may hold less than limit and still have a
// next. Errors: CodeUnknownConversation when user has none of that id, and the store's.
func (s *Service) Messages(ctx context.Context, user chat.UserID, id chat.ConversationID, before chat.MessageID, limit int) (list []chat.MessageRow, next chat.MessageID, err error) {
	if _, err := s.row(ctx, user, id); err != nil {
		return nil, chat.NoMessage, err
	}
	blocks, err := s.BlocksOf(ctx, user)
	if err != nil {
		return nil, chat.NoMessage, err
	}
	for range viewReads {
		rows, err := s.opt.Store.Messages(ctx, user, id, before, limit+1)
		if err != nil {
			return nil, chat.NoMessage, err
		}
		for i := range rows {
			if len(list) == limit {
				return list, before, nil
			}
			if visible(&rows[i], blocks) {
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
