package replication

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"meridian/chat"
)

func testChange(kind chat.ChangeKind, user int, at chat.HLC, text string) chat.ChangeRow {
	id := testOwner(user, "").ID
	c := chat.ChangeRow{Kind: kind, User: id, Version: at, Op: chat.NewMessageID(at, id, chat.NoClient), On: true}
	switch kind {
	case chat.ChangeEdit:
		c.Body = []byte(text)
	case chat.ChangeReaction:
		c.Emoji = text
	}
	return c
}

// What a message looks like follows from its changes alone, in whatever order they came: the sender's newest edit, the
// reactions that stand, and nothing once it is deleted by somebody who might.
func TestView(t *testing.T) {
	edit, del, react := chat.ChangeEdit, chat.ChangeDelete, chat.ChangeReaction
	takenBack := testChange(react, 2, 45, "+")
	takenBack.On = false
	group := NewMembers(append(testMade(10, 2, 3), testStep(20, 1, 2, chat.RoleAdmin), testStep(30, 1, 2, chat.RoleMember), testStep(50, 1, 3, chat.RoleNone)))
	one, two, three := testOwner(1, "").ID, testOwner(2, "").ID, testOwner(3, "").ID
	for name, c := range map[string]struct {
		group   *Members
		reader  chat.UserID
		changes []chat.ChangeRow
		want    Viewed
	}{
		"as it was":                   {nil, two, nil, Viewed{Body: []byte("x")}},
		"the newest edit":             {nil, two, []chat.ChangeRow{testChange(edit, 1, 40, "new"), testChange(edit, 1, 35, "old")}, Viewed{Body: []byte("new"), EditedAt: 40}},
		"another's edit":              {nil, two, []chat.ChangeRow{testChange(edit, 2, 40, "forged")}, Viewed{Body: []byte("x")}},
		"deleted, edited later":       {nil, two, []chat.ChangeRow{testChange(del, 1, 40, ""), testChange(edit, 1, 45, "new"), testChange(react, 2, 46, "+")}, Viewed{Deleted: true}},
		"another's deletion":          {nil, two, []chat.ChangeRow{testChange(del, 2, 40, "")}, Viewed{Body: []byte("x")}},
		"an admin's deletion":         {group, one, []chat.ChangeRow{testChange(del, 2, 25, "")}, Viewed{Deleted: true}},
		"a deletion by no more admin": {group, one, []chat.ChangeRow{testChange(del, 2, 35, "")}, Viewed{Body: []byte("x")}},
		"reactions": {
			nil, two,
			[]chat.ChangeRow{testChange(react, 2, 41, "b"), testChange(react, 1, 40, "b"), testChange(react, 2, 44, "a"), testChange(react, 2, 44, "+"), takenBack},
			Viewed{Body: []byte("x"), Reactions: []Reaction{{Emoji: "a", Users: []chat.UserID{two}}, {Emoji: "b", Users: []chat.UserID{one, two}}}},
		},
		"done after one's removal":     {group, three, []chat.ChangeRow{testChange(edit, 1, 55, "new"), testChange(react, 2, 45, "+")}, Viewed{Body: []byte("x"), Reactions: []Reaction{{Emoji: "+", Users: []chat.UserID{two}}}}},
		"deleted after one's removal":  {group, three, []chat.ChangeRow{testChange(del, 1, 55, "")}, Viewed{Deleted: true}},
		"a reaction of who is removed": {group, one, []chat.ChangeRow{testChange(react, 3, 55, "+")}, Viewed{Body: []byte("x")}},
	} {
		row := chat.MessageRow{Sender: one, Body: []byte("x")}
		rapid.Check(t, func(r *rapid.T) {
			if got := View(&row, rapid.Permutation(c.changes).Draw(r, "order"), c.group, c.reader); !reflect.DeepEqual(got, c.want) {
				r.Fatalf("%s: %+v, want %+v", name, got, c.want)
			}
		})
	}
}
