package replication

import (
	"slices"
	"testing"

	"meridian/chat"
)

// lookAt gives the rig an op of the group from us, and answers what it asks with state, as far as it asks for it. It gives the
// ops that are logged anew.
func (r *rig) lookAt(op chat.Op, state GroupState) []chat.Op {
	r.t.Helper()
	stream := chat.StreamID{Region: "us", Node: "n1", Incarnation: 1}
	op.Stream, op.Seq = stream, 1
	outs := r.step(Received{Peer: chat.NodeRef{Region: "us", Node: "n1"}, Frame: Frame{Kind: FrameBatch, Stream: stream, UpTo: 1, Watermark: op.Time, Ops: []chat.Op{op}}})
	var logged []chat.Op
	looks := 0
	for i := 0; i < len(outs); i++ {
		switch out := outs[i].(type) {
		case Write:
			if looks == 0 && slices.ContainsFunc(out.Batch.Applied, func(row chat.AppliedRow) bool { return row.Seq > 0 }) {
				r.t.Error("the position is written before the groups are looked at")
			}
			for _, row := range out.Batch.Log {
				logged = append(logged, row.Op)
			}
			outs = append(outs, r.step(Written{Write: out.ID})...)
		case Send:
			if out.Frame.Kind == FrameAck && looks == 0 {
				r.t.Error("the op is acknowledged before the groups are looked at")
			}
		case Look:
			looks++
			in := Looked{ID: out.ID, Sends: make([][]chat.RetryRow, len(out.Sends))}
			for _, q := range out.Groups {
				g := GroupState{Conversation: q.Conversation, Zones: state.Zones}
				if q.Members {
					g.Names, g.Members = state.Names, state.Members
				}
				if q.Since != 0 {
					g.Messages = state.Messages
				}
				in.Groups = append(in.Groups, g)
			}
			outs = append(outs, r.step(in)...)
		}
	}
	if len(only[Alarm](outs)) > 0 {
		r.t.Errorf("alarms %+v", only[Alarm](outs))
	}
	return logged
}

// groupMessage is one by user 1 to the group, stamped at t by a region that knows these zones.
func groupMessage(t chat.HLC, zones ...chat.Zone) chat.Op {
	op := testMessage("us", 1, t, 1, "x")
	op.Conversation, op.Owners = testGroup, nil
	for _, z := range zones {
		op.Owners = append(op.Owners, chat.GroupOwner(testGroup, z))
	}
	return op
}

// What a region that did not know of a new zone has sent is brought to that zone by who does know; a step that does not count
// adds no zone, whoever wrote it into the table.
func TestLaggingOrigin(t *testing.T) {
	at := chat.HLCFromTime(testStart)
	steps := func(by int) []chat.MemberRow {
		join := testStep(at-50, by, 3, chat.RoleMember)
		join.User.Zone, join.ByZone = "deny", "pair"
		made := testMade(at-100, 2)
		for i := range made {
			made[i].User.Zone, made[i].ByZone = "pair", "pair"
		}
		return append(made, join)
	}
	zones := []chat.GroupZoneRow{{Conversation: testGroup, Zone: "pair", Since: at - 100}, {Conversation: testGroup, Zone: "deny", Since: at - 50}}
	op := groupMessage(at, "pair")
	op.Author.Zone = "pair"
	r := newRig(t, "eu", Restored{})
	logged := r.lookAt(op, GroupState{Zones: zones, Members: steps(1)})
	if len(logged) != 1 || logged[0].ID != op.ID || logged[0].Logged <= op.Time || !slices.Equal(logged[0].To, []chat.Region{"in"}) || len(logged[0].Owners) != 2 {
		t.Errorf("the zone lacks the message: %+v", logged)
	}
	if logged := newRig(t, "eu", Restored{}).lookAt(op, GroupState{Zones: zones, Members: steps(3)}); len(logged) != 0 {
		t.Errorf("a stranger's invitation draws a message: %+v", logged)
	}
	early := op
	early.Time, early.Logged = at-60, at
	early.ID = chat.NewMessageID(early.Time, early.Author.ID, early.Client)
	if logged := newRig(t, "eu", Restored{}).lookAt(early, GroupState{Zones: zones, Members: steps(1)}); len(logged) != 0 {
		t.Errorf("a message from before the zone came in is brought to it: %+v", logged)
	}
}

// A zone that comes in is told who is in the group and what it is called, and gets what was written since, all of it by people
// for whom this region may speak.
func TestZoneComesIn(t *testing.T) {
	at := chat.HLCFromTime(testStart)
	author := testOwner(1, "pair")
	group := chat.GroupConversation(author, testClient)
	join := testStep(at, 1, 3, chat.RoleMember)
	join.User, join.ByZone, join.Owner, join.Conversation = testOwner(3, "world"), "pair", chat.UserID(group), group
	made := testMade(at-100, 2)
	for i := range made {
		made[i].User.Zone, made[i].ByZone = "pair", "pair"
		made[i].Owner, made[i].Conversation = join.Owner, join.Conversation
	}
	foreignStep := testStep(at-10, 9, 4, chat.RoleMember)
	foreignStep.ByZone = "deny"
	foreignName := chat.GroupRow{Op: foreignStep.Op, By: foreignStep.By, ByZone: "deny", Client: testClient, Name: "theirs"}
	name := chat.GroupRow{Owner: chat.UserID(group), Conversation: group, Op: join.Op, By: join.By, ByZone: "pair", Client: testClient, Name: "ours"}
	op := chat.Op{
		Kind: chat.OpMember, ID: join.Op, Time: at, Logged: at, Author: author, Client: testClient, Conversation: group,
		Owners: []chat.Owner{chat.GroupOwner(group, "pair"), chat.GroupOwner(group, "world"), join.User},
		Member: &chat.MemberChange{User: join.User, Role: chat.RoleMember},
	}
	since := chat.MessageRow{ID: chat.NewMessageID(at+5, author.ID, chat.ClientID(testID(2, 5))), Sender: author.ID, Client: chat.ClientID(testID(2, 5)), Body: []byte("x")}
	foreign := chat.MessageRow{ID: chat.NewMessageID(at+6, testOwner(9, "").ID, chat.NoClient), Sender: testOwner(9, "").ID, Body: []byte("y")}
	logged := newRig(t, "eu", Restored{}).lookAt(op, GroupState{
		Zones:    []chat.GroupZoneRow{{Conversation: group, Zone: "pair", Since: at - 100}, {Conversation: group, Zone: "world", Since: at}},
		Members:  append(made, foreignStep, join),
		Names:    []chat.GroupRow{foreignName, name},
		Messages: []chat.MessageRow{foreign, since},
	})
	var brought []chat.MemberRow
	var names []chat.GroupRow
	messages := 0
	for _, l := range logged {
		if !slices.Equal(l.To, []chat.Region{"in"}) {
			t.Errorf("brought to %v: %+v", l.To, l)
		}
		if detail := malformed(&l); detail != "" {
			t.Errorf("%s: %+v", detail, l)
		}
		if l.Rows != nil {
			brought, names = append(brought, l.Rows.Members...), append(names, l.Rows.Groups...)
		}
		if l.Kind == chat.OpMessage {
			messages++
			if l.ID != since.ID || l.Author.Zone != "pair" {
				t.Errorf("brought %+v", l)
			}
		}
	}
	if len(brought) != 3 || messages != 1 || len(names) != 1 || names[0] != name {
		t.Errorf("brought %d steps, %d messages and the names %+v", len(brought), messages, names)
	}
}
