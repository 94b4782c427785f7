package dns

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"meridian/chat"
	"meridian/router/table"
)

// resolve fills in the answer to one question.
func (s *Server) resolve(a *answer, q dns.Question) {
	switch q.Qtype {
	case dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY, dns.TypeNone: // no types of data
		a.msg.Rcode = dns.RcodeFormatError
		return
	case dns.TypeMAILA, dns.TypeMAILB:
		a.msg.Rcode = dns.RcodeNotImplemented
		return
	}
	if q.Qclass == dns.ClassCHAOS {
		s.chaos(a, q)
		return
	}
	n, apex := s.find(q.Name)
	if q.Qclass != dns.ClassINET || apex == "" || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		a.msg.Rcode = dns.RcodeRefused
		return
	}
	a.msg.Authoritative = true
	if n == nil {
		a.msg.Rcode = dns.RcodeNameError
		s.deny(a, apex, s.chains[apex].noName(q.Name, s.closest(q.Name)))
		return
	}
	s.records(a, n, q)
	if len(a.msg.Answer) == 0 && a.msg.Rcode == dns.RcodeSuccess {
		s.deny(a, apex, s.chains[apex].noData(q.Name, q.Qtype))
	}
}

// deny says that there is nothing, with the proof where the asker and the zone speak DNSSEC.
func (s *Server) deny(a *answer, apex string, proof []dns.RR) {
	if !a.dnssec || !s.signer.Load().signs(apex) {
		proof = nil
	}
	a.msg.Ns = s.denial(apex, proof, a.ttl)
}

// denial gives the records that say that there is nothing. Where that depends on the states, ttl says how long it lives; else it
// is 0.
func (s *Server) denial(apex string, proof []dns.RR, ttl uint32) []dns.RR {
	out := append([]dns.RR{s.soa(apex, apex)}, proof...)
	if ttl == 0 {
		ttl = seconds(s.opts.TTL)
	}
	for _, rr := range out {
		rr.Header().Ttl = ttl
	}
	return out
}

// records adds what the name has of the type asked for.
func (s *Server) records(a *answer, n *node, q dns.Question) {
	if n.kind == kindEmpty {
		return
	}
	signer := s.signer.Load()
	isApex := strings.EqualFold(q.Name, n.apex)
	switch q.Qtype {
	case dns.TypeANY: // RFC 8482: as little as possible
		a.msg.Answer = []dns.RR{&dns.HINFO{Hdr: s.header(q.Name, dns.TypeHINFO), Cpu: "RFC8482"}}
	case dns.TypeNSEC, dns.TypeRRSIG:
		if signer.signs(n.apex) {
			s.chainRecord(a, n, q)
		}
	case dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
		if isApex && signer.signs(n.apex) {
			a.msg.Answer = signer.keyRecords(q.Name, n.apex, q.Qtype, seconds(s.opts.Serving.DNSSEC.KeyTTL), a.now)
		}
	case dns.TypeSOA:
		if isApex {
			a.msg.Answer = []dns.RR{s.soa(q.Name, n.apex)}
		}
	case dns.TypeNS:
		if isApex {
			s.nameServers(a, q)
		}
	case dns.TypeCAA:
		if isApex {
			a.msg.Answer = s.caa(q.Name)
		}
	default:
		s.data(a, n, q)
	}
}

// chainRecord adds the NSEC record of a name, or of all signatures at the name, of which RFC 8482 lets us choose, the one of
// that record.
func (s *Server) chainRecord(a *answer, n *node, q dns.Question) {
	chain := s.chains[n.apex]
	i, own := chain.at(q.Name)
	if !own {
		return
	}
	record := chain.record(i, 0)
	record.Hdr.Name, record.Hdr.Ttl = q.Name, seconds(s.opts.TTL)
	a.msg.Answer = []dns.RR{record}
	if q.Qtype == dns.TypeNSEC {
		return
	}
	sigs, _, err := s.signer.Load().section(a.msg.Answer, s.apexOf, a.now)
	if err != nil {
		s.opts.Log.Error("an answer cannot be signed", "error", err)
		a.fail()
		return
	}
	a.msg.Answer = sigs[1:]
}

// nameServers adds the NS records, with the addresses of those that are ours.
func (s *Server) nameServers(a *answer, q dns.Question) {
	for _, ns := range s.servers {
		a.msg.Answer = append(a.msg.Answer, &dns.NS{Hdr: s.header(q.Name, dns.TypeNS), Ns: ns})
		if server := s.nodes[ns]; server != nil {
			a.msg.Extra = append(a.msg.Extra, s.addresses(ns, server.addrs, 0)...)
		}
	}
}

func (s *Server) caa(name string) []dns.RR {
	var out []dns.RR
	for _, c := range s.opts.Serving.CAA {
		rr := &dns.CAA{Hdr: s.header(name, dns.TypeCAA), Tag: c.Tag, Value: c.Value}
		if c.Critical {
			rr.Flag = 128
		}
		out = append(out, rr)
	}
	return out
}

// data adds what a name has by its kind.
func (s *Server) data(a *answer, n *node, q dns.Question) {
	switch {
	case n.kind == kindRegion || n.kind == kindServer:
		if q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA {
			a.msg.Answer = s.addresses(q.Name, n.addrs, q.Qtype)
		}
	case n.kind == kindHost || n.kind == kindSRV && q.Qtype == dns.TypeSRV:
		s.geo(a, n, q)
	case n.kind == kindExplain && q.Qtype == dns.TypeTXT:
		s.explain(a, n, q)
	}
}

