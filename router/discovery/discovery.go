// Package discovery answers GET /v1/route: which regions should this client connect to, best first, and why. A client asks
// it before it opens a socket, keeps the signed list and walks down it when a region dies, without waiting for DNS. The
// router and every region node mount the same handler.
package discovery

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"meridian/chat"
	"meridian/front"
	"meridian/router/decide"
	"meridian/router/meter"
	"meridian/router/table"
)

// Options make a handler.
type Options struct {
	// Decide is the router's one decision; table.Live has it.
	Decide func(table.Query) (decide.Decision, error)
	// URLs gives what clients use for a region, an endpoint each: its nodes, or one for all of them. None leaves the region out.
	URLs func(chat.Region) []string
	// Zone gives a zone's regions and rules.
	Zone func(chat.Zone) (chat.ZoneSpec, bool)
	// TokenZone gives the home zone of a valid token. Its error answers the request: CodeUnauthorized for a bad token. Nil:
	// tokens are ignored.
	TokenZone func(token string) (chat.Zone, error)
	// BucketZones gives the zones in which usernames of a bucket live, the bucket being the first 16 bits of SHA-256 of the
	// normalised name. Nil: name= is refused.
	BucketZones func(ctx context.Context, bucket uint16) ([]chat.Zone, error)
	// Failed is told of a region that a client at an address says it cannot reach (?failed=); nil: nobody is.
	Failed func(region chat.Region, client netip.Addr)
	// Simulate accepts ?as=ADDRESS.
	Simulate bool
	// Origins are the browser origins that may ask; "*" allows all.
	Origins []string
	// Key signs the answers.
	Key ed25519.PrivateKey
	// TTL is how long a list may be used; default 1 h. It is a list of ways out, so it outlives any DNS answer.
	TTL time.Duration
	// Now defaults to time.Now.
	Now func() time.Time
	// Metrics may be nil.
	Metrics meter.Metrics
}

// Route is the answer. Reasons are for people and not signed.
type Route struct {
	Region    chat.Region     `json:"region"`
	Zone      chat.Zone       `json:"zone,omitempty"`
	Endpoints []chat.Endpoint `json:"endpoints"`
	Reasons   []string        `json:"reasons"`
	Expires   string          `json:"expires"` // RFC 3339, UTC
	// Signature is base64url without padding over Signed.
	Signature string `json:"signature"`
	// Zones is set for name=: a route for each zone in which such names live.
	Zones []Route `json:"zones,omitempty"`
	// Address is what the decision was made for.
	Address string `json:"address"`
}

type handler struct{ Options }

// New makes the handler of GET /v1/route (and of its preflight). Answers are never cached by HTTP: they depend on the
// asker. Errors are the protocol's: invalid, unauthorized, zone_unreachable and what the functions in opts give.
func New(opts Options) http.Handler {
	if opts.TTL <= 0 {
		opts.TTL = time.Hour
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Metrics = meter.Or(opts.Metrics)
	return &handler{opts}
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	allowOrigin(w, r, h.Origins)
	switch r.Method {
	case http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodGet, http.MethodHead:
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		WriteError(w, &chat.Error{Code: chat.CodeMethodNotAllowed, Message: "only GET"})
		return
	}
	route, err := h.route(r)
	if err != nil {
		WriteError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, route)
}

func (h *handler) route(r *http.Request) (Route, error) {
	q := table.Query{Address: front.Address(r)}
	params := r.URL.Query()
	if failed := params["failed"]; h.Failed != nil {
		for _, region := range failed[:min(len(failed), chat.MaxRegions)] {
			h.Failed(chat.Region(region), q.Address) // the socket's address: nobody speaks for another one
		}
	}
	if as := params.Get("as"); as != "" {
		if !h.Simulate {
			return Route{}, invalid("as: simulated addresses are accepted only by `meridian up`")
		}
		addr, err := netip.ParseAddr(as)
		if err != nil {
			return Route{}, invalid("as: not an IP address")
		}
		q.Address, q.Simulated = addr.Unmap().WithZone(""), true
	}
	zone, err := h.zoneOf(r)
	if err != nil {
		return Route{}, err
	}
	name := params.Get("name")
	if zone == "" && name != "" {
		return h.byName(r.Context(), q, name)
	}
	return h.forZone(q, zone)
}

// zoneOf gives the zone of the token, or else of ?zone=; "" for neither.
func (h *handler) zoneOf(r *http.Request) (chat.Zone, error) {
	if auth := r.Header.Get("Authorization"); auth != "" && h.TokenZone != nil {
		scheme, token, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", &chat.Error{Code: chat.CodeUnauthorized, Op: "discovery", Message: "Authorization is not a bearer token"}
		}
		return h.TokenZone(strings.TrimSpace(token))
	}
	zone := chat.Zone(r.URL.Query().Get("zone"))
	if zone != "" {
		if _, ok := h.Zone(zone); !ok {
			return "", invalid("zone: no such zone")
		}
	}
	return zone, nil
}

