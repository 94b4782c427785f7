package history

import "time"

// Removal says that somebody was removed from a group: nothing that was written later may stand in the own mailbox, or be
// shown by a node that knows of the removal.
type Removal struct {
	User, Group string
	// Done is when the removal was acknowledged.
	Done time.Duration
	// Known is when each node was first seen to know of it.
	Known map[string]time.Duration
}

// Push is a message of a group that somebody was shown who was being removed, or had been.
type Push struct {
	User, Group, ClientID string
	Node                  string // that showed it
	At                    time.Duration
}

const (
	// removalMargin is how much later something must have been written to count: clocks differ, and the times of the messages
	// decide.
	removalMargin = 5 * time.Second
	// pushMargin is how long after a node knew a push may still arrive that had left before.
	pushMargin = 5 * time.Second
)

// removals looks for what somebody has been given after a removal.
func (c *checker) removals() {
	for i := range c.h.Removals {
		r := &c.h.Removals[i]
		for i := range c.h.Mailboxes {
			m := &c.h.Mailboxes[i]
			if m.Owner != r.User || m.Conversation != r.Group {
				continue
			}
			for _, msg := range m.Messages {
				if s := c.sends[msg.ClientID]; s != nil && s.Invoked > r.Done+removalMargin {
					c.r.add(&c.r.Intruded, "%s in %s: %s was written %v after the removal", r.User, m.Region, msg.ClientID, s.Invoked-r.Done)
				}
			}
		}
		for _, p := range c.h.Pushes {
			s, known := c.sends[p.ClientID], r.Known[p.Node]
			if p.User == r.User && p.Group == r.Group && s != nil && s.Invoked > r.Done+removalMargin && known > 0 && p.At > known+pushMargin {
				c.r.add(&c.r.Intruded, "%s was shown %s by %s %v after that knew of the removal", r.User, p.ClientID, p.Node, p.At-known)
			}
		}
	}
}
