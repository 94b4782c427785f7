package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ChangeKind says what is done to a message.
type ChangeKind int

// The kinds of change.
const (
	Edit ChangeKind = iota
	Delete
	React
)

// Change is one edit, deletion or reaction of one client. A person changes a message again only when the change before was
// answered, so that what was asked later also counts later.
type Change struct {
	Kind    ChangeKind
	By      string // user id
	Target  string // client id of the message
	Text    string // Edit
	Emoji   string // React, with On: set or taken back
	On      bool
	Outcome Outcome
	Invoked time.Duration
}

// settled gives the changes of a sequence that may stand in the end: the last that was acknowledged, and what came after it
// with an unknown outcome. before says that none of them need stand.
func settled(changes []*Change) (stand []*Change, before bool) {
	changes = slices.Clone(changes)
	slices.SortStableFunc(changes, func(a, b *Change) int { return cmp.Compare(a.Invoked, b.Invoked) })
	before = true
	for _, ch := range changes {
		switch ch.Outcome {
		case Acked:
			stand, before = []*Change{ch}, false
		case Unknown:
			stand = append(stand, ch)
		case Failed:
		}
	}
	return stand, before
}

// content checks what a mailbox shows of a send: a text that was asked for, gone when it was deleted, with the reactions that
// were set; and alike in every mailbox.
func (c *checker) content(s *Send, msg Message, where string) {
	var edits, deletes []*Change
	for _, ch := range c.changes[s.ClientID] {
		switch ch.Kind {
		case Edit:
			edits = append(edits, ch)
		case Delete:
			deletes = append(deletes, ch)
		case React:
		}
	}
	gone, notGone := settled(deletes)
	switch {
	case msg.Deleted && len(gone) == 0:
		c.r.add(&c.r.Altered, "%s: %s is deleted, and nobody did it", where, s.ClientID)
	case !msg.Deleted && !notGone:
		c.r.add(&c.r.Undead, "%s: %s was deleted and is there", where, s.ClientID)
	}
	stand, original := settled(edits)
	asked := original && msg.Text == s.Text || slices.ContainsFunc(stand, func(ch *Change) bool { return ch.Text == msg.Text })
	if msg.Deleted && msg.Text != "" || !msg.Deleted && !asked || s.Sender != msg.Sender {
		c.r.add(&c.r.Altered, "%s: %s is %q of %s, not %q of %s after %d edits", where, s.ClientID, msg.Text, msg.Sender, s.Text, s.Sender, len(edits))
	}
	if !msg.Deleted {
		c.reactions(s, msg, where)
	}
	state := fmt.Sprintf("%v %q %s", msg.Deleted, msg.Text, strings.Join(reactionList(msg), " "))
	if first, known := c.states[s.ClientID]; !known {
		c.states[s.ClientID] = state
	} else if first != state {
		c.r.add(&c.r.Altered, "%s: %s is %s, elsewhere %s", where, s.ClientID, state, first)
	}
}

func (c *checker) reactions(s *Send, msg Message, where string) {
	type key struct{ by, emoji string }
	byKey := map[key][]*Change{}
	for _, ch := range c.changes[s.ClientID] {
		if ch.Kind == React {
			k := key{ch.By, ch.Emoji}
			byKey[k] = append(byKey[k], ch)
		}
	}
	for emoji, users := range msg.Reactions {
		for _, user := range users {
			if byKey[key{user, emoji}] == nil {
				c.r.add(&c.r.Reactions, "%s: %s has the reaction %s of %s, who set none", where, s.ClientID, emoji, user)
			}
		}
	}
	for k, changes := range byKey {
		stand, before := settled(changes)
		on := slices.Contains(msg.Reactions[k.emoji], k.by)
		if !(before && !on) && !slices.ContainsFunc(stand, func(ch *Change) bool { return ch.On == on }) {
			c.r.add(&c.r.Reactions, "%s: %s has the reaction %s of %s: %v, and that is not what was set last", where, s.ClientID, k.emoji, k.by, on)
		}
	}
}

// reactionList lists a message's reactions, sorted.
func reactionList(msg Message) []string {
	var all []string
	for emoji, users := range msg.Reactions {
		for _, user := range users {
			all = append(all, emoji+"="+user)
		}
	}
	slices.Sort(all)
	return all
}
