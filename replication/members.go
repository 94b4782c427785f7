package replication

import (
	"bytes"
	"cmp"
	"slices"

	"meridian/chat"
)

// Members is who is, and was, in a group: the fold of the steps of its memberships. It is a function of the set of steps
// alone, so that regions that learnt of them in another order answer alike.
//
// Steps are taken in the order of their ops. The steps of the op that made the group count; of several (a repeated request
// that two regions took) those of the first. Any other step counts when who did it might do it then, by the steps before:
//   - a member may leave; when the owner does, the longest-serving admin, else member, owns the group from then on;
//   - owner and admins bring people in and remove members;
//   - only the owner makes admins, unmakes and removes them.
//
// Who did it is somebody of the zone that the step by which he came in names: a step comes from regions of the zone that it
// names itself (residency.Rows), so no region makes steps in the name of another zone's people.
//
// A step that arrives late may change what counts after it. So whoever has shown something by an older fold reads the
// group again when a step comes in: what was hidden for want of the step is told nowhere else.
//
// The zero Members is empty. It is not safe for concurrent use while Add runs.
type Members struct {
	steps  []chat.MemberRow // ascending by (Op, User.ID), none twice
	folded int              // so many of steps are in the rest
	made   chat.MessageID   // the op that made the group
	owner  chat.UserID
	people map[chat.UserID]*person
	zones  map[chat.Zone]chat.HLC
	count  int
}

// person is somebody who is or was in the group, or is named by a step that does not count.
type person struct {
	owner chat.Owner
	spans []MemberSpan // ascending
}

// MemberSpan says that somebody has Role from the time of Op on, until the next span. By is who made it so; for an owner
// who took over from one who left, the one who left.
type MemberSpan struct {
	Op   chat.MessageID
	Role chat.Role
	By   chat.UserID
}

// Member is one of the people in a group now.
type Member struct {
	User  chat.Owner
	Role  chat.Role
	Since chat.HLC // when this stay began
}

// NewMembers folds the steps of one group, in any order.
func NewMembers(steps []chat.MemberRow) *Members {
	m := &Members{}
	m.Add(steps...)
	return m
}

// Add takes further steps in; known ones change nothing. Steps after all others cost no new fold.
func (m *Members) Add(steps ...chat.MemberRow) {
	m.reset(false)
	if len(m.steps) == 0 {
		m.steps = slices.Clone(steps)
		slices.SortFunc(m.steps, compareSteps)
		m.steps = slices.CompactFunc(m.steps, func(a, b chat.MemberRow) bool { return compareSteps(a, b) == 0 })
		steps = nil
	}
	for _, step := range steps {
		i, known := slices.BinarySearchFunc(m.steps, step, compareSteps)
		if known {
			continue
		}
		m.steps = slices.Insert(m.steps, i, step)
		if i < m.folded {
			m.reset(true)
		}
	}
	for ; m.folded < len(m.steps); m.folded++ {
		m.fold(&m.steps[m.folded])
	}
}

func compareSteps(a, b chat.MemberRow) int {
	return cmp.Or(a.Op.Compare(b.Op), bytes.Compare(a.User.ID[:], b.User.ID[:]))
}

// reset makes the maps, and with again has everything folded anew.
func (m *Members) reset(again bool) {
	if m.people == nil || again {
		m.folded, m.made, m.owner, m.count = 0, chat.NoMessage, chat.NoUser, 0
		m.people, m.zones = map[chat.UserID]*person{}, map[chat.Zone]chat.HLC{}
	}
}

// fold takes the next step.
func (m *Members) fold(step *chat.MemberRow) {
	p := m.person(step.User.ID)
	if !m.counts(step, p.role()) {
		return
	}
	wasOwner := m.owner == step.User.ID
	if p.role() == chat.RoleNone {
		p.owner = step.User // only what counts says who somebody is
	}
	m.set(p, MemberSpan{Op: step.Op, Role: step.Role, By: step.By})
	if wasOwner {
		m.succeed(step)
	}
}

// counts says whether the step changes anything: whoever did it might, and it is not so already.
func (m *Members) counts(step *chat.MemberRow, role chat.Role) bool {
	if step.Made {
		if m.made == chat.NoMessage {
			m.made = step.Op
		}
		return m.made == step.Op && role == chat.RoleNone && step.Role != chat.RoleNone
	}
	if step.Role == role || step.Role > chat.RoleAdmin || !m.is(step.By, step.ByZone) {
		return false
	}
	if step.By == step.User.ID {
		return step.Role == chat.RoleNone
	}
	switch m.Role(step.By) {
	case chat.RoleOwner:
		return true
	case chat.RoleAdmin:
		return role < chat.RoleAdmin && step.Role < chat.RoleAdmin
	}
	return false
}

// is says whether user came in, last, as somebody of that zone.
func (m *Members) is(user chat.UserID, zone chat.Zone) bool {
	p, ok := m.people[user]
	return ok && p.owner.Zone == zone
}

// set gives p another role.
func (m *Members) set(p *person, span MemberSpan) {
	switch was := p.role(); {
	case was == chat.RoleNone:
		m.count++
	case span.Role == chat.RoleNone:
		m.count--
	}
	if _, ok := m.zones[p.owner.Zone]; !ok {
		m.zones[p.owner.Zone] = span.Op.Time()
	}
	if span.Role == chat.RoleOwner {
		m.owner = p.owner.ID
	}
	p.spans = append(p.spans, span)
}

