package replication

import (
	"fmt"

	"meridian/chat"
	"meridian/residency"
)

// knownKind says whether this build can apply ops of the kind.
func knownKind(kind chat.OpKind) bool {
	_, ok := shapes[kind]
	return ok
}

// inspectUnknown says why an op of a kind that this build does not know must not be parked here. What the kind means cannot
// be asked, so the envelope alone must allow it, by the strictest rule there is: a region of the author's side brings it, this
// region is one of its destinations, and the author's policy lets each owner have it, one of whom is served here. Newer builds
// send older ones no other kinds; what else comes is kept out, body and all.
func (c *Core) inspectUnknown(p *peer, op *chat.Op) *chat.Error {
	bad := func(code chat.Code, detail string) *chat.Error {
		return &chat.Error{Code: code, Op: "replication.Apply", Message: fmt.Sprintf("op of unknown kind %d: %s", op.Kind, detail)}
	}
	detail := unstorable(op)
	switch {
	case detail != "":
		return bad(chat.CodeInvalid, detail)
	case len(op.Owners) > chat.MaxOwners || len(op.To) > chat.MaxRegions || len(op.Body) > maxBodyBytes:
		return bad(chat.CodeInvalid, "too many owners or destinations, or too long a text")
	case !concerns(op, c.cfg.Self):
		return bad(chat.CodeDenied, "this region is none of its destinations")
	}
	if d := residency.Speak(c.cfg.Topology, op.Author.Zone, p.region); !d.Allowed() {
		return bad(d.Code, d.Reason)
	}
	if d := residency.Op(c.cfg.Topology, op, c.cfg.Self); !d.Allowed() {
		return bad(d.Code, d.Reason)
	}
	return nil
}
