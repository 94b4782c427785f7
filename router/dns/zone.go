package dns

import (
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"meridian/chat"
	"meridian/config"
	"meridian/router/meter"
	"meridian/router/table"
)

// Region is what DNS answers for a region.
type Region struct {
	Name      chat.Region
	Addresses []netip.Addr
	URL       string // its scheme and port go into HTTPS and SRV answers
}

// Host is a zone's own name; Number is its host number in the table.
type Host struct {
	Name   string
	Number int
}

// NameServer is one name server of the domain; Addresses are answered where its name lies in the domain.
type NameServer struct {
	Name      string
	Addresses []netip.Addr
}

// Options make a Server.
type Options struct {
	Table *table.Live
	// Domain is the deployment's name, Hosts are the zones' own; a host outside the domain is served as a zone of its own.
	Domain  string
	Hosts   []Host
	Regions []Region // every region of the table
	// NameServers default to "ns.<domain>" without addresses.
	NameServers []NameServer
	// TTL defaults to 30 s; it is the time that clients without a discovery list lose when a region dies.
	TTL time.Duration
	// TTLDegraded stands in for TTL at a host while a region that it may answer is down or draining; default and at most TTL.
	TTLDegraded time.Duration
	// AnswerRegions is how many regions an answer holds; default 1. More give clients a way out before the TTL ends, but
	// some take the second at once.
	AnswerRegions int
	// Serving is the rest of what the configuration says; its KeyDir is a path. What is zero is off or has a default.
	Serving config.NameServer
	// CookieSecret makes DNS cookies, CookieSecretBytes long and the same for all routers; empty: one of its own.
	CookieSecret []byte
	// Metrics may be nil; Log defaults to silence, Now to the clock.
	Metrics meter.Metrics
	Log     *slog.Logger
	Now     func() time.Time
}

// kind says what a name is.
type kind uint8

const (
	kindEmpty   kind = iota // only names below it
	kindHost                // answered by region
	kindSRV                 // SRV of a host
	kindExplain             // the reasons
	kindRegion              // one region's fixed addresses
	kindServer              // a name server's addresses
)

// node is one name that is served.
type node struct {
	kind   kind
	apex   string // of the zone it is in
	host   int    // host number
	region int    // index into regions
	addrs  []netip.Addr
}

// endpoint is a region as prepared for answers.
type endpoint struct {
	Region
	target string // <region>.<domain>.
	port   uint16
	https  bool
}

// build lays out all names. The error has CodeInvalid and names the option.
func (s *Server) build() error {
	domain, ok := canonical(s.opts.Domain)
	if !ok {
		return invalid("router.domain: %q is not a domain name", s.opts.Domain)
	}
	s.nodes = map[string]*node{}
	if err := s.addHost(domain, domain, table.General); err != nil {
		return err
	}
	for _, h := range s.opts.Hosts {
		if err := s.addZoneHost(h, domain); err != nil {
			return err
		}
	}
	if err := s.addRegions(domain); err != nil {
		return err
	}
	if len(s.opts.NameServers) == 0 {
		s.opts.NameServers = []NameServer{{Name: "ns." + domain}}
	}
	for _, ns := range s.opts.NameServers {
		name, ok := canonical(ns.Name)
		if !ok {
			return invalid("name server %q is not a domain name", ns.Name)
		}
		s.servers = append(s.servers, name)
		if dns.IsSubDomain(domain, name) && s.free(name) {
			s.add(name, node{kind: kindServer, apex: domain, addrs: ns.Addresses})
		}
	}
	s.link()
	return nil
}

// addZoneHost adds a zone's own host: to the domain, or as a zone of its own. A zone of its own that encloses another, or lies in
// one, would need a delegation.
func (s *Server) addZoneHost(h Host, domain string) error {
	name, ok := canonical(h.Name)
	if !ok || !s.free(name) {
		return invalid("zones: host %q is not a domain name of its own", h.Name)
	}
	if dns.IsSubDomain(domain, name) {
		return s.addHost(name, domain, h.Number)
	}
	for _, other := range s.apexes {
		if dns.IsSubDomain(other, name) || dns.IsSubDomain(name, other) {
			return invalid("zones: host %q and %q lie one in the other", h.Name, other)
		}
	}
	return s.addHost(name, name, h.Number)
}

func (s *Server) addRegions(domain string) error {
	byName := map[chat.Region]Region{}
	for _, r := range s.opts.Regions {
		byName[r.Name] = r
	}
	for i, name := range s.opts.Table.Model().Regions() {
		r, ok := byName[name]
		if !ok {
			return invalid("region %s has no addresses", name)
		}
		e, err := endpointOf(r, domain)
		if err != nil {
			return err
		}
		s.regions = append(s.regions, e)
		if !s.free(e.target) {
			return invalid("region %s: the name %s is taken", name, e.target)
		}
		s.add(e.target, node{kind: kindRegion, apex: domain, region: i, addrs: r.Addresses})
	}
	return nil
}

