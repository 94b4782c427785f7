package regionnode

import (
	"fmt"
	"net/http"
	"strings"

	"meridian/chat"
	"meridian/region-node/wire"
)

// UserHome is the answer of GET /v1/admin/user?name=: where a person's home is, and why.
type UserHome struct {
	UserID   string `json:"user_id"`
	Username string `json:"username"`
	// Zone and what it means for the person's data.
	Zone    chat.Zone       `json:"home_zone"`
	Regions []chat.Region   `json:"regions"`
	Transit chat.Transit    `json:"transit"`
	Policy  chat.CopyPolicy `json:"policy"`
	Level   chat.AckLevel   `json:"max_level"`
	// Kept says that the account is kept in the region that answers; only such a region knows whether the zone is Pinned.
	Kept    bool     `json:"kept_here"`
	Pinned  bool     `json:"pinned"`
	Created string   `json:"created_at,omitempty"`
	Reasons []string `json:"reasons"`
	// Answered is the region that answers; Sockets are the person's that it serves.
	Answered chat.Region  `json:"answered_by"`
	Sockets  []UserSocket `json:"sockets,omitempty"`
}

// UserSocket is one open socket of a person.
type UserSocket struct {
	// Edge is the region where it ends, Country where it comes from, and Next the region that a new one from there would get.
	Edge    chat.Region `json:"edge"`
	Country string      `json:"country,omitempty"`
	Next    chat.Region `json:"next"`
}

func (n *Node) serveUser(w http.ResponseWriter, r *http.Request) {
	home, err := n.userHome(r)
	if err != nil {
		wire.WriteError(w, r, err)
		return
	}
	wire.WriteJSON(w, http.StatusOK, home)
}

func (n *Node) userHome(r *http.Request) (UserHome, error) {
	owner, err := n.auth.Resolve(r.Context(), r.URL.Query().Get("name"))
	if err != nil {
		return UserHome{}, err
	}
	zone, ok := n.topology.Zone(owner.Zone)
	if !ok {
		return UserHome{}, &chat.Error{Code: chat.CodeInternal, Op: "regionnode.userHome", Message: "home zone " + string(owner.Zone) + " is not in the configuration of this region"}
	}
	h := UserHome{
		UserID: owner.ID.String(), Username: owner.Name, Zone: zone.Name, Regions: zone.Regions, Transit: zone.Transit, Policy: zone.Policy,
		Level: zone.MaxLevel(), Answered: n.opt.Region,
	}
	if n.topology.InZone(n.opt.Region, zone.Name) {
		account, found, err := n.store.Account(r.Context(), owner.ID)
		if err != nil {
			return UserHome{}, err
		}
		if h.Kept = found; found {
			h.Pinned, h.Created = account.Pinned, wire.Time(account.CreatedAt)
		}
	}
	h.Reasons = n.homeReasons(h)
	for _, s := range n.gateway.Of(owner.ID) {
		addr := s.Address()
		one := UserSocket{Edge: s.Edge(), Country: n.opt.Country(addr)}
		if endpoints := n.opt.Endpoints(n, owner.Zone, addr); len(endpoints) > 0 {
			one.Next = endpoints[0].Region
		}
		h.Sockets = append(h.Sockets, one)
	}
	return h, nil
}

// homeReasons puts into words why the home is where it is, and what follows.
func (n *Node) homeReasons(h UserHome) []string {
	names := make([]string, len(h.Regions))
	for i, r := range h.Regions {
		names[i] = string(r)
	}
	list := strings.Join(names, ", ")
	var out []string
	switch {
	case !h.Kept:
		out = append(out, fmt.Sprintf("home: the directory says zone %s; why stands in its account, which only %s keep", h.Zone, list))
	case h.Pinned:
		out = append(out, fmt.Sprintf("home: pinned to zone %s: it was chosen, not given by the country", h.Zone))
	default:
		out = append(out, fmt.Sprintf("home: zone %s by home_zones, the rule of the country at sign-up (default %s)", h.Zone, n.opt.Config.HomeZones.Default))
	}
	out = append(out, fmt.Sprintf("data: at rest in %s and nowhere else; towards other zones: %s", list, h.Policy))
	if h.Transit == chat.TransitDeny {
		out = append(out, fmt.Sprintf("transit: denied: only %s may handle the person's requests, others answer with the way there", list))
	} else {
		out = append(out, fmt.Sprintf("transit: allowed: any region takes the socket and passes it on to %s, storing nothing", list))
	}
	return out
}
