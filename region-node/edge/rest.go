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
	"meridian/region-node/limits"
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

// reads says that the request changes nothing.
func (f *forwarded) reads() bool { return f.Method == http.MethodGet || f.Method == http.MethodHead }

type forwardedAnswer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
}

var (
	headersThere = []string{"Authorization", "Content-Type", "Accept", "Origin", "X-Request-Id"}
	headersBack  = []string{
		"Content-Type", "Retry-After", "Location", "Cache-Control", "Allow", "X-Request-Id", "WWW-Authenticate", "Access-Control-Expose-Headers",
		"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy",
	}
)

// addressKey carries the client's address of a forwarded request.
type addressKey struct{}

// ForwardedAddress gives the client's address that an edge passed on, if the request came that way.
func ForwardedAddress(ctx context.Context) (netip.Addr, bool) {
	addr, ok := ctx.Value(addressKey{}).(netip.Addr)
	return addr, ok
}

// Limited bounds what an address may ask of next. Preflights do not count: a browser that is refused one cannot tell why.
func (e *Edge) Limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodOptions {
			if err := e.opt.Limiter.Take(r.Context(), limits.Requests, limits.Address(e.opt.Address(r))); err != nil {
				e.failREST(w, r, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// ServeREST answers the REST calls, here or by the home region.
func (e *Edge) ServeREST(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		e.opt.REST.ServeHTTP(w, r)
		return
	}
	if err := plainBody(r); err != nil {
		e.failREST(w, r, err)
		return
	}
	addr := e.opt.Address(r)
	zone, known, err := e.zoneOf(w, r, addr)
	if err != nil {
		e.failREST(w, r, err)
		return
	}
	service := serviceOf(r)
	at := place{here: true}
	switch {
	case known:
		at, err = e.place(zone, addr, service)
	case slices.Contains(beforeLogIn, r.URL.Path): // it costs what a good one costs: those who run the service refuse it
		at = e.placeNobody(service)
	} // else nobody's request: the handler here says what is wrong with it
	switch {
	case err != nil:
		e.failREST(w, r, err)
	case at.here:
		e.serveHere(w, r, service)
	default:
		e.forward(w, r, service, addr, at)
	}
}

// plainBody refuses a request whose body is compressed: no limit on its length would say how long it becomes.
func plainBody(r *http.Request) error {
	for _, encoding := range r.Header.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return &chat.Error{Code: chat.CodeUnsupportedEncoding, Op: "edge.plainBody", Message: "a request's body may not be compressed; send it without Content-Encoding"}
		}
	}
	return nil
}

// placeNobody decides for a request that names no zone.
func (e *Edge) placeNobody(service chat.Service) place {
	why := e.refusal(service)
	if why == nil {
		return place{here: true}
	}
	return place{targets: e.nodesRunning(service), why: why}
}

// serveHere answers a request in this process.
func (e *Edge) serveHere(w http.ResponseWriter, r *http.Request, service chat.Service) {
	load := e.loads.of(service)
	load.Add(1)
	defer load.Add(-1)
	e.opt.REST.ServeHTTP(w, r)
}

func (e *Edge) failREST(w http.ResponseWriter, r *http.Request, err error) {
	e.opt.Metrics.Count("refused_total", string(chat.CodeOf(err)))
	if origin := r.Header.Get("Origin"); origin != "" && e.opt.Origin(r) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", "Retry-After")
		w.Header().Add("Vary", "Origin")
	}
	wire.WriteError(w, r, err)
}

// zoneOf gives the home zone of whoever asks: by the token, or for the calls before a log-in by what they name.
func (e *Edge) zoneOf(w http.ResponseWriter, r *http.Request, addr netip.Addr) (zone chat.Zone, known bool, err error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		claims, _ := e.opt.Verifier.Verify(token, auth.Access)
		return claims.Zone, placed(claims), nil // a bad token is refused by the handler here
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

// placed says whether a token that was read tells where its bearer is at home, be its time not judged. Who serves them judges it again.
func placed(claims auth.Claims) bool { return claims.Zone != "" }

func (e *Edge) zoneBeforeLogIn(r *http.Request, username string, zone chat.Zone, refresh string, addr netip.Addr) (chat.Zone, bool, error) {
	switch r.URL.Path {
	case "/v1/signup":
		if zone == "" {
			zone = e.opt.HomeZone(addr)
		}
		spec, ok := e.opt.Topology.Zone(zone)
		return zone, ok && len(spec.Regions) > 0, nil
	case "/v1/token":
		claims, _ := e.opt.Verifier.Verify(refresh, auth.Refresh) // a bad token is refused by the handler
		return claims.Zone, placed(claims), nil
	}
	zone, err := e.opt.ZoneOf(r.Context(), username)
	if code := chat.CodeOf(err); code == chat.CodeUnknownUser || code == chat.CodeInvalid {
		return "", false, nil // the handler here answers as for a wrong password, in the same time
	}
	return zone, err == nil, err
}

// forward lets somebody else answer a request.
func (e *Edge) forward(w http.ResponseWriter, r *http.Request, service chat.Service, addr netip.Addr, at place) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(e.opt.Limits.RequestBytes)))
	if err != nil {
		e.failREST(w, r, &chat.Error{Code: chat.CodeTooLarge, Op: "edge.forward", Message: "request body is over the limit"})
		return
	}
	answer, err := e.pass(r.Context(), &forwarded{Method: r.Method, URI: r.URL.RequestURI(), Headers: pick(r.Header, headersThere), Body: body, Addr: addr}, service, at.targets)
	if answer == nil && (err == nil || errors.As(err, &notTaken{})) {
		err = at.why
	}
	if err != nil {
		e.failREST(w, r, err)
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

// ServeForwarded answers a call by which another region's edge passed a request on.
func (e *Edge) ServeForwarded(ctx context.Context, payload []byte) ([]byte, error) {
	answer, err := e.answer(ctx, payload, false)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// readForwarded reads a request that was passed on. Errors: CodeInvalid.
func readForwarded(ctx context.Context, payload []byte) (*forwarded, *http.Request, error) {
	invalid := &chat.Error{Code: chat.CodeInvalid, Op: "edge.readForwarded", Message: "forwarded request is not valid"}
	f := new(forwarded)
	if invalid.Cause = json.Unmarshal(payload, f); invalid.Cause != nil {
		return nil, nil, invalid
	}
	r, err := http.NewRequestWithContext(context.WithValue(ctx, addressKey{}, f.Addr), f.Method, f.URI, bytes.NewReader(f.Body))
	if invalid.Cause = err; err != nil {
		return nil, nil, invalid
	}
	for _, n := range headersThere {
		if v, ok := f.Headers[n]; ok {
			r.Header.Set(n, v)
		}
	}
	r.RequestURI = f.URI
	return f, r, nil
}

// record answers a request in this process, and keeps the answer.
func (e *Edge) record(r *http.Request) *forwardedAnswer {
	rec := &recorder{header: make(http.Header), status: http.StatusOK}
	e.serveHere(rec, r, serviceOf(r))
	return &forwardedAnswer{Status: rec.status, Headers: pick(rec.header, headersBack), Body: rec.body.Bytes()}
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
