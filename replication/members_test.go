package replication

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"meridian/chat"
)

var testGroup = chat.GroupConversation(testOwner(1, "world"), chat.ClientID(testID(2, 1)))

// testClient is the client id of every step.
var testClient = chat.ClientID(testID(2, 1))

// testStep is a step of user's at t by another.
func testStep(t chat.HLC, by, user int, role chat.Role) chat.MemberRow {
	o := testOwner(user, "world")
	return chat.MemberRow{
		Owner: chat.UserID(testGroup), Conversation: testGroup, User: o, Role: role, By: testOwner(by, "").ID,
		ByZone: "world", Client: testClient, Op: chat.NewMessageID(t, testOwner(by, "").ID, testClient),
	}
}

// testMade are the steps of a group that user 1 makes with others at t.
func testMade(t chat.HLC, others ...int) []chat.MemberRow {
	steps := []chat.MemberRow{testStep(t, 1, 1, chat.RoleOwner)}
	for _, user := range others {
		steps = append(steps, testStep(t, 1, user, chat.RoleMember))
	}
	for i := range steps {
		steps[i].Made = true
	}
	return steps
}

// Only those who may do it change who is in a group, and an owner who leaves hands the group to the longest-serving admin.
func TestMembersRules(t *testing.T) {
	none, member, admin, owner := chat.RoleNone, chat.RoleMember, chat.RoleAdmin, chat.RoleOwner
	for name, c := range map[string]struct {
		steps []chat.MemberRow
		want  []chat.Role // of users 1, 2 …
	}{
		"made":                             {nil, []chat.Role{owner, member, member, none}},
		"a member invites nobody":          {[]chat.MemberRow{testStep(20, 2, 4, member)}, []chat.Role{owner, member, member, none}},
		"a stranger invites nobody":        {[]chat.MemberRow{testStep(20, 4, 4, member)}, []chat.Role{owner, member, member, none}},
		"the owner invites":                {[]chat.MemberRow{testStep(20, 1, 4, member)}, []chat.Role{owner, member, member, member}},
		"an admin invites":                 {[]chat.MemberRow{testStep(20, 1, 2, admin), testStep(21, 2, 4, member)}, []chat.Role{owner, admin, member, member}},
		"an admin makes no admin":          {[]chat.MemberRow{testStep(20, 1, 2, admin), testStep(21, 2, 3, admin)}, []chat.Role{owner, admin, member, none}},
		"an admin removes no admin":        {[]chat.MemberRow{testStep(20, 1, 2, admin), testStep(21, 1, 3, admin), testStep(22, 2, 3, none)}, []chat.Role{owner, admin, admin, none}},
		"nobody removes the owner":         {[]chat.MemberRow{testStep(20, 1, 2, admin), testStep(21, 2, 1, none)}, []chat.Role{owner, admin, member, none}},
		"not an admin yet":                 {[]chat.MemberRow{testStep(20, 2, 4, member), testStep(21, 1, 2, admin)}, []chat.Role{owner, admin, member, none}},
		"an admin no more":                 {[]chat.MemberRow{testStep(20, 1, 2, admin), testStep(21, 1, 2, member), testStep(22, 2, 3, none)}, []chat.Role{owner, member, member, none}},
		"the removed does not come back":   {[]chat.MemberRow{testStep(20, 1, 2, none), testStep(21, 2, 2, member)}, []chat.Role{owner, none, member, none}},
		"the owner leaves to an admin":     {[]chat.MemberRow{testStep(20, 1, 3, admin), testStep(21, 1, 1, none)}, []chat.Role{none, member, owner, none}},
		"the owner leaves to a member":     {[]chat.MemberRow{testStep(20, 1, 4, member), testStep(21, 1, 1, none)}, []chat.Role{none, owner, member, member}},
		"the heir owns it":                 {[]chat.MemberRow{testStep(20, 1, 1, none), testStep(21, 2, 3, admin)}, []chat.Role{none, owner, admin, none}},
		"nobody appoints a second owner":   {[]chat.MemberRow{testStep(20, 1, 2, owner)}, []chat.Role{owner, member, member, none}},
		"a second making does not count":   {testMade(20, 4), []chat.Role{owner, member, member, none}},
		"all leave":                        {[]chat.MemberRow{testStep(20, 2, 2, none), testStep(21, 1, 1, none), testStep(22, 3, 3, none)}, []chat.Role{none, none, none, none}},
		"made again after somebody's exit": {append(testMade(30, 2), testStep(20, 2, 2, none)), []chat.Role{owner, none, member, none}},
	} {
		m := NewMembers(append(testMade(10, 2, 3), c.steps...))
		count, owners := 0, 0
		for i, want := range c.want {
			user := testOwner(i+1, "").ID
			if got := m.Role(user); got != want {
				t.Errorf("%s: user %d has role %d, want %d", name, i+1, got, want)
			}
			if want != none {
				count++
			}
			if want == owner {
				owners++
			}
		}
		if m.Count() != count || len(m.List()) != count || owners == 1 && m.List()[0].User.ID != m.Owner() {
			t.Errorf("%s: %d people, listed %+v, owner %s; want %d", name, m.Count(), m.List(), m.Owner(), count)
		}
	}
}

