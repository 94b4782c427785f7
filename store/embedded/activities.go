package embedded

import (
	"bytes"
	"context"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// Activities implements chat.Mailboxes. It looks at all of owner's conversations, but decodes only those that may be listed.
func (s *Store) Activities(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ActivityRow, error) {
	const op = "embedded.Activities"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	list := latest{before: before, limit: limit}
	err := s.read(ctx, op, func(r pebble.Reader) (err error) {
		g := &groupReader{r: r, owner: owner}
		defer func() {
			if cerr := g.close(); err == nil {
				err = cerr
			}
		}()
		return list.of(r, owner, g.newest)
	})
	return some(list.rows, err)
}

// Conversations implements chat.Mailboxes.
func (s *Store) Conversations(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ConversationRow, error) {
	const op = "embedded.Conversations"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	list := latest{before: before, limit: limit}
	err := s.read(ctx, op, func(r pebble.Reader) error { return list.of(r, owner, nil) })
	var rows []chat.ConversationRow
	for i := range list.rows {
		rows = append(rows, list.rows[i].ConversationRow)
	}
	return some(rows, err)
}

// latest gathers the limit latest conversations before one.
type latest struct {
	before chat.MessageID
	limit  int
	rows   []chat.ActivityRow
	floor  chat.MessageID // if not zero, what is not later than this is not among them
}

// of takes all of owner's; newest, if not nil, says what a group is listed by that owner entered at last.
func (l *latest) of(r pebble.Reader, owner chat.UserID, newest func(id chat.ConversationID, last chat.MessageID) (chat.MessageID, error)) error {
	prefix := key(tagConversation, owner[:])
	err := scan(r, prefix, after(prefix), func(k, v []byte) (bool, error) {
		id := chat.ConversationID(k[len(prefix):])
		at, group, err := conversationHead(v)
		if err == nil && group && newest != nil && chat.UserID(id) != owner {
			at, err = newest(id, at)
		}
		if err != nil {
			return false, err
		}
		return false, l.take(owner, id, at, v)
	})
	l.cut()
	return err
}

// take adds a conversation if it may be among the latest.
func (l *latest) take(owner chat.UserID, id chat.ConversationID, at chat.MessageID, v []byte) error {
	if l.before != chat.NoMessage && at.Compare(l.before) >= 0 || l.floor != chat.NoMessage && at.Compare(l.floor) <= 0 {
		return nil
	}
	row, err := unpackConversation(owner, id, v)
	if err != nil {
		return err
	}
	if l.rows = append(l.rows, chat.ActivityRow{ConversationRow: row, Newest: at}); len(l.rows) == 4*l.limit {
		l.cut()
		l.floor = l.rows[l.limit-1].Newest
	}
	return nil
}

// cut keeps the latest, sorted.
func (l *latest) cut() {
	slices.SortStableFunc(l.rows, func(a, b chat.ActivityRow) int { return b.Newest.Compare(a.Newest) })
	l.rows = l.rows[:min(l.limit, len(l.rows))]
}

// groupReader reads what the groups of somebody are listed by.
type groupReader struct {
	r     pebble.Reader
	owner chat.UserID
	steps *pebble.Iterator // of memberships; nil before the first group
}

// newest gives owner's leaving of a group if that is the last step, else the newest message there or, if that is later, last.
func (g *groupReader) newest(id chat.ConversationID, last chat.MessageID) (chat.MessageID, error) {
	if left, ok, err := g.left(id); ok || err != nil {
		return left, err
	}
	v, ok, err := get(g.r, key(tagConversation, id[:], id[:]))
	if err != nil || !ok {
		return last, err
	}
	if at, _, err := conversationHead(v); err != nil || at.Compare(last) > 0 {
		return at, err
	}
	return last, nil
}

// left gives owner's last step in a group if that is a leaving.
func (g *groupReader) left(id chat.ConversationID) (op chat.MessageID, ok bool, err error) {
	if g.steps == nil {
		all := key(tagMember)
		if g.steps, err = g.r.NewIter(&pebble.IterOptions{LowerBound: all, UpperBound: after(all)}); err != nil {
			return op, false, err
		}
	}
	prefix := key(tagMember, id[:], id[:], g.owner[:])
	if !g.steps.SeekLT(after(prefix)) || !bytes.HasPrefix(g.steps.Key(), prefix) {
		return op, false, g.steps.Error()
	}
	v, err := g.steps.ValueAndErr()
	if err != nil {
		return op, false, err
	}
	op, role, err := memberHead(g.steps.Key(), v)
	return op, err == nil && role == chat.RoleNone, err
}

func (g *groupReader) close() error {
	if g.steps == nil {
		return nil
	}
	return g.steps.Close()
}
