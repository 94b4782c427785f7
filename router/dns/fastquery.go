package dns

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// fastQuery is what the fast path reads of a query. from is given, all else parse fills in.
type fastQuery struct {
	from    netip.Addr
	name    *fastName
	kind    int // index into fastTypes
	end     int // of the question
	edns    bool
	sizeMax int        // what the asker can take
	client  netip.Addr // whom the answer is for: the subnet's address or the asker
	// subnet is the client subnet option's data as it came, subnetSize bytes; 0 without one. bits is its SOURCE.
	subnet     [subnetBytesMax]byte
	subnetSize int
	bits       int

	// What answering needs of memory; nothing in it is left from query to query.
	words   nameWords
	records fastRecords
}

// What stands behind the id, up to the counts of answers and authorities: the bits that a fast query may have set, and what
// the others must be, which is a plain query with one question.
const (
	headFree = 0x0130 << 48 // RD, AD, CD
	headWant = 1 << 32
)

// parse reads the query buf[:n]; false when it is none for the fast path. It changes nothing but q.
func (f *fast) parse(q *fastQuery, buf []byte, n int) bool {
	msg := buf[:n]
	if len(msg) < headerBytes || binary.BigEndian.Uint64(msg[2:])&^headFree != headWant {
		return false
	}
	var size int
	q.name, size = f.names.find(&q.words, buf[headerBytes:])
	q.end = headerBytes + size + wireEntryBytes
	if q.name == nil || len(msg) < q.end {
		return false
	}
	code := binary.BigEndian.Uint32(msg[q.end-wireEntryBytes:])
	switch code {
	case uint32(dns.TypeA)<<16 | dns.ClassINET:
		q.kind = fastA
	case uint32(dns.TypeAAAA)<<16 | dns.ClassINET:
		q.kind = fastAAAA
	case uint32(dns.TypeHTTPS)<<16 | dns.ClassINET:
		q.kind = fastHTTPS
	case uint32(dns.TypeSRV)<<16 | dns.ClassINET:
		q.kind = fastSRV
	default:
		return false
	}
	if q.name.kinds&(1<<q.kind) == 0 {
		return false
	}
	q.client, q.edns, q.subnetSize, q.sizeMax = q.from, false, 0, dns.MinMsgSize
	switch binary.BigEndian.Uint16(msg[10:]) {
	case 0:
		return len(msg) == q.end
	case 1:
		return q.parseOPT(msg[q.end:])
	}
	return false
}

// parseOPT reads the one record behind the question, which must be a plain OPT record with a well-formed client subnet or
// nothing in it.
func (q *fastQuery) parseOPT(b []byte) bool {
	if len(b) < optBytes || b[0] != 0 || binary.BigEndian.Uint16(b[1:]) != dns.TypeOPT {
		return false
	}
	if binary.BigEndian.Uint32(b[5:]) != 0 { // a version, DO, or what nobody has defined yet
		return false
	}
	data := b[optBytes:]
	if int(binary.BigEndian.Uint16(b[optBytes-2:])) != len(data) {
		return false
	}
	q.edns = true
	q.sizeMax = min(max(int(binary.BigEndian.Uint16(b[3:])), dns.MinMsgSize), udpBytes)
	if len(data) == 0 {
		return true
	}
	if len(data) < wireEntryBytes || binary.BigEndian.Uint16(data) != dns.EDNS0SUBNET {
		return false
	}
	subnet, ok := readSubnet(data[wireEntryBytes:])
	if !ok || int(binary.BigEndian.Uint16(data[2:])) != len(subnet.raw) {
		return false
	}
	q.subnetSize, q.bits = copy(q.subnet[:], subnet.raw), subnet.bits
	if subnet.bits > 0 {
		q.client = subnet.addr
	}
	return true
}

// optSize is the length of the answer's OPT record.
func (q *fastQuery) optSize() int {
	switch {
	case !q.edns:
		return 0
	case q.subnetSize == 0:
		return optBytes
	}
	return optBytes + wireEntryBytes + q.subnetSize
}

// writeOPT writes the answer's OPT record to b, which has its length.
func (q *fastQuery) writeOPT(b []byte, scope int) {
	b[0] = 0
	binary.BigEndian.PutUint16(b[1:], dns.TypeOPT)
	binary.BigEndian.PutUint16(b[3:], udpBytes)
	binary.BigEndian.PutUint32(b[5:], 0)
	binary.BigEndian.PutUint16(b[optBytes-2:], uint16(len(b)-optBytes))
	if q.subnetSize == 0 {
		return
	}
	b = b[optBytes:]
	binary.BigEndian.PutUint16(b, dns.EDNS0SUBNET)
	binary.BigEndian.PutUint16(b[2:], uint16(q.subnetSize))
	b = b[wireEntryBytes:]
	copy(b, q.subnet[:q.subnetSize])
	if q.bits > 0 {
		b[3] = byte(scope)
	}
}
