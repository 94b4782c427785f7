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
