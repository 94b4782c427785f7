package replication

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"meridian/chat"
	"meridian/sim/memstore"
)

func testID(kind byte, n int) (u chat.UUID) {
	u[0], u[15] = kind, byte(n)
	return u
}

func testOwner(n int, zone chat.Zone) chat.Owner {
	return chat.Owner{ID: chat.UserID(testID(1, n)), Zone: zone, Name: fmt.Sprint("user", n)}
}

var testTopology = chat.Topology{
	Regions: []chat.Region{"eu", "in", "us"},
	Zones: map[chat.Zone]chat.ZoneSpec{
		"world": {Name: "world", Regions: []chat.Region{"eu", "in", "us"}, Policy: chat.PolicyCopy},
		"pair":  {Name: "pair", Regions: []chat.Region{"eu", "us"}, Policy: chat.PolicyCopy},
		"solo":  {Name: "solo", Regions: []chat.Region{"eu"}, Policy: chat.PolicyCopy},
		"deny":  {Name: "deny", Regions: []chat.Region{"in"}, Policy: chat.PolicyDeny, Transit: chat.TransitDeny},
	},
}

// testMessage is a send by user 1 to user 2, stamped at t by region.
func testMessage(region chat.Region, seq uint64, t chat.HLC, client int, body string) chat.Op {
	a, b := testOwner(1, "world"), testOwner(2, "world")
	op := prepare(chat.Op{
		Kind: chat.OpMessage, Author: a, Owners: []chat.Owner{a, b}, Client: chat.ClientID(testID(2, client)),
		Conversation: chat.DirectConversation(a.ID, b.ID), Body: []byte(body), Time: t, Logged: t,
		Stream: chat.StreamID{Region: region, Node: "n1", Incarnation: 1}, Seq: seq,
	})
	op.ID = chat.NewMessageID(t, a.ID, op.Client)
	return op
}

// anyOp draws an op whose keys often meet those of others.
func anyOp(r *rapid.T, n int) chat.Op {
	t := chat.HLC(1_000_000 + n) // times are unique: what depends on equal times is the stores' affair
	a, b := testOwner(rapid.IntRange(1, 2).Draw(r, "author"), "world"), testOwner(3, "world")
	op := chat.Op{Author: a, Owners: []chat.Owner{a, b}, Time: t, Logged: t, ID: chat.NewMessageID(t, a.ID, chat.NoClient)}
	flag := rapid.Bool().Draw(r, "flag")
	switch kind := chat.OpKind(rapid.SampledFrom([]int{1, 1, 2, 3, 4, 5, 6, 8, 9, 10}).Draw(r, "kind")); kind {
	case chat.OpChange, chat.OpGroup, chat.OpMember:
		return anyGroupOp(r, n, kind)
	case chat.OpMessage:
		return testMessage("us", uint64(n), t, rapid.IntRange(1, 2).Draw(r, "client"), rapid.SampledFrom([]string{"x", "y"}).Draw(r, "body"))
	case chat.OpMark:
		upTo := chat.NewMessageID(chat.HLC(rapid.IntRange(1, 9).Draw(r, "up to")), b.ID, chat.NoClient)
		op.Mark = &chat.Mark{User: a.ID, Kind: chat.MarkRead, UpTo: upTo}
		op.Kind = kind
	case chat.OpContact:
		op.Kind, op.Contact = kind, &chat.ContactChange{From: a, To: b, Want: flag}
	case chat.OpBlock:
		op.Kind, op.Block = kind, &chat.BlockChange{By: a, User: b, On: flag}
	case chat.OpAccount:
		op.Kind, op.Account = kind, &chat.Account{ID: a.ID, Zone: a.Zone, DisplayName: fmt.Sprint(n)}
	default:
		op.Kind, op.Session = kind, &chat.Session{ID: chat.SessionID(testID(3, 1)), User: a.ID, Zone: a.Zone, Revoked: flag}
	}
	date(&op)
	return op
}

// anyGroupOp draws an op in the one group, or about the message of user 1.
func anyGroupOp(r *rapid.T, n int, kind chat.OpKind) chat.Op {
	author, user := testOwner(rapid.IntRange(1, 3).Draw(r, "author"), "world"), testOwner(rapid.IntRange(1, 3).Draw(r, "user"), "world")
	op := chat.Op{
		Kind: kind, Author: author, Client: chat.ClientID(testID(2, 1)), Conversation: testGroup, Time: chat.HLC(1_000_000 + n),
		Owners: []chat.Owner{chat.GroupOwner(testGroup, "world")},
	}
	op.ID, op.Logged = chat.NewMessageID(op.Time, author.ID, op.Client), op.Time
	switch kind {
	case chat.OpChange:
		op.Change = &chat.Change{Kind: chat.ChangeKind(rapid.IntRange(1, 3).Draw(r, "change")), Target: chat.NewMessageID(5, author.ID, chat.NoClient)}
		switch op.Change.Kind {
		case chat.ChangeEdit:
			op.Body = []byte(fmt.Sprint("edit ", n))
		case chat.ChangeReaction:
			op.Change.Emoji, op.Change.On = rapid.SampledFrom([]string{"a", "b"}).Draw(r, "emoji"), rapid.Bool().Draw(r, "on")
		}
	case chat.OpGroup:
		op.Group = &chat.GroupChange{Name: fmt.Sprint("group ", n), Make: author.ID == testOwner(1, "").ID && rapid.Bool().Draw(r, "make")}
		if op.Group.Make {
			op.Group.Invited = []chat.Owner{testOwner(2, "world")}
			op.Owners = append(op.Owners, author, op.Group.Invited[0])
		}
	default:
		op.Member = &chat.MemberChange{User: user, Role: chat.Role(rapid.IntRange(0, 2).Draw(r, "role"))}
		op.Owners = append(op.Owners, user)
	}
	if detail := malformed(&op); detail != "" {
		r.Fatalf("%+v: %s", op, detail)
	}
	return prepare(op)
}

