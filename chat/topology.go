package chat

import "slices"

// Region names a place that runs its own nodes, store and cache: "eu-west".
type Region string

// Zone names a residency zone: the regions that may hold a user's data at rest.
type Zone string

// NodeID names a node within its region: "n1".
type NodeID string

// NodeRef names a node in the world.
type NodeRef struct {
	Region Region
	Node   NodeID
}

// String gives "region/node".
func (n NodeRef) String() string { return string(n.Region) + "/" + string(n.Node) }

// CopyPolicy says what happens with what users of a zone write to people outside it.
type CopyPolicy string

// The copy policies.
const (
	// PolicyCopy stores a copy in the other person's home zone.
	PolicyCopy CopyPolicy = "copy"
	// PolicyDeny refuses the send.
	PolicyDeny CopyPolicy = "deny"
)

// Transit says whether regions outside the zone may handle its users' content on the way.
type Transit string

// The transit rules.
const (
	TransitAllow Transit = "allow"
	TransitDeny  Transit = "deny"
)

// AckLevel says how far a send has come: durable in one region, then in one more region of the sender's zone.
type AckLevel string

// The ack levels.
const (
	AckRegion AckLevel = "region"
	AckZone   AckLevel = "zone"
)

// ZoneSpec is a zone with its policy.
type ZoneSpec struct {
	Name    Zone
	Regions []Region // at least one; sorted, none twice
	Policy  CopyPolicy
	Transit Transit
	Ack     AckLevel
	// AtSignUp says that a person may choose the zone at sign-up.
	AtSignUp bool
}

// Has says whether r is one of the zone's regions.
func (z ZoneSpec) Has(r Region) bool { return slices.Contains(z.Regions, r) }

// MaxLevel is the highest ack level that a send of this zone can reach: AckZone needs a second region.
func (z ZoneSpec) MaxLevel() AckLevel {
	if len(z.Regions) > 1 {
		return AckZone
	}
	return AckRegion
}

// Topology is what everybody agrees on: the regions and the zones. It is plain data and never changes once shared.
type Topology struct {
	Regions []Region // sorted, none twice; at most MaxRegions
	Zones   map[Zone]ZoneSpec
}

// MaxRegions bounds the destinations of one op.
const MaxRegions = 32

// Zone gives the spec of z; ok is false for a zone that the topology does not know.
func (t Topology) Zone(z Zone) (ZoneSpec, bool) {
	spec, ok := t.Zones[z]
	return spec, ok
}

// InZone says whether r belongs to z.
func (t Topology) InZone(r Region, z Zone) bool { return t.Zones[z].Has(r) }

// Majority is the number of regions that make a majority.
func (t Topology) Majority() int { return len(t.Regions)/2 + 1 }

// Endpoint is where a client reaches a region.
type Endpoint struct {
	Region Region  `json:"region"`
	URL    string  `json:"url"`
	RTTms  float64 `json:"rtt_ms,omitempty"`
}
