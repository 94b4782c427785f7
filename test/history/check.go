package history

import (
	"fmt"
	"slices"
	"strings"
)

// Report is the verdict. All counts but Acked, Unknown and Failed must be 0.
type Report struct {
	Acked, Unknown, Failed int

	Lost       int // acknowledged, or present elsewhere, but not in a mailbox that must have it
	Doubled    int // more than once in a mailbox
	Invented   int // nobody sent it, or it was refused, or it is in the wrong conversation
	Altered    int // other text or sender, or not alike everywhere
	Undead     int // deleted, and there all the same
	Reactions  int // other reactions than were set last
	Intruded   int // in the mailbox of somebody who had been removed
	OutOfOrder int // mailboxes that disagree, a sender's messages swapped, an answer before its question
	WrongID    int // the sender was told another id
	Gaps       int // in a mailbox, but its owner's client was not shown it; or shown, but not in the mailbox
	Repeats    int // shown twice

	// Problems says what was found, in words; at most problemsMax.
	Problems []string
}

const problemsMax = 50

// OK says whether all promises were kept.
func (r *Report) OK() bool {
	return r.Lost+r.Doubled+r.Invented+r.Altered+r.OutOfOrder+r.WrongID+r.Gaps+r.Repeats+r.Undead+r.Reactions+r.Intruded == 0
}

// String gives the counts on one line.
func (r *Report) String() string {
	return fmt.Sprintf("acked=%d unknown=%d failed=%d lost=%d doubled=%d invented=%d altered=%d undead=%d reactions=%d intruded=%d out-of-order=%d wrong-id=%d gaps=%d repeats=%d",
		r.Acked, r.Unknown, r.Failed, r.Lost, r.Doubled, r.Invented, r.Altered, r.Undead, r.Reactions, r.Intruded, r.OutOfOrder, r.WrongID, r.Gaps, r.Repeats)
}

