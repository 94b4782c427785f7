package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// checkGeo checks what the address data is made of.
func (v *validator) checkGeo() {
	r := v.config.Router
	for i, file := range r.GeoFiles {
		v.filled(fmt.Sprintf("router.geo_files[%d]", i), file)
	}
	for i, file := range r.ASNFiles {
		v.filled(fmt.Sprintf("router.asn_files[%d]", i), file)
	}
	within(v, "router.geo_max_age", r.GeoMaxAge, 0, 10*365*day)
	within(v, "router.canary_changed_share", r.CanaryChangedShare, 0, 1)
	for i, s := range r.Canaries {
		if a, err := netip.ParseAddr(s); err != nil || a.Zone() != "" {
			v.add(fmt.Sprintf("router.canaries[%d]", i), "%s is not an IP address", quote(s))
		}
	}
}

// CanaryAddresses gives Canaries, which must be valid.
func (r Router) CanaryAddresses() []netip.Addr {
	out := make([]netip.Addr, 0, len(r.Canaries))
	for _, s := range r.Canaries {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out
}

func (v *validator) checkOverrides() {
	overrides := v.config.Router.Overrides
	_, problems := OverrideNetworks(overrides)
	v.problems = append(v.problems, problems...)
	for _, network := range slices.Sorted(maps.Keys(overrides)) {
		path, o := "router.overrides."+network, overrides[network]
		if len(o.Prefer)+len(o.Never) == 0 && o.Place == nil {
			v.add(path, "says nothing; it needs prefer, never or place")
		}
		v.regionList(path+".prefer", o.Prefer)
		v.regionList(path+".never", o.Never)
		if len(v.regions) > 0 && len(o.Never) >= len(v.regions) {
			v.add(path+".never", "takes out all regions; at least one must remain")
		}
		if p := o.Place; p != nil {
			v.country(path+".place.country", p.Country)
			within(v, path+".place.latitude", p.Latitude, -90, 90)
			within(v, path+".place.longitude", p.Longitude, -180, 180)
		}
	}
}

// OverrideNetworks reads the networks of overrides, ascending. The problems name what is no network, and each two that overlap.
func OverrideNetworks(overrides map[string]Override) ([]netip.Prefix, Problems) {
	var networks []netip.Prefix
	var problems Problems
	for _, s := range slices.Sorted(maps.Keys(overrides)) {
		if p, problem := network(s); problem != "" {
			problems = append(problems, Problem{Path: "router.overrides." + s, Message: problem})
		} else {
			networks = append(networks, p)
		}
	}
	slices.SortFunc(networks, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var widest netip.Prefix // of those that begin here or before, the one that reaches furthest
	for _, p := range networks {
		if widest.IsValid() && widest.Overlaps(p) {
			problems = append(problems, Problem{Path: "router.overrides." + p.String(), Message: fmt.Sprintf("overlaps %s; no address may have two overrides", widest)})
			continue
		}
		widest = p
	}
	return networks, problems
}

// The networks that hold addresses of IPv4: clients there are looked up by those.
var ipv4InIPv6 = []netip.Prefix{netip.MustParsePrefix("::/64"), netip.MustParsePrefix("2002::/16")}

// network reads one network, in the one way in which it may be written, or says what is wrong with it.
func network(s string) (netip.Prefix, string) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, `is not a network; write address/bits, as in "203.0.113.0/24"`
	case s != p.Masked().String():
		return p, fmt.Sprintf("has bits set behind its prefix, or is not in the usual form; did you mean %s?", p.Masked())
	case p.Addr().Is6() && p.Bits() > 64:
		return p, "is longer than /64; clients of IPv6 are told apart by /64"
	}
	for _, v4 := range ipv4InIPv6 {
		if p.Overlaps(v4) {
			return p, fmt.Sprintf("holds addresses of %s, which are looked up by the IPv4 address in them; name that", v4)
		}
	}
	return p, ""
}