// forZone decides for one zone, "" for none.
func (h *handler) forZone(q table.Query, zone chat.Zone) (Route, error) {
	if zone != "" {
		spec, ok := h.Zone(zone)
		if !ok {
			return Route{}, &chat.Error{Code: chat.CodeZoneUnreachable, Op: "discovery", Message: "the zone of the token is not known here"}
		}
		q.Zone = &spec
	}
	d, err := h.Decide(q)
	h.Metrics.Count("route_decisions_total", d.DecidedBy)
	if err != nil {
		return Route{}, err
	}
	route := Route{
		Zone: zone, Reasons: d.Reasons, Address: d.Address, Endpoints: []chat.Endpoint{},
		Expires: h.Now().Add(h.TTL).UTC().Truncate(time.Second).Format(time.RFC3339),
	}
	for _, c := range d.Usable() {
		rtt := math.Round((c.ScoreMs-c.BiasMs)*10) / 10
		for _, url := range h.URLs(c.Region) {
			route.Endpoints = append(route.Endpoints, chat.Endpoint{Region: c.Region, URL: url, RTTms: rtt})
		}
	}
	if len(route.Endpoints) == 0 {
		return Route{}, &chat.Error{Code: chat.CodeZoneUnreachable, Op: "discovery", Message: "no region has a URL"}
	}
	route.Region = route.Endpoints[0].Region
	Sign(&route, h.Key)
	return route, nil
}

// byName answers who has no token yet but a name, of which it tells only the first 16 bits of a hash: the general route
// and one for each zone in which such names live. A zone that cannot be reached is left out of the list.
func (h *handler) byName(ctx context.Context, q table.Query, name string) (Route, error) {
	bucket, err := strconv.ParseUint(name, 16, 16)
	if err != nil || len(name) != 4 {
		return Route{}, invalid("name: want the first four hex digits of SHA-256 of the normalised username")
	}
	if h.BucketZones == nil {
		return Route{}, invalid("name: this router keeps no directory; ask a region")
	}
	zones, err := h.BucketZones(ctx, uint16(bucket))
	if err != nil {
		return Route{}, err
	}
	route, err := h.forZone(q, "")
	if err != nil {
		return Route{}, err
	}
	zones = slices.Clone(zones)
	slices.Sort(zones)
	for _, zone := range slices.Compact(zones) {
		one, err := h.forZone(q, zone)
		if chat.CodeOf(err) == chat.CodeZoneUnreachable {
			continue
		}
		if err != nil {
			return Route{}, err
		}
		route.Zones = append(route.Zones, one)
	}
	return route, nil
}

// retryAfter is what a client is told to wait where the error does not say: by then the probes may know more.
const retryAfter = 2 * time.Second

// WriteError answers with an error of the client protocol.
func WriteError(w http.ResponseWriter, err error) {
	e := *chat.AsError(err)
	if e.HTTPStatus() == http.StatusServiceUnavailable && e.RetryAfter == 0 {
		e.RetryAfter = retryAfter
	}
	body := struct {
		Code         chat.Code `json:"code"`
		Message      string    `json:"message"`
		Retryable    bool      `json:"retryable"`
		RetryAfterMs int64     `json:"retry_after_ms,omitempty"`
	}{e.Code, e.Message, e.Retryable(), e.RetryAfter.Milliseconds()}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	writeJSON(w, e.HTTPStatus(), body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an asker that has gone needs no answer
}

// allowOrigin lets browsers of the allowed origins read the answer.
func allowOrigin(w http.ResponseWriter, r *http.Request, origins []string) {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case origin == "":
		return
	case slices.Contains(origins, "*"):
		w.Header().Set("Access-Control-Allow-Origin", "*")
	case slices.Contains(origins, origin):
		w.Header().Set("Access-Control-Allow-Origin", origin)
	default:
		return
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization")
		w.Header().Set("Access-Control-Max-Age", "600")
	}
}

func invalid(message string) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "discovery", Message: message}
}