func (r *Report) add(count *int, format string, args ...any) {
	*count++
	if len(r.Problems) < problemsMax {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// place is one mailbox: whose, where.
type place struct{ owner, region, conversation string }

// checker holds the run by its keys.
type checker struct {
	h      *History
	r      *Report
	sends  map[string]*Send             // by client id
	in     map[place]map[string]Message // by client id
	talks  map[string][]*Mailbox        // by conversation
	byUser map[string]map[string]string // message ids in all mailboxes of an owner, with their conversations

	changes map[string][]*Change // by the client id of the message
	states  map[string]string    // what the first mailbox shows of a send
}

// Check judges a run.
func Check(h *History) *Report {
	c := &checker{
		h: h, r: &Report{}, sends: map[string]*Send{}, in: map[place]map[string]Message{},
		talks: map[string][]*Mailbox{}, byUser: map[string]map[string]string{},
		changes: map[string][]*Change{}, states: map[string]string{},
	}
	for i := range h.Changes {
		ch := &h.Changes[i]
		c.changes[ch.Target] = append(c.changes[ch.Target], ch)
	}
	for i := range h.Sends {
		s := &h.Sends[i]
		c.sends[s.ClientID] = s
		switch s.Outcome {
		case Acked:
			c.r.Acked++
		case Unknown:
			c.r.Unknown++
		case Failed:
			c.r.Failed++
		}
	}
	for i := range h.Mailboxes {
		c.mailbox(&h.Mailboxes[i])
	}
	for i := range h.Sends {
		c.delivery(&h.Sends[i])
	}
	c.oneOrder()
	c.removals()
	for i := range h.Views {
		c.view(&h.Views[i])
	}
	return c.r
}

// mailbox checks what one mailbox holds: only what was sent, once, in the order of the ids, and each sender's in turn.
func (c *checker) mailbox(m *Mailbox) {
	at := place{m.Owner, m.Region, m.Conversation}
	where := fmt.Sprintf("mailbox of %s in %s", m.Owner, m.Region)
	c.in[at] = map[string]Message{}
	c.talks[m.Conversation] = append(c.talks[m.Conversation], m)
	if c.byUser[m.Owner] == nil {
		c.byUser[m.Owner] = map[string]string{}
	}
	last := map[string]int{} // the latest sequence of each sender
	for i, msg := range m.Messages {
		c.byUser[m.Owner][msg.ID] = m.Conversation
		if i > 0 && CompareIDs(m.Messages[i-1].ID, msg.ID) >= 0 {
			c.r.add(&c.r.OutOfOrder, "%s: %s stands before %s", where, m.Messages[i-1].ID, msg.ID)
		}
		s := c.sends[msg.ClientID]
		switch {
		case s == nil:
			c.r.add(&c.r.Invented, "%s: nobody sent %s (%q)", where, msg.ID, msg.Text)
			continue
		case s.Outcome == Failed:
			c.r.add(&c.r.Invented, "%s: %s was refused and is there", where, msg.ClientID)
		case !c.belongs(s, m, msg):
			c.r.add(&c.r.Invented, "%s: %s is in the wrong conversation", where, msg.ClientID)
		case !c.hasLeft(m): // who has left sees no later change
			c.content(s, msg, where)
		}
		if old, twice := c.in[at][msg.ClientID]; twice {
			c.r.add(&c.r.Doubled, "%s: %s is there as %s and %s", where, msg.ClientID, old.ID, msg.ID)
			continue
		}
		c.in[at][msg.ClientID] = msg
		if s.Seq <= last[s.Sender] {
			c.r.add(&c.r.OutOfOrder, "%s: number %d of %s stands behind number %d", where, s.Seq, s.Sender, last[s.Sender])
		}
		last[s.Sender] = max(last[s.Sender], s.Seq)
		if _, asked := c.in[at][s.ReplyTo]; s.ReplyTo != "" && !asked {
			c.r.add(&c.r.OutOfOrder, "%s: %s stands before what it answers", where, msg.ClientID)
		}
	}
}

func (c *checker) belongs(s *Send, m *Mailbox, msg Message) bool {
	if msg.Conversation != m.Conversation {
		return false
	}
	if s.Group != "" || m.Peer == "" {
		return s.Group == m.Conversation
	}
	return s.Sender == m.Owner && s.Recipient == m.Peer || s.Recipient == m.Owner && s.Sender == m.Peer
}

// delivery checks that a send is in all its mailboxes or, when it was not acknowledged, in none.
func (c *checker) delivery(s *Send) {
	if s.Outcome == Failed {
		return // mailbox has looked for it
	}
	present := 0
	var missing []string
	for _, owner := range c.owners(s) {
		for _, region := range c.h.Homes[owner] {
			if msg, ok := c.find(owner, region, s); !ok {
				missing = append(missing, owner+" in "+region)
			} else if present++; s.Outcome == Acked && s.AckedID != msg.ID {
				c.r.add(&c.r.WrongID, "%s: its sender knows it as %s, %s in %s as %s", s.ClientID, s.AckedID, owner, region, msg.ID)
			}
		}
	}
	if len(missing) > 0 && (s.Outcome == Acked || present > 0) {
		c.r.add(&c.r.Lost, "%s (number %d of %s to %s%s) is not in the mailbox of %s", s.ClientID, s.Seq, s.Sender, s.Recipient, s.Group, strings.Join(missing, ", "))
	}
}

// owners lists who must have a send in the mailbox.
func (c *checker) owners(s *Send) []string {
	if s.Group != "" {
		return c.h.Groups[s.Group]
	}
	return []string{s.Sender, s.Recipient}
}

func (c *checker) find(owner, region string, s *Send) (Message, bool) {
	if s.Group != "" {
		msg, ok := c.in[place{owner, region, s.Group}][s.ClientID]
		return msg, ok
	}
	peer := s.Recipient
	if owner == s.Recipient {
		peer = s.Sender
	}
	for i := range c.h.Mailboxes {
		m := &c.h.Mailboxes[i]
		if m.Owner == owner && m.Region == region && m.Peer == peer {
			msg, ok := c.in[place{owner, region, m.Conversation}][s.ClientID]
			return msg, ok
		}
	}
	return Message{}, false
}

// oneOrder checks that all mailboxes of a conversation, of both owners and in all regions, list the same.
func (c *checker) oneOrder() {
	for _, boxes := range c.talks {
		boxes = slices.DeleteFunc(boxes, c.hasLeft)
		if len(boxes) == 0 {
			continue
		}
		first := idsOf(boxes[0])
		for _, m := range boxes[1:] {
			if ids := idsOf(m); !slices.Equal(first, ids) {
				c.r.add(&c.r.OutOfOrder, "conversation %s: %s in %s and %s in %s differ %s",
					m.Conversation, boxes[0].Owner, boxes[0].Region, m.Owner, m.Region, difference(first, ids))
			}
		}
	}
}

// hasLeft says whether the owner of a group's mailbox was removed: it ends earlier than the others'.
func (c *checker) hasLeft(m *Mailbox) bool {
	return m.Peer == "" && !slices.Contains(c.h.Groups[m.Conversation], m.Owner)
}

func idsOf(m *Mailbox) []string {
	ids := make([]string, 0, len(m.Messages))
	for _, msg := range m.Messages {
		ids = append(ids, msg.ID)
	}
	return ids
}

func difference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("from message %d on: %s and %s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("in length: %d and %d", len(a), len(b))
}

// view checks that a client was shown what its owner's mailboxes hold, each once.
func (c *checker) view(v *View) {
	for _, id := range v.Repeats {
		c.r.add(&c.r.Repeats, "client of %s: shown %s twice", v.Owner, id)
	}
	shown := map[string]bool{}
	for _, id := range v.IDs {
		shown[id] = true
		if _, there := c.byUser[v.Owner][id]; !there {
			c.r.add(&c.r.Gaps, "client of %s: shown %s, which is in no mailbox", v.Owner, id)
		}
	}
	for id, conversation := range c.byUser[v.Owner] {
		if !shown[id] && !slices.Contains(v.Left, conversation) {
			c.r.add(&c.r.Gaps, "client of %s: never shown %s", v.Owner, id)
		}
	}
}
