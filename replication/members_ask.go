package replication

import (
	"slices"

	"meridian/chat"
)

// May says whether a step by which by gives user another role would count now, after all steps known.
func (m *Members) May(by, user chat.UserID, role chat.Role) bool {
	step := chat.MemberRow{User: chat.Owner{ID: user}, Role: role, By: by}
	if p, ok := m.people[by]; ok {
		step.ByZone = p.owner.Zone
	}
	return m.counts(&step, m.Role(user))
}

// Name gives what the group is called, of all names that it was given, ascending by op: that of the op which made it, or the
// newest that somebody gave who might do so then. Like the steps, names count by who gave them, in every region alike.
func (m *Members) Name(names []chat.GroupRow) (name chat.GroupRow, ok bool) {
	for i := len(names) - 1; i >= 0 && !ok; i-- {
		name = names[i]
		if name.Made {
			ok = name.Op == m.made
		} else {
			ok = m.is(name.By, name.ByZone) && m.RoleAt(name.By, name.Op.Time()) >= chat.RoleAdmin
		}
	}
	if !ok {
		return chat.GroupRow{}, false
	}
	return name, true
}

// Step gives the step of the op, the first one of an op that made the group; ok is false when it is not known.
func (m *Members) Step(op chat.MessageID) (step chat.MemberRow, ok bool) {
	i, _ := slices.BinarySearchFunc(m.steps, op, func(s chat.MemberRow, op chat.MessageID) int { return s.Op.Compare(op) })
	if i == len(m.steps) || m.steps[i].Op != op {
		return chat.MemberRow{}, false
	}
	return m.steps[i], true
}

// Len is the number of steps, whether they count or not.
func (m *Members) Len() int { return len(m.steps) }