// geo adds what depends on the client's region.
func (s *Server) geo(a *answer, n *node, q dns.Question) {
	switch q.Qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeSRV, dns.TypeTXT:
	default:
		return
	}
	var room [chat.MaxRegions]uint8
	regions, scope := s.opts.Table.Answer(room[:0], n.host, a.client)
	if a.scope = scope; len(regions) == 0 { // the host's regions are all excluded by a never rule
		a.fail()
		return
	}
	a.ttl = s.hostTTL(n.host)
	for rank, i := range regions[:min(len(regions), s.opts.AnswerRegions)] {
		answer, extra := s.recordsOf(s.regions[i], rank, q.Name, q.Qtype, a.ttl)
		a.msg.Answer, a.msg.Extra = append(a.msg.Answer, answer...), append(a.msg.Extra, extra...)
	}
}

// hostTTL gives the TTL of what is answered for a host, in seconds.
func (s *Server) hostTTL(host int) uint32 {
	if s.opts.Table.Unsettled(host) {
		return seconds(s.opts.TTLDegraded)
	}
	return seconds(s.opts.TTL)
}

func seconds(d time.Duration) uint32 { return uint32(d.Seconds()) }

// recordsOf gives what a host's answer holds of one region, which is the rank-th in it: the records and what goes with them.
func (s *Server) recordsOf(e endpoint, rank int, name string, kind uint16, ttl uint32) (answer, extra []dns.RR) {
	switch kind {
	case dns.TypeA, dns.TypeAAAA:
		answer = s.addresses(name, e.Addresses, kind)
	case dns.TypeHTTPS:
		if e.https {
			answer = []dns.RR{s.https(name, rank, e)}
		}
	case dns.TypeSRV:
		answer = []dns.RR{&dns.SRV{Hdr: s.header(name, kind), Priority: uint16(rank + 1), Weight: 1, Port: e.port, Target: e.target}}
		extra = s.addresses(e.target, e.Addresses, 0)
	case dns.TypeTXT:
		answer = []dns.RR{&dns.TXT{Hdr: s.header(name, kind), Txt: texts("region="+string(e.Name), "url="+e.URL)}}
	}
	for _, rr := range answer {
		rr.Header().Ttl = ttl
	}
	return answer, extra
}

// explain adds the reasons of the decision that geo would answer with.
func (s *Server) explain(a *answer, n *node, q dns.Question) {
	d, err := s.opts.Table.Decide(table.Query{Address: a.client, Host: n.host})
	a.scope = a.client.BitLen() // the text names the address
	if err != nil {
		a.fail()
		return
	}
	region := d.Region
	if len(d.Names) > 0 { // the region of the address records: names leave a draining one by and by
		region = d.Names[0]
	}
	for _, line := range append([]string{"region=" + string(region), "address=" + d.Address, "country=" + d.Place.Country}, d.Reasons...) {
		a.msg.Answer = append(a.msg.Answer, &dns.TXT{Hdr: s.header(q.Name, dns.TypeTXT), Txt: texts(line)})
	}
}

// texts cuts strings to the 255 bytes that TXT holds in one.
func texts(all ...string) []string {
	var out []string
	for _, s := range all {
		for len(s) > 255 {
			out, s = append(out, s[:255]), s[255:]
		}
		out = append(out, s)
	}
	return out
}

func (s *Server) header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: seconds(s.opts.TTL)}
}

// addresses gives the address records of a type, of both types for 0.
func (s *Server) addresses(name string, addrs []netip.Addr, kind uint16) []dns.RR {
	var out []dns.RR
	for _, a := range addrs {
		switch {
		case a.Is4() && kind != dns.TypeAAAA:
			out = append(out, &dns.A{Hdr: s.header(name, dns.TypeA), A: a.AsSlice()})
		case a.Is6() && kind != dns.TypeA:
			out = append(out, &dns.AAAA{Hdr: s.header(name, dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	return out
}

func (s *Server) https(name string, rank int, e endpoint) dns.RR {
	rr := &dns.HTTPS{SVCB: dns.SVCB{Hdr: s.header(name, dns.TypeHTTPS), Priority: uint16(rank + 1), Target: e.target}}
	rr.Value = append(rr.Value, &dns.SVCBAlpn{Alpn: []string{"h2", "http/1.1"}})
	if e.port != 443 {
		rr.Value = append(rr.Value, &dns.SVCBPort{Port: e.port})
	}
	var hint4 dns.SVCBIPv4Hint
	var hint6 dns.SVCBIPv6Hint
	for _, a := range e.Addresses {
		if a.Is4() {
			hint4.Hint = append(hint4.Hint, a.AsSlice())
		} else {
			hint6.Hint = append(hint6.Hint, a.AsSlice())
		}
	}
	if len(hint4.Hint) > 0 {
		rr.Value = append(rr.Value, &hint4)
	}
	if len(hint6.Hint) > 0 {
		rr.Value = append(rr.Value, &hint6)
	}
	return rr
}

// mailbox is whom a zone names as its responsible person.
func mailbox(apex string) string { return "hostmaster." + apex }

// soa gives the start of authority. Its serial does not steer any secondary; negative answers live as long as others.
func (s *Server) soa(name, apex string) dns.RR {
	return &dns.SOA{
		Hdr: s.header(name, dns.TypeSOA), Ns: s.servers[0], Mbox: mailbox(apex), Serial: 1,
		Refresh: 3600, Retry: 600, Expire: 86400, Minttl: seconds(s.opts.TTL),
	}
}
