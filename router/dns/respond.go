package dns

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	metricMalformed = "dns_malformed_total"
	metricLimited   = "dns_limited_total"
)

const (
	headerBytes = 12
	// udpBytes is what we send and take over UDP at most: it passes every path in one piece.
	udpBytes = 1232
)

// Respond gives the answer to one query from an address, nil for silence. It never panics, whatever the bytes are. What
// cannot be read is counted as malformed; all else by type and code. Over UDP it keeps to the rate limit.
func (s *Server) Respond(query []byte, from netip.Addr, tcp bool) []byte {
	began := s.opts.Now()
	if len(query) < headerBytes || query[2]&0x80 != 0 { // too short to answer, or an answer itself
		s.opts.Metrics.Count(metricMalformed)
		return nil
	}
	a := &answer{msg: new(dns.Msg), tcp: tcp, from: from, client: from, now: began}
	if opcode := int(query[2] >> 3 & 0x0f); opcode != dns.OpcodeQuery {
		s.count("other", dns.RcodeNotImplemented)
		return s.refuse(a, query, dns.RcodeNotImplemented)
	}
	q := new(dns.Msg)
	var ok bool
	if a.shape, ok = readShape(query); !ok || q.Unpack(a.shape.known(query)) != nil || !s.begin(a, q) {
		s.opts.Metrics.Count(metricMalformed)
		return s.refuse(a, query, dns.RcodeFormatError)
	}
	switch s.verdict(a) {
	case drop:
		return nil
	case truncate:
		a.msg.Truncated = true
	case send:
		if len(q.Question) == 1 && a.msg.Rcode == dns.RcodeSuccess {
			s.resolve(a, q.Question[0])
		}
	}
	out := s.finish(a)
	kind := uint16(dns.TypeNone)
	if len(q.Question) == 1 {
		kind = q.Question[0].Qtype
	}
	s.count(typeLabel(kind), a.msg.Rcode)
	s.opts.Metrics.Observe("dns_seconds", s.opts.Now().Sub(began).Seconds())
	return out
}

func (s *Server) count(kind string, rcode int) {
	s.opts.Metrics.Count("dns_queries_total", kind, dns.RcodeToString[rcode])
}

// typeLabel names a type that is served; all others are one, so that askers cannot make labels.
func typeLabel(kind uint16) string {
	switch kind {
	case dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeSRV, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeCAA, dns.TypeDNSKEY:
		return dns.TypeToString[kind]
	}
	return "other"
}

// answer is one response in the making.
type answer struct {
	msg     *dns.Msg
	tcp     bool
	now     time.Time
	from    netip.Addr
	client  netip.Addr // whom the answer is for: the subnet's address or the resolver's
	shape   shape
	trusted bool      // who asks is where it says that it is
	opt     *dns.OPT  // of the response; nil when the query has none
	tsig    *dns.TSIG // of the response; nil when the query has none
	dnssec  bool
	scope   int
	maxSize int
	ttl     uint32 // of what depends on the regions' states
}

// begin reads what stands around the question; false means FORMERR.
func (s *Server) begin(a *answer, q *dns.Msg) bool {
	transfer := len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeIXFR // which brings an SOA record
	if len(q.Answer) > 0 || len(q.Ns) > 0 && !transfer || len(q.Question) > 1 {
		return false
	}
	if len(q.Question) == 0 && a.shape.cookie == nil && !a.shape.unknown { // RFC 7873, 5.4: who wants no more than a cookie asks nothing
		return false
	}
	a.setReply(q)
	a.trusted = a.tcp
	if sig := q.IsTsig(); sig != nil { // we share a key with nobody
		a.msg.Rcode, a.tsig = dns.RcodeNotAuth, badKey(sig)
	}
	in := q.IsEdns0()
	if in == nil {
		return true
	}
	a.opt = &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	a.opt.SetUDPSize(udpBytes)
	a.opt.SetDo(in.Do())
	a.dnssec = in.Do()
	if !a.tcp {
		a.maxSize = min(max(int(in.UDPSize()), dns.MinMsgSize), udpBytes)
	}
	if a.shape.unknown {
		a.msg.Rcode = dns.RcodeBadVers
		return true
	}
	if c := a.shape.cookie; c != nil {
		valid, option := s.cookies.check(c, a.from, a.now)
		a.trusted = a.trusted || valid
		a.opt.Option = append(a.opt.Option, option)
	}
	if a.shape.nsid && s.id != "" {
		a.opt.Option = append(a.opt.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(s.id))})
	}
	if a.shape.keepAlive && a.tcp {
		idle := uint16(s.opts.Serving.TCPIdle / (100 * time.Millisecond))
		a.opt.Option = append(a.opt.Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE, Timeout: idle})
	}
	if sub := a.shape.subnet; sub != nil && sub.bits > 0 {
		a.client = sub.addr
	}
	return true
}

