package rest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"path"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"meridian/chat"
	"meridian/region-node/auth"
	"meridian/region-node/cached"
	"meridian/region-node/limits"
	"meridian/region-node/wire"
)

// methods are the calls of one path, by method.
type methods map[string]call

// path registers the calls of a path; every other method of it is refused with the list of those that exist.
func (h *handler) path(pattern string, calls methods) {
	for method, answer := range calls {
		h.mux.HandleFunc(method+" "+pattern, func(w http.ResponseWriter, r *http.Request) {
			if method == http.MethodGet { // whatever changes something reads the store
				r = r.WithContext(cached.Request(r.Context()))
			}
			if err := answer(w, r); err != nil {
				h.fail(w, r, err)
			}
		})
	}
	allowed := slices.Sorted(maps.Keys(calls))
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	allow := strings.Join(append(allowed, http.MethodOptions), ", ")
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.fail(w, r, &chat.Error{Code: chat.CodeMethodNotAllowed, Op: "rest", Message: "allowed: " + allow})
	})
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w}
	started := h.Now()
	id := requestID(r)
	r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
	header := w.Header()
	header.Set("X-Request-Id", id)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")
	defer func() {
		if cause := recover(); cause != nil {
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			h.Log.Error("request panicked", "request_id", id, "route", r.Pattern, "panic", cause, "stack", string(debug.Stack()))
			if rec.status == 0 {
				h.fail(rec, r, &chat.Error{Code: chat.CodeInternal, Op: "rest", Message: "internal error"})
			}
		}
		route := routeOf(r.Pattern)
		h.Metrics.Count("requests_total", route, strconv.Itoa(rec.status))
		h.Metrics.Observe("request_seconds", h.Now().Sub(started).Seconds(), route)
	}()
	switch {
	case h.cors(rec, r):
	case path.Clean(r.URL.Path) != r.URL.Path: // ServeMux would answer with a redirect in HTML
		h.fail(rec, r, notFound())
	default:
		h.mux.ServeHTTP(rec, r)
	}
}

// routeOf gives a pattern without its method, "other" where nothing matched.
func routeOf(pattern string) string {
	if _, p, ok := strings.Cut(pattern, " "); ok {
		pattern = p
	}
	if pattern == "" || pattern == "/" {
		return "other"
	}
	return pattern
}

// corsMaxAgeSeconds is how long a browser may remember a preflight's answer.
const corsMaxAgeSeconds = "600"

// cors lets pages of allowed origins read the answer; it says whether r was a preflight and is answered. There are no
// cookies, so nothing is done in a person's name that the page does not hold the token for.
func (h *handler) cors(w http.ResponseWriter, r *http.Request) (answered bool) {
	origin := r.Header.Get("Origin")
	header := w.Header()
	header.Add("Vary", "Origin")
	allowed := origin != "" && h.Origin(origin)
	if allowed {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Expose-Headers", "Retry-After, X-Request-Id")
	}
	if origin == "" || r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	if allowed {
		header.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
		header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id")
		header.Set("Access-Control-Max-Age", corsMaxAgeSeconds)
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// fail answers with err and counts it. The log has causes of what is our fault, under the request's id.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := chat.AsError(err)
	h.Metrics.Count("refused_total", string(e.Code))
	if e.HTTPStatus() >= http.StatusInternalServerError {
		h.Log.Warn("request failed", "request_id", r.Context().Value(requestIDKey{}), "route", routeOf(r.Pattern), "err", err)
	}
	if e.HTTPStatus() == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	wire.WriteError(w, r, err)
}

// user makes a call of one that needs a log-in: a token of this deployment whose session stands, in its home zone, of somebody who
// has not asked too much. The body is not touched before that.
func (h *handler) user(answer userCall) call {
	return func(w http.ResponseWriter, r *http.Request) error {
		claims, err := h.Auth.Verifier().Verify(bearer(r), auth.Access)
		if err == nil {
			err = h.Auth.CheckSession(r.Context(), claims)
		}
		if err != nil {
			if code := chat.CodeOf(err); code == chat.CodeUnauthorized {
				h.Metrics.Count("auth_failures_total", string(code))
			}
			return err
		}
		class := limits.Writes
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			class = limits.Reads
		}
		if err := h.Limits.Take(r.Context(), class, limits.User(claims.User)); err != nil {
			return err
		}
		return answer(w, r, claims)
	}
}

// named makes a call of one that looks a username up, which is limited per user.
func (h *handler) named(answer userCall) userCall {
	return func(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
		if err := h.lookup(r.Context(), c); err != nil {
			return err
		}
		return answer(w, r, c)
	}
}

// lookup takes one of the user's look-ups of names.
func (h *handler) lookup(ctx context.Context, c auth.Claims) error {
	return h.Limits.Take(ctx, limits.Lookups, limits.User(c.User))
}

// bearer gives the request's token, "" if there is none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

type requestIDKey struct{}

// knownRequestID is what a request id of an edge or a client may look like.
var knownRequestID = regexp.MustCompile(`^[A-Za-z0-9-]{8,64}$`)

func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); knownRequestID.MatchString(id) {
		return id
	}
	var b [12]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
