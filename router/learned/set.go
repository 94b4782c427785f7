package learned

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/ranges"
)

// Set answers what was learned of an address. It never changes; nil is a set that knows nothing.
type Set struct {
	networks  *ranges.Set
	lists     [][]decide.Measured // by the ranges' numbers; 0: nothing
	systems   map[system]uint32   // numbers in lists
	asns      map[uint32]bool     // of systems
	collected time.Time
	rows      int
	unknown   int
}

type system struct {
	country string
	asn     uint32
}

// Open loads the file that l names and makes a Set of it; nil without one. The error has CodeInvalid and names the file; see
// geo.FaultOf.
func Open(l config.Learned, model *decide.Model, now time.Time) (*Set, error) {
	if l.File == "" {
		return nil, nil
	}
	f, err := Load(l.File)
	if err != nil {
		return nil, err
	}
	if l.MaxAge > 0 && f.Collected.Before(now.Add(-l.MaxAge)) {
		return nil, unusable(l.File, geo.FaultStale, fmt.Sprintf("was collected on %s, which is longer ago than router.learned.max_age", f.Collected.Format(time.DateOnly)), nil)
	}
	s := New(f, model)
	if s.unknown == s.rows {
		return nil, unusable(l.File, geo.FaultWrongType, "names no region of this deployment", nil)
	}
	return s, nil
}

// New makes a Set of a file, which must be Load's, without what it says of regions that the model does not have.
func New(f File, model *decide.Model) *Set {
	s := &Set{lists: make([][]decide.Measured, 1), systems: map[system]uint32{}, asns: map[uint32]bool{}, collected: f.Collected, rows: len(f.Rows)}
	var b ranges.Builder
	for i := 0; i < len(f.Rows); {
		group := f.Rows[i].Group
		var list []decide.Measured
		for ; i < len(f.Rows) && f.Rows[i].Group == group; i++ {
			if _, ok := model.Index(f.Rows[i].Region); ok {
				list = append(list, f.Rows[i].measured())
			} else {
				s.unknown++
			}
		}
		if len(list) == 0 {
			continue
		}
		number := uint32(len(s.lists))
		s.lists = append(s.lists, list)
		if group.Network.IsValid() {
			b.Add(group.Network, number) // sorted and of one length, so it cannot overlap
		} else {
			s.systems[system{group.Country, group.ASN}], s.asns[group.ASN] = number, true
		}
	}
	s.networks = b.Set()
	return s
}

// Lookup gives what was learned of a client at a, which must be normalised (geo.Normalise), whom the address data puts into this country
// and autonomous system: of its network, then of the latter. prefixBits is the length of the widest prefix around a of which
// the former holds.
func (s *Set) Lookup(a netip.Addr, place decide.Place) (list []decide.Measured, prefixBits int) {
	if s == nil || !a.IsValid() {
		return nil, 0
	}
	n, bits := s.networks.Lookup(a)
	return s.join(n, s.systems[system{place.Country, place.ASN}]), bits
}

// Tell puts what was learned into the input of a decision, whose address and place are known.
func (s *Set) Tell(in *decide.Input) {
	plain, shift := geo.Normalise(in.Address.WithZone(""))
	var bits int
	if in.Learned, bits = s.Lookup(plain, in.Place); !in.Prefix.IsValid() {
		return
	}
	around := in.Address.WithZone("")
	if around.Is4In6() { // as geo.Data.Lookup does
		around, shift = plain, 0
	}
	if in.Prefix.Bits() < bits+shift {
		in.Prefix, _ = around.Prefix(bits + shift)
	}
}

// join gives what was learned of a network and a system, by their numbers.
func (s *Set) join(network, system uint32) []decide.Measured {
	if system == 0 || network == 0 {
		return s.lists[max(network, system)]
	}
	return slices.Concat(s.lists[network], s.lists[system])
}

// Edition names the set in one line; "" for none.
func (s *Set) Edition() string {
	if s == nil {
		return ""
	}
	return "learned round trips " + s.collected.UTC().Format(time.RFC3339)
}

// Collected gives when the file was made; the zero time for none.
func (s *Set) Collected() time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.collected
}

// Rows gives how many rows the file had, and how many of them speak of regions that are not known.
func (s *Set) Rows() (all, unknown int) {
	if s == nil {
		return 0, 0
	}
	return s.rows, s.unknown
}

// CheckSwap says whether next may take the place of old: of the addresses that data watches, and of extra, at most share may get another
// first region. The error has CodeInvalid and geo.FaultCanaries and names some of them.
func CheckSwap(model *decide.Model, data *geo.Data, old, next *Set, extra []netip.Addr, share float64) error {
	for name, list := range map[string][]netip.Addr{"the built-in list": data.Canaries(), "router.canaries": extra} {
		var moved []string
		for _, a := range list {
			place, _ := data.Lookup(a)
			plain, _ := geo.Normalise(a)
			before, _ := old.Lookup(plain, place)
			after, _ := next.Lookup(plain, place)
			if from, to, other := model.Moved(place, before, after); other {
				moved = append(moved, fmt.Sprintf("%s from %s to %s", a, from.Region, to.Region))
			}
		}
		if float64(len(moved)) > share*float64(len(list)) {
			const shown = 5
			return &chat.Error{
				Code: chat.CodeInvalid, Op: "learned.CheckSwap", Cause: &geo.FileError{File: next.Edition(), Fault: geo.FaultCanaries},
				Message: fmt.Sprintf("%s would move %d of the %d addresses of %s, more than router.learned.changed_share (%g) allows: %s",
					orElse(next.Edition(), "no learned round trips"), len(moved), len(list), name, share, strings.Join(moved[:min(shown, len(moved))], ", ")),
			}
		}
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Concerns says that an error is about learned round trips, not about address files.
func Concerns(err error) bool {
	e := chat.AsError(err)
	return e != nil && strings.HasPrefix(e.Op, "learned.")
}
