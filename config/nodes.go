package config

import "meridian/chat"

// Node is one process of a region. Where its region has a URL of its own, a load balancer stands before the nodes and
// clients use only that.
type Node struct {
	Name chat.NodeID `yaml:"name"`
	// HTTP, Admin and Backbone are listen addresses, as those of a region with one node.
	HTTP     string `yaml:"http"`
	Admin    string `yaml:"admin"`
	Backbone string `yaml:"backbone"`
	// URL is what clients use; default http://<http>.
	URL string `yaml:"url"`
	// Gossip is where the region's nodes tell each other who is there, TCP and UDP; empty: they do not.
	Gossip string `yaml:"gossip"`
	// Services are what the node does for people; empty: all. What it does not run it passes on to a node of the region that does.
	Services []chat.Service `yaml:"services"`
}

// OnlyNode is the name of the node of a region that lists none.
const OnlyNode chat.NodeID = "n1"

// BaseURL is where clients reach this node.
func (n Node) BaseURL() string {
	if n.URL != "" {
		return n.URL
	}
	return "http://" + n.HTTP
}

// NodeList gives the region's nodes: Nodes, or one at the region's own addresses.
func (r Region) NodeList() []Node {
	if len(r.Nodes) > 0 {
		return r.Nodes
	}
	return []Node{{Name: OnlyNode, HTTP: r.HTTP, Admin: r.Admin, Backbone: r.Backbone, URL: r.URL}}
}

// Node gives one of the region's nodes.
func (r Region) Node(name chat.NodeID) (Node, bool) {
	for _, n := range r.NodeList() {
		if n.Name == name {
			return n, true
		}
	}
	return Node{}, false
}

// URLs are what clients use: the region's own URL, or those of its nodes.
func (r Region) URLs() []string {
	if r.URL != "" {
		return []string{r.URL}
	}
	var urls []string
	for _, n := range r.NodeList() {
		urls = append(urls, n.BaseURL())
	}
	return urls
}

// Backbones gives where every node of the deployment listens for the others.
func (c *Config) Backbones() map[chat.NodeRef]string {
	all := make(map[chat.NodeRef]string)
	for _, r := range c.Regions {
		for _, n := range r.NodeList() {
			all[chat.NodeRef{Region: r.Name, Node: n.Name}] = n.Backbone
		}
	}
	return all
}
