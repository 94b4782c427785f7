package regionnode

import (
	"meridian/chat"
	"meridian/region-node/edge"
)

// services gives what a node of this region runs, as the configuration says.
func (n *Node) services(node chat.NodeID) []chat.Service {
	r, _ := n.opt.Config.Region(n.opt.Region)
	c, _ := r.Node(node) // one that is not listed is the region's only one
	return c.ServiceList()
}

// Runs says whether a node runs a service: one of this region as it told, any other as the configuration has it.
func (n *Node) Runs(ref chat.NodeRef, service chat.Service) bool {
	if ref.Region == n.opt.Region {
		if w, told := n.edge.Heard()[ref.Node]; told {
			return w.Runs(service)
		}
	}
	r, _ := n.opt.Config.Region(ref.Region)
	c, _ := r.Node(ref.Node)
	return c.Runs(service)
}

// Services gives the nodes of this region that are there, this one included, with what they run and how busy they are.
func (n *Node) Services() map[chat.NodeID]edge.Word {
	all := n.edge.Heard()
	all[n.identity.Node] = n.edge.Word()
	return all
}