// state applies ops one by one at region eu, some of them twice, and gives what people see.
func state(ops []chat.Op) []any {
	tables := memstore.New("eu", "n1")
	arrival := chat.HLC(2_000_000)
	next := func() chat.HLC { arrival++; return arrival }
	for i := range ops {
		b := &chat.Batch{}
		a := applier{self: "eu", topology: testTopology, batch: b, next: next}
		a.apply(&ops[i], next(), tables.Retries(ops[i].Author.ID, ops[i].Client))
		tables.Apply(b)
	}
	group := tables.GroupNames(chat.UserID(testGroup), testGroup)
	list := []any{
		tables.AllMessages(), group, tables.Members(chat.UserID(testGroup), testGroup, chat.NoUser), tables.GroupZones(testGroup),
		tables.Conversations(chat.UserID(testGroup), chat.NoMessage, 99),
		tables.Changes(chat.UserID(testGroup), testGroup, chat.NoMessage, chat.NewMessageID(9_000_000, chat.NoUser, chat.NoClient), 99),
	}
	for n := 1; n <= 3; n++ {
		u := testOwner(n, "").ID
		list = append(list, tables.Contacts(u, chat.NoUser, 99), tables.Blocks(u), tables.AccountOf(u), tables.Sessions(u),
			tables.Conversations(u, chat.NoMessage, 99), tables.Marks(u, chat.NoConversation))
	}
	return list
}

// The same ops in any order, any of them repeated, end in the same state; of one send under several ids the smallest stays.
func TestApplyInAnyOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(r, "ops")
		var ops []chat.Op
		for i := range n {
			ops = append(ops, anyOp(r, i))
		}
		again := append(ops[:n:n], rapid.SliceOfN(rapid.SampledFrom(ops), 0, 4).Draw(r, "repeated")...)
		other := rapid.Permutation(again).Draw(r, "order")
		if a, b := state(ops), state(other); !reflect.DeepEqual(a, b) {
			r.Fatalf("%+v\nand in another order\n%+v", a, b)
		}
	})
}

// Three regions took the same send: one message stays, its smallest id, and each loser's inbox entry says which.
func TestThreeWayDuplicate(t *testing.T) {
	ops := []chat.Op{testMessage("us", 1, 500, 1, "hello"), testMessage("eu", 1, 300, 1, "hello"), testMessage("in", 1, 400, 1, "hello")}
	tables := memstore.New("eu", "n1")
	arrival := chat.HLC(1000)
	for i := range ops {
		b := &chat.Batch{}
		a := applier{self: "eu", topology: testTopology, batch: b, next: func() chat.HLC { arrival++; return arrival }}
		a.apply(&ops[i], a.next(), tables.Retries(ops[i].Author.ID, ops[i].Client))
		tables.Apply(b)
	}
	shown := 0
	for _, row := range tables.Messages(ops[0].Author.ID, ops[0].Conversation, chat.NoMessage, 9) {
		if row.AliasOf == chat.NoMessage {
			shown++
			if row.ID != ops[1].ID {
				t.Errorf("%s is shown, want %s", row.ID, ops[1].ID)
			}
		} else if row.AliasOf != ops[1].ID {
			t.Errorf("%s means %s, want %s", row.ID, row.AliasOf, ops[1].ID)
		}
	}
	if shown != 1 {
		t.Errorf("%d messages are shown", shown)
	}
	seen := map[chat.HLC]bool{}
	for _, row := range tables.Inbox(ops[0].Author.ID, 0, 9999, 99) {
		if seen[row.Arrival] {
			t.Errorf("two entries of one owner have the arrival %d: a page may end between them", row.Arrival)
		}
		seen[row.Arrival] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d inbox entries, want 2 messages and 2 aliases", len(seen))
	}
}

// What a repair brings is told anew to who has it already, too: people who were elsewhere when it came here resume beyond that.
func TestRepairIsToldWhereItIsKnown(t *testing.T) {
	op := testMessage("eu", 1, chat.HLCFromTime(testStart), 1, "x")
	tables := memstore.New("eu", "n1")
	arrival := chat.HLC(1000)
	apply := func(op *chat.Op) *chat.Batch {
		b := &chat.Batch{}
		a := applier{self: "eu", topology: testTopology, batch: b, next: func() chat.HLC { arrival++; return arrival }}
		a.apply(op, a.next(), tables.Retries(op.Author.ID, op.Client))
		tables.Apply(b)
		return b
	}
	told := len(apply(&op).Inbox)
	owner := op.Owners[0]
	repair := chat.Op{Kind: chat.OpRows, Author: op.Author, Client: op.Client, Owners: []chat.Owner{owner}, Conversation: op.Conversation, Rows: &chat.Rows{
		Messages: tables.Messages(owner.ID, op.Conversation, chat.NoMessage, 9), Retries: tables.Retries(op.Author.ID, op.Client),
	}}
	again := apply(&repair).Inbox
	if told == 0 || len(again) != 1 || again[0].Kind != chat.InboxMessage || again[0].Ref != op.ID || again[0].Arrival <= 1001 {
		t.Fatalf("the repair tells %+v", again)
	}
}
