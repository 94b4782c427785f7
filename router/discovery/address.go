package discovery

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"meridian/chat"
)

// ClientAddr gives the address of who sent r: the socket's, or, when that is a trusted proxy's, the right-most address of
// X-Forwarded-For that is not a trusted proxy. What stands to the left of it was written by the client and means nothing.
// An entry that is no address ends the walk: the proxy before it counts as the client.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !within(client, trusted) {
			break
		}
		next, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			break
		}
		client = next
	}
	return client
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

// ParsePrefixes reads the configuration's list of trusted proxies; a bare address means itself alone. The error has
// CodeInvalid and names the entry.
func ParsePrefixes(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, &chat.Error{Code: chat.CodeInvalid, Op: "discovery.ParsePrefixes", Message: "network.trusted_proxies: " + s + " is not a network like 10.0.0.0/8"}
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
