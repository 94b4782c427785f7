package dns

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"
)

// tsigBytesMin is the data of a TSIG record whose algorithm is the root, without a signature. The library takes less, down to nothing.
const tsigBytesMin = 1 + 6 + 2 + 2 + 2 + 2 + 2

// shape is what stands around the question of a query.
type shape struct {
	hasOPT bool
	// unknown: the OPT record is of a version that we do not know, and options, what stands behind it and how long that is, are not read: they may
	// have another form (RFC 6891, 6.1.3: the answer is BADVERS).
	unknown     bool
	options     int
	optionBytes int

	subnet    *subnet
	cookie    *cookie
	nsid      bool
	keepAlive bool
}

// readShape walks through a query as its header describes it, and reads the options. The library believes any counts, pads
// subnets that are too short and cuts those that are too long; here ok is false for records that are not there, bytes
// behind the last one, a second OPT record, an OPT or TSIG record out of place, and options that are malformed.
func readShape(query []byte) (s shape, ok bool) {
	off := headerBytes
	for range binary.BigEndian.Uint16(query[4:]) {
		if off = skipName(query, off) + 4; off > len(query) {
			return s, false
		}
	}
	before := int(binary.BigEndian.Uint16(query[6:])) + int(binary.BigEndian.Uint16(query[8:])) // those of answer and authority
	all := before + int(binary.BigEndian.Uint16(query[10:]))
	for i := range all {
		owner := off
		off = skipName(query, off)
		if off+10 > len(query) {
			return s, false
		}
		kind, size := binary.BigEndian.Uint16(query[off:]), int(binary.BigEndian.Uint16(query[off+8:]))
		off += 10
		if off+size > len(query) {
			return s, false
		}
		if kind == dns.TypeOPT {
			if s.hasOPT || i < before || query[owner] != 0 {
				return s, false
			}
			s.hasOPT = true
			if version := query[off-5]; version != 0 {
				s.unknown, s.options, s.optionBytes = true, off, size
			} else if !s.readOptions(query[off : off+size]) {
				return s, false
			}
		}
		if kind == dns.TypeTSIG && (i < before || i < all-1 || size < tsigBytesMin) {
			return s, false
		}
		off += size
	}
	return s, off == len(query)
}

// known gives the query without options of a version that is not known, which the library would try to read.
func (s *shape) known(query []byte) []byte {
	if !s.unknown {
		return query
	}
	return slices.Concat(query[:s.options-2], []byte{0, 0}, query[s.options+s.optionBytes:]) // the length, then the data
}

// readOptions reads the data of the OPT record.
func (s *shape) readOptions(data []byte) bool {
	for len(data) > 0 {
		if len(data) < 4 {
			return false
		}
		code, size := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if len(data) < 4+size {
			return false
		}
		if !s.readOption(code, data[4:4+size]) {
			return false
		}
		data = data[4+size:]
	}
	return true
}

func (s *shape) readOption(code uint16, data []byte) (ok bool) {
	switch code {
	case dns.EDNS0SUBNET:
		if s.subnet != nil { // one is enough
			return false
		}
		s.subnet, ok = parseSubnet(data)
		return ok
	case dns.EDNS0COOKIE:
		if s.cookie != nil { // RFC 7873: only the first counts
			return true
		}
		s.cookie, ok = parseCookie(data)
		return ok
	case dns.EDNS0NSID:
		s.nsid = true
		return len(data) == 0
	case dns.EDNS0TCPKEEPALIVE: // RFC 7828: a client names no time
		s.keepAlive = true
		return len(data) == 0
	}
	return true
}

// skipName gives the offset behind a name; beyond the message for a name that does not end, or points to what is not before it.
func skipName(b []byte, off int) int {
	for start := off; off < len(b); {
		switch n := int(b[off]); {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			if off+1 < len(b) && (n&0x3f)<<8|int(b[off+1]) >= start {
				return len(b) + 1
			}
			return off + 2
		default:
			off += n + 1
		}
	}
	return len(b) + 1
}