// badKey answers a signature by a key that we do not know (RFC 8945, 5.2.1).
func badKey(sig *dns.TSIG) *dns.TSIG {
	return &dns.TSIG{
		Hdr: dns.RR_Header{Name: sig.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: sig.Algorithm,
		TimeSigned: sig.TimeSigned, Fudge: sig.Fudge, OrigId: sig.OrigId, Error: dns.RcodeBadKey,
	}
}

func (a *answer) setReply(q *dns.Msg) {
	a.msg.Id, a.msg.Response, a.msg.Compress = q.Id, true, true
	a.msg.RecursionDesired, a.msg.CheckingDisabled = q.RecursionDesired, q.CheckingDisabled
	a.msg.Question = q.Question
	a.maxSize = dns.MinMsgSize
	if a.tcp {
		a.maxSize = dns.MaxMsgSize
	}
}

// verdict asks the limiter about an answer to somebody who may be somebody else.
func (s *Server) verdict(a *answer) verdict {
	if a.trusted {
		return send
	}
	v := s.limit.judge(a.from, int64(a.now.Sub(s.began)))
	switch v {
	case truncate:
		s.opts.Metrics.Count(metricLimited, "truncated")
	case drop:
		s.opts.Metrics.Count(metricLimited, "dropped")
	case send:
	}
	return v
}

// refuse answers what could not be read, within the rate limit.
func (s *Server) refuse(a *answer, query []byte, rcode byte) []byte {
	a.trusted = a.tcp
	if s.verdict(a) == drop {
		return nil
	}
	return headerOnly(query, rcode)
}

// headerOnly answers what could not be read.
func headerOnly(query []byte, rcode byte) []byte {
	out := make([]byte, headerBytes)
	copy(out, query[:2])                          // id
	out[2] = 0x80 | query[2]&0x78 | query[2]&0x01 // QR, opcode and RD as they came
	out[3] = rcode
	return out
}

// finish signs and packs the response within the size that the asker can take.
func (s *Server) finish(a *answer) []byte {
	if a.dnssec {
		s.sign(a)
	}
	if a.opt != nil {
		if a.shape.subnet != nil {
			a.opt.Option = append(a.opt.Option, a.shape.subnet.answer(a.scope))
		}
		a.msg.Extra = append(a.msg.Extra, a.opt)
	}
	if a.tsig != nil { // the last record
		a.msg.Extra = append(a.msg.Extra, a.tsig)
	}
	out := s.pack(a)
	if len(out) > a.maxSize { // what only helps goes first, and is not worth TC
		a.msg.Extra = slices.DeleteFunc(a.msg.Extra, func(rr dns.RR) bool {
			return rr.Header().Rrtype != dns.TypeOPT && rr.Header().Rrtype != dns.TypeTSIG
		})
		out = s.pack(a)
	}
	if len(out) > a.maxSize { // half an answer helps nobody, and would make a large one of a small question
		a.msg.Truncated, a.msg.Answer, a.msg.Ns = true, nil, nil
		out = s.pack(a)
	}
	return out
}

// pack gives the response's bytes; nil for a name or address of ours that cannot be packed.
func (s *Server) pack(a *answer) []byte {
	out, err := a.msg.Pack()
	if err != nil {
		a.fail()
		return nil
	}
	return out
}

// sign adds the signatures of signed zones. The answer is SERVFAIL where one cannot be made: without, it would be taken for a
// forgery.
func (s *Server) sign(a *answer) {
	signer := s.signer.Load()
	for _, section := range []*[]dns.RR{&a.msg.Answer, &a.msg.Ns, &a.msg.Extra} {
		signed, _, err := signer.section(*section, s.apexOf, a.now)
		if err != nil {
			s.opts.Log.Error("an answer cannot be signed", "error", err)
			a.fail()
			return
		}
		*section = signed
	}
}

// fail makes the answer SERVFAIL.
func (a *answer) fail() {
	a.msg.Rcode, a.msg.Authoritative = dns.RcodeServerFailure, false
	a.msg.Answer, a.msg.Ns, a.msg.Extra = nil, nil, nil
}
