package regionnode

import (
	"context"
	"time"

	"meridian/chat"
	"meridian/region-node/edge"
	"meridian/replication"
	"meridian/replication/link"
)

// backbone shows the mesh to the parts that were built before it: the mesh calls them from its first moment, so it comes last.
type backbone struct {
	mesh  *link.Mesh
	built chan struct{} // closed when mesh is set
}

func (b *backbone) SendRelay(peer chat.Region, f replication.Frame) bool {
	<-b.built
	return b.mesh.SendRelay(peer, f)
}

func (b *backbone) Tell(peer chat.Region, kind string, payload []byte) {
	<-b.built
	b.mesh.Tell(peer, kind, payload)
}

func (b *backbone) Call(ctx context.Context, peer chat.Region, method string, payload []byte) ([]byte, error) {
	<-b.built
	return b.mesh.Call(ctx, peer, method, payload)
}

func (b *backbone) OpenStream(ctx context.Context, peer chat.Region, kind string, header []byte) (edge.Stream, error) {
	<-b.built
	return b.mesh.OpenStream(ctx, peer, kind, header)
}

func (b *backbone) Reachable(peer chat.Region) (time.Duration, bool) {
	<-b.built
	p, ok := b.mesh.Peers()[peer]
	return p.RTT, ok && p.Up
}

// joinBackbone opens the links to the other regions.
func (n *Node) joinBackbone() error {
	o := n.opt
	mesh, err := link.NewMesh(link.Options{
		Region: o.Region, Node: n.identity.Node, Incarnation: n.identity.Incarnation, Identity: o.Identity, Listener: o.Backbone,
		Peers: o.Peers, Network: o.Network, DeadAfter: o.Config.Timing.LinkDead, Log: o.Log, Metrics: o.Metrics, Now: o.Now,
		Handlers: link.Handlers{
			OnUp: n.onUp, OnDown: n.onDown, OnRelay: n.messages.Receive, OnTell: n.presence.OnTell,
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

// onRequest answers a call of another region.
func (n *Node) onRequest(ctx context.Context, peer chat.Region, method string, payload []byte) ([]byte, error) {
	if method == edge.MethodHTTP {
		return n.edge.ServeForwarded(ctx, payload)
	}
	return n.auth.HandleRequest(ctx, peer, method, payload)
}

func (n *Node) onStream(peer chat.Region, stream link.Stream, kind string, header []byte) {
	if kind != edge.StreamClient {
		stream.CloseWithCode(1002, "unknown kind of stream")
		return
	}
	n.edge.ServeStream(n.ctx, peer, stream, header)
}

func (n *Node) onUp(peer chat.Region) {
	n.messages.Up(peer)
	n.presence.Sync(peer)
	n.opt.Metrics.Set("link_up", 1, string(peer))
}

func (n *Node) onDown(peer chat.Region) {
	n.messages.Down(peer)
	n.opt.Metrics.Set("link_up", 0, string(peer))
}
