package learned

import (
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/ranges"
)

// Layers are a Set as layers over address data, for walking through both: at each address the numbers of two sets, of what was learned
// of the network and of which autonomous system something was.
type Layers struct {
	set  *Set
	Sets [2]*ranges.Set
	// asns by the numbers of the second set, 0 for those of which nothing was learned.
	asns []uint32
}

// Over gives the layers over data.
func (s *Set) Over(data *geo.Data) Layers {
	var none ranges.Builder
	l := Layers{set: s, Sets: [2]*ranges.Set{none.Set(), none.Set()}}
	if s == nil {
		return l
	}
	l.Sets[0] = s.networks
	if of, numbers := data.Systems(); of != nil && len(s.systems) > 0 {
		for i, asn := range numbers {
			if !s.asns[asn] {
				numbers[i] = 0
			}
		}
		l.asns = numbers
		l.Sets[1] = of.Map(func(n uint32) uint32 {
			if numbers[n] == 0 {
				return 0
			}
			return n
		})
	}
	return l
}

// Number says in one number what was learned, by the numbers of the two sets and the place there; 0: nothing.
func (l *Layers) Number(network, asn uint32, country string) uint64 {
	if asn != 0 {
		asn = l.set.systems[system{country, l.asns[asn]}]
	}
	return uint64(network)<<32 | uint64(asn)
}

// Learned gives what a number says.
func (l *Layers) Learned(number uint64) []decide.Measured {
	if number == 0 {
		return nil
	}
	return l.set.join(uint32(number>>32), uint32(number))
}

// Side is address data with what was learned of its addresses, to be compared by geo.Diff.
func (s *Set) Side(data *geo.Data) geo.Side {
	if s == nil {
		return geo.Side{Data: data}
	}
	l := s.Over(data)
	return geo.Side{Data: data, Over: l.Sets, Learned: func(network, asn uint32, country string) []decide.Measured {
		return l.Learned(l.Number(network, asn, country))
	}}
}
