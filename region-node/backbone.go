package regionnode

import (
	"context"
	"time"

	"meridian/chat"
	"meridian/front"
	"meridian/region-node/drain"
	"meridian/region-node/edge"
	"meridian/region-node/messages"
	"meridian/replication"
	"meridian/replication/link"
)

// backbone shows the mesh to the parts that were built before it: the mesh calls them from its first moment, so it comes last.
type backbone struct {
	mesh  *link.Mesh
	built chan struct{} // closed when mesh is set
	hints *hints
}

func (b *backbone) SendRelay(peer chat.NodeRef, f replication.Frame) bool {
	<-b.built
	return b.mesh.SendRelay(peer, f)
}

// Tell tells every node of a region; of the own region the others.
func (b *backbone) Tell(region chat.Region, kind string, payload []byte) {
	<-b.built
	b.mesh.TellRegion(region, kind, payload)
	if region == b.hints.self.Region {
		b.hints.tell(kind, payload)
	}
}

func (b *backbone) Call(ctx context.Context, peer chat.Region, method string, payload []byte) ([]byte, error) {
	<-b.built
	return b.mesh.Call(ctx, peer, method, payload)
}

func (b *backbone) OpenStream(ctx context.Context, peer chat.Region, kind string, header []byte) (edge.Stream, error) {
	<-b.built
	return b.mesh.OpenStream(ctx, peer, kind, header)
}

func (b *backbone) CallNode(ctx context.Context, peer chat.NodeRef, method string, payload []byte) ([]byte, error) {
	<-b.built
	return b.mesh.CallNode(ctx, peer, method, payload)
}

func (b *backbone) OpenStreamNode(ctx context.Context, peer chat.NodeRef, kind string, header []byte) (edge.Stream, error) {
	<-b.built
	return b.mesh.OpenStreamNode(ctx, peer, kind, header)
}

func (b *backbone) Reachable(peer chat.Region) (time.Duration, bool) {
	<-b.built
	p := b.regions()[peer]
	return p.RTT, p.Up
}

// regions gives the links by region: a region is up while one of its nodes is, and as far as the nearest of them.
func (b *backbone) regions() map[chat.Region]link.PeerStatus {
	all := make(map[chat.Region]link.PeerStatus)
	for ref, p := range b.mesh.Peers() {
		best, known := all[ref.Region]
		if !known || p.Up && (!best.Up || p.RTT > 0 && (best.RTT == 0 || p.RTT < best.RTT)) {
			all[ref.Region] = p
		}
	}
	return all
}

// joinBackbone opens the links to the other nodes.
func (n *Node) joinBackbone() error {
	o := n.opt
	mesh, err := link.NewMesh(link.Options{
		Region: o.Region, Node: n.identity.Node, Incarnation: n.identity.Incarnation, Identity: o.Identity, Listener: o.Backbone,
		Peers: o.Peers, Network: o.Network, DeadAfter: o.Config.Timing.LinkDead, Log: o.Log, Metrics: o.Metrics, Clock: n.clock.told,
		Handlers: link.Handlers{
			OnUp: n.onUp, OnDown: n.onDown, OnRelay: n.onRelay, OnTell: n.onTell, OnClock: n.onClock,
			OnRequest: n.onRequest, OnStream: n.onStream,
		},
	})
	if err != nil {
		return err
	}
	n.backbone.mesh = mesh
	close(n.backbone.built)
	return nil
}

// onRequest answers a call of another node.
func (n *Node) onRequest(ctx context.Context, peer chat.NodeRef, method string, payload []byte) ([]byte, error) {
	if method == edge.TellServices && peer.Region == n.opt.Region {
		n.edge.Hear(peer.Node, payload)
		return nil, nil
	}
	if method == methodMoves && peer.Region == n.opt.Region {
		return n.answerMoves()
	}
	if method == front.MethodChallenge {
		return n.opt.Front.Answer(ctx, string(payload)), nil
	}
	if method == edge.MethodHTTP {
		return n.edge.ServeForwarded(ctx, payload)
	}
	if reply, ok, err := n.verify.Handle(ctx, peer.Region, method, payload); ok {
		return reply, err
	}
	return n.auth.HandleRequest(ctx, peer.Region, method, payload)
}

// onTell takes a hint of another node.
func (n *Node) onTell(peer chat.NodeRef, kind string, payload []byte) {
	if kind == messages.TellWake {
		if peer.Region == n.opt.Region {
			n.messages.OnWake(payload)
		}
		return
	}
	if kind == edge.TellServices {
		if peer.Region == n.opt.Region {
			n.edge.Hear(peer.Node, payload)
		}
		return
	}
	if kind == drain.Kind {
		n.drain.Hear(peer, payload)
		return
	}
	n.presence.OnTell(peer, kind, payload)
}

func (n *Node) onStream(peer chat.NodeRef, stream link.Stream, kind string, header []byte) {
	within := peer.Region == n.opt.Region
	switch {
	case kind == edge.StreamClient:
		n.edge.ServeStream(n.ctx, peer.Region, stream, header)
	case kind == edge.StreamSocket && within:
		n.edge.ServeSocket(n.ctx, stream, header)
	case kind == edge.StreamRequest:
		n.edge.ServeRequest(n.ctx, stream, header, within)
	default:
		stream.CloseWithCode(1002, "unknown kind of stream")
	}
}

func (n *Node) onUp(peer link.Remote) {
	n.backbone.hints.link(peer.NodeRef, true)
	n.messages.Up(peer.NodeRef)
	n.presence.Sync(peer.NodeRef)
	if peer.Region == n.opt.Region {
		n.edge.Tell()
	}
	n.opt.Metrics.Set("link_up", 1, peer.NodeRef.String())
}

func (n *Node) onDown(peer link.Remote) {
	n.backbone.hints.link(peer.NodeRef, false)
	n.messages.Down(peer.NodeRef)
	if peer.Region == n.opt.Region {
		n.edge.Forget(peer.Node)
	}
	n.opt.Metrics.Set("link_up", 0, peer.NodeRef.String())
}

// Appeared tells, as a hint, that another node of this region is there: whatever waits to dial does so at once.
func (n *Node) Appeared(node chat.NodeID) {
	n.backbone.mesh.Redial()
	n.opt.Metrics.Set("pool_member", 1, string(node))
}

// Vanished tells, as a hint, that another node of this region seems to have gone.
func (n *Node) Vanished(node chat.NodeID) {
	n.opt.Metrics.Set("pool_member", 0, string(node))
}

func (n *Node) onRelay(peer link.Remote, f replication.Frame) {
	n.messages.Receive(peer.NodeRef, f)
}
