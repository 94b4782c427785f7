package geo

import (
	"fmt"
	"net/netip"

	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

// systems tells whose network an address is in.
type systems struct {
	set  *ranges.Set
	list []system // by the set's numbers
}

type system struct {
	number uint32
	name   string
}

// lookup fills in a's autonomous system and gives the length of the widest prefix that has the same.
func (s *systems) lookup(a netip.Addr, p *decide.Place) (prefixBits int) {
	n, bits := s.set.Lookup(a)
	p.ASN, p.ASName = s.list[n].number, s.list[n].name
	return bits
}

// systemsOf compiles files of autonomous systems, of which the earlier count; nil for none.
func (c *compiler) systemsOf(files []string) (*systems, error) {
	if len(files) == 0 {
		return nil, nil
	}
	s := &systems{list: make([]system, 1)}
	known := map[system]uint32{}
	var layers []*ranges.Set
	for _, file := range files {
		t, err := c.open(file)
		if err != nil {
			return nil, err
		}
		set, err := t.networks(func(record map[string]any) uint32 {
			one := system{number: systemNumber(record), name: text(record, "autonomous_system_organization")}
			if one.number == 0 {
				return 0
			}
			n, ok := known[one]
			if !ok && len(s.list) <= ranges.MaxValue {
				n = uint32(len(s.list))
				known[one], s.list = n, append(s.list, one)
			}
			return n
		})
		if err != nil {
			return nil, err
		}
		if t.source.Places == 0 {
			return nil, unusable(t.file, FaultWrongType, fmt.Sprintf("of type %q holds no autonomous systems", t.source.Type), nil)
		}
		c.sources, layers = append(c.sources, t.source), append(layers, set)
	}
	s.set = ranges.Merge(ranges.First, layers...)
	return s, nil
}

func systemNumber(record map[string]any) uint32 {
	switch n := record["autonomous_system_number"].(type) {
	case uint32:
		return n
	case uint64:
		return uint32(n)
	}
	return 0
}

// Systems gives the ranges of autonomous systems and, by their numbers, the systems'; nil without such data.
func (d *Data) Systems() (set *ranges.Set, numbers []uint32) {
	if d.systems == nil {
		return nil, nil
	}
	numbers = make([]uint32, len(d.systems.list))
	for i, one := range d.systems.list {
		numbers[i] = one.number
	}
	return d.systems.set, numbers
}
