package replication

import (
	"strings"
	"testing"

	"meridian/chat"
)

// An op of a group, or a change, is taken in its own shape only; the message of a refusal says what is wrong.
func TestShapes(t *testing.T) {
	one, two, solo := testOwner(1, "world"), testOwner(2, "world"), testOwner(3, "solo")
	world, inSolo := chat.GroupOwner(testGroup, "world"), chat.GroupOwner(testGroup, "solo")
	base := chat.Op{Author: one, Client: chat.ClientID(testID(2, 1)), Conversation: testGroup, Owners: []chat.Owner{world}}
	op := func(kind chat.OpKind, f func(op *chat.Op)) *chat.Op {
		o := base
		o.Kind = kind
		f(&o)
		return &o
	}
	target := chat.NewMessageID(5, two.ID, chat.NoClient)
	change := func(c chat.Change) func(op *chat.Op) {
		return func(op *chat.Op) { c.Target = target; op.Change = &c }
	}
	making := func(invited, owners []chat.Owner) *chat.Op {
		return op(chat.OpGroup, func(op *chat.Op) {
			op.Group, op.Owners = &chat.GroupChange{Name: "g", Make: true, Invited: invited}, owners
		})
	}
	member := func(user chat.Owner, role chat.Role, owners ...chat.Owner) *chat.Op {
		return op(chat.OpMember, func(op *chat.Op) { op.Member, op.Owners = &chat.MemberChange{User: user, Role: role}, owners })
	}
	for name, c := range map[string]struct {
		op   *chat.Op
		want string // "": it is well
	}{
		"a group's message":            {op(chat.OpMessage, func(op *chat.Op) { op.Body = []byte("x") }), ""},
		"of a zone that is not its":    {op(chat.OpMessage, func(op *chat.Op) { op.Owners = []chat.Owner{inSolo} }), "the author's zone is none"},
		"twice in a zone":              {op(chat.OpMessage, func(op *chat.Op) { op.Owners = []chat.Owner{world, world} }), "twice an owner"},
		"with somebody beside":         {op(chat.OpMessage, func(op *chat.Op) { op.Owners = []chat.Owner{world, two} }), "1 people are owners, 0"},
		"not UTF-8":                    {op(chat.OpMessage, func(op *chat.Op) { op.Body = []byte{0xff} }), "not of UTF-8"},
		"three in a direct one":        {op(chat.OpMessage, func(op *chat.Op) { op.Owners = []chat.Owner{one, two, solo} }), "more than two"},
		"another's conversation":       {op(chat.OpMessage, func(op *chat.Op) { op.Owners = []chat.Owner{one, two} }), "not that of the two"},
		"a mark with a text":           {op(chat.OpMark, func(op *chat.Op) { op.Body = []byte("x") }), "has a text"},
		"an edit":                      {op(chat.OpChange, func(op *chat.Op) { change(chat.Change{Kind: chat.ChangeEdit})(op); op.Body = []byte("x") }), ""},
		"an edit without text":         {op(chat.OpChange, change(chat.Change{Kind: chat.ChangeEdit})), "without a text"},
		"a deletion with text":         {op(chat.OpChange, func(op *chat.Op) { change(chat.Change{Kind: chat.ChangeDelete})(op); op.Body = []byte("x") }), "has a text"},
		"a change of what comes later": {op(chat.OpChange, func(op *chat.Op) { change(chat.Change{Kind: chat.ChangeDelete})(op); op.Time = 5 }), "not older"},
		"a reaction":                   {op(chat.OpChange, change(chat.Change{Kind: chat.ChangeReaction, Emoji: "+1", On: true})), ""},
		"a reaction too long":          {op(chat.OpChange, change(chat.Change{Kind: chat.ChangeReaction, Emoji: strings.Repeat("x", chat.MaxEmojiBytes+1)})), "a reaction of 33"},
		"an alias from outside":        {op(chat.OpChange, change(chat.Change{Kind: chat.ChangeAlias})), "unknown kind"},
		"a group made":                 {making([]chat.Owner{two, solo}, []chat.Owner{world, inSolo, one, two, solo}), ""},
		"made under another's id":      {op(chat.OpGroup, func(op *chat.Op) { op.Author, op.Group = two, &chat.GroupChange{Name: "g", Make: true} }), "not that of its maker"},
		"somebody left out":            {making([]chat.Owner{two, solo}, []chat.Owner{world, inSolo, one, two}), "2 people are owners, 3"},
		"a zone left out":              {making([]chat.Owner{two, solo}, []chat.Owner{world, one, two, solo}), "no mailbox in zone"},
		"invited twice":                {making([]chat.Owner{two, two}, []chat.Owner{world, one, two, two}), "invited twice"},
		"without a name":               {op(chat.OpGroup, func(op *chat.Op) { op.Group = &chat.GroupChange{} }), "a group name of 0"},
		"renamed":                      {op(chat.OpGroup, func(op *chat.Op) { op.Group = &chat.GroupChange{Name: "g"} }), ""},
		"invited":                      {member(solo, chat.RoleMember, world, inSolo, solo), ""},
		"invited without the zone":     {member(solo, chat.RoleMember, world, solo), "no mailbox in zone"},
		"another one told":             {member(two, chat.RoleMember, world, solo), "not the people concerned"},
		"made owner":                   {member(two, chat.RoleOwner, world, two), "is not given away"},
		"rows":                         {op(chat.OpRows, func(op *chat.Op) { op.Rows = &chat.Rows{Members: testMade(9)} }), ""},
		"no rows":                      {op(chat.OpRows, func(op *chat.Op) { op.Rows = &chat.Rows{} }), "lacks its content"},
		"rows of somebody":             {op(chat.OpRows, func(op *chat.Op) { op.Rows = &chat.Rows{Contacts: []chat.ContactRow{{Owner: two.ID}}} }), "no owner of the op"},
		"too many rows":                {op(chat.OpRows, func(op *chat.Op) { op.Rows = &chat.Rows{Members: make([]chat.MemberRow, maxRowsPerOp+1)} }), "513 rows"},
	} {
		if got := malformed(c.op); got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
