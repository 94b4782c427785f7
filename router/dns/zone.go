package dns

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"meridian/chat"
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
	// Metrics may be nil.
	Metrics meter.Metrics
}

// kind says what a name is.
type kind uint8

const (
	kindEmpty  kind = iota // only names below it
	kindHost               // answered by region
	kindSRV                // SRV of a host
	kindWhy                // the reasons
	kindRegion             // one region's fixed addresses
	kindServer             // a name server's addresses
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
	s.addHost(domain, domain, table.General)
	for _, h := range s.opts.Hosts {
		name, ok := canonical(h.Name)
		if !ok || name == domain {
			return invalid("zones: host %q is not a domain name of its own", h.Name)
		}
		apex := name
		if dns.IsSubDomain(domain, name) {
			apex = domain
		}
		s.addHost(name, apex, h.Number)
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
		if dns.IsSubDomain(domain, name) && s.nodes[name] == nil {
			s.add(name, node{kind: kindServer, apex: domain, addrs: ns.Addresses})
		}
	}
	return nil
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
		e := endpoint{Region: r, target: strings.ToLower(string(name)) + "." + domain}
		u, err := url.Parse(r.URL)
		if err != nil {
			return invalid("region %s: %q is no URL", name, r.URL)
		}
		e.https = u.Scheme == "https"
		e.port = 80
		if e.https {
			e.port = 443
		}
		if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
			e.port = uint16(p)
		}
		s.regions = append(s.regions, e)
		s.add(e.target, node{kind: kindRegion, apex: domain, region: i, addrs: r.Addresses})
	}
	return nil
}

func (s *Server) addHost(name, apex string, number int) {
	if name == apex {
		s.apexes = append(s.apexes, apex)
	}
	s.add(name, node{kind: kindHost, apex: apex, host: number})
	s.add("_meridian._tcp."+name, node{kind: kindSRV, apex: apex, host: number})
	s.add("_why."+name, node{kind: kindWhy, apex: apex, host: number})
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

// canonical gives a name in lower case with its final dot.
func canonical(name string) (string, bool) {
	name = dns.Fqdn(strings.ToLower(name))
	_, ok := dns.IsDomainName(name)
	return name, ok && name != "."
}

func invalid(format string, args ...any) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "dns.New", Message: fmt.Sprintf(format, args...)}
}
