package table

import (
	"fmt"
	"slices"

	"meridian/chat"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/ranges"
	"meridian/router/learned"
)

// compiler maps every place to its ranking. Places that rank alike share one, and neighbouring addresses of one ranking
// become one range, which is what makes the scope of DNS answers wide.
type compiler struct {
	model  *decide.Model
	data   *geo.Data
	layers learned.Layers
	// before is the table that this one replaces, where its decisions are held on to; else nil.
	before *snapshot

	rankings []ranking
	known    map[string]uint32 // by order and hold; regions are at most chat.MaxRegions, so 0xff ends an order
	natural  []uint32          // place → its ranking without a hold, plus one; 0: not yet known
	measured map[spot]uint32   // the same as natural where something was learned
	moved    map[move]uint32
}

// spot is what a ranking depends on: a place, and the number of what was learned.
type spot struct {
	place   uint32
	learned uint64
}

// move is what a ranking that may be held depends on.
type move struct {
	to         spot
	oldPlace   uint32
	oldRanking uint32
}

// compile makes a snapshot of at most that many rankings.
func compile(model *decide.Model, data *geo.Data, set *learned.Set, hosts []chat.ZoneSpec, old *snapshot, rankingsMax int) (*snapshot, error) {
	c := &compiler{
		model: model, data: data, layers: set.Over(data), known: map[string]uint32{}, natural: make([]uint32, data.Count()),
		measured: map[spot]uint32{}, moved: map[move]uint32{},
	}
	var all *ranges.Set
	if old != nil && old.model.SameRules(model) {
		c.before = old
		all = ranges.Coarsen(c.held, data.Set(), c.layers.Sets[0], c.layers.Sets[1], old.data.Set(), old.v4.set(), old.v6)
	} else {
		all = ranges.Coarsen(c.plain, data.Set(), c.layers.Sets[0], c.layers.Sets[1])
	}
	if len(c.rankings) > rankingsMax {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "table.Replace", Message: fmt.Sprintf(
			"the address data and rules give %d orders of regions, more than the %d that a table can tell apart", len(c.rankings), rankingsMax)}
	}
	return &snapshot{model: model, data: data, learned: set, hosts: slices.Clone(hosts), v4: newTree(all), v6: all.IPv6(), rankings: c.rankings}, nil
}

// plain gives the number of a ranking; values are the place and what was learned, by its two layers.
func (c *compiler) plain(values []uint32) uint32 { return c.rank(c.spot(values)) }

func (c *compiler) spot(values []uint32) spot {
	s := spot{place: values[0]}
	if values[1]|values[2] != 0 && s.place != geo.IPv4InIPv6 {
		s.learned = c.layers.Number(values[1], values[2], c.data.Country(s.place))
	}
	return s
}

// rank gives the number of the ranking of a spot.
func (c *compiler) rank(s spot) uint32 {
	if s.learned != 0 {
		n, ok := c.measured[s]
		if !ok {
			k := c.model.Rank(c.data.Place(s.place), c.layers.Learned(s.learned)...)
			n = c.number(ranking{order: k.Indexes()}, false)
			c.measured[s] = n
		}
		return n
	}
	if c.natural[s.place] == 0 {
		k := c.model.Rank(c.data.Place(s.place))
		// The ranges that hold IPv4 addresses must not join with others.
		c.natural[s.place] = c.number(ranking{order: k.Indexes()}, s.place == geo.IPv4InIPv6) + 1
	}
	return c.natural[s.place] - 1
}

// held gives the number of a ranking where another table answered before: values are those of plain, the place before, and
// the ranking before by the tree of IPv4 and by the set of IPv6, each of which knows only its own family.
func (c *compiler) held(values []uint32) uint32 {
	to, oldPlace, oldRanking := c.spot(values), values[3], max(values[4], values[5])
	natural := c.rank(to)
	was := &c.before.rankings[oldRanking]
	if to.place == geo.IPv4InIPv6 || slices.Equal(was.order, c.rankings[natural].order) && was.builds == 0 {
		return natural
	}
	key := move{to: to, oldPlace: oldPlace, oldRanking: oldRanking}
	number, ok := c.moved[key]
	if !ok {
		number = c.hold(to, oldPlace, was, natural)
		c.moved[key] = number
	}
	return number
}

// hold ranks a spot whose ranking may change.
func (c *compiler) hold(to spot, oldPlace uint32, was *ranking, natural uint32) uint32 {
	now := c.data.Place(to.place)
	if !decide.Near(now, c.before.data.Place(oldPlace)) { // the data says that this is somebody else
		return natural
	}
	held := decide.Held{Region: c.model.Regions()[was.order[0]], Builds: was.builds}
	k := c.model.Rank(now, c.layers.Learned(to.learned)...)
	next := k.Hold(held)
	order := k.Indexes()
	if slices.Equal(order, c.rankings[natural].order) {
		return natural
	}
	return c.number(ranking{order: order, held: held, builds: next.Builds}, false)
}

// number gives a ranking its number, the same for the same one unless it must stay apart.
func (c *compiler) number(r ranking, apart bool) uint32 {
	key := string(append(slices.Clone(r.order), 0xff, byte(r.held.Builds), byte(r.builds))) + string(r.held.Region)
	n, ok := c.known[key]
	if !ok || apart {
		n = uint32(len(c.rankings))
		c.rankings = append(c.rankings, r)
	}
	if !apart {
		c.known[key] = n
	}
	return n
}
