package replication

import (
	"slices"

	"meridian/chat"
)

// May says whether a step by which by gives user another role would count now, after all steps known.
func (m *Members) May(by, user chat.UserID, role chat.Role) bool {
	return m.counts(&chat.MemberRow{User: chat.Owner{ID: user}, Role: role, By: by}, m.Role(user))
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
