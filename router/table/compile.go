package table

import (
	"fmt"
	"slices"

	"meridian/chat"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/ranges"
)

// compiler maps every place to its ranking. Places that rank alike share one, and neighbouring addresses of one ranking
// become one range, which is what makes the scope of DNS answers wide.
type compiler struct {
	model *decide.Model
	data  *geo.Data
	// before is the table that this one replaces, where its decisions are held on to; else nil.
	before *snapshot

	rankings []ranking
	known    map[string]uint32 // by order and hold; regions are at most chat.MaxRegions, so 0xff ends an order
	natural  []uint32          // place → its ranking without a hold, plus one; 0: not yet known
	moved    map[[3]uint32]uint32
}

// compile makes a snapshot of at most that many rankings.
func compile(model *decide.Model, data *geo.Data, hosts []chat.ZoneSpec, old *snapshot, rankingsMax int) (*snapshot, error) {
	c := &compiler{model: model, data: data, known: map[string]uint32{}, natural: make([]uint32, data.Count()), moved: map[[3]uint32]uint32{}}
	var all *ranges.Set
	if old != nil && old.model.SameRules(model) {
		c.before = old
		all = ranges.Merge(c.held, data.Set(), old.data.Set(), old.v4.set(), old.v6)
	} else {
		all = data.Set().Map(c.plain)
	}
	if len(c.rankings) > rankingsMax {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "table.Replace", Message: fmt.Sprintf(
			"the address data and rules give %d orders of regions, more than the %d that a table can tell apart", len(c.rankings), rankingsMax)}
	}
	return &snapshot{model: model, data: data, hosts: slices.Clone(hosts), v4: newTree(all), v6: all.IPv6(), rankings: c.rankings}, nil
}

// plain gives the number of a place's ranking.
func (c *compiler) plain(place uint32) uint32 {
	if c.natural[place] == 0 {
		k := c.model.Rank(c.data.Place(place))
		// The ranges that hold IPv4 addresses must not join with others.
		c.natural[place] = c.number(ranking{order: k.Indexes()}, place == geo.IPv4InIPv6) + 1
	}
	return c.natural[place] - 1
}

// held gives the number of a place's ranking where another table answered before: values are the place, the one before, and
// the ranking before by the tree of IPv4 and by the set of IPv6, each of which knows only its own family.
func (c *compiler) held(values []uint32) uint32 {
	place, oldPlace, oldRanking := values[0], values[1], max(values[2], values[3])
	natural := c.plain(place)
	was := &c.before.rankings[oldRanking]
	if place == geo.IPv4InIPv6 || slices.Equal(was.order, c.rankings[natural].order) && was.builds == 0 {
		return natural
	}
	key := [3]uint32{place, oldPlace, oldRanking}
	number, ok := c.moved[key]
	if !ok {
		number = c.hold(place, oldPlace, was, natural)
		c.moved[key] = number
	}
	return number
}

// hold ranks a place whose ranking may change.
func (c *compiler) hold(place, oldPlace uint32, was *ranking, natural uint32) uint32 {
	now := c.data.Place(place)
	if !decide.Near(now, c.before.data.Place(oldPlace)) { // the data says that this is somebody else
		return natural
	}
	held := decide.Held{Region: c.model.Regions()[was.order[0]], Builds: was.builds}
	k := c.model.Rank(now)
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
