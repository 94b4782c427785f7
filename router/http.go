package router

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"

	"meridian/chat"
	"meridian/router/decide"
	"meridian/router/discovery"
	"meridian/router/geo"
	"meridian/router/table"
)

// mux serves the router's own paths and those that were passed in.
func (r *Router) mux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/route", r.discovery)
	mux.Handle("GET /v1/explain", r.ExplainHandler())
	alive := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /readyz", alive) // who has a table can answer
	for pattern, h := range r.opts.Handlers {
		mux.Handle(pattern, h)
	}
	return mux
}

// Explanation is the answer of GET /v1/explain: the decision, the same in words, and what the data owes.
type Explanation struct {
	decide.Decision
	Text    string       `json:"text"`
	Sources []geo.Source `json:"sources"`
}

// Explain decides for an address, with the zone of a token or "", and for a zone's own host name or "". It also explains
// decisions that end in CodeZoneUnreachable; other errors have CodeInvalid.
func (r *Router) Explain(addr netip.Addr, zone, host chat.Zone) (Explanation, error) {
	q, now := table.Query{Address: addr}, r.view()
	if zone != "" {
		spec, ok := now.topology.Zone(zone)
		if !ok {
			return Explanation{}, invalid("zone: no such zone")
		}
		q.Zone = &spec
	}
	if host != "" {
		for i, z := range now.hosts {
			if z.Name == host {
				q.Host = i + 1
			}
		}
		if q.Host == table.General {
			return Explanation{}, invalid("host: no such zone, or none with a host of its own")
		}
	}
	d, err := now.live.Decide(q)
	if err != nil && chat.CodeOf(err) != chat.CodeZoneUnreachable {
		return Explanation{}, err
	}
	return Explanation{Decision: d, Text: d.Text(), Sources: now.live.Data().Sources()}, nil
}

// ExplainHandler gives the handler of GET /v1/explain?ip=ADDRESS&zone=&host=: which region, and why.
func (r *Router) ExplainHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		params := req.URL.Query()
		addr, err := netip.ParseAddr(params.Get("ip"))
		if err != nil {
			discovery.WriteError(w, invalid("ip: want an IPv4 or IPv6 address"))
			return
		}
		e, err := r.Explain(addr.WithZone(""), chat.Zone(params.Get("zone")), chat.Zone(params.Get("host")))
		if err != nil {
			discovery.WriteError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(e) // an asker that has gone needs no answer
	})
}

func invalid(message string) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "router.Explain", Message: message}
}
