// Package residency decides whether bytes may go somewhere. It is pure: every decision is a function of the topology,
// carries its reason, and is asked at both ends of every relay.
package residency

import (
	"fmt"

	"meridian/chat"
)

// Decision is an answer with its reason. Code is "" when it is allowed.
type Decision struct {
	Code   chat.Code
	Reason string
}

// Allowed says whether the answer is yes.
func (d Decision) Allowed() bool { return d.Code == "" }

// Err gives the refusal as an error of operation op, nil when it is allowed.
func (d Decision) Err(op string) error {
	if d.Allowed() {
		return nil
	}
	return &chat.Error{Code: d.Code, Op: op, Message: d.Reason}
}

func allow(format string, args ...any) Decision {
	return Decision{Reason: fmt.Sprintf(format, args...)}
}

func deny(format string, args ...any) Decision {
	return Decision{Code: chat.CodeDenied, Reason: fmt.Sprintf(format, args...)}
}

// Write decides whether what a user of zone from writes may be kept for a user of zone to.
func Write(t chat.Topology, from, to chat.Zone) Decision {
	author, ok := t.Zone(from)
	if !ok {
		return deny("zone %q is not known", from)
	}
	if _, ok := t.Zone(to); !ok {
		return deny("zone %q is not known", to)
	}
	if from == to {
		return allow("both live in zone %s", from)
	}
	if author.Policy == chat.PolicyCopy {
		return allow("zone %s lets zone %s keep a copy", from, to)
	}
	return deny("zone %s does not let what its users write be kept in zone %s", from, to)
}

// Store decides whether region may store, for a user of zone owner, what a user of zone author wrote.
func Store(t chat.Topology, author, owner chat.Zone, region chat.Region) Decision {
	if d := Write(t, author, owner); !d.Allowed() {
		return d
	}
	if !t.InZone(region, owner) {
		return deny("region %s is not in zone %s", region, owner)
	}
	return allow("region %s serves zone %s", region, owner)
}

// Speak decides whether region may bring ops of an author of that zone: only as one of the zone's regions.
func Speak(t chat.Topology, author chat.Zone, region chat.Region) Decision {
	if !t.InZone(region, author) {
		return deny("region %s may not speak for zone %s", region, author)
	}
	return allow("region %s serves zone %s", region, author)
}

// Bring decides whether region may bring op to another one: as the author's side everything; as the side of a mailbox only what
// people write into it, for the owners whom the region serves. The second is needed where every region of the author's zone
// is lost, or cut off: whoever has received an op can hand it on. Who is in a group decides where its messages go, so nobody
// but the author's side brings that.
func Bring(t chat.Topology, op *chat.Op, region chat.Region) Decision {
	if op.Kind == chat.OpClaim && op.Author.Zone == "" {
		return allow("the directory is kept in every region")
	}
	speak := Speak(t, op.Author.Zone, region)
	if speak.Allowed() {
		return speak
	}
	switch op.Kind {
	case chat.OpMessage, chat.OpChange, chat.OpMark, chat.OpContact:
		if Write(t, op.Author.Zone, op.Author.Zone).Allowed() {
			for _, owner := range op.Owners {
				if t.InZone(region, owner.Zone) {
					return allow("region %s serves the mailbox of somebody in zone %s", region, owner.Zone)
				}
			}
		}
	}
	return speak
}

// Handle decides whether region may handle, in flight, the content of a user of zone.
func Handle(t chat.Topology, zone chat.Zone, region chat.Region) Decision {
	spec, ok := t.Zone(zone)
	switch {
	case !ok:
		return deny("zone %q is not known", zone)
	case spec.Has(region):
		return allow("region %s is in zone %s", region, zone)
	case spec.Transit == chat.TransitDeny:
		return Decision{Code: chat.CodeWrongRegion, Reason: fmt.Sprintf("zone %s forbids transit through region %s", zone, region)}
	}
	return allow("zone %s allows transit through region %s", zone, region)
}

// Op decides whether region may receive op, as one of its destinations: the author's policy lets each owner served there
// have it, and at least one of them is. A directory claim goes everywhere: it holds no personal data in the open.
func Op(t chat.Topology, op *chat.Op, region chat.Region) Decision {
	if op.Kind == chat.OpClaim {
		return allow("the directory is kept in every region")
	}
	served := false
	for _, owner := range op.Owners {
		if d := Write(t, op.Author.Zone, owner.Zone); !d.Allowed() {
			return d
		}
		served = served || t.InZone(region, owner.Zone)
	}
	if !served {
		return deny("region %s serves none of the op's zones", region)
	}
	return allow("region %s serves an owner of the op", region)
}

// Destinations gives the regions that must have op, without self, in the topology's order.
func Destinations(t chat.Topology, op *chat.Op, self chat.Region) []chat.Region {
	var to []chat.Region
	for _, r := range t.Regions {
		if r == self {
			continue
		}
		if op.Kind == chat.OpRows && Rows(t, op, self, r).Allowed() || op.Kind != chat.OpRows && Op(t, op, r).Allowed() {
			to = append(to, r)
		}
	}
	return to
}
