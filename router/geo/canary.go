package geo

import (
	"fmt"
	"net/netip"
	"strings"

	"meridian/chat"
	"meridian/router/decide"
	"meridian/router/geo/ranges"
)

// canariesOf gives the first addresses of the largest network of each family for each country of the embedded table: spread
// over the world, and not what changes hands from one month to the next.
func canariesOf(set *ranges.Set, countries int) []netip.Addr {
	type largest struct {
		addr netip.Addr
		size float64
	}
	best := [2][]largest{make([]largest, countries+1), make([]largest, countries+1)}
	ranges.Each(func(p ranges.Piece) {
		family := 0
		if p.First.Is6() {
			family = 1
		}
		if l := &best[family][p.Values[0]]; p.Values[0] != 0 && p.Size > l.size {
			*l = largest{p.First, p.Size}
		}
	}, set)
	var out []netip.Addr
	for _, family := range best {
		for _, l := range family {
			if l.size > 0 {
				out = append(out, l.addr)
			}
		}
	}
	return out
}

// Canaries gives the built-in list of addresses that CheckSwap watches.
func (d *Data) Canaries() []netip.Addr { return d.canaries }

// CheckSwap says whether next may take the place of old: of the built-in list of addresses, and of extra, at most share may be
// placed in another country or, by data of the same level, nearest to another region. Addresses with an override of the
// operator's are left out. The error has CodeInvalid and FaultCanaries and names some of the addresses.
func CheckSwap(model *decide.Model, old, next *Data, extra []netip.Addr, share float64) error {
	for name, list := range map[string][]netip.Addr{"the built-in list": next.canaries, "router.canaries": extra} {
		var moved []string
		watched := 0
		for _, a := range list {
			p, _ := old.Lookup(a)
			q, _ := next.Lookup(a)
			if p.Override != "" || q.Override != "" {
				continue
			}
			watched++
			if text := move(model, p, q); text != "" {
				moved = append(moved, a.String()+" "+text)
			}
		}
		if float64(len(moved)) > share*float64(watched) {
			const shown = 5
			return &chat.Error{
				Code: chat.CodeInvalid, Op: "geo.CheckSwap", Cause: &FileError{File: next.sources[0].Name, Fault: FaultCanaries},
				Message: fmt.Sprintf("%s would move %d of the %d addresses of %s, more than router.canary_changed_share (%g) allows: %s",
					next.Edition(), len(moved), watched, name, share, strings.Join(moved[:min(shown, len(moved))], ", ")),
			}
		}
	}
	return nil
}

// move says how two places of an address differ; "" when they do not in any way that counts.
func move(model *decide.Model, old, next decide.Place) string {
	if old.Country != next.Country {
		return fmt.Sprintf("from country %q to %q", old.Country, next.Country)
	}
	if old.Level != next.Level {
		return ""
	}
	from, to := model.Rank(old).Order[0].Region, model.Rank(next).Order[0].Region
	if from == to {
		return ""
	}
	return fmt.Sprintf("from %s to %s", from, to)
}
