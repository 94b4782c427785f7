package dns

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// fastQuery is what the fast path reads of a query. from and now are given, all else parse and answer fill in.
type fastQuery struct {
	from    netip.Addr
	now     time.Time
	name    *fastName // where missing: the closest name that exists
	missing bool
	prefix  int // bytes of the question before name
	gap     int // where the label before name would stand among those that are there
	kind    int // index into fastTypes
	end     int // of the question
	edns    bool
	dnssec  bool
	sizeMax int        // what the asker can take
	client  netip.Addr // whom the answer is for: the subnet's address or the asker
	// subnet is the client subnet option's data as it came, subnetSize bytes; 0 without one. bits is its SOURCE.
	subnet     [subnetBytesMax]byte
	subnetSize int
	bits       int
	// cookie is the cookie option's data as it came, cookieSize bytes; 0 without one. give is the server's part of the answer's.
	cookie     [cookieClientBytes + cookieServerBytesMax]byte
	cookieSize int
	give       [cookieServerBytes]byte
	verdict    verdict
	pieces     *pieces
	making     bool // may make what is missing

	// What answering needs of memory; nothing in it is left from query to query.
	words   nameWords
	label   [labelBytesMax]byte // in lower case
	records fastRecords
	piece   pieceID
}

// What stands behind the id, up to the counts of answers and authorities: the bits that a fast query may have set, and what
// the others must be, which is a plain query with one question.
const (
	doFlag   = 0x8000       // of an OPT record's TTL
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
	if size == 0 || len(msg) < q.end {
		return false
	}
	if q.missing, q.prefix = q.name == nil, 0; q.missing && !q.enclose(f, buf) {
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
	q.pieces = f.pieces.Load()
	q.client, q.edns, q.dnssec, q.subnetSize, q.cookieSize, q.sizeMax = q.from, false, false, 0, 0, dns.MinMsgSize
	switch binary.BigEndian.Uint16(msg[10:]) {
	case 0:
		return len(msg) == q.end
	case 1:
		return q.parseOPT(msg[q.end:])
	}
	return false
}

// enclose finds the name of ours that is closest to the question's, which is none; false where there is none that the fast path may
// say it of.
func (q *fastQuery) enclose(f *fast, buf []byte) bool {
	var label []byte
	q.name, q.prefix, label = f.names.encloser(&q.words, buf[headerBytes:])
	if q.name == nil {
		return false
	}
	for i, c := range label {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		q.label[i] = c
	}
	var ok bool
	q.gap, ok = q.name.gap(q.label[:len(label)])
	return ok
}

// parseOPT reads the one record behind the question, which must be a plain OPT record with well-formed options that the fast
// path knows, each at most once.
func (q *fastQuery) parseOPT(b []byte) bool {
	if len(b) < optBytes || b[0] != 0 || binary.BigEndian.Uint16(b[1:]) != dns.TypeOPT {
		return false
	}
	flags := binary.BigEndian.Uint32(b[5:])
	if flags&^doFlag != 0 { // a version, or what nobody has defined yet
		return false
	}
	data := b[optBytes:]
	if int(binary.BigEndian.Uint16(b[optBytes-2:])) != len(data) {
		return false
	}
	q.edns, q.dnssec = true, flags != 0
	q.sizeMax = min(max(int(binary.BigEndian.Uint16(b[3:])), dns.MinMsgSize), udpBytes)
	for len(data) > 0 {
		if len(data) < wireEntryBytes {
			return false
		}
		code, size := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		data = data[wireEntryBytes:]
		if size > len(data) || !q.parseOption(code, data[:size]) {
			return false
		}
		data = data[size:]
	}
	return true
}

func (q *fastQuery) parseOption(code uint16, data []byte) bool {
	switch {
	case code == dns.EDNS0SUBNET && q.subnetSize == 0:
		subnet, ok := readSubnet(data)
		if !ok {
			return false
		}
		q.subnetSize, q.bits = copy(q.subnet[:], data), subnet.bits
		if subnet.bits > 0 {
			q.client = subnet.addr
		}
		return true
	case code == dns.EDNS0COOKIE && q.cookieSize == 0:
		q.cookieSize = copy(q.cookie[:], data)
		return cookieFits(len(data))
	}
	return false
}

// optSize is the length of the answer's OPT record.
func (q *fastQuery) optSize() int {
	if !q.edns {
		return 0
	}
	size := optBytes
	if q.cookieSize > 0 {
		size += wireEntryBytes + cookieClientBytes + cookieServerBytes
	}
	if q.subnetSize > 0 {
		size += wireEntryBytes + q.subnetSize
	}
	return size
}

// writeOPT writes the answer's OPT record to b, which has its length.
func (q *fastQuery) writeOPT(b []byte, scope int) {
	b[0] = 0
	binary.BigEndian.PutUint16(b[1:], dns.TypeOPT)
	binary.BigEndian.PutUint16(b[3:], udpBytes)
	var flags uint32
	if q.dnssec {
		flags = doFlag
	}
	binary.BigEndian.PutUint32(b[5:], flags)
	binary.BigEndian.PutUint16(b[optBytes-2:], uint16(len(b)-optBytes))
	b = b[optBytes:]
	if q.cookieSize > 0 {
		binary.BigEndian.PutUint16(b, dns.EDNS0COOKIE)
		binary.BigEndian.PutUint16(b[2:], cookieClientBytes+cookieServerBytes)
		b = b[wireEntryBytes:]
		copy(b, q.cookie[:cookieClientBytes])
		b = b[cookieClientBytes:]
		b = b[copy(b, q.give[:]):]
	}
	if q.subnetSize > 0 {
		binary.BigEndian.PutUint16(b, dns.EDNS0SUBNET)
		binary.BigEndian.PutUint16(b[2:], uint16(q.subnetSize))
		copy(b[wireEntryBytes:], q.subnet[:q.subnetSize])
		if q.bits > 0 {
			b[wireEntryBytes+3] = byte(scope)
		}
	}
}
