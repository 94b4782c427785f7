package replication

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"meridian/chat"
)

// peer is the state towards one region, in both directions.
type peer struct {
	region  chat.Region
	links   map[chat.NodeID]bool // nodes that are linked
	out     map[chat.StreamID]*outbound
	streams map[chat.StreamID]*inStream
	sorted  []*inStream // streams, by id
	past    map[chat.StreamID]past

	heardAt time.Time                 // last word of it to this region, as far as this node knows
	toldAt  time.Time                 // last FrameHave about it
	handed  map[chat.StreamID]*handOn // to it, of other regions' streams

	refusals                allowance // of what it brings
	slowUntil               time.Time // the last submit that was slowed for it goes on then
	slowCount, refusedCount uint64    // submits
	level                   int       // of the budget that an alarm was given for
	old                     bool      // an alarm was given for the age of what it is owed
}

// up says that some node of the region is linked.
func (p *peer) up() bool { return len(p.links) > 0 }

// linked says whether node is linked.
func (p *peer) linked(node chat.NodeID) bool { return p.links[node] }

// choose gives the linked node that a stream is brought to: spread over them, and always the same one; "" when there is none.
func (p *peer) choose(stream chat.StreamID) chat.NodeID {
	var best chat.NodeID
	var highest uint64
	for _, node := range sortedKeys(p.links) {
		h := fnv.New64a()
		for _, text := range []string{string(stream.Region), string(stream.Node), string(p.region), string(node)} {
			_, _ = h.Write([]byte(text)) // never fails
			_, _ = h.Write([]byte{0})
		}
		if score := h.Sum64(); best == "" || score > highest {
			best, highest = node, score
		}
	}
	return best
}

// outbounds gives the relays to the region, by stream.
func (p *peer) outbounds() []*outbound {
	list := make([]*outbound, 0, len(p.out))
	for _, o := range p.out {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b *outbound) int { return compareStreams(a.log.stream, b.log.stream) })
	return list
}

// inbound gives the state of a stream, made when it is first heard of, or is heard of again after it was forgotten.
func (p *peer) inbound(id chat.StreamID) *inStream {
	s, ok := p.streams[id]
	if !ok {
		s = &inStream{id: id}
		p.recall(s)
		p.streams[id] = s
		at, _ := slices.BinarySearchFunc(p.sorted, s, func(a, b *inStream) int { return compareStreams(a.id, b.id) })
		p.sorted = slices.Insert(slices.Clone(p.sorted), at, s) // who walks the old list goes on with it
	}
	return s
}

// known gives the region's streams, sorted.
func (p *peer) known() []*inStream {
	return p.sorted
}

// sortedStreams walks a map of streams in a fixed order.
func sortedStreams[V any](m map[chat.StreamID]V) []chat.StreamID {
	return slices.SortedFunc(maps.Keys(m), compareStreams)
}

func compareStreams(a, b chat.StreamID) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Incarnation, b.Incarnation))
}

// peerUp notes a link. A node of the own region hears the marks from the next tick on; another region is told which streams
// count before anything else, and the relays that have nowhere to go open here.
func (c *Core) peerUp(in PeerUp) {
	if in.Peer.Region == c.cfg.Self {
		c.linkedSiblings[in.Peer.Node] = true
		c.tellMarks = true
		return
	}
	p, ok := c.peers[in.Peer.Region]
	if !ok {
		return
	}
	p.links[in.Peer.Node] = true
	c.tellLivesTo(p, in.Peer.Node)
	for _, o := range p.outbounds() {
		if o.via == "" || o.via == in.Peer.Node {
			c.open(p, o)
		}
	}
}

// peerDown forgets a link; the relays that used it look for another node of the region.
func (c *Core) peerDown(ref chat.NodeRef) {
	if ref.Region == c.cfg.Self {
		delete(c.linkedSiblings, ref.Node)
		return
	}
	p, ok := c.peers[ref.Region]
	if !ok {
		return
	}
	delete(p.links, ref.Node)
	for _, o := range p.outbounds() {
		if o.via == ref.Node {
			o.via, o.ready = "", false
			c.open(p, o)
		}
	}
}
