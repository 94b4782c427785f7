package history

import (
	"testing"
	"time"
)

// What was written after a removal may be shown by a node for as long as that node does not know of it, and a moment longer;
// then it is reported, and only then.
func TestPushesAfterARemoval(t *testing.T) {
	sec := func(n int) time.Duration { return time.Duration(n) * time.Second }
	for _, test := range []struct {
		name             string
		written, shown   time.Duration
		node, group, who string
		reported         bool
	}{
		{"shown by a node that knew", sec(50), sec(60), "eu/n2", "club", "eve", true},
		{"shown by a node that knew a moment ago", sec(41), sec(43), "eu/n2", "club", "eve", false},
		{"shown by a node that did not know", sec(50), sec(60), "us/n1", "club", "eve", false},
		{"written before", sec(20), sec(60), "eu/n2", "club", "eve", false},
		{"of another group", sec(50), sec(60), "eu/n2", "pub", "eve", false},
		{"to somebody else", sec(50), sec(60), "eu/n2", "club", "ada", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Check(&History{
				Sends:    []Send{{ClientID: "m", Sender: "ada", Group: test.group, Text: "hello", Invoked: test.written, Seq: 1}},
				Removals: []Removal{{User: "eve", Group: "club", Done: sec(30), Known: map[string]time.Duration{"eu/n2": sec(40)}}},
				Pushes:   []Push{{User: test.who, Group: test.group, ClientID: "m", Node: test.node, At: test.shown}},
			})
			if (r.Intruded > 0) != test.reported {
				t.Errorf("%s\n%v", r, r.Problems)
			}
		})
	}
}

// Who has left a group need not have been shown what its mailbox holds; who is in it must have been.
func TestViewOfWhoHasLeft(t *testing.T) {
	for left, gaps := range map[string]int{"club": 0, "pub": 1} {
		r := Check(&History{
			Homes: map[string][]string{"eve": {"eu"}},
			Sends: []Send{{ClientID: "m", Sender: "ada", Group: "club", Text: "hello", Seq: 1}},
			Mailboxes: []Mailbox{{Owner: "eve", Region: "eu", Conversation: "club", Messages: []Message{
				{ID: id(1), Conversation: "club", Sender: "ada", ClientID: "m", Text: "hello"},
			}}},
			Views: []View{{Owner: "eve", Left: []string{left}}},
		})
		if r.Gaps != gaps {
			t.Errorf("left %s: %s\n%v", left, r, r.Problems)
		}
	}
}