// What a person is shown is what was done from joining until leaving, each time; what counts as written is the same.
func TestMembersIntervals(t *testing.T) {
	steps := append(testMade(10, 2), testStep(20, 1, 2, chat.RoleNone), testStep(30, 1, 2, chat.RoleAdmin), testStep(40, 1, 2, chat.RoleMember))
	m := NewMembers(steps)
	two := testOwner(2, "").ID
	for at, want := range map[chat.HLC]chat.Role{
		9: chat.RoleNone, 10: chat.RoleMember, 19: chat.RoleMember, 20: chat.RoleNone, 29: chat.RoleNone, 30: chat.RoleAdmin, 40: chat.RoleMember, 1 << 50: chat.RoleMember,
	} {
		if got := m.RoleAt(two, at); got != want || m.Sees(two, at) != (want != chat.RoleNone) {
			t.Errorf("at %d: role %d, want %d; sees %v", at, got, want, m.Sees(two, at))
		}
	}
	if m.Since(two) != 30 || m.Newest() != steps[4].Op {
		t.Errorf("since %d, newest %s", m.Since(two), m.Newest())
	}
	if before, after, ok := m.Change(steps[3].Op, two); !ok || before != chat.RoleNone || after != chat.RoleAdmin {
		t.Errorf("the second joining: from %d to %d, %v", before, after, ok)
	}
	if _, _, ok := m.Change(testStep(50, 2, 2, 0).Op, two); ok {
		t.Error("a step that is not there counts")
	}
}

func anyStep(r *rapid.T, n int) []chat.MemberRow {
	at := chat.HLC(20 + n)
	if rapid.IntRange(0, 12).Draw(r, "making") == 0 {
		return testMade(at, rapid.IntRange(2, 6).Draw(r, "first"))
	}
	by, user := rapid.IntRange(1, 6).Draw(r, "by"), rapid.IntRange(1, 6).Draw(r, "user")
	if rapid.IntRange(0, 3).Draw(r, "self") == 0 {
		by = user
	}
	return []chat.MemberRow{testStep(at, by, user, chat.Role(rapid.IntRange(0, 3).Draw(r, "role")))}
}

// The fold is the same for the steps in any order, taken at once or bit by bit, some of them twice; a group that has people
// has one owner, whose word was needed for every admin.
func TestMembersInAnyOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := testMade(10, 2, 3)
		for i := range rapid.IntRange(0, 25).Draw(r, "steps") {
			steps = append(steps, anyStep(r, i)...)
		}
		whole := NewMembers(steps)
		bits := &Members{}
		again := append(slices.Clone(steps), rapid.SliceOfN(rapid.SampledFrom(steps), 0, 5).Draw(r, "repeated")...)
		for rest := rapid.Permutation(again).Draw(r, "order"); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(r, "take")
			bits.Add(rest[:n]...)
			rest = rest[n:]
		}
		if !reflect.DeepEqual(whole.List(), bits.List()) || whole.Owner() != bits.Owner() || !reflect.DeepEqual(whole.Zones(), bits.Zones()) {
			r.Fatalf("at once %+v\nbit by bit %+v", whole.List(), bits.List())
		}
		owners := 0
		for user := 1; user <= 6; user++ {
			id := testOwner(user, "").ID
			if a, b := whole.Spans(id), bits.Spans(id); !slices.Equal(a, b) {
				r.Fatalf("user %d: %+v and %+v", user, a, b)
			}
			if whole.Role(id) == chat.RoleOwner {
				owners++
			}
			for _, span := range whole.Spans(id) {
				if by := whole.RoleAt(span.By, span.Op.Time()-1); span.Role == chat.RoleAdmin && by != chat.RoleOwner {
					r.Fatalf("user %d is admin by a %d: %+v", user, by, span)
				}
			}
		}
		if want := min(1, whole.Count()); owners != want {
			r.Fatalf("%d owners among %d people", owners, whole.Count())
		}
	})
}

// Thousands of steps are folded in one pass, and one more costs no new fold.
func BenchmarkMembers(b *testing.B) {
	steps := testMade(10)
	for i := range 5000 {
		row := testStep(chat.HLC(20+i), 1, 2, chat.RoleMember)
		row.User.ID[1], row.User.ID[2], row.User.Name = byte(i), byte(i>>8), fmt.Sprint(i)
		steps = append(steps, row)
	}
	b.Run("fold of 5000", func(b *testing.B) {
		for b.Loop() {
			NewMembers(steps)
		}
	})
	m := NewMembers(steps)
	b.Run("look-up", func(b *testing.B) {
		for b.Loop() {
			m.Sees(steps[2500].User.ID, 1<<40)
		}
	})
}
