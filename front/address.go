package front

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"meridian/chat"
)

// Address gives the client's address of a request that came through Serve: what a listed proxy says, or the socket's.
func Address(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero address for a request that came from no socket
	return peer.Addr().Unmap().WithZone("")
}

// Why a header that names a client was ignored.
const (
	unlisted  = "unlisted"  // who sent it is no trusted proxy
	malformed = "malformed" // a trusted proxy's entry is no address
)

// forwardedHeaders name a client; X-Forwarded-For is the one that is read.
var forwardedHeaders = []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip"}

// clientOf gives the address of who sent r: the socket's, or, when that is a trusted proxy's, the right-most address of
// X-Forwarded-For that is not a trusted proxy. What stands to the left of it was written by the client and means nothing.
// An entry that is no address ends the walk: the proxy before it counts as the client. ignored says why a header was not
// followed, "" when nothing was ignored.
func clientOf(r *http.Request, trusted []netip.Prefix) (client netip.Addr, ignored string) {
	client = Address(r)
	if !within(client, trusted) {
		if slices.ContainsFunc(forwardedHeaders, func(name string) bool { return len(r.Header[name]) > 0 }) {
			return client, unlisted
		}
		return client, ""
	}
	values := r.Header["X-Forwarded-For"]
	if len(values) == 0 {
		return client, ""
	}
	for _, hop := range slices.Backward(strings.Split(strings.Join(values, ","), ",")) {
		if !within(client, trusted) {
			break
		}
		next, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			return client, malformed
		}
		client = next
	}
	return client, ""
}

// parseHop reads an address as proxies write it: alone, or with a port.
func parseHop(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	p, err := netip.ParseAddrPort(s)
	return p.Addr().Unmap().WithZone(""), err == nil
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// seen lets next see the client's address as the socket's, however many trusted proxies stand between: whoever asks for a
// request's address, for a decision, a limit or a log, gets the same one.
func (f *Front) seen(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, ignored := clientOf(r, f.trusted)
		if ignored != "" {
			f.metrics.Count("forwarded_ignored_total", ignored)
		}
		if client != Address(r) {
			r = r.WithContext(r.Context()) // a copy: the server keeps its own
			r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
		}
		next.ServeHTTP(w, r)
	})
}

// prefixes reads networks of the configuration's key; a bare address means itself alone. The error has CodeInvalid and names the entry.
func prefixes(key string, list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, &chat.Error{Code: chat.CodeInvalid, Op: "front.New", Message: key + ": " + s + " is not a network like 10.0.0.0/8"}
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
