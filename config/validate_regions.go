package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"meridian/chat"
)

func (v *validator) checkRegions() {
	c := v.config
	if len(c.Regions) == 0 {
		v.add("regions", "is missing; at least one region is needed")
	}
	if len(c.Regions) > chat.MaxRegions {
		v.add("regions", "has %d regions; allowed: at most %d", len(c.Regions), chat.MaxRegions)
	}
	names := map[chat.Region]int{}
	if c.Router.HTTP != "" {
		v.listen("router.http", "router", c.Router.HTTP)
	}
	for i, r := range c.Regions {
		path := fmt.Sprintf("regions[%d]", i)
		v.name(path+".name", string(r.Name))
		if first, taken := names[r.Name]; taken {
			v.add(path+".name", "%s is also the name of regions[%d]", quote(string(r.Name)), first)
		} else {
			names[r.Name] = i
		}
		v.checkPlace(path, r)
		if len(r.Nodes) > 0 {
			v.checkNodes(path, r)
			v.checkServices(path, r)
		} else {
			v.listenAll(path, Node{HTTP: r.HTTP, Admin: r.Admin, Backbone: r.Backbone, URL: r.URL})
		}
		v.checkStore(path, r)
		v.checkCassandra(path, r)
		v.checkPostgres(path, r)
		v.checkRedis(path, r)
		v.checkEvents(path, r)
		v.checkObjects(path, r)
		v.checkReach(path, r)
		if r.CapacitySockets < 0 {
			v.add(path+".capacity_sockets", "%d is out of bounds; allowed: 0 (not limited) or more", r.CapacitySockets)
		}
	}
}

func (v *validator) checkPlace(path string, r Region) {
	v.country(path+".country", r.Country)
	if r.Latitude == 0 && r.Longitude == 0 {
		v.add(path+".latitude", "is missing, like longitude; the router needs to know where the region is")
	}
	within(v, path+".latitude", r.Latitude, -90, 90)
	within(v, path+".longitude", r.Longitude, -180, 180)
	if r.Point != "" {
		v.name(path+".point", r.Point)
	}
}

// nodesMax bounds the nodes of a region.
const nodesMax = 16

// checkNodes checks a region that lists its nodes.
func (v *validator) checkNodes(path string, r Region) {
	for _, own := range [][2]string{{"http", r.HTTP}, {"admin", r.Admin}, {"backbone", r.Backbone}} {
		if own[1] != "" {
			v.add(path+"."+own[0], "%s stands beside nodes; each node has its own, so leave it out", quote(own[1]))
		}
	}
	if len(r.Nodes) > nodesMax {
		v.add(path+".nodes", "has %d nodes; allowed: at most %d", len(r.Nodes), nodesMax)
	}
	if r.URL != "" {
		v.origin(path+".url", r.URL)
	}
	gossiping := 0
	for i, n := range r.Nodes {
		at := fmt.Sprintf("%s.nodes[%d]", path, i)
		v.name(at+".name", string(n.Name))
		for j, other := range r.Nodes[:i] {
			if other.Name == n.Name {
				v.add(at+".name", "%s is also the name of %s.nodes[%d]", quote(string(n.Name)), path, j)
			}
		}
		if r.URL != "" {
			n.URL = r.URL // what clients use is settled
		}
		v.listenAll(at, n)
		if n.Gossip != "" {
			gossiping++
			v.listen(at+".gossip", at, n.Gossip)
			if openHost(n.Gossip) {
				v.add(at+".gossip", "%s names no host; the other nodes join it, so write host:port", quote(n.Gossip))
			}
		}
	}
	if gossiping != 0 && gossiping != len(r.Nodes) {
		v.add(path+".nodes", "has gossip at %d of %d nodes; allowed: at all or at none", gossiping, len(r.Nodes))
	}
}

// listenAll checks a node's addresses: one to listen on may leave the host open, one to dial may not.
func (v *validator) listenAll(path string, n Node) {
	v.listen(path+".http", path, n.HTTP)
	v.listen(path+".admin", path, n.Admin)
	v.listen(path+".backbone", path, n.Backbone)
	if n.URL != "" {
		v.origin(path+".url", n.URL)
	} else if openHost(n.HTTP) {
		v.add(path+".url", "is missing; it is needed since http (%s) names no host", quote(n.HTTP))
	}
	if len(v.config.Backbones()) > 1 && openHost(n.Backbone) {
		v.add(path+".backbone", "%s names no host; the other regions dial it, so write host:port", quote(n.Backbone))
	}
}

// checkStore checks where the region's nodes find their store.
func (v *validator) checkStore(path string, r Region) {
	at := path + ".store"
	if r.Store == "" {
		if len(r.Nodes) > 1 && r.Cassandra == nil {
			v.add(at, "is missing; the nodes of a region share one store: write where a process of its own listens, host:port, or give the region a cassandra")
		}
		return
	}
	v.listen(at, at, r.Store)
	if _, port, err := net.SplitHostPort(r.Store); err == nil && port == "0" || openHost(r.Store) {
		v.add(at, "%s names no host or no port; the region's nodes dial it", quote(r.Store))
	}
}

