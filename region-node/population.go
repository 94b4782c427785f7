package regionnode

import (
	"cmp"
	"net/http"
	"slices"

	"meridian/chat"
	"meridian/region-node/wire"
)

// People counts the sockets of a node that are alike.
type People struct {
	Country string    `json:"country"` // "" where it is not known
	Zone    chat.Zone `json:"zone"`
	Sockets int       `json:"sockets"`
}

// Population is the answer of GET /v1/admin/population: who has a socket that ends in this node.
type Population struct {
	People []People `json:"people"`
	// Now is how many sockets there are, Peak how many there were at most since the node started.
	Now  int `json:"now"`
	Peak int `json:"peak"`
}

func (n *Node) servePopulation(w http.ResponseWriter, _ *http.Request) {
	counts := make(map[People]int)
	p := Population{People: []People{}}
	for _, one := range n.movable() {
		if one.Edge() != n.opt.Region {
			continue // counted where it ends
		}
		zone, addr := one.Person()
		counts[People{Country: n.opt.Country(addr), Zone: zone}]++
		p.Now++
	}
	for who, sockets := range counts {
		who.Sockets = sockets
		p.People = append(p.People, who)
	}
	slices.SortFunc(p.People, func(a, b People) int {
		return cmp.Or(cmp.Compare(b.Sockets, a.Sockets), cmp.Compare(a.Country, b.Country), cmp.Compare(a.Zone, b.Zone))
	})
	p.Peak = max(n.drain.Peak(), p.Now)
	wire.WriteJSON(w, http.StatusOK, p)
}
