//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/miekg/dns"
)

const (
	querySeed = 20260729
	udpBytes  = 1232
)

// makeQueries gives queries for the zone's name, two of three for A and one for AAAA, all with EDNS and with mixed case; with
// ECS each names another random /24 or /56 of a country, and missing names are random ones below the zone's. Those for a signed
// zone have DO.
func makeQueries(w *world, n int, asked *kindOfQueries) [][]byte {
	rng := rand.New(rand.NewPCG(querySeed, 0))
	out := make([][]byte, 0, n)
	for i := range n {
		kind := uint16(dns.TypeA)
		if i%3 == 2 {
			kind = dns.TypeAAAA
		}
		b := make([]byte, 0, 128)
		b = binary.BigEndian.AppendUint16(b, uint16(rng.Uint32()))
		b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)
		wire := make([]byte, 255)
		name := domain + "."
		if asked.missing {
			name = fmt.Sprintf("%x.%s", rng.Uint64()>>(4*rng.IntN(12)), name)
		}
		end, err := dns.PackDomainName(name, wire, 0, nil, false)
		if err != nil {
			panic(err)
		}
		for _, c := range wire[:end] {
			if c >= 'a' && c <= 'z' && rng.IntN(2) == 0 {
				c -= 0x20
			}
			b = append(b, c)
		}
		b = binary.BigEndian.AppendUint16(b, kind)
		b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
		var option []byte
		if asked.ecs {
			option = subnetOption(w.randomSubnet(rng, i%8 == 0))
		}
		b = binary.BigEndian.AppendUint16(append(b, 0, 0, byte(dns.TypeOPT)), udpBytes)
		var do byte
		if asked.signed {
			do = 0x80
		}
		b = binary.BigEndian.AppendUint16(append(b, 0, 0, do, 0), uint16(len(option)))
		out = append(out, append(b, option...))
	}
	return out
}

func subnetOption(p netip.Prefix) []byte {
	family := byte(1)
	if p.Addr().Is6() {
		family = 2
	}
	size := (p.Bits() + 7) / 8
	b := []byte{0, dns.EDNS0SUBNET, 0, byte(4 + size), 0, family, byte(p.Bits()), 0}
	return append(b, p.Masked().Addr().AsSlice()[:size]...)
}

// randomSubnet gives a subnet that the address data places somewhere, as resolvers cut them.
func (w *world) randomSubnet(rng *rand.Rand, six bool) netip.Prefix {
	for {
		addr := netip.AddrFrom4([4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
		bits := 24
		if six {
			first := [...]byte{0x20, 0x24, 0x26, 0x28, 0x2a}[rng.IntN(5)]
			addr = netip.AddrFrom16([16]byte{first, byte(rng.Uint32()) & 0x0f, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
			bits = 56
		}
		if place, record := w.data.Lookup(addr); w.countries[place.Country] != nil && place.Country != "" && record.Bits() <= bits {
			return netip.PrefixFrom(addr, bits)
		}
	}
}
