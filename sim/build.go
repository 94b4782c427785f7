package sim

import (
	"fmt"
	"slices"
	"time"

	"meridian/chat"
	"meridian/sim/memstore"
)

// roundTrips are measured round trips in ms between five places on earth; a world takes the first few.
var roundTrips = [5][5]float64{
	{5.5, 69.7, 191.1, 115.3, 149.6},
	{69.7, 3.2, 125.6, 178.4, 202.4},
	{191.1, 125.6, 3.2, 301.4, 133.8},
	{115.3, 178.4, 301.4, 3.3, 258.6},
	{149.6, 202.4, 133.8, 258.6, 2.8},
}

var regionNames = [5]chat.Region{"a-east", "b-west", "c-south", "d-brazil", "e-japan"}

// regionsMin is how many regions a world has at least.
const regionsMin = 3

// user is a person.
type user struct {
	name string
	id   chat.UserID
	zone chat.Zone
}

func (u *user) owner() chat.Owner { return chat.Owner{ID: u.id, Zone: u.zone, Name: u.name} }

// build makes the regions, zones, links, people and their devices.
func (w *world) build() {
	w.roll("regions", "", 0)
	n := regionsMin + w.rng.IntN(len(regionNames)-regionsMin+1)
	if w.plan.Regions > 0 {
		n = min(n, max(regionsMin, w.plan.Regions))
	}
	regions := slices.Clone(regionNames[:n])
	w.topology = chat.Topology{Regions: regions, Zones: map[chat.Zone]chat.ZoneSpec{
		"world": {Name: "world", Regions: regions, Policy: chat.PolicyCopy, Ack: chat.AckRegion},
		"pair":  {Name: "pair", Regions: regions[:2], Policy: chat.PolicyCopy, Ack: chat.AckZone},
		"solo":  {Name: "solo", Regions: regions[1:2], Policy: chat.PolicyCopy, Ack: chat.AckRegion},
		"deny":  {Name: "deny", Regions: regions[n-1:], Policy: chat.PolicyDeny, Transit: chat.TransitDeny, Ack: chat.AckRegion},
	}}
	for i, r := range regions {
		w.addSite(i, r)
	}
	for i, a := range w.nodes {
		for _, b := range w.nodes[i+1:] {
			delay := time.Duration(roundTrips[a.site.index][b.site.index] / 2 * float64(time.Millisecond))
			if a.site == b.site {
				delay = time.Millisecond
			}
			l := &link{w: w, ends: [2]*node{a, b}, delay: delay}
			a.paths[b.ref], b.paths[a.ref] = l, l
			w.links = append(w.links, l)
		}
	}
	people := 8 + w.rng.IntN(9)
	for i := range people {
		w.roll("person", "", i)
		zone := chat.Zone("world")
		switch i % 6 {
		case 1:
			zone = "pair"
		case 3:
			zone = "solo"
		case 4:
			zone = "deny"
		}
		w.users = append(w.users, &user{name: fmt.Sprintf("user%d", i), id: chat.UserID(w.uuid(0x10)), zone: zone})
	}
	for i := range w.mood.crowd {
		w.crowd = append(w.crowd, &user{name: fmt.Sprintf("crowd%d", i), id: chat.UserID(w.uuid(0x11)), zone: pick[chat.Zone](w.rng, "world", "pair")})
	}
	for i, u := range w.users {
		w.addClient(u)
		if i%3 == 0 {
			w.addClient(u)
		}
	}
	w.planLoss()
	w.widen()
	for _, nd := range w.nodes {
		nd.boot()
	}
	for _, l := range w.links {
		l.dial()
	}
	w.after(w.mood.faultEvery, w.fault)
	w.planExile()
	w.planRestore()
}

// Where nodes do not judge their clocks these are far from each other: those of regions by more than the way between them takes.
// Those of nodes that share a store are right or behind: with what trouble sets them back further (astray), they stay as near
// as timing.adopt_wait demands.
const (
	farTogether = 240 * time.Millisecond
	farApart    = 400 * time.Millisecond
)

// newSkew gives how far a machine's clock is off now.
func (n *node) newSkew() time.Duration {
	most := n.w.mood.skew
	switch {
	case most == 0:
		return 0
	case !n.w.mood.unjudged:
		return n.w.between(-most, most)
	case n.site.shared():
		return pick(n.w.rng, -farTogether, 0)
	}
	return pick(n.w.rng, -farApart, farApart)
}

// addSite makes a region with one to three nodes.
func (w *world) addSite(index int, r chat.Region) {
	s := &site{region: r, index: index, tables: memstore.New(r, "n1"), toldWatermark: map[chat.StreamID]chat.HLC{}, shown: newShownOps(), late: map[lateRow]bool{}}
	w.sites = append(w.sites, s)
	for i := range 1 + w.rng.IntN(w.mood.nodesMax) {
		n := &node{w: w, site: s, region: r, tables: s.tables, ref: chat.NodeRef{Region: r, Node: chat.NodeID(fmt.Sprintf("n%d", i+1))}, paths: map[chat.NodeRef]*link{}}
		s.nodes = append(s.nodes, n)
		w.nodes = append(w.nodes, n)
	}
	for _, n := range s.nodes {
		n.skew = n.newSkew()
	}
}

// nodesOf gives the nodes of a region.
func (w *world) nodesOf(r chat.Region) []*node {
	for _, s := range w.sites {
		if s.region == r {
			return s.nodes
		}
	}
	return nil
}
