package replication

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"time"

	"meridian/chat"
)

// zoneToken is a submit that waits until its op is durable in one more region of its zone.
type zoneToken struct{ seq, token uint64 }

// waitKey is the op log and the zone of submits that wait.
type waitKey struct {
	stream chat.StreamID
	zone   chat.Zone
}

// awaitZone remembers token, in the order of sequences, when the zone has a second region.
func (c *Core) awaitZone(key waitKey, seq, token uint64) {
	if spec, ok := c.cfg.Topology.Zone(key.zone); !ok || spec.MaxLevel() != chat.AckZone {
		return
	}
	list := c.zoneWait[key]
	i := sort.Search(len(list), func(i int) bool { return list[i].seq > seq })
	list = slices.Insert(list, i, zoneToken{seq, token})
	if len(list) > zoneWaiting {
		list = list[1:]
	}
	c.zoneWait[key] = list
}

// zoneHas says whether another region of zone has acknowledged seq of a stream of this region.
func (c *Core) zoneHas(now time.Time, stream chat.StreamID, zone chat.Zone, seq uint64) bool {
	if !c.certain(now) {
		return false
	}
	for _, r := range c.order {
		if c.cfg.Topology.InZone(r, zone) && c.ackedBy(stream, r) >= seq {
			return true
		}
	}
	return false
}

// ackedBy gives what region has acknowledged of a stream of this region, as far as is known here.
func (c *Core) ackedBy(stream chat.StreamID, region chat.Region) uint64 {
	if o := c.peers[region].out[stream]; o != nil {
		return o.acked
	}
	if s := c.siblings[stream]; s != nil {
		return s.positions[region]
	}
	return 0
}

// zoneAcked answers who waited for a region to have acknowledged upTo of stream.
func (c *Core) zoneAcked(now time.Time, stream chat.StreamID, region chat.Region, upTo uint64) {
	if !c.certain(now) {
		return // whoever adopts this life may relay its op log without an op that became durable late: the renewal tells
	}
	var tokens []uint64
	keys := slices.SortedFunc(maps.Keys(c.zoneWait), func(a, b waitKey) int {
		return cmp.Or(compareStreams(a.stream, b.stream), cmp.Compare(a.zone, b.zone))
	})
	for _, key := range keys {
		if key.stream != stream || !c.cfg.Topology.InZone(region, key.zone) {
			continue
		}
		list := c.zoneWait[key]
		n := sort.Search(len(list), func(i int) bool { return list[i].seq > upTo })
		for _, w := range list[:n] {
			tokens = append(tokens, w.token)
		}
		c.zoneWait[key] = list[n:]
	}
	if len(tokens) > 0 {
		c.emit(ZoneAcked{Tokens: tokens})
	}
}

// zoneAckedMeanwhile answers who waited for an ack that came while the lease did not run.
func (c *Core) zoneAckedMeanwhile(now time.Time) {
	for _, r := range c.order {
		for _, o := range c.peers[r].outbounds() {
			c.zoneAcked(now, o.log.stream, r, o.acked)
		}
		for _, s := range c.kin() {
			if at := s.positions[r]; at > 0 && c.logs[s.row.Stream] == nil {
				c.zoneAcked(now, s.row.Stream, r, at)
			}
		}
	}
}
