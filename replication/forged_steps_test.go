package replication

import (
	"slices"
	"testing"

	"meridian/chat"
)

// soloStep is a step of a group whose maker and owner, user 6, is of zone solo, which region us does not serve; user 1, of
// zone world, comes in by it.
func soloStep(t chat.HLC, group chat.ConversationID) chat.MemberRow {
	row := testStep(t, 6, 1, chat.RoleMember)
	row.Owner, row.Conversation, row.ByZone = chat.UserID(group), group, "solo"
	return row
}

// Nobody makes steps or names of a group for people of a zone that he does not serve, not even among regions that share another
// zone: each try is refused and told, nothing is stored of it, and the stream goes on.
func TestForgedSteps(t *testing.T) {
	at := chat.HLCFromTime(testStart)
	owner, invited := testOwner(6, "solo"), testOwner(1, "world")
	group := chat.GroupConversation(owner, testClient)
	in := func(zones ...chat.Zone) (owners []chat.Owner) {
		for _, z := range zones {
			owners = append(owners, chat.GroupOwner(group, z))
		}
		return owners
	}
	step := soloStep(at, group)
	edit := func(f func(row *chat.MemberRow)) chat.Rows {
		row := step
		f(&row)
		return chat.Rows{Members: []chat.MemberRow{row}}
	}
	rows := func(r chat.Rows, owners ...chat.Owner) chat.Op {
		return chat.Op{Kind: chat.OpRows, Owners: owners, Conversation: group, Rows: &r}
	}
	member := chat.Op{Kind: chat.OpMember, Author: owner, Owners: append(in("solo", "world"), invited), Member: &chat.MemberChange{User: invited, Role: chat.RoleMember}}
	impostor := owner
	impostor.Zone = "world"
	making := chat.Op{
		Kind: chat.OpGroup, Author: impostor, Owners: append(in("world"), impostor), Group: &chat.GroupChange{Name: "mine", Make: true},
	}
	name := chat.GroupRow{Owner: chat.UserID(group), Conversation: group, Name: "mine", Op: step.Op, By: owner.ID, ByZone: "solo", Client: testClient}
	for name, c := range map[string]struct {
		op   chat.Op
		want chat.Code
	}{
		"rows among regions of a zone":  {rows(edit(func(*chat.MemberRow) {}), in("world")...), chat.CodeDenied},
		"rows for a zone that comes in": {rows(edit(func(*chat.MemberRow) {}), in("solo", "world")...), chat.CodeDenied},
		"a name among regions":          {rows(chat.Rows{Groups: []chat.GroupRow{name}}, in("world")...), chat.CodeDenied},
		"another's op id":               {rows(edit(func(row *chat.MemberRow) { row.By, row.ByZone = invited.ID, "world" }), in("world")...), chat.CodeInvalid},
		"a making in another zone":      {rows(edit(func(row *chat.MemberRow) { row.Made, row.ByZone = true, "world" }), in("world")...), chat.CodeInvalid},
		"oneself of another zone": {rows(edit(func(row *chat.MemberRow) {
			row.User.ID, row.Role, row.ByZone, row.User.Zone = row.By, chat.RoleNone, "world", "solo"
		}), in("world")...), chat.CodeInvalid},
		"a step op as the mailbox's side": {member, chat.CodeDenied},
		"a name op as the mailbox's side": {chat.Op{Kind: chat.OpGroup, Author: owner, Owners: in("solo", "world"), Group: &chat.GroupChange{Name: "mine"}}, chat.CodeDenied},
		"a making op in another zone":     {making, chat.CodeInvalid},
	} {
		op, next := c.op, testMessage("us", 2, at+1, 2, "y")
		op.Time, op.Logged, op.Stream, op.Seq, op.Client, op.Conversation = at, at, next.Stream, 1, testClient, group
		op.ID = chat.NewMessageID(at, op.Author.ID, op.Client)
		outs := newRig(t, "eu", Restored{}).step(from("us", Frame{Kind: FrameBatch, Stream: op.Stream, UpTo: 2, Watermark: at + 1, Ops: []chat.Op{op, next}}))
		alarms, w := only[Alarm](outs), only[Write](outs)
		if len(alarms) != 1 || alarms[0].Code != c.want || alarms[0].Peer != "us" {
			t.Errorf("%s: alarms %+v, want %s", name, alarms, c.want)
		}
		if len(w) != 1 || len(w[0].Batch.DeadLetters) != 1 || len(w[0].Batch.Messages) != 2 {
			t.Errorf("%s: written %+v", name, w)
			continue
		}
		if b := w[0].Batch; len(b.Members)+len(b.Groups)+len(b.GroupZones)+len(b.Conversations) > 2 || b.Conversations[0].Group ||
			slices.ContainsFunc(b.Log, func(row chat.LogRow) bool { return row.Op.Kind != chat.OpRefused }) {
			t.Errorf("%s: planted %+v", name, b)
		}
	}
}

