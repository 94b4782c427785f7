package sim

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"meridian/chat"
	"meridian/region-node/verify"
	"meridian/replication"
	"meridian/sim/memstore"
)

// A repair is that of region-node/verify: its digests, its comparison and its ops; calls between regions take no time.

// verifier gives the node's part of a comparison.
func (n *node) verifier() *verify.Service {
	return verify.New(verify.Options{
		Self: n.region, Topology: n.w.topology, Store: memstore.Open(n.tables, memstore.Retention{}), Remote: remote{n}, Submitter: bringer{n},
		Now: n.now, Wait: func(context.Context, time.Duration) bool { return true }, Log: slog.New(slog.DiscardHandler),
	})
}

// remote asks another region's node.
type remote struct{ n *node }

// Call is as of verify.Remote.
func (r remote) Call(ctx context.Context, region chat.Region, method string, payload []byte) ([]byte, error) {
	peer := r.n.w.nodesOf(region)[0]
	reply, _, err := peer.verifier().Handle(ctx, r.n.region, method, payload)
	return reply, err
}

// bringer gives the core what a repair brings. The world goes on before it is durable: what fails is found by the next comparison.
type bringer struct{ n *node }

// Submit is as of verify.Submitter.
func (b bringer) Submit(_ context.Context, op chat.Op) (chat.Op, error) {
	op.Client = chat.ClientID(b.n.w.uuid(0x40))
	b.n.w.faults["repair op"]++
	b.n.w.restored.repairs = 0
	b.n.submit(replication.Submit{Op: op}, func(sub replication.Submitted) {
		if sub.Err == nil {
			b.n.w.did(sub.Op)
		}
	}, nil)
	return op, nil
}

// reachable says that the operator can have the node compare with the peer.
func (n *node) reachable(peer *node) bool {
	l := n.paths[peer.ref]
	return n.runs() && peer.runs() && l.up == [2]bool{true, true} && l.cut == [2]bool{} && n.judged.Refuse == nil && peer.judged.Refuse == nil &&
		n.owes(peer) <= lagging && peer.owes(n) <= lagging
}

// lagging is how many ops may be on their way between two regions that are compared: what is on its way is taken for missing.
const lagging = 30

// owes counts what the node has not brought to the peer's region.
func (n *node) owes(peer *node) uint64 {
	for _, p := range n.core.Peers(n.clock()) {
		if p.Region == peer.region && p.Ready {
			return p.Backlog
		}
	}
	return lagging + 1 // it has not said what it has
}

// repair compares every two regions that reach each other, and repairs what differs: what the restored one had brought to one region
// of a zone and not yet to another differs between those two. It gives whether all were reached, and the restored one serves again.
func (w *world) repair() bool {
	if n := w.restored.site.nodes[0]; !n.runs() || !n.ready() {
		return false
	}
	all := true
	for i, s := range w.sites {
		for _, peer := range w.sites[i+1:] {
			if n := s.nodes[0]; n.reachable(peer.nodes[0]) {
				n.compare(peer.region)
			} else {
				all = false
			}
		}
	}
	return all
}

// compare compares all zones that both regions serve, and repairs what differs.
func (n *node) compare(peer chat.Region) {
	for _, zone := range slices.Sorted(maps.Keys(n.w.topology.Zones)) {
		if !n.w.topology.InZone(peer, zone) || !n.w.topology.InZone(n.region, zone) {
			continue
		}
		report, err := n.verifier().Compare(context.Background(), zone, peer, true, nil)
		if err != nil {
			n.w.violate(PromiseProtocol, "%s cannot compare %s with %s: %v", n.name(), zone, peer, err)
		}
		n.w.note(n.name(), "compared %s with %s: %+v", zone, peer, report)
	}
}

// repairNow repairs while people write, and tries again until all regions were reached. Before, devices that the restored region serves
// go elsewhere: what they have not been shown there they must be shown by the repair.
func (w *world) repairNow() {
	r := &w.restored
	if w.healed {
		return
	}
	if r.site.nodes[0].serves && !r.left {
		r.left = true
		w.move()
		w.after(w.between(500*time.Millisecond, 2*time.Second), w.repairNow)
		return
	}
	if !w.repair() {
		w.after(w.between(500*time.Millisecond, 2*time.Second), w.repairNow)
	}
}

// repairLast repairs once the world is healed, until nothing differs any more; in between every device goes to another region.
func (w *world) repairLast() {
	r := &w.restored
	if !r.done {
		return
	}
	w.after(w.between(3*time.Second, 5*time.Second), func() {
		if w.underWay() { // what is on its way would be taken for missing
			w.repairLast()
			return
		}
		if r.repairs++; !w.repair() {
			r.repairs = 0
		}
		if r.repairs == 0 || !r.moved {
			w.move()
			r.moved = true
		}
		if r.repairs < quietRepairs {
			w.repairLast()
		}
	})
}

// underWay says that some region has not brought another everything.
func (w *world) underWay() bool {
	return slices.ContainsFunc(w.nodes, func(n *node) bool {
		return n.core.Submits() > 0 || slices.ContainsFunc(n.core.Peers(n.clock()), func(p replication.PeerStatus) bool {
			return !p.Ready || p.Backlog > 0
		})
	})
}

// quietRepairs is how many repairs find nothing before a world is at rest.
const quietRepairs = 2

// move has every device go on in the next region, soon.
func (w *world) move() {
	for _, c := range w.clients {
		w.after(w.between(0, 300*time.Millisecond), func() {
			if c.session != nil {
				c.leave()
				c.at = (c.at + 1) % len(c.endpoints)
				c.reconnect(w.between(0, 300*time.Millisecond))
			}
		})
	}
}

// unrepaired says that the region which was restored may still differ.
func (w *world) unrepaired() string {
	if w.restored.done && w.restored.repairs < quietRepairs {
		return string(w.restored.site.region) + " was restored, and is not repaired"
	}
	return ""
}
