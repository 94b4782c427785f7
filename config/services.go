package config

import (
	"fmt"
	"slices"

	"meridian/chat"
)

// ServiceList gives what the node runs: Services, or all of them.
func (n Node) ServiceList() []chat.Service {
	if len(n.Services) > 0 {
		return n.Services
	}
	return chat.Services()
}

// Runs says whether the node runs a service.
func (n Node) Runs(s chat.Service) bool { return slices.Contains(n.ServiceList(), s) }

// ClientURLs are what clients are told to use: the region's own URL, or those of its nodes that serve sockets. Every node takes
// every request, but one that passes a socket on costs it a way more.
func (r Region) ClientURLs() []string {
	if r.URL != "" {
		return []string{r.URL}
	}
	var urls []string
	for _, n := range r.NodeList() {
		if n.Runs(chat.ServiceChat) {
			urls = append(urls, n.BaseURL())
		}
	}
	return urls
}

// SetServices changes what a node of a region runs, and validates the whole. The error is Problems.
func (c *Config) SetServices(ref chat.NodeRef, services []chat.Service) error {
	for i := range c.Regions {
		if c.Regions[i].Name == ref.Region {
			c.Regions[i].Nodes = slices.Clone(c.Regions[i].NodeList())
			for j := range c.Regions[i].Nodes {
				if c.Regions[i].Nodes[j].Name == ref.Node {
					c.Regions[i].Nodes[j].Services = services
				}
			}
			c.Regions[i].HTTP, c.Regions[i].Admin, c.Regions[i].Backbone = "", "", "" // they are the node's now
		}
	}
	return c.Validate()
}

// checkServices checks what the nodes of a region run: names that exist, each once, and somebody for each.
func (v *validator) checkServices(path string, r Region) {
	var lists [][]chat.Service
	for i, n := range r.Nodes {
		at := fmt.Sprintf("%s.nodes[%d].services", path, i)
		if n.Services != nil && len(n.Services) == 0 {
			v.add(at, "is empty; leave the key out for all: %s", chat.ServiceNames(chat.Services()))
		}
		for j, s := range n.Services {
			one := fmt.Sprintf("%s[%d]", at, j)
			oneOf(v, one, s, chat.Services()...)
			if slices.Contains(n.Services[:j], s) {
				v.add(one, "%s stands in the list twice", quote(string(s)))
			}
		}
		lists = append(lists, n.ServiceList())
	}
	for _, s := range chat.MissingServices(lists...) {
		v.add(path+".nodes", "no node of region %s runs %s; add it to a node's services", r.Name, quote(string(s)))
	}
}
