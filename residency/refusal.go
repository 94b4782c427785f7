package residency

import "meridian/chat"

// Refusal decides whether region self may be told by region from that it refused an op: a region speaks of itself only, and
// only to the one that brought the op, which knows the ids already. A refusal holds nothing else.
func Refusal(r *chat.Refusal, from, self chat.Region) Decision {
	switch {
	case r.Region != from:
		return deny("region %s may not say what region %s refuses", from, r.Region)
	case r.Stream.Region != self:
		return deny("region %s did not bring what region %s refuses", self, from)
	}
	return allow("region %s refuses what region %s brought", from, self)
}
