package dns

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"meridian/chat"
	"meridian/router/table"
)

const metricMalformed = "dns_malformed_total"

const (
	headerBytes = 12
	// udpBytes is what we send and take over UDP at most: it passes every path in one piece.
	udpBytes = 1232
)

// Respond gives the answer to one query from an address, nil for silence. It never panics, whatever the bytes are. What
// cannot be read is counted as malformed; all else by type and code.
func (s *Server) Respond(query []byte, from netip.Addr, tcp bool) []byte {
	began := time.Now()
	if len(query) < headerBytes || query[2]&0x80 != 0 { // too short to answer, or an answer itself
		s.opts.Metrics.Count(metricMalformed)
		return nil
	}
	q := new(dns.Msg)
	if err := q.Unpack(query); err != nil {
		s.opts.Metrics.Count(metricMalformed)
		return headerOnly(query, dns.RcodeFormatError)
	}
	if q.Opcode != dns.OpcodeQuery {
		s.count("other", dns.RcodeNotImplemented)
		return headerOnly(query, dns.RcodeNotImplemented)
	}
	a := &answer{msg: new(dns.Msg), tcp: tcp, client: from}
	if !a.begin(query, q) {
		s.opts.Metrics.Count(metricMalformed)
		return headerOnly(query, dns.RcodeFormatError)
	}
	if a.msg.Rcode == dns.RcodeSuccess {
		s.resolve(a, q.Question[0])
	}
	out := s.finish(a)
	s.count(typeLabel(q.Question[0].Qtype), a.msg.Rcode)
	s.opts.Metrics.Observe("dns_seconds", time.Since(began).Seconds())
	return out
}

func (s *Server) count(kind string, rcode int) {
	s.opts.Metrics.Count("dns_queries_total", kind, dns.RcodeToString[rcode])
}

// typeLabel names a type that is served; all others are one, so that askers cannot make labels.
func typeLabel(kind uint16) string {
	switch kind {
	case dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeSRV, dns.TypeTXT, dns.TypeSOA, dns.TypeNS:
		return dns.TypeToString[kind]
	}
	return "other"
}

// answer is one response in the making.
type answer struct {
	msg     *dns.Msg
	tcp     bool
	client  netip.Addr // whom the answer is for: the subnet's address or the resolver's
	subnet  *subnet
	opt     *dns.OPT // of the response; nil when the query has none
	scope   int
	maxSize int
	ttl     uint32 // of what depends on the regions' states
}

// begin reads what stands around the question; false means FORMERR.
func (a *answer) begin(query []byte, q *dns.Msg) bool {
	if len(q.Question) != 1 || len(q.Answer)+len(q.Ns) > 0 {
		return false
	}
	a.msg.SetReply(q)
	a.msg.Compress = true
	a.maxSize = dns.MinMsgSize
	if a.tcp {
		a.maxSize = dns.MaxMsgSize
	}
	var ok bool
	if a.subnet, ok = findSubnet(query); !ok {
		return false
	}
	var in *dns.OPT
	for _, rr := range q.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			if in != nil || opt.Hdr.Name != "." {
				return false
			}
			in = opt
		}
	}
	if in == nil {
		return a.subnet == nil
	}
	a.opt = &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	a.opt.SetUDPSize(udpBytes)
	a.opt.SetDo(in.Do())
	if !a.tcp {
		a.maxSize = min(max(int(in.UDPSize()), dns.MinMsgSize), udpBytes)
	}
	if in.Version() != 0 {
		a.msg.Rcode, a.subnet = dns.RcodeBadVers, nil
		return true
	}
	if a.subnet != nil && a.subnet.bits > 0 {
		a.client = a.subnet.addr
	}
	return true
}

