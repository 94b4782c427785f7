package history

import "fmt"

// MarkKind says whose mark, and which.
type MarkKind string

// The kinds of mark as the owner of a mailbox sees them.
const (
	OwnRead       MarkKind = "read"
	PeerRead      MarkKind = "peer read"
	PeerDelivered MarkKind = "peer delivered"
)

// Mark is how far somebody has read or received a conversation: a message id, empty for not at all.
type Mark struct {
	Owner, Conversation string
	Kind                MarkKind
	Region              string // that answers so in the end; empty: what the owner's client was shown
	UpTo                string
}

// CheckMarks says where a mark is behind what a client was once shown, and where regions differ: marks only move forward.
func CheckMarks(marks []Mark) (problems []string) {
	type place struct {
		owner, conversation string
		kind                MarkKind
	}
	furthest := map[place]Mark{}
	for _, m := range marks {
		at := place{m.Owner, m.Conversation, m.Kind}
		if old, ok := furthest[at]; !ok || compareMarks(m.UpTo, old.UpTo) > 0 {
			furthest[at] = m
		}
	}
	for _, m := range marks {
		far := furthest[place{m.Owner, m.Conversation, m.Kind}]
		if m.Region != "" && m.UpTo != far.UpTo {
			problems = append(problems, fmt.Sprintf("%s mark of %s in %s: %s says %q, %s %q",
				m.Kind, m.Owner, m.Conversation, m.Region, m.UpTo, source(far), far.UpTo))
		}
	}
	return problems
}

func source(m Mark) string {
	if m.Region == "" {
		return "the owner's client was shown"
	}
	return m.Region + " says"
}

func compareMarks(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return -1
	case b == "":
		return 1
	}
	return CompareIDs(a, b)
}
