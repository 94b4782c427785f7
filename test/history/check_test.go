package history

import (
	"fmt"
	"slices"
	"testing"
)

// good gives a run without fault: two people of two regions each, four messages, one with an unknown outcome.
func good() *History {
	h := &History{Homes: map[string][]string{"ada": {"us", "eu"}, "grace": {"us", "eu"}}}
	var messages []Message
	for i := range 4 {
		s := Send{ClientID: fmt.Sprint("k", i), Sender: "ada", Recipient: "grace", Text: fmt.Sprint("text ", i), Seq: i/2 + 1, Outcome: Acked, AckedID: id(i)}
		if i%2 == 1 {
			s.Sender, s.Recipient = "grace", "ada"
		}
		h.Sends = append(h.Sends, s)
		messages = append(messages, Message{ID: s.AckedID, Conversation: "talk", Sender: s.Sender, ClientID: s.ClientID, Text: s.Text})
	}
	h.Sends[3].ReplyTo = "k2"
	h.Sends = append(h.Sends, Send{ClientID: "unknown", Sender: "ada", Recipient: "grace", Text: "?", Seq: 3})
	h.Sends = append(h.Sends, Send{ClientID: "refused", Sender: "ada", Recipient: "grace", Text: "!", Seq: 4, Outcome: Failed})
	for _, owner := range []string{"ada", "grace"} {
		peer := map[string]string{"ada": "grace", "grace": "ada"}[owner]
		for _, region := range []string{"us", "eu"} {
			h.Mailboxes = append(h.Mailboxes, Mailbox{Owner: owner, Peer: peer, Region: region, Conversation: "talk", Messages: slices.Clone(messages)})
		}
		h.Views = append(h.Views, View{Owner: owner, IDs: []string{id(2), id(0), id(1), id(3)}})
	}
	return h
}

func id(i int) string { return fmt.Sprintf("%08x-4a01-11f1-8000-000000000001", i+1) }

// everywhere changes every mailbox alike, and the views with them.
func everywhere(h *History, change func(m *Mailbox)) {
	for i := range h.Mailboxes {
		change(&h.Mailboxes[i])
	}
	for i := range h.Views {
		h.Views[i].IDs = idsOf(&h.Mailboxes[0])
	}
}

// A run without fault passes, and the counts are right.
func TestGoodRunPasses(t *testing.T) {
	h := good()
	r := Check(h)
	if !r.OK() || r.Acked != 4 || r.Unknown != 1 || r.Failed != 1 {
		t.Errorf("%s\n%v", r, r.Problems)
	}
	everywhere(h, func(m *Mailbox) {
		m.Messages = append(m.Messages, Message{ID: id(7), Conversation: "talk", Sender: "ada", ClientID: "unknown", Text: "?"})
	})
	if r := Check(h); !r.OK() {
		t.Errorf("an unknown outcome that became a message everywhere: %s\n%v", r, r.Problems)
	}
}

// Every planted fault is reported, under its own name.
func TestPlantedFaultsAreReported(t *testing.T) {
	extra := Message{ID: id(7), Conversation: "talk", Sender: "ada", ClientID: "unknown", Text: "?"}
	for _, test := range []struct {
		name  string
		plant func(h *History)
		count func(r *Report) int
	}{
		{"lost in one region", func(h *History) { h.Mailboxes[1].Messages = h.Mailboxes[1].Messages[:3] }, func(r *Report) int { return r.Lost }},
		{"lost everywhere", func(h *History) {
			everywhere(h, func(m *Mailbox) { m.Messages = slices.Delete(m.Messages, 1, 2) })
		}, func(r *Report) int { return r.Lost }},
		{"whole mailbox lost", func(h *History) { h.Mailboxes = h.Mailboxes[:3] }, func(r *Report) int { return r.Lost }},
		{"unknown in one mailbox only", func(h *History) { h.Mailboxes[2].Messages = append(h.Mailboxes[2].Messages, extra) }, func(r *Report) int { return r.Lost }},
		{"doubled under two ids", func(h *History) {
			everywhere(h, func(m *Mailbox) {
				twin := m.Messages[3]
				twin.ID = id(8)
				m.Messages = append(m.Messages, twin)
			})
		}, func(r *Report) int { return r.Doubled }},
		{"doubled under one id", func(h *History) {
			m := &h.Mailboxes[0]
			m.Messages = append(m.Messages, m.Messages[3])
		}, func(r *Report) int { return r.Doubled }},
		{"invented", func(h *History) {
			everywhere(h, func(m *Mailbox) {
				m.Messages = append(m.Messages, Message{ID: id(9), Conversation: "talk", Sender: "ada", ClientID: "nobody's", Text: "boo"})
			})
		}, func(r *Report) int { return r.Invented }},
		{"refused but there", func(h *History) {
			everywhere(h, func(m *Mailbox) {
				m.Messages = append(m.Messages, Message{ID: id(9), Conversation: "talk", Sender: "ada", ClientID: "refused", Text: "!"})
			})
		}, func(r *Report) int { return r.Invented }},
		{"in the wrong conversation", func(h *History) { h.Mailboxes[0].Peer = "eve" }, func(r *Report) int { return r.Invented }},
		{"altered", func(h *History) { h.Mailboxes[3].Messages[0].Text = "other" }, func(r *Report) int { return r.Altered }},
		{"other sender", func(h *History) { h.Mailboxes[3].Messages[0].Sender = "eve" }, func(r *Report) int { return r.Altered }},
		{"swapped in one region", func(h *History) {
			m := h.Mailboxes[1].Messages
			m[1], m[2] = m[2], m[1]
		}, func(r *Report) int { return r.OutOfOrder }},
		{"a sender's messages swapped everywhere", func(h *History) {
			h.Sends[0].Seq, h.Sends[2].Seq = h.Sends[2].Seq, h.Sends[0].Seq
		}, func(r *Report) int { return r.OutOfOrder }},
		{"an answer before its question", func(h *History) { h.Sends[1].ReplyTo = "k2" }, func(r *Report) int { return r.OutOfOrder }},
		{"another id in one region", func(h *History) { h.Mailboxes[2].Messages[3].ID = id(5) }, func(r *Report) int { return r.OutOfOrder }},
		{"the sender was told another id", func(h *History) { h.Sends[0].AckedID = id(6) }, func(r *Report) int { return r.WrongID }},
		{"a gap in a view", func(h *History) { h.Views[0].IDs = h.Views[0].IDs[1:] }, func(r *Report) int { return r.Gaps }},
		{"shown but not kept", func(h *History) { h.Views[1].IDs = append(h.Views[1].IDs, id(9)) }, func(r *Report) int { return r.Gaps }},
		{"shown twice", func(h *History) { h.Views[0].Repeats = []string{id(0)} }, func(r *Report) int { return r.Repeats }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := good()
			test.plant(h)
			if r := Check(h); test.count(r) == 0 || r.OK() || len(r.Problems) == 0 {
				t.Errorf("not reported: %s\n%v", r, r.Problems)
			}
		})
	}
}

// Ids sort by time first, then by signed bytes.
func TestCompareIDs(t *testing.T) {
	sorted := []string{
		"ffffffff-0000-1000-8000-000000000000", "00000000-0000-1001-80ff-000000000000",
		"00000000-0000-1001-8000-000000000000", "00000000-0000-1001-807f-000000000000",
	}
	shuffled := slices.Clone(sorted)
	slices.Reverse(shuffled)
	slices.SortFunc(shuffled, CompareIDs)
	if !slices.Equal(sorted, shuffled) {
		t.Errorf("sorted: %v", shuffled)
	}
}
