package regionnode

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"meridian/chat"
	"meridian/region-node/drain"
	"meridian/region-node/roundtrip"
	"meridian/region-node/wire"
)

// RoundTrips is the answer of GET /v1/admin/rtt: how far clients are from this node, by its sockets, in the last days. It holds no address.
type RoundTrips struct {
	Region chat.Region `json:"region"`
	Node   chat.NodeID `json:"node"`
	// Sampling: the node measures (router.learned.sample).
	Sampling bool             `json:"sampling"`
	Groups   []roundtrip.Word `json:"groups"`
}

func (n *Node) serveRoundTrips(w http.ResponseWriter, _ *http.Request) {
	answer := RoundTrips{Region: n.opt.Region, Node: n.identity.Node, Sampling: n.opt.Config.Router.Learned.Sample, Groups: []roundtrip.Word{}}
	if answer.Sampling {
		answer.Groups = n.roundTrips.Words(n.clock.Now())
	}
	wire.WriteJSON(w, http.StatusOK, answer)
}

// sample measures all sockets now and then, until ctx ends.
func (n *Node) sample(ctx context.Context) {
	if !n.opt.Config.Router.Learned.Sample {
		return
	}
	ticker := time.NewTicker(n.opt.Config.Router.Learned.SampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, one := range n.movable() {
			n.opt.Metrics.Count("rtt_samples_total", n.measure(one))
		}
		n.opt.Metrics.Set("rtt_networks", float64(n.roundTrips.Networks()))
	}
}

// What came of measuring a socket.
const (
	sampleTaken = "taken"
	sampleOther = "other" // it ends elsewhere, or at a proxy
	sampleFull  = "full"
)

// measure takes a sample of a socket that ends here and whose other end is the client itself.
func (n *Node) measure(one drain.Socket) string {
	socket, own := one.(interface{ NetConn() net.Conn })
	if !own || one.Edge() != n.opt.Region {
		return sampleOther
	}
	_, client := one.Person()
	d, peer, ok := roundtrip.Smoothed(socket.NetConn())
	if client = client.Unmap().WithZone(""); !ok || peer != client || n.listedProxy(peer) {
		return sampleOther
	}
	country, asn := n.network(client)
	if !n.roundTrips.Add(client, country, asn, d, n.clock.Now()) {
		return sampleFull
	}
	return sampleTaken
}

func (n *Node) network(client netip.Addr) (country string, asn uint32) {
	if n.opt.NetworkOf == nil {
		return "", 0
	}
	return n.opt.NetworkOf(client)
}

// listedProxy says that an address is a proxy's, whose round trip is not its clients'.
func (n *Node) listedProxy(a netip.Addr) bool {
	return slices.ContainsFunc(n.opt.Config.Network.TrustedProxies, func(s string) bool {
		p, err := netip.ParsePrefix(s)
		return err == nil && p.Contains(a)
	})
}
