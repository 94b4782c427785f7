package geo

import (
	"net/netip"
	"slices"

	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

// special lists the networks that no user of the Internet has (the IANA special-purpose registries), ascending. Whatever a
// file says about them, they have no place.
var special = []struct{ prefix, detail string }{
	{"0.0.0.0/8", "this network"},
	{"10.0.0.0/8", "a private address"},
	{"100.64.0.0/10", "a carrier's private address"},
	{"127.0.0.0/8", "the local host"},
	{"169.254.0.0/16", "a link-local address"},
	{"172.16.0.0/12", "a private address"},
	{"192.0.0.0/24", "a protocol address"},
	{"192.0.2.0/24", "an address for documentation"},
	{"192.168.0.0/16", "a private address"},
	{"198.18.0.0/15", "an address for benchmarks"},
	{"198.51.100.0/24", "an address for documentation"},
	{"203.0.113.0/24", "an address for documentation"},
	{"224.0.0.0/4", "a multicast address"},
	{"240.0.0.0/4", "a reserved address"},
	{"64:ff9b::/64", "a NAT64 address"},
	{"64:ff9b:1::/48", "a NAT64 address"},
	{"100::/64", "a discarded address"},
	{"2001::/32", "a Teredo address"},
	{"2001:2::/48", "an address for benchmarks"},
	{"2001:10::/28", "an identifier, not an address"},
	{"2001:20::/28", "an identifier, not an address"},
	{"2001:db8::/32", "an address for documentation"},
	{"3fff::/20", "an address for documentation"},
	{"5f00::/16", "a segment identifier"},
	{"fc00::/7", "a private address"},
	{"fe80::/10", "a link-local address"},
	{"ff00::/8", "a multicast address"},
}

// reserved is the layer over all files.
func (c *compiler) reserved() *ranges.Set {
	type entry struct {
		prefix netip.Prefix
		number uint32
	}
	entries := []entry{{netip.MustParsePrefix("::/64"), IPv4InIPv6}, {netip.MustParsePrefix("2002::/16"), IPv4InIPv6}}
	for _, s := range special {
		entries = append(entries, entry{netip.MustParsePrefix(s.prefix), c.names.number(decide.Place{Detail: s.detail})})
	}
	slices.SortFunc(entries, func(a, b entry) int { return a.prefix.Addr().Compare(b.prefix.Addr()) })
	var b ranges.Builder
	for _, e := range entries {
		b.Add(e.prefix, e.number)
	}
	return b.Set()
}
