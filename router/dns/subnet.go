package dns

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// subnet is the EDNS client subnet option of a query.
type subnet struct {
	raw  []byte // the option's data as it came
	addr netip.Addr
	// bits is SOURCE PREFIX-LENGTH. 0: the client does not want its address used.
	bits int
}

// findSubnet takes the client subnet option from a query that has unpacked well. It reads the bytes itself, because the
// library pads what is too short and cuts what is too long. It gives nil without one; ok is false for a malformed one.
func findSubnet(query []byte) (s *subnet, ok bool) {
	data, ok := findOPT(query)
	for ok && len(data) > 0 {
		if len(data) < 4 {
			return nil, false
		}
		code, size := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if len(data) < 4+size {
			return nil, false
		}
		if code == dns.EDNS0SUBNET {
			if s != nil { // one is enough
				return nil, false
			}
			if s, ok = parseSubnet(data[4 : 4+size]); !ok {
				return nil, false
			}
		}
		data = data[4+size:]
	}
	return s, ok
}

func parseSubnet(b []byte) (*subnet, bool) {
	s, ok := readSubnet(b)
	if !ok {
		return nil, false
	}
	return &s, true
}

// readSubnet reads family, SOURCE, SCOPE and address. The address must have exactly the bytes that SOURCE needs, spare
// bits must be zero, and a query's SCOPE is zero.
func readSubnet(b []byte) (subnet, bool) {
	if len(b) < 4 {
		return subnet{}, false
	}
	family, bits, scope, addr := binary.BigEndian.Uint16(b), int(b[2]), b[3], b[4:]
	if scope != 0 || len(addr) != (bits+7)/8 {
		return subnet{}, false
	}
	if bits%8 != 0 && addr[len(addr)-1]<<(bits%8) != 0 {
		return subnet{}, false
	}
	s := subnet{raw: b, bits: bits}
	switch {
	case family == 1 && bits <= 32:
		var full [4]byte
		copy(full[:], addr)
		s.addr = netip.AddrFrom4(full)
	case family == 2 && bits <= 128:
		var full [16]byte
		copy(full[:], addr)
		s.addr = netip.AddrFrom16(full)
	case family == 0 && bits == 0: // what some clients send who do not want to be located
	default:
		return subnet{}, false
	}
	return s, true
}

// answer gives the option for the response: what came, with the scope. For SOURCE 0 the scope is 0.
func (s *subnet) answer(scopeBits int) dns.EDNS0 {
	data := append([]byte(nil), s.raw...)
	if s.bits > 0 {
		data[3] = byte(scopeBits)
	}
	return &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: data}
}

// findOPT gives the data of the OPT record, nil without one.
func findOPT(query []byte) ([]byte, bool) {
	off := 12
	for range binary.BigEndian.Uint16(query[4:]) {
		if off = skipName(query, off) + 4; off > len(query) {
			return nil, false
		}
	}
	records := int(binary.BigEndian.Uint16(query[6:])) + int(binary.BigEndian.Uint16(query[8:])) + int(binary.BigEndian.Uint16(query[10:]))
	for range records {
		off = skipName(query, off)
		if off+10 > len(query) {
			return nil, false
		}
		kind, size := binary.BigEndian.Uint16(query[off:]), int(binary.BigEndian.Uint16(query[off+8:]))
		off += 10
		if off+size > len(query) {
			return nil, false
		}
		if kind == dns.TypeOPT {
			return query[off : off+size], true
		}
		off += size
	}
	return nil, true
}

// skipName gives the offset behind a name; beyond the message for a name that does not end.
func skipName(b []byte, off int) int {
	for off < len(b) {
		switch n := int(b[off]); {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			return off + 2
		default:
			off += n + 1
		}
	}
	return len(b) + 1
}
