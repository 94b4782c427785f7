package drain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"meridian/chat"
)

// FullShare is the load, of capacity_sockets, above which a drain may not bring a region: from there on routers send people away from
// it again.
const FullShare = 0.85

// Target is a region to which people would move.
type Target struct {
	Region chat.Region `json:"region"`
	// Before and After are its sockets without and with those that come; Capacity is capacity_sockets, 0 where it is not limited.
	Before   int `json:"before"`
	After    int `json:"after"`
	Capacity int `json:"capacity,omitempty"`
}

// Plan says what draining a region does.
type Plan struct {
	Region chat.Region `json:"region"`
	// Sockets end in the region; Stay of them have no other region, by zone.
	Sockets int               `json:"sockets"`
	Stay    map[chat.Zone]int `json:"stay,omitempty"`
	Targets []Target          `json:"targets"`
	// Refused says why it must not be done; Notes what to know when it is.
	Refused []string `json:"refused,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// World is what a plan depends on.
type World struct {
	Region   chat.Region
	Topology chat.Topology
	// Serving are the other regions that can be reached and do not drain themselves.
	Serving map[chat.Region]bool
	// Sockets is how many each other region serves, as it told; Capacity is how many it may serve, 0 where that is not limited.
	Sockets, Capacity map[chat.Region]int
	// Moves counts the sockets here by where they would go; Stay those that have nowhere to go, by zone.
	Moves map[chat.Region]int
	Stay  map[chat.Zone]int
}

// Make makes a plan. It refuses what would leave people of a zone that forbids transit without a region, what would leave nobody to
// serve, and what would bring another region above FullShare of its capacity.
func Make(w World) Plan {
	p := Plan{Region: w.Region, Stay: w.Stay, Targets: []Target{}}
	for _, n := range w.Stay {
		p.Sockets += n
	}
	for _, n := range w.Moves {
		p.Sockets += n
	}
	for _, r := range slices.Sorted(maps.Keys(w.Serving)) {
		if w.Serving[r] {
			p.Targets = append(p.Targets, Target{Region: r, Before: w.Sockets[r], After: w.Sockets[r] + w.Moves[r], Capacity: w.Capacity[r]})
		}
	}
	p.checkZones(w)
	p.checkRoom()
	return p
}

func (p *Plan) checkZones(w World) {
	if len(p.Targets) == 0 {
		p.Refused = append(p.Refused, "no other region serves: everybody would be left without one")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(w.Topology.Zones)) {
		zone := w.Topology.Zones[name]
		left := slices.ContainsFunc(zone.Regions, func(r chat.Region) bool { return r != w.Region && w.Serving[r] })
		switch {
		case !zone.Has(w.Region) || left:
		case zone.Transit == chat.TransitDeny:
			p.Refused = append(p.Refused, fmt.Sprintf("zone %s forbids transit, and no other region of it serves (%s): its %d open sockets would have nowhere to go", name, names(zone.Regions), w.Stay[name]))
		default:
			p.Notes = append(p.Notes, fmt.Sprintf("no other region of zone %s serves (%s): other regions go on passing its people's requests to %s, so it must not be stopped", name, names(zone.Regions), w.Region))
		}
	}
}

func (p *Plan) checkRoom() {
	for _, t := range p.Targets {
		if full := int(FullShare * float64(t.Capacity)); t.Capacity > 0 && t.After > full && t.After > t.Before {
			p.Refused = append(p.Refused, fmt.Sprintf("%s has room for %d sockets (%.0f %% of its capacity of %d): it serves %d, and %d would come, %d too many",
				t.Region, full, FullShare*100, t.Capacity, t.Before, t.After-t.Before, t.After-full))
		}
	}
}

// Err gives the refusal of a plan; nil: it may be done. The error has CodeDenied.
func (p *Plan) Err() error {
	if len(p.Refused) == 0 {
		return nil
	}
	return &chat.Error{Code: chat.CodeDenied, Op: "drain.Plan", Message: fmt.Sprintf("draining %s is refused: %s", p.Region, strings.Join(p.Refused, "; "))}
}

func names(regions []chat.Region) string {
	sorted := slices.SortedFunc(slices.Values(regions), cmp.Compare[chat.Region])
	parts := make([]string, len(sorted))
	for i, r := range sorted {
		parts[i] = string(r)
	}
	return strings.Join(parts, ", ")
}
