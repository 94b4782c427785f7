package router

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"meridian/chat"
	"meridian/config"
	"meridian/router/dns"
	"meridian/router/health"
)

// Region is where a region is reached.
type Region struct {
	Name chat.Region
	// URLs are the bases that clients use, one for each node, or one for all. The router probes their /v1/probe and asks
	// Admins, the admin listeners of the nodes, for /v1/peers.
	URLs   []string
	Admins []string
	// Addresses are what GeoDNS answers.
	Addresses []netip.Addr
}

// regionsOf says where the regions of a configuration are: as the options say, where they name one.
func (r *Router) regionsOf(cfg *config.Config) ([]Region, error) {
	all, err := RegionsOf(cfg)
	for i := range all {
		for _, given := range r.opts.Regions {
			if given.Name == all[i].Name {
				all[i] = given
			}
		}
	}
	return all, err
}

// RegionsOf reads from the configuration where the regions are: the URLs default to http://<http> of each node, the addresses
// to the hosts of http. The error has CodeInvalid and names the key.
func RegionsOf(cfg *config.Config) ([]Region, error) {
	out := make([]Region, len(cfg.Regions))
	for i, c := range cfg.Regions {
		r := Region{Name: c.Name, URLs: c.ClientURLs()}
		list := c.Addresses
		for _, n := range c.NodeList() {
			r.Admins = append(r.Admins, "http://"+n.Admin)
			if host := addressOf(n.HTTP); len(c.Addresses) == 0 && host != "" && !slices.Contains(list, host) {
				list = append(list, host)
			}
		}
		for _, s := range list {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, &chat.Error{Code: chat.CodeInvalid, Op: "router.RegionsOf", Message: fmt.Sprintf("regions.%s.addresses: %q is not an IP address", c.Name, s)}
			}
			r.Addresses = append(r.Addresses, a.Unmap())
		}
		out[i] = r
	}
	return out, nil
}

// addressOf gives the host of host:port when it is an address that can be dialled, else "".
func addressOf(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return ""
	}
	if a, err := netip.ParseAddr(host); err != nil || a.IsUnspecified() {
		return ""
	}
	return host
}

func targets(regions []Region) []health.Target {
	out := make([]health.Target, len(regions))
	for i, region := range regions {
		out[i] = health.Target{Region: region.Name, Ready: region.Bases(), Admins: bases(region.Admins)}
	}
	return out
}

// Bases gives URLs without the slash at their end.
func (r Region) Bases() []string { return bases(r.URLs) }

func bases(urls []string) []string {
	out := make([]string, len(urls))
	for i, url := range urls {
		out[i] = strings.TrimSuffix(url, "/")
	}
	return out
}

func dnsRegions(regions []Region) []dns.Region {
	out := make([]dns.Region, len(regions))
	for i, region := range regions {
		out[i] = dns.Region{Name: region.Name, Addresses: region.Addresses, URL: region.URLs[0]}
	}
	return out
}