// checkReach checks that GeoDNS has something to answer.
func (v *validator) checkReach(path string, r Region) {
	for i, a := range r.Addresses {
		if addr, err := netip.ParseAddr(a); err != nil || addr.Zone() != "" || addr.IsUnspecified() {
			v.add(fmt.Sprintf("%s.addresses[%d]", path, i), "%s is not an IP address", quote(a))
		}
	}
	if len(r.Addresses) == 0 && v.config.Router.DNS != "" {
		for _, n := range r.NodeList() {
			host, _, _ := net.SplitHostPort(n.HTTP) // what is no address at all is told by listen
			if addr, err := netip.ParseAddr(host); err != nil || addr.IsUnspecified() {
				v.add(path+".addresses", "is missing; GeoDNS needs it since http (%s) names no address", quote(n.HTTP))
				break
			}
		}
	}
}

// listener is an address to listen on: which key of which owner has it.
type listener struct {
	path, owner, host, port string
	open                    bool
}

// listen checks an address to listen on, and that no other key has the same. An open host (":8101") stands for every
// address, but only within one owner: two regions may be two machines.
func (v *validator) listen(path, owner, value string) {
	if !v.listenAddress(path, value) {
		return
	}
	host, port, _ := net.SplitHostPort(value)
	if port == "0" {
		return
	}
	l := listener{path: path, owner: owner, host: host, port: port, open: openHost(value)}
	for _, other := range v.listeners {
		sameHost := other.host == host && !l.open || owner == other.owner && (l.open || other.open)
		if sameHost && other.port == port {
			v.add(path, "%s is also taken by %s", quote(value), other.path)
			return
		}
	}
	v.listeners = append(v.listeners, l)
}

// listenAddress checks host:port, with a numeric port. It says whether the value is one.
func (v *validator) listenAddress(path, value string) bool {
	if value == "" {
		v.add(path, `is missing; write host:port, as in "127.0.0.1:8101"`)
		return false
	}
	host, port, err := net.SplitHostPort(value)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || strconv.FormatUint(number, 10) != port || strings.ContainsAny(host, " /@%") {
		v.add(path, "%s is not host:port with a port from 0 to 65535", quote(value))
		return false
	}
	return true
}

// openHost says that an address to listen on leaves the host open.
func openHost(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false // told by listenAddress
	}
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

func (v *validator) checkZones() {
	c := v.config
	if len(c.Zones) == 0 {
		v.add("zones", "is missing; at least one zone is needed")
	}
	names, hosts := map[chat.Zone]int{}, map[string]int{}
	for i, z := range c.Zones {
		path := fmt.Sprintf("zones[%d]", i)
		v.name(path+".name", string(z.Name))
		if first, taken := names[z.Name]; taken {
			v.add(path+".name", "%s is also the name of zones[%d]", quote(string(z.Name)), first)
		} else {
			names[z.Name] = i
		}
		if len(z.Regions) == 0 {
			v.add(path+".regions", "is missing; a zone holds at least one region; known: %s", join(v.regions))
		}
		v.regionList(path+".regions", z.Regions)
		oneOf(v, path+".policy", z.Policy, chat.PolicyCopy, chat.PolicyDeny)
		oneOf(v, path+".transit", z.Transit, chat.TransitAllow, chat.TransitDeny)
		oneOf(v, path+".ack", z.Ack, chat.AckRegion, chat.AckZone)
		if z.Ack == chat.AckZone && len(z.Regions) == 1 {
			v.add(path+".ack", `"zone" needs a second region in the zone; allowed here: region`)
		}
		if z.Transit == chat.TransitDeny && z.Policy == chat.PolicyCopy {
			v.add(path+".policy", `"copy" would carry out of the zone what transit: deny keeps in; allowed here: deny`)
		}
		v.checkZoneHost(path, z)
		if first, taken := hosts[z.Host]; taken && z.Host != "" {
			v.add(path+".host", "%s is also the host of zones[%d]", quote(z.Host), first)
		} else {
			hosts[z.Host] = i
		}
	}
}

func (v *validator) checkZoneHost(path string, z Zone) {
	router := v.config.Router
	switch {
	case z.Host == "" && z.Transit == chat.TransitDeny && router.DNS != "":
		v.add(path+".host", "is missing; a zone with transit: deny needs its own host name, as in %s", quote(string(z.Name)+"."+router.Domain))
	case z.Host == "":
	case !domainPattern.MatchString(z.Host) || len(z.Host) > 253:
		v.add(path+".host", "%s is not a host name; allowed: lower-case labels joined by dots", quote(z.Host))
	case router.DNS != "" && domainPattern.MatchString(router.Domain) && !strings.HasSuffix(z.Host, "."+router.Domain):
		v.add(path+".host", "%s does not lie under router.domain; GeoDNS serves only names that end in %s", quote(z.Host), quote("."+router.Domain))
	}
}
