package dns

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"

	"meridian/chat"
)

// The types that the fast path answers.
const (
	fastA = iota
	fastAAAA
	fastHTTPS
	fastSRV
	fastKinds
)

var fastTypes = [fastKinds]uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeSRV}

// The layout of a record whose owner is a pointer: pointer, type, class, TTL, length of the data.
const (
	pointerBytes   = 2
	recordBytes    = pointerBytes + 2 + 2 + 4 + 2
	lengthAt       = recordBytes - 2
	srvTargetAt    = recordBytes + 2 + 2 + 2 // behind priority, weight and port
	optBytes       = 1 + 2 + 2 + 4 + 2
	subnetBytesMax = 4 + 16 // family, SOURCE, SCOPE, address

	pointerMark    = 0xc000
	questionOwner  = pointerMark | headerBytes
	wireEntryBytes = 4 // type and class behind a name; code and length before an option's data
)

// fast answers what nearly everybody asks: over UDP, A, AAAA, HTTPS or SRV of a name that has some, with nothing around it
// but EDNS, a cookie and a client subnet. It writes the answer over the query and does not allocate. Whatever else a query holds, and
// an answer that does not fit, it leaves to Respond, which gives the same bytes where both answer (FuzzFast).
type fast struct {
	server *Server // for what both paths ask: the table, the limit, cookies, whether zones are signed
	names  nameTable
	// regions are the answer's records for each region, by how long they live (0: TTL, 1: TTLDegraded) and by type.
	regions [2][fastKinds][]packed
	count   int // regions in an answer
}

// fastName is a name that the fast path knows.
type fastName struct {
	geo   bool
	host  int  // host number, if geo
	kinds uint // bit set of the types that it may have
	fixed [fastKinds]packed
}

// packed are records with owners as pointers: the first ones' to the question, those of extra to the target of the SRV record
// before them, wherever that comes to stand.
type packed struct {
	answer, extra []byte
	answers       uint16
	extras        uint16
}

// newFast packs all answers, made by the functions that Respond uses.
func (s *Server) newFast() (*fast, error) {
	f := &fast{server: s, count: min(s.opts.AnswerRegions, chat.MaxRegions)}
	for life, ttl := range []uint32{seconds(s.opts.TTL), seconds(s.opts.TTLDegraded)} {
		for kind, code := range fastTypes {
			for _, e := range s.regions {
				p, err := pack(s.recordsOf(e, 0, ".", code, ttl))
				if err != nil {
					return nil, err
				}
				f.regions[life][kind] = append(f.regions[life][kind], p)
			}
		}
	}
	names := map[string]*fastName{}
	for name, n := range s.nodes {
		if err := s.addFast(names, name, n); err != nil {
			return nil, err
		}
	}
	f.names = newNameTable(names)
	return f, nil
}

