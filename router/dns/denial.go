package dns

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"
)

// chain holds all names of a zone in canonical order (RFC 4034, section 6.1) with the types that each may have: what its NSEC
// records are made of. The names are few and no secret, so the chain says the truth: every denial comes from a fixed set
// of records, whose signatures are made once, however many names are asked for (decision 0023).
type chain struct {
	apex  string
	links []chainLink
}

type chainLink struct {
	name   string
	labels [][]byte // from the root
	types  []uint16
}

// newChain sorts the names of a zone that have records.
func newChain(apex string, types map[string][]uint16) *chain {
	c := &chain{apex: apex}
	for name, has := range types {
		has = append(has, dns.TypeRRSIG, dns.TypeNSEC)
		slices.Sort(has)
		c.links = append(c.links, chainLink{name: name, labels: labelsOf(name), types: slices.Compact(has)})
	}
	slices.SortFunc(c.links, func(a, b chainLink) int { return slices.CompareFunc(a.labels, b.labels, bytes.Compare) })
	return c
}

// labelsOf gives the labels of a name in lower case, the last one first, as bytes: a label may hold any.
func labelsOf(name string) [][]byte {
	var wire [256]byte
	end, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil {
		return nil
	}
	var labels [][]byte
	for off := 0; off < end-1; {
		n := int(wire[off])
		labels = append(labels, bytes.ToLower(wire[off+1:off+1+n]))
		off += n + 1
	}
	slices.Reverse(labels)
	return labels
}

// at gives the place of the link that stands for a name: its own, or the one before it.
func (c *chain) at(name string) (i int, own bool) {
	i, own = slices.BinarySearchFunc(c.links, labelsOf(name), func(l chainLink, labels [][]byte) int {
		return slices.CompareFunc(l.labels, labels, bytes.Compare)
	})
	if !own {
		i-- // the apex is the first, and no name of the zone lies before it
	}
	return max(i, 0), own
}

// record gives the NSEC record of a link, without a TTL and without one type: a client may get no record of a type that others have, and a
// cache must not conclude from it that there is no other either.
func (c *chain) record(i int, without uint16) *dns.NSEC {
	l := c.links[i]
	next := c.links[(i+1)%len(c.links)].name
	types := slices.DeleteFunc(slices.Clone(l.types), func(t uint16) bool { return t == without })
	return &dns.NSEC{Hdr: dns.RR_Header{Name: l.name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET}, NextDomain: next, TypeBitMap: types}
}

// noData proves that a name which exists has nothing of a type.
func (c *chain) noData(name string, kind uint16) []dns.RR {
	i, own := c.at(name)
	if !own { // nothing but names below it: the link before it leads to one of them
		kind = 0
	}
	return []dns.RR{c.record(i, kind)}
}

// noName proves that a name does not exist, and that no wildcard below its closest ancestor that does exist stands for it.
func (c *chain) noName(name, closest string) []dns.RR {
	i, _ := c.at(name)
	j, _ := c.at("*." + closest)
	out := []dns.RR{c.record(i, 0)}
	if i != j {
		out = append(out, c.record(j, 0))
	}
	return out
}
