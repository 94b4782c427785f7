package dns

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync/atomic"

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

// fast answers what nearly everybody asks: over UDP, A, AAAA, HTTPS or SRV in a zone of ours, with nothing around it but EDNS, a
// cookie and a client subnet. It writes the answer over the query and does not allocate. Whatever else a query holds it leaves to
// Respond, which gives the same bytes where both answer (FuzzFast).
type fast struct {
	server *Server // for what both paths ask: the table, the limit, cookies
	names  nameTable
	// lives are how long answers live, in seconds: TTL and TTLDegraded.
	lives [2]uint32
	// regions are the answer's records for each region, by life and by type.
	regions [2][fastKinds][]packed
	count   int // regions in an answer
	pieces  atomic.Pointer[pieces]
}

// fastName is a name that the fast path knows.
type fastName struct {
	text   string // in lower case, with its final dot
	wire   []byte // the same as in a message
	labels []int  // where each label begins in wire
	seed   uint64 // a hash
	node   *node
	zone   int  // index into the server's apexes
	geo    uint // bit set of the types that are answered by region
	fixed  [fastKinds]packed
	// below are the first labels of the names below this one, in order: what is missing lies in a gap between two of them.
	below [][]byte
	// apart are labels that make a missing name which stands in denials all the same, so that it would be compressed.
	apart [][]byte
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
	f := &fast{server: s, count: min(s.opts.AnswerRegions, chat.MaxRegions), lives: [2]uint32{seconds(s.opts.TTL), seconds(s.opts.TTLDegraded)}}
	for life, ttl := range f.lives {
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
	for text, n := range s.nodes {
		name, err := s.newFastName(text, n)
		if err != nil {
			return nil, err
		}
		names[string(name.wire)] = name
	}
	s.tellBelow(names)
	f.names = newNameTable(names)
	f.pieces.Store(f.newPieces(s.signer.Load()))
	return f, nil
}

func (s *Server) newFastName(text string, n *node) (*fastName, error) {
	name := &fastName{text: text, node: n, zone: slices.Index(s.apexes, n.apex)}
	switch n.kind {
	case kindHost:
		name.geo = 1<<fastA | 1<<fastAAAA | 1<<fastHTTPS | 1<<fastSRV
	case kindSRV:
		name.geo = 1 << fastSRV
	case kindRegion, kindServer:
		for _, kind := range []int{fastA, fastAAAA} {
			var err error
			if name.fixed[kind], err = pack(s.addresses(".", n.addrs, fastTypes[kind]), nil); err != nil {
				return nil, err
			}
		}
	case kindEmpty, kindExplain:
	}
	wire := make([]byte, nameBytesMax)
	end, err := dns.PackDomainName(text, wire, 0, nil, false)
	if err != nil {
		return nil, err
	}
	name.wire = wire[:end]
	for at := 0; at < end-1; at += 1 + int(wire[at]) {
		name.labels = append(name.labels, at)
	}
	return name, nil
}

// tellBelow tells each name what is below it.
func (s *Server) tellBelow(names map[string]*fastName) {
	for wire := range names {
		label := 1 + int(wire[0])
		if parent := names[wire[label:]]; parent != nil {
			parent.below = append(parent.below, []byte(wire[1:label]))
		}
	}
	for _, name := range names {
		slices.SortFunc(name.below, bytes.Compare)
	}
	written := slices.Clone(s.servers)
	for _, apex := range s.apexes {
		written = append(written, mailbox(apex))
	}
	for _, text := range written {
		labels := labelsOf(text)
		wire := "\x00"
		for _, label := range labels { // from the root on
			parent := names[wire]
			wire = string(append([]byte{byte(len(label))}, label...)) + wire
			if parent != nil && names[wire] == nil {
				parent.apart = append(parent.apart, label)
			}
		}
	}
}

// gap gives the gap that a label is in; false where it is the slow path's.
func (n *fastName) gap(label []byte) (int, bool) {
	gap, _ := slices.BinarySearchFunc(n.below, label, bytes.Compare)
	for _, other := range n.apart {
		if bytes.Equal(other, label) {
			return 0, false
		}
	}
	return gap, n.hasBetween(gap)
}

// hasBetween says whether there is a label for between to give.
func (n *fastName) hasBetween(gap int) bool { return gap == 0 || len(n.below[gap-1]) < labelBytesMax }

// between gives a label that lies in a gap: one byte longer than the one before it.
func (n *fastName) between(gap int) []byte {
	if gap == 0 {
		return []byte{0}
	}
	return append(slices.Clip(n.below[gap-1]), 0)
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

// lowerFrom gives the first label from which on the name is written in lower case: wire is how it was asked. The library
// compresses names as they are written, so it matters for the names in a denial, which are in lower case.
func (n *fastName) lowerFrom(wire []byte) int {
	last := len(wire) - 1
	for last >= 0 && (wire[last] < 'A' || wire[last] > 'Z') { // the lengths of labels are less than any letter
		last--
	}
	label, _ := slices.BinarySearch(n.labels, last+1)
	return label
}

// written gives the name with the labels before one in capital letters, which lowerFrom gives that label for.
func (n *fastName) written(label int) (string, error) {
	wire := slices.Clone(n.wire)
	end := len(wire)
	if label < len(n.labels) {
		end = n.labels[label]
	}
	copy(wire, bytes.ToUpper(wire[:end]))
	text, _, err := dns.UnpackDomainName(wire, 0)
	return text, err
}

// fastDrop is what answer gives for a query that the rate limit leaves without an answer.
const fastDrop = -1

// answer writes the answer to the query buf[:n] over it and gives its length; 0 leaves it to the slow path, and the query as
// it was. buf has room for udpBytes, and for nameRoom bytes behind the query.
func (f *fast) answer(buf []byte, n int, q *fastQuery) int {
	if !f.parse(q, buf, n) || !f.pick(q, buf[headerBytes+q.prefix:q.end-wireEntryBytes]) {
		return 0
	}
	flags, rcode, records := byte(0x84), byte(dns.RcodeSuccess), &q.records // an answer, authoritative
	if q.missing {
		rcode = dns.RcodeNameError
	}
	switch q.verdict = f.verdict(q); q.verdict {
	case drop:
		return fastDrop
	case truncate:
		flags, rcode, records.scope = 0x82, dns.RcodeSuccess, 0 // an answer, cut
		records.clear()
	case send:
	}
	if !records.fit(q.sizeMax - q.end - q.optSize()) {
		flags |= 0x02
	}
	end, extras := records.write(buf, q)
	if q.edns {
		q.writeOPT(buf[end:end+q.optSize()], records.scope)
		end += q.optSize()
		extras++
	}
	buf[2] = flags | buf[2]&0x01 // RD as it came
	buf[3] = buf[3]&0x10 | rcode // CD as it came
	binary.BigEndian.PutUint16(buf[10:], extras)
	return end
}

// make answers as answer does, and makes what is missing for it, which may be a signature.
func (f *fast) make(buf []byte, n int, q *fastQuery) int {
	q.making = true
	defer func() { q.making = false }()
	return f.answer(buf, n, q)
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