// addFast adds a name by its wire form, if it is one for the fast path.
func (s *Server) addFast(to map[string]*fastName, name string, n *node) error {
	known := &fastName{host: n.host}
	switch n.kind {
	case kindHost:
		known.geo, known.kinds = true, 1<<fastA|1<<fastAAAA|1<<fastHTTPS|1<<fastSRV
	case kindSRV:
		known.geo, known.kinds = true, 1<<fastSRV
	case kindRegion, kindServer:
		known.kinds = 1<<fastA | 1<<fastAAAA
		for _, kind := range []int{fastA, fastAAAA} {
			var err error
			if known.fixed[kind], err = pack(s.addresses(".", n.addrs, fastTypes[kind]), nil); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	var wire [nameBytesMax]byte
	end, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil {
		return err
	}
	to[string(wire[:end])] = known
	return nil
}

// pack packs records, and replaces their owners by pointers.
func pack(answer, extra []dns.RR) (packed, error) {
	p := packed{answers: uint16(len(answer)), extras: uint16(len(extra))}
	for i, rr := range append(slices.Clip(answer), extra...) {
		rr.Header().Name = "."
		raw := make([]byte, dns.Len(rr))
		end, err := dns.PackRR(rr, raw, 0, nil, false)
		if err != nil {
			return packed{}, err
		}
		if i < len(answer) {
			p.answer = binary.BigEndian.AppendUint16(p.answer, questionOwner)
			p.answer = append(p.answer, raw[1:end]...)
		} else {
			p.extra = append(p.extra, 0, 0) // written once it is known where the target stands
			p.extra = append(p.extra, raw[1:end]...)
		}
	}
	return p, nil
}

// fastRecords are the records that answer a query: those of some regions, best first, or those that the name has for everybody.
type fastRecords struct {
	parts   [chat.MaxRegions]*packed
	targets [chat.MaxRegions]int // where the target of each SRV record stands
	used    int
	scope   int
	size    int // of all records
}

// pick chooses the records; false where there are none, which the slow path must tell.
func (f *fast) pick(q *fastQuery) bool {
	n, r := q.name, &q.records
	r.used, r.scope, r.size = 0, 0, 0
	if !n.geo {
		r.take(&n.fixed[q.kind])
		return r.size > 0
	}
	var room [chat.MaxRegions]uint8
	regions, scope := f.server.opts.Table.Answer(room[:0], n.host, q.client)
	r.scope = scope
	life := 0
	if f.server.opts.Table.Unsettled(n.host) {
		life = 1
	}
	of := f.regions[life][q.kind]
	for _, i := range regions[:min(len(regions), f.count)] {
		r.take(&of[i])
	}
	return r.size > 0
}

func (r *fastRecords) take(p *packed) {
	r.parts[r.used] = p
	r.used++
	r.size += len(p.answer) + len(p.extra)
}

// fastDrop is what answer gives for a query that the rate limit leaves without an answer.
const fastDrop = -1

// answer writes the answer to the query buf[:n] over it and gives its length; 0 leaves it to the slow path, and the query as
// it was. buf has room for udpBytes, and for nameRoom bytes behind the query.
func (f *fast) answer(buf []byte, n int, q *fastQuery) int {
	if !f.parse(q, buf, n) || !f.pick(q) {
		return 0
	}
	records := &q.records
	if q.end+records.size+q.optSize() > q.sizeMax {
		return 0
	}
	flags := byte(0x84) // an answer, authoritative
	switch q.verdict = f.verdict(q); q.verdict {
	case drop:
		return fastDrop
	case truncate:
		flags = 0x82 // an answer, cut
		records.used, records.size, records.scope = 0, 0, 0
	case send:
	}
	answers, extras := records.write(buf[q.end:], q)
	size := q.end + records.size + q.optSize()
	if q.edns {
		q.writeOPT(buf[size-q.optSize():size], records.scope)
		extras++
	}
	buf[2] = flags | buf[2]&0x01 // RD as it came
	buf[3] &= 0x10               // CD as it came
	binary.BigEndian.PutUint16(buf[6:], answers)
	binary.BigEndian.PutUint16(buf[10:], extras)
	return size
}

// verdict makes the answer's cookie, and asks the limiter unless the query's shows that the asker is where it says that it is.
func (f *fast) verdict(q *fastQuery) verdict {
	if q.cookieSize > 0 {
		var valid bool
		client := [cookieClientBytes]byte(q.cookie[:])
		valid, q.give = f.server.cookies.answer(client, q.cookie[cookieClientBytes:q.cookieSize], q.from, q.now)
		if valid {
			return send
		}
	}
	return f.server.limit.judge(q.from, int64(q.now.Sub(f.server.began)))
}

// write writes the records to b, which begins behind the question.
func (r *fastRecords) write(b []byte, q *fastQuery) (answers, extras uint16) {
	at := 0
	for i, p := range r.parts[:r.used] {
		copy(b[at:], p.answer)
		if q.kind == fastHTTPS || q.kind == fastSRV { // one record or none
			if len(p.answer) > 0 {
				binary.BigEndian.PutUint16(b[at+recordBytes:], uint16(i+1)) // its rank is its priority
			}
			r.targets[i] = q.end + at + srvTargetAt
		}
		at += len(p.answer)
		answers += p.answers
	}
	for i, p := range r.parts[:r.used] {
		if p.extras == 0 {
			continue
		}
		end := at + copy(b[at:], p.extra)
		for at < end {
			binary.BigEndian.PutUint16(b[at:], pointerMark|uint16(r.targets[i]))
			at += recordBytes + int(binary.BigEndian.Uint16(b[at+lengthAt:]))
		}
		extras += p.extras
	}
	return answers, extras
}
