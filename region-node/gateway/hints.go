package gateway

import (
	"slices"

	"meridian/chat"
)

// hint is a new entry of the inbox log as the loop told it, so that a socket that keeps up need not read the log.
type hint struct {
	prev chat.HLC // arrival of the entry before it; 0: not known
	row  chat.InboxRow
	op   *chat.Op // nil: not at hand
}

// maxHints bounds the entries a socket remembers; one that falls further behind reads the log.
const maxHints = 128

// Hint takes a new entry. A chain that broke starts anew: what is missing before it will be read.
func (s *session) Hint(prev chat.HLC, row chat.InboxRow, op *chat.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.hints); n >= maxHints || n > 0 && s.hints[n-1].row.Arrival != prev {
		s.hints = nil
	}
	s.hints = append(s.hints, hint{prev: prev, row: row, op: op})
}

// told gives the entries in (after, upTo] from hints; ok is false when the log must be read: nothing was told, or not
// everything since after. upTo must come from marks that were taken before.
func (s *session) told(after, upTo chat.HLC) (rows []chat.InboxRow, ops map[chat.MessageID]*chat.Op, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := slices.IndexFunc(s.hints, func(h hint) bool { return h.row.Arrival > after })
	if known < 0 {
		s.hints = nil
		return nil, nil, false
	}
	s.hints = s.hints[known:]
	if first := s.hints[0]; first.prev == 0 || first.prev > after {
		return nil, nil, false
	}
	ops = make(map[chat.MessageID]*chat.Op, len(s.hints))
	n := 0
	for n < len(s.hints) && s.hints[n].row.Arrival <= upTo {
		rows = append(rows, s.hints[n].row)
		if op := s.hints[n].op; op != nil {
			ops[op.ID] = op
		}
		n++
	}
	s.hints = s.hints[n:]
	return rows, ops, true
}

// copyOf gives owner's copy of the message op.
func copyOf(op *chat.Op, owner chat.Owner) chat.MessageRow {
	return chat.MessageRow{
		Owner: owner.ID, OwnerZone: owner.Zone, Conversation: op.Conversation, ID: op.ID, Sender: op.Author.ID,
		SenderName: op.Author.Name, Client: op.Client, ReplyTo: op.ReplyTo, Body: op.Body,
	}
}