// succeed finds an owner after the old one has left by step.
func (m *Members) succeed(step *chat.MemberRow) {
	m.owner = chat.NoUser
	var next *person
	for _, p := range m.people {
		if p.role() != chat.RoleNone && (next == nil || p.before(next)) {
			next = p
		}
	}
	if next != nil {
		m.set(next, MemberSpan{Op: step.Op, Role: chat.RoleOwner, By: step.User.ID})
	}
}

// before says whether p comes before other in the succession: admins first, then by length of service.
func (p *person) before(other *person) bool {
	return cmp.Or(cmp.Compare(other.role(), p.role()), p.joined().Compare(other.joined()), bytes.Compare(p.owner.ID[:], other.owner.ID[:])) < 0
}

func (m *Members) person(id chat.UserID) *person {
	p, ok := m.people[id]
	if !ok {
		p = &person{owner: chat.Owner{ID: id}}
		m.people[id] = p
	}
	return p
}

func (p *person) role() chat.Role {
	if len(p.spans) == 0 {
		return chat.RoleNone
	}
	return p.spans[len(p.spans)-1].Role
}

// joined is the op with which the present stay began.
func (p *person) joined() chat.MessageID {
	i := len(p.spans) - 1
	for i > 0 && p.spans[i-1].Role != chat.RoleNone {
		i--
	}
	return p.spans[i].Op
}

// Role gives what user may do as of the newest step.
func (m *Members) Role(user chat.UserID) chat.Role {
	if p, ok := m.people[user]; ok {
		return p.role()
	}
	return chat.RoleNone
}

// RoleAt gives what user might do at t: by the newest step that counts at or before it.
func (m *Members) RoleAt(user chat.UserID, t chat.HLC) chat.Role {
	spans := m.Spans(user)
	after, _ := slices.BinarySearchFunc(spans, t, func(s MemberSpan, t chat.HLC) int {
		if s.Op.Time() <= t {
			return -1
		}
		return 1
	})
	if after == 0 {
		return chat.RoleNone
	}
	return spans[after-1].Role
}

// Sees says whether user is shown what was done in the group at t: joined at or before it, and not yet left.
func (m *Members) Sees(user chat.UserID, t chat.HLC) bool { return m.RoleAt(user, t) != chat.RoleNone }

// MayWrite says whether what user wrote in the group at t counts.
func (m *Members) MayWrite(user chat.UserID, t chat.HLC) bool { return m.Sees(user, t) }

// Shows says whether reader is shown what sender did in the group at t: both were in it. It is asked when reading and when
// pushing, whatever was asked when it was sent.
func (m *Members) Shows(reader, sender chat.UserID, t chat.HLC) bool {
	return m.Sees(reader, t) && m.MayWrite(sender, t)
}

// Spans gives the steps of user that count, ascending. The caller must not change them.
func (m *Members) Spans(user chat.UserID) []MemberSpan {
	if p, ok := m.people[user]; ok {
		return p.spans
	}
	return nil
}

// Change gives what the op did to user's role; ok is false when it does not count.
func (m *Members) Change(op chat.MessageID, user chat.UserID) (before, after chat.Role, ok bool) {
	spans := m.Spans(user)
	i, ok := slices.BinarySearchFunc(spans, op, func(s MemberSpan, op chat.MessageID) int { return s.Op.Compare(op) })
	if !ok {
		return chat.RoleNone, chat.RoleNone, false
	}
	if i > 0 {
		before = spans[i-1].Role
	}
	return before, spans[i].Role, true
}

// Owner gives who owns the group now; NoUser when everybody has left.
func (m *Members) Owner() chat.UserID { return m.owner }

// Count is the number of people in the group now.
func (m *Members) Count() int { return m.count }

// Since gives when the present stay of user began, 0 for who is not in the group.
func (m *Members) Since(user chat.UserID) chat.HLC {
	if p, ok := m.people[user]; ok && p.role() != chat.RoleNone {
		return p.joined().Time()
	}
	return 0
}

// User gives how the step that brought user in names him: id, zone and name.
func (m *Members) User(user chat.UserID) (chat.Owner, bool) {
	if p, ok := m.people[user]; ok && len(p.spans) > 0 {
		return p.owner, true
	}
	return chat.Owner{}, false
}

// List gives the people in the group now: the owner, then admins, then members, each by name.
func (m *Members) List() []Member {
	list := make([]Member, 0, m.count)
	for _, p := range m.people {
		if role := p.role(); role != chat.RoleNone {
			list = append(list, Member{User: p.owner, Role: role, Since: p.joined().Time()})
		}
	}
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(cmp.Compare(b.Role, a.Role), cmp.Compare(a.User.Name, b.User.Name), bytes.Compare(a.User.ID[:], b.User.ID[:]))
	})
	return list
}

// Zones gives the zones that have, or had, members, sorted: those whose regions keep a copy of what is written here.
func (m *Members) Zones() []chat.Zone { return sortedKeys(m.zones) }

// ZoneSince gives when the first member of zone came in; ok is false when none did.
func (m *Members) ZoneSince(zone chat.Zone) (since chat.HLC, ok bool) {
	since, ok = m.zones[zone]
	return since, ok
}

// Owners gives the owners of an op in the group: its mailbox in each zone.
func (m *Members) Owners(conversation chat.ConversationID) []chat.Owner {
	var owners []chat.Owner
	for _, zone := range m.Zones() {
		owners = append(owners, chat.GroupOwner(conversation, zone))
	}
	return owners
}

// Newest is the op of the newest step; what relies on the membership is stamped after it (Submit.After).
func (m *Members) Newest() chat.MessageID {
	if len(m.steps) == 0 {
		return chat.NoMessage
	}
	return m.steps[len(m.steps)-1].Op
}
