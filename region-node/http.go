package regionnode

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"meridian/chat"
	"meridian/front"
	"meridian/region-node/compress"
	"meridian/region-node/edge"
	"meridian/region-node/wire"
)

// publicHandler serves what clients reach.
func (n *Node) publicHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/ws", n.edge.Limited(http.HandlerFunc(n.edge.ServeWS)))
	mux.Handle("/v1/route", compress.Handler(n.edge.Limited(n.opt.Route(n)), n.opt.Metrics))
	mux.Handle("/v1/", compress.Handler(n.edge.Limited(http.HandlerFunc(n.edge.ServeREST)), n.opt.Metrics))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		wire.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", n.serveReady)
	mux.HandleFunc("GET "+edge.ProbePath, n.serveProbe)
	mux.Handle("GET /metrics", n.opt.Metrics.Handler())
	if n.opt.Simulate {
		mux.HandleFunc("GET /v1/up.json", ServeUpInfo)
	}
	mux.Handle("/", n.opt.Web)
	return mux
}

// ServeUpInfo tells a client that this is a local `up`, where an address may be simulated.
func ServeUpInfo(w http.ResponseWriter, _ *http.Request) {
	wire.WriteJSON(w, http.StatusOK, map[string]bool{"simulate": true})
}

// serveReady answers whether this region can serve people: its store answers.
func (n *Node) serveReady(w http.ResponseWriter, r *http.Request) {
	if err := n.Ready(r.Context()); err != nil {
		wire.WriteError(w, r, err)
		return
	}
	wire.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready", "region": string(n.opt.Region)})
}

// address gives the client's address: what an edge passed on, what a trusted proxy says, or the socket's.
func (n *Node) address(r *http.Request) netip.Addr {
	if addr, ok := edge.ForwardedAddress(r.Context()); ok {
		return addr
	}
	addr := front.Address(r)
	if n.opt.Simulate {
		if as, err := netip.ParseAddr(r.URL.Query().Get("as")); err == nil {
			return as
		}
	}
	return addr
}

// originOK says whether the page that opens a socket may: one of ours, or no browser at all.
func (n *Node) originOK(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	if u, err := url.Parse(origin); err == nil && u.Host == r.Host {
		return true
	}
	return n.originAllowed(origin)
}

// originAllowed says whether pages of origin may call across origins.
func (n *Node) originAllowed(origin string) bool {
	c := n.opt.Config
	if slices.Contains(c.Network.AllowedOrigins, "*") || slices.Contains(c.Network.AllowedOrigins, origin) {
		return true
	}
	if origin == c.Router.BaseURL() || origin == "https://"+c.Router.Domain {
		return true // the one global name, under which the web client is served
	}
	for _, r := range c.Regions {
		if slices.Contains(r.URLs(), origin) {
			return true
		}
	}
	return false
}

// ZonesOfBucket gives the zones in which usernames of a bucket live, from this region's directory.
func (n *Node) ZonesOfBucket(ctx context.Context, bucket uint16) ([]chat.Zone, error) {
	return n.store.ZonesOfBucket(ctx, bucket)
}