// resolve fills in the answer to one question.
func (s *Server) resolve(a *answer, q dns.Question) {
	if q.Qclass == dns.ClassCHAOS && q.Qtype == dns.TypeTXT && strings.EqualFold(q.Name, "version.bind.") {
		a.msg.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS}, Txt: []string{"meridian"}}}
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
		a.msg.Ns = []dns.RR{s.soa(apex, apex)}
		return
	}
	if q.Qtype == dns.TypeANY { // RFC 8482: as little as possible
		a.msg.Answer = []dns.RR{&dns.HINFO{Hdr: s.header(q.Name, dns.TypeHINFO), Cpu: "RFC8482"}}
		return
	}
	s.records(a, n, q)
	if len(a.msg.Answer) == 0 && a.msg.Rcode == dns.RcodeSuccess {
		a.msg.Ns = []dns.RR{s.soa(apex, apex)}
		if a.ttl > 0 { // that there is nothing depends on the states, too
			a.msg.Ns[0].Header().Ttl = a.ttl
		}
	}
}

// records adds what the name has of the type asked for.
func (s *Server) records(a *answer, n *node, q dns.Question) {
	isApex := strings.EqualFold(q.Name, n.apex)
	switch {
	case isApex && q.Qtype == dns.TypeSOA:
		a.msg.Answer = []dns.RR{s.soa(q.Name, n.apex)}
	case isApex && q.Qtype == dns.TypeNS:
		for _, ns := range s.servers {
			a.msg.Answer = append(a.msg.Answer, &dns.NS{Hdr: s.header(q.Name, dns.TypeNS), Ns: ns})
			if server := s.nodes[ns]; server != nil {
				a.msg.Extra = append(a.msg.Extra, s.addresses(ns, server.addrs, 0)...)
			}
		}
	case n.kind == kindRegion || n.kind == kindServer:
		if q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA {
			a.msg.Answer = s.addresses(q.Name, n.addrs, q.Qtype)
		}
	case n.kind == kindHost || n.kind == kindSRV && q.Qtype == dns.TypeSRV:
		s.geo(a, n, q)
	case n.kind == kindWhy && q.Qtype == dns.TypeTXT:
		s.why(a, n, q)
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

// why adds the reasons of the decision that geo would answer with.
func (s *Server) why(a *answer, n *node, q dns.Question) {
	d, err := s.opts.Table.Decide(table.Query{Address: a.client, Host: n.host})
	a.scope = a.client.BitLen() // the text names the address
	if err != nil {
		a.fail()
		return
	}
	for _, line := range append([]string{"region=" + string(d.Region), "address=" + d.Address, "country=" + d.Place.Country}, d.Reasons...) {
		a.msg.Answer = append(a.msg.Answer, &dns.TXT{Hdr: s.header(q.Name, dns.TypeTXT), Txt: texts(line)})
	}
}

func (a *answer) fail() { a.msg.Rcode = dns.RcodeServerFailure }

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

// finish packs the response within the size that the asker can take.
func (s *Server) finish(a *answer) []byte {
	if a.opt != nil {
		if a.subnet != nil {
			a.opt.Option = append(a.opt.Option, a.subnet.answer(a.scope))
		}
		a.msg.Extra = append(a.msg.Extra, a.opt)
	}
	a.msg.Truncate(a.maxSize)
	a.msg.Compress = true // Truncate unsets it where the answer fits without
	out, err := a.msg.Pack()
	if err != nil { // a name or address of ours that cannot be packed
		a.fail()
		return nil
	}
	return out
}

// headerOnly answers what could not be read.
func headerOnly(query []byte, rcode byte) []byte {
	out := make([]byte, headerBytes)
	copy(out, query[:2])                          // id
	out[2] = 0x80 | query[2]&0x78 | query[2]&0x01 // QR, opcode and RD as they came
	out[3] = rcode
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

// soa gives the start of authority. Its serial does not steer any secondary; negative answers live as long as others.
func (s *Server) soa(name, apex string) dns.RR {
	return &dns.SOA{
		Hdr: s.header(name, dns.TypeSOA), Ns: s.servers[0], Mbox: "hostmaster." + apex, Serial: 1,
		Refresh: 3600, Retry: 600, Expire: 86400, Minttl: seconds(s.opts.TTL),
	}
}
