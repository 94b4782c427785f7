package history

import (
	"slices"
	"testing"
	"time"
)

// changed is good with a group of three, one of whom is removed, and with edits, a deletion and reactions.
func changed() *History {
	h := good()
	h.Homes["eve"] = []string{"us", "eu"}
	h.Groups = map[string][]string{"club": {"ada", "grace"}}
	group := []Message{
		{ID: id(10), Conversation: "club", Sender: "ada", ClientID: "g0", Text: "hello"},
		{ID: id(11), Conversation: "club", Sender: "grace", ClientID: "g1", Text: "edited twice"},
		{ID: id(12), Conversation: "club", Sender: "ada", ClientID: "g2", Deleted: true},
	}
	h.Sends = append(h.Sends,
		Send{ClientID: "g0", Sender: "ada", Group: "club", Text: "hello", Seq: 1, Outcome: Acked, AckedID: id(10)},
		Send{ClientID: "g1", Sender: "grace", Group: "club", Text: "first", Seq: 1, Outcome: Acked, AckedID: id(11)},
		Send{ClientID: "g2", Sender: "ada", Group: "club", Text: "late", Seq: 2, Outcome: Acked, AckedID: id(12), Invoked: time.Minute},
	)
	at := func(seconds int) time.Duration { return time.Duration(seconds) * time.Second }
	h.Changes = []Change{
		{Kind: Edit, By: "grace", Target: "g1", Text: "edited twice", Outcome: Acked, Invoked: at(2)},
		{Kind: Edit, By: "grace", Target: "g1", Text: "edited", Outcome: Acked, Invoked: at(1)},
		{Kind: Edit, By: "grace", Target: "g1", Text: "refused", Outcome: Failed, Invoked: at(3)},
		{Kind: Edit, By: "grace", Target: "g1", Text: "unknown", Outcome: Unknown, Invoked: at(4)},
		{Kind: Delete, By: "ada", Target: "g2", Outcome: Acked, Invoked: at(70)},
		{Kind: React, By: "grace", Target: "g0", Emoji: "👍", On: true, Outcome: Acked, Invoked: at(5)},
		{Kind: React, By: "ada", Target: "g0", Emoji: "👍", On: true, Outcome: Acked, Invoked: at(5)},
		{Kind: React, By: "ada", Target: "g0", Emoji: "👍", On: false, Outcome: Acked, Invoked: at(6)},
	}
	group[0].Reactions = map[string][]string{"👍": {"grace"}}
	h.Removals = []Removal{{User: "eve", Group: "club", Done: at(30)}}
	before := slices.Clone(group[:2])
	before[0].Reactions, before[1].Text = nil, "first" // what eve saw
	for _, region := range []string{"us", "eu"} {
		for _, owner := range []string{"ada", "grace"} {
			h.Mailboxes = append(h.Mailboxes, Mailbox{Owner: owner, Region: region, Conversation: "club", Messages: slices.Clone(group)})
		}
		h.Mailboxes = append(h.Mailboxes, Mailbox{Owner: "eve", Region: region, Conversation: "club", Messages: slices.Clone(before)})
	}
	for i := range h.Views {
		h.Views[i].IDs = append(h.Views[i].IDs, id(10), id(11), id(12))
	}
	return h
}

// inClub changes the group's message with a client id, in all mailboxes or in the first only.
func inClub(h *History, clientID string, everywhere bool, change func(m *Message)) {
	for i := range h.Mailboxes {
		for j := range h.Mailboxes[i].Messages {
			if m := &h.Mailboxes[i].Messages[j]; m.ClientID == clientID {
				change(m)
				if !everywhere {
					return
				}
			}
		}
	}
}

// A run with a group, edits, a deletion and reactions passes, also when an edit with an unknown outcome stands.
func TestGoodChangesPass(t *testing.T) {
	if r := Check(changed()); !r.OK() {
		t.Errorf("%s\n%v", r, r.Problems)
	}
	h := changed()
	inClub(h, "g1", true, func(m *Message) { m.Text = "unknown" })
	if r := Check(h); !r.OK() {
		t.Errorf("an edit with an unknown outcome that stands: %s\n%v", r, r.Problems)
	}
}

// Every planted fault of a group or a change is reported, under its own name.
func TestPlantedChangesAreReported(t *testing.T) {
	for _, test := range []struct {
		name  string
		plant func(h *History)
		count func(r *Report) int
	}{
		{"an edit lost everywhere", func(h *History) { inClub(h, "g1", true, func(m *Message) { m.Text = "first" }) }, func(r *Report) int { return r.Altered }},
		{"an older edit stands", func(h *History) { inClub(h, "g1", true, func(m *Message) { m.Text = "edited" }) }, func(r *Report) int { return r.Altered }},
		{"a refused edit stands", func(h *History) { inClub(h, "g1", true, func(m *Message) { m.Text = "refused" }) }, func(r *Report) int { return r.Altered }},
		{"an edit in one mailbox only", func(h *History) { inClub(h, "g1", false, func(m *Message) { m.Text = "unknown" }) }, func(r *Report) int { return r.Altered }},
		{"deleted by nobody", func(h *History) {
			inClub(h, "g0", true, func(m *Message) {
				*m = Message{ID: m.ID, Conversation: "club", Sender: "ada", ClientID: "g0", Deleted: true}
			})
		}, func(r *Report) int { return r.Altered }},
		{"a deleted text is still there", func(h *History) { inClub(h, "g2", true, func(m *Message) { m.Text = "late" }) }, func(r *Report) int { return r.Altered }},
		{"a deleted message returns", func(h *History) { inClub(h, "g2", false, func(m *Message) { m.Deleted, m.Text = false, "late" }) }, func(r *Report) int { return r.Undead }},
		{"a reaction lost", func(h *History) { inClub(h, "g0", true, func(m *Message) { m.Reactions = nil }) }, func(r *Report) int { return r.Reactions }},
		{"a reaction that was taken back", func(h *History) {
			inClub(h, "g0", true, func(m *Message) { m.Reactions = map[string][]string{"👍": {"ada", "grace"}} })
		}, func(r *Report) int { return r.Reactions }},
		{"a reaction of nobody", func(h *History) {
			inClub(h, "g1", true, func(m *Message) { m.Reactions = map[string][]string{"👎": {"eve"}} })
		}, func(r *Report) int { return r.Reactions }},
		{"a group's message lost for one member", func(h *History) {
			m := &h.Mailboxes[len(h.Mailboxes)-2]
			m.Messages = m.Messages[1:]
		}, func(r *Report) int { return r.Lost }},
		{"a group's message in a direct conversation", func(h *History) {
			h.Mailboxes[0].Messages = append(h.Mailboxes[0].Messages, Message{ID: id(10), Conversation: "talk", Sender: "ada", ClientID: "g0", Text: "hello"})
		}, func(r *Report) int { return r.Invented }},
		{"another order for one member", func(h *History) {
			m := h.Mailboxes[len(h.Mailboxes)-2].Messages
			m[0], m[1] = m[1], m[0]
		}, func(r *Report) int { return r.OutOfOrder }},
		{"shown after the removal", func(h *History) {
			m := &h.Mailboxes[len(h.Mailboxes)-1]
			m.Messages = append(m.Messages, h.Mailboxes[len(h.Mailboxes)-2].Messages[2])
		}, func(r *Report) int { return r.Intruded }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := changed()
			test.plant(h)
			if r := Check(h); test.count(r) == 0 || r.OK() || len(r.Problems) == 0 {
				t.Errorf("not reported: %s\n%v", r, r.Problems)
			}
		})
	}
}
