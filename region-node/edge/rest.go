package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"meridian/chat"
	"meridian/region-node/auth"
	"meridian/region-node/wire"
)

// forwarded is a request on its way to a home region, and its answer. Only these headers travel.
type forwarded struct {
	Method  string            `json:"method"`
	URI     string            `json:"uri"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
	Addr    netip.Addr        `json:"addr"`
}

type forwardedAnswer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
}

var (
	headersThere = []string{"Authorization", "Content-Type", "Accept", "Origin", "X-Request-Id"}
	headersBack  = []string{"Content-Type", "Retry-After", "Location", "Cache-Control", "Allow", "X-Request-Id"}
)

// addressKey carries the client's address of a forwarded request.
type addressKey struct{}

// ForwardedAddress gives the client's address that an edge passed on, if the request came that way.
func ForwardedAddress(ctx context.Context) (netip.Addr, bool) {
	addr, ok := ctx.Value(addressKey{}).(netip.Addr)
	return addr, ok
}

// ServeREST answers the REST calls, here or by the home region.
func (e *Edge) ServeREST(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		e.opt.REST.ServeHTTP(w, r)
		return
	}
	addr := e.opt.Address(r)
	zone, known, err := e.zoneOf(w, r, addr)
	if err != nil {
		e.failREST(w, r, err)
		return
	}
	if !known { // nobody's request: the handler here says what is wrong with it
		e.opt.REST.ServeHTTP(w, r)
		return
	}
	at, err := e.place(zone, addr)
	switch {
	case err != nil:
		e.failREST(w, r, err)
	case at.here:
		e.opt.REST.ServeHTTP(w, r)
	default:
		e.forward(w, r, zone, addr, at.regions)
	}
}

func (e *Edge) failREST(w http.ResponseWriter, r *http.Request, err error) {
	e.opt.Metrics.Count("refused_total", string(chat.CodeOf(err)))
	if origin := r.Header.Get("Origin"); origin != "" && e.opt.Origin(r) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Add("Vary", "Origin")
	}
	wire.WriteError(w, r, err)
}

// zoneOf gives the home zone of whoever asks: by the token, or for the calls before a log-in by what they name.
func (e *Edge) zoneOf(w http.ResponseWriter, r *http.Request, addr netip.Addr) (zone chat.Zone, known bool, err error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		claims, err := e.opt.Verifier.Verify(token, auth.Access)
		return claims.Zone, err == nil, nil // a bad token is refused by the handler here
	}
	if r.Method != http.MethodPost || !slices.Contains([]string{"/v1/signup", "/v1/login", "/v1/token"}, r.URL.Path) {
		return "", false, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(e.opt.Limits.RequestBytes)))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return "", false, &chat.Error{Code: chat.CodeTooLarge, Op: "edge.zoneOf", Message: "request body is over the limit"}
	}
	if err != nil {
		return "", false, &chat.Error{Code: chat.CodeInvalid, Op: "edge.zoneOf", Message: "request body cannot be read", Cause: err}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var named struct {
		Username     string    `json:"username"`
		Zone         chat.Zone `json:"zone"`
		RefreshToken string    `json:"refresh_token"`
	}
	if json.Unmarshal(body, &named) != nil {
		return "", false, nil
	}
	return e.zoneBeforeLogIn(r, named.Username, named.Zone, named.RefreshToken, addr)
}

func (e *Edge) zoneBeforeLogIn(r *http.Request, username string, zone chat.Zone, refresh string, addr netip.Addr) (chat.Zone, bool, error) {
	switch r.URL.Path {
	case "/v1/signup":
		if zone == "" {
			zone = e.opt.HomeZone(addr)
		}
		spec, ok := e.opt.Topology.Zone(zone)
		return zone, ok && len(spec.Regions) > 0, nil
	case "/v1/token":
		claims, err := e.opt.Verifier.Verify(refresh, auth.Refresh)
		return claims.Zone, err == nil, nil
	}
	zone, err := e.opt.ZoneOf(r.Context(), username)
	if code := chat.CodeOf(err); code == chat.CodeUnknownUser || code == chat.CodeInvalid {
		return "", false, nil // the handler here answers as for a wrong password, in the same time
	}
	return zone, err == nil, err
}

// forward asks the home regions in turn. A region that was asked may have acted: only one that could not be reached is passed over.
func (e *Edge) forward(w http.ResponseWriter, r *http.Request, zone chat.Zone, addr netip.Addr, regions []chat.Region) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(e.opt.Limits.RequestBytes)))
	if err != nil {
		e.failREST(w, r, &chat.Error{Code: chat.CodeTooLarge, Op: "edge.forward", Message: "request body is over the limit"})
		return
	}
	payload, err := json.Marshal(forwarded{Method: r.Method, URI: r.URL.RequestURI(), Headers: pick(r.Header, headersThere), Body: body, Addr: addr})
	if err != nil {
		e.failREST(w, r, err)
		return
	}
	if len(regions) == 0 {
		e.failREST(w, r, unreachable(zone))
		return
	}
	back, err := e.opt.Backbone.Call(r.Context(), regions[0], MethodHTTP, payload)
	var answer forwardedAnswer
	if err == nil {
		err = json.Unmarshal(back, &answer)
	}
	if err != nil {
		e.opt.Log.Warn("request not forwarded", "to", regions[0], "err", err)
		e.failREST(w, r, unreachable(zone))
		return
	}
	for k, v := range answer.Headers {
		w.Header().Set(k, v)
	}
	if origin := r.Header.Get("Origin"); origin != "" && e.opt.Origin(r) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Add("Vary", "Origin")
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // the client is gone: nobody to tell
}

func pick(h http.Header, names []string) map[string]string {
	out := make(map[string]string, len(names))
	for _, n := range names {
		if v := h.Get(n); v != "" {
			out[n] = v
		}
	}
	return out
}

// ServeForwarded answers, at home, a request that an edge passed on.
func (e *Edge) ServeForwarded(ctx context.Context, payload []byte) ([]byte, error) {
	var f forwarded
	if err := json.Unmarshal(payload, &f); err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "edge.ServeForwarded", Message: "forwarded request is not valid", Cause: err}
	}
	if why := e.opt.Serving(); why != nil {
		return nil, why
	}
	r, err := http.NewRequestWithContext(context.WithValue(ctx, addressKey{}, f.Addr), f.Method, f.URI, bytes.NewReader(f.Body))
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "edge.ServeForwarded", Message: "forwarded request is not valid", Cause: err}
	}
	for _, n := range headersThere {
		if v, ok := f.Headers[n]; ok {
			r.Header.Set(n, v)
		}
	}
	r.RequestURI = f.URI
	rec := &recorder{header: make(http.Header), status: http.StatusOK}
	e.opt.REST.ServeHTTP(rec, r)
	return json.Marshal(forwardedAnswer{Status: rec.status, Headers: pick(rec.header, headersBack), Body: rec.body.Bytes()})
}

// recorder is a ResponseWriter that keeps the answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