// endpointOf prepares a region for the answers of a domain. The error has CodeInvalid.
func endpointOf(r Region, domain string) (endpoint, error) {
	e := endpoint{Region: r, target: strings.ToLower(string(r.Name)) + "." + domain, port: 80}
	u, err := url.Parse(r.URL)
	if err != nil {
		return e, invalid("region %s: %q is no URL", r.Name, r.URL)
	}
	if e.https = u.Scheme == "https"; e.https {
		e.port = 443
	}
	if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		e.port = uint16(p)
	}
	return e, nil
}

// RegionRecords gives what the answer for a host name holds of one region that stands first in it, for DNS that is served elsewhere. The
// error has CodeInvalid: the domain is no name, or the region's URL is none.
func RegionRecords(r Region, domain, name string, kind uint16, ttl time.Duration) ([]dns.RR, error) {
	domain, ok := canonical(domain)
	if !ok {
		return nil, invalid("router.domain: %q is not a domain name", domain)
	}
	e, err := endpointOf(r, domain)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: Options{TTL: ttl}}
	answer, _ := s.recordsOf(e, 0, dns.Fqdn(name), kind, seconds(ttl))
	return answer, nil
}

func (s *Server) addHost(name, apex string, number int) error {
	if name == apex {
		s.apexes = append(s.apexes, apex)
	}
	for _, one := range []struct {
		name string
		kind kind
	}{{name, kindHost}, {"_meridian._tcp." + name, kindSRV}, {"explain." + name, kindExplain}} {
		if _, fits := dns.IsDomainName(one.name); !fits || !s.free(one.name) {
			return invalid("zones: host %q: the name %s is too long or taken", name, one.name)
		}
		s.add(one.name, node{kind: one.kind, apex: apex, host: number})
	}
	return nil
}

// free says that nothing is at a name; there may be names below it.
func (s *Server) free(name string) bool {
	return s.nodes[name] == nil || s.nodes[name].kind == kindEmpty
}

// link makes the chain of each zone.
func (s *Server) link() {
	types := map[string]map[string][]uint16{}
	for _, apex := range s.apexes {
		types[apex] = map[string][]uint16{}
	}
	for name, n := range s.nodes {
		if n.kind != kindEmpty {
			types[n.apex][name] = s.types(name, n)
		}
	}
	s.chains = map[string]*chain{}
	for apex, names := range types {
		s.chains[apex] = newChain(apex, names)
	}
}

// types gives what a name may have, whoever asks.
func (s *Server) types(name string, n *node) []uint16 {
	var out []uint16
	if name == n.apex {
		out = append(out, dns.TypeSOA, dns.TypeNS, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY)
		if len(s.opts.Serving.CAA) > 0 {
			out = append(out, dns.TypeCAA)
		}
	}
	has := func(addrs []netip.Addr) {
		for _, a := range addrs {
			if a.Is4() {
				out = append(out, dns.TypeA)
			} else {
				out = append(out, dns.TypeAAAA)
			}
		}
	}
	switch n.kind {
	case kindHost:
		out = append(out, dns.TypeSRV, dns.TypeTXT)
		for _, r := range s.regions {
			has(r.Addresses)
			if r.https {
				out = append(out, dns.TypeHTTPS)
			}
		}
	case kindSRV:
		out = append(out, dns.TypeSRV)
	case kindExplain:
		out = append(out, dns.TypeTXT)
	case kindRegion, kindServer:
		has(n.addrs)
	case kindEmpty:
	}
	return out
}

// add adds a name, and the empty names between it and its apex: they exist too (RFC 8020).
func (s *Server) add(name string, n node) {
	s.nodes[name] = &n
	for parent := name; parent != n.apex; {
		_, after, _ := strings.Cut(parent, ".")
		if parent = after; s.nodes[parent] == nil {
			s.nodes[parent] = &node{kind: kindEmpty, apex: n.apex}
		}
	}
}

// find gives the node of a name and the apex of the zone it is in; apex "" means that the name is none of ours.
func (s *Server) find(name string) (n *node, apex string) {
	name = strings.ToLower(name)
	if n = s.nodes[name]; n != nil {
		return n, n.apex
	}
	for _, a := range s.apexes {
		if dns.IsSubDomain(a, name) && len(a) > len(apex) {
			apex = a
		}
	}
	return nil, apex
}

// apexOf gives the zone that a name is in; "" for none of ours.
func (s *Server) apexOf(name string) string {
	_, apex := s.find(name)
	return apex
}

// closest gives the longest end of a name that exists: its closest encloser (RFC 4035).
func (s *Server) closest(name string) string {
	name = strings.ToLower(name)
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		if s.nodes[name[off:]] != nil {
			return name[off:]
		}
	}
	return "."
}

// canonical gives a name in lower case with its final dot.
func canonical(name string) (string, bool) {
	name = dns.Fqdn(strings.ToLower(name))
	_, ok := dns.IsDomainName(name)
	return name, ok && name != "."
}

func invalid(format string, args ...any) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "dns.New", Message: fmt.Sprintf(format, args...)}
}
