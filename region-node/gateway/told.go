package gateway

import "meridian/chat"

// toldMax bounds the events of groups that a socket remembers to have told.
const toldMax = 1024

// toldEvent is what a socket was told of a group: one op's change, and what the group was called and the role when it was told.
type toldEvent struct {
	op                 chat.MessageID
	change, name, role string
}

// told remembers the events of groups that a socket was told. A step comes more than once: it stands in the person's own log and
// in the group's, and when a zone comes in every region that has it brings it. Who resumes is told again, and knows it by its time.
type told struct {
	events map[toldEvent]struct{}
	order  []toldEvent // the oldest first
}

// again says whether e was told already, and remembers it.
func (t *told) again(e toldEvent) bool {
	if _, ok := t.events[e]; ok {
		return true
	}
	if t.events == nil {
		t.events = make(map[toldEvent]struct{})
	}
	if len(t.order) == toldMax {
		delete(t.events, t.order[0])
		t.order = t.order[1:]
	}
	t.events[e] = struct{}{}
	t.order = append(t.order, e)
	return false
}