// A step or a name in somebody's name counts only as one of the zone that he came in by: a region that claims him for a zone of
// its own changes nothing, in any region.
func TestStepsOfAnotherZone(t *testing.T) {
	made := testMade(10, 2, 3)
	claim := func(row chat.MemberRow) chat.MemberRow {
		row.ByZone = "pair"
		return row
	}
	m := NewMembers(append(made,
		claim(testStep(20, 1, 4, chat.RoleMember)), claim(testStep(21, 1, 2, chat.RoleAdmin)), claim(testStep(22, 1, 3, chat.RoleNone)),
		claim(testStep(23, 2, 2, chat.RoleNone)),
	))
	for user, want := range []chat.Role{1: chat.RoleOwner, 2: chat.RoleMember, 3: chat.RoleMember, 4: chat.RoleNone} {
		if got := m.Role(testOwner(user, "").ID); user > 0 && got != want {
			t.Errorf("user %d has role %d, want %d", user, got, want)
		}
	}
	if !m.May(testOwner(1, "").ID, testOwner(4, "").ID, chat.RoleMember) {
		t.Error("the owner may not invite")
	}
}

// What a group is called is decided by who might name it then, in every region that knows the same: a name by somebody else
// counts nowhere, and one by an admin who, as it turns out, was none any more gives way to the one before it.
func TestNames(t *testing.T) {
	name := func(t chat.HLC, by int, text string) chat.GroupRow {
		step := testStep(t, by, by, chat.RoleNone)
		return chat.GroupRow{Owner: step.Owner, Conversation: step.Conversation, Name: text, Op: step.Op, By: step.By, ByZone: step.ByZone, Client: step.Client}
	}
	made := name(10, 1, "made")
	made.Made = true
	second := name(25, 1, "made again")
	second.Made = true
	claimed := name(28, 1, "claimed")
	claimed.ByZone = "pair"
	admin := []chat.MemberRow{testStep(20, 1, 2, chat.RoleAdmin)}
	for what, c := range map[string]struct {
		steps []chat.MemberRow
		names []chat.GroupRow
		want  string
	}{
		"as made":                  {nil, []chat.GroupRow{made}, "made"},
		"by a member":              {nil, []chat.GroupRow{made, name(30, 3, "x")}, "made"},
		"by a stranger":            {nil, []chat.GroupRow{made, name(30, 7, "x")}, "made"},
		"by the owner":             {nil, []chat.GroupRow{made, name(30, 1, "owner's")}, "owner's"},
		"by an admin":              {admin, []chat.GroupRow{made, name(15, 1, "first"), name(30, 2, "admin's")}, "admin's"},
		"before he was admin":      {admin, []chat.GroupRow{made, name(19, 2, "x")}, "made"},
		"an admin no more":         {append(admin, testStep(29, 1, 2, chat.RoleMember)), []chat.GroupRow{made, name(15, 1, "first"), name(30, 2, "x")}, "first"},
		"another making":           {nil, []chat.GroupRow{made, second}, "made"},
		"claimed for another zone": {nil, []chat.GroupRow{made, claimed}, "made"},
	} {
		if got, _ := NewMembers(append(testMade(10, 2, 3), c.steps...)).Name(c.names); got.Name != c.want {
			t.Errorf("%s: called %q, want %q", what, got.Name, c.want)
		}
	}
	if got, ok := NewMembers(nil).Name([]chat.GroupRow{made}); ok {
		t.Errorf("a group that nobody is known to have made is called %q", got.Name)
	}
}
