package sim

import (
	"maps"
	"slices"
	"time"

	"meridian/chat"
)

// Where op logs have a budget, people of the zones that a lost region was in are refused once too much waits for it, until an operator takes
// it out of the configuration, as runbooks/outbox-full.md says: when all else is well and what was left of it is handed on, node by node.

// takeOut has the operator do so as soon as that may be done.
func (w *world) takeOut() {
	if w.doomed == nil || w.mood.outbox == 0 {
		return
	}
	if !w.isSettled() {
		w.after(500*time.Millisecond, w.takeOut)
		return
	}
	w.faults["lost region taken out"]++
	w.note("world", "%s is taken out", w.doomed.region)
	at := time.Duration(0)
	for _, n := range w.nodes {
		if n.site == w.doomed {
			continue
		}
		w.after(at, func() {
			n.without = w.doomed.region
			w.crashFor(n, w.between(50*time.Millisecond, 300*time.Millisecond))
		})
		at += w.between(300*time.Millisecond, 800*time.Millisecond)
	}
	w.after(at, func() { w.takenOut = true })
}

// isSettled says that every node of a region that is left runs, and has nothing of the lost one that others lack.
func (w *world) isSettled() bool {
	parked := func(s *site) bool {
		return slices.ContainsFunc(s.tables.Parked(), func(row chat.ParkedRow) bool { return w.isLost(row.Op.Stream.Region) })
	}
	stopped := func(n *node) bool { return !n.site.lost && !n.runs() }
	return !slices.ContainsFunc(w.nodes, stopped) && !slices.ContainsFunc(w.living(), parked) && w.notHandedOn() == ""
}

// topology is what the node's configuration says.
func (n *node) topology() chat.Topology {
	t := n.w.topology
	if n.without == "" {
		return t
	}
	left := func(regions []chat.Region) []chat.Region {
		return slices.DeleteFunc(slices.Clone(regions), func(r chat.Region) bool { return r == n.without })
	}
	t.Regions, t.Zones = left(t.Regions), maps.Clone(t.Zones)
	for name, spec := range t.Zones {
		spec.Regions = left(spec.Regions)
		t.Zones[name] = spec
	}
	return t
}

// isSole says whether a zone has no other region: then the zone would go with it.
func (w *world) isSole(s *site) bool {
	for _, spec := range w.topology.Zones {
		if len(spec.Regions) == 1 && spec.Regions[0] == s.region {
			return true
		}
	}
	return false
}
