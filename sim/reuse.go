package sim

import (
	"crypto/sha256"
	"slices"

	"meridian/chat"
	"meridian/sim/memstore"
)

// reuse gives the client id of an earlier send, now and then: a device that forgot its counter. The other text is refused where the
// first one is known; where two regions that do not hear each other take one each, both stay. Such a device
// gives up its own order: what follows is taken to follow the first text. So it has nothing else under way here.
func (c *client) reuse() (chat.ClientID, bool) {
	w := c.w
	if !w.chance(0.08) || w.mood.loseRegion || len(c.outbox) > 0 {
		return chat.NoClient, false
	}
	for _, s := range slices.Backward(w.history) {
		if s.from == c && s.region && !s.poison {
			w.faults["client id used again"]++
			return s.client, true
		}
	}
	return chat.NoClient, false
}

// reused says that the send is not the only one with its client id.
func (w *world) reused(s *send) bool { return len(w.byClient[s.client]) > 1 }

// sendOf gives the send that a row is a copy, or another name, of; nil if it is nobody's.
func (w *world) sendOf(t *memstore.Tables, row chat.MessageRow) *send {
	for row.AliasOf != chat.NoMessage && row.AliasOf.Compare(row.ID) < 0 {
		to, ok := t.Message(row.Owner, row.Conversation, row.AliasOf)
		if !ok {
			break
		}
		row = to
	}
	var of *send
	for _, s := range w.byClient[row.Client] {
		if of == nil || string(row.Body) == s.body {
			of = s
		}
	}
	return of
}

// remembered says whether a store has the send durable, under any id.
func (s *send) remembered(t *memstore.Tables) bool {
	return slices.ContainsFunc(t.Retries(s.from.user.id, s.client), func(row chat.RetryRow) bool { return s.is(&row) })
}

// is says whether the row remembers the send, and not another one of the same client id.
func (s *send) is(row *chat.RetryRow) bool {
	return row.BodyHash == sha256.Sum256([]byte(s.body)) && row.Conversation == s.conversation
}
