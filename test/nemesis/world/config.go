package world

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"meridian/chat"
	"meridian/config"
)

// The ports of every process; each has an address of its own.
const (
	portHTTP     = "8100"
	portAdmin    = "8200"
	portBackbone = "8300"
	portGossip   = "8400"
	portStore    = "8500"
)

// StoreNode stands for a region's store process where a node's name is asked for.
const StoreNode chat.NodeID = "store"

// delayScale shortens the real world's round trips, so that a run of minutes sees many of them.
const delayScale = 0.2

// place is a region of every world.
type place struct {
	name                chat.Region
	country             string
	latitude, longitude float64
	point               string
}

var places = []place{
	{"us-east", "US", 39.04, -77.49, "us-east-1"},
	{"eu-west", "IE", 53.35, -6.26, "eu-west-1"},
	{"ap-south", "IN", 19.08, 72.88, "ap-south-1"},
}

// Regions are those of every world, in the order of the configuration.
func Regions() []chat.Region {
	var all []chat.Region
	for _, p := range places {
		all = append(all, p.name)
	}
	return all
}

// configure writes the deployment's file. It is written by hand and not from config.Config, so that a build which knows
// fewer keys reads it too: a region of one node is given in the words that every build knows.
func (w *World) configure() error {
	var regions []map[string]any
	for _, p := range places {
		region := map[string]any{
			"name": p.name, "country": p.country, "latitude": p.latitude, "longitude": p.longitude, "point": p.point,
		}
		if w.plan.Nodes == 1 {
			for key, value := range w.addresses(p.name, "n1") {
				region[key] = value
			}
		} else {
			var nodes []map[string]any
			for _, n := range w.nodesOf(p.name) {
				node := map[string]any{"name": string(n), "gossip": net.JoinHostPort(w.hosts[chat.NodeRef{Region: p.name, Node: n}].Addr, portGossip)}
				for key, value := range w.addresses(p.name, n) {
					node[key] = value
				}
				if list := w.plan.Services[n]; len(list) > 0 {
					node["services"] = list
				}
				nodes = append(nodes, node)
			}
			region["nodes"] = nodes
			region["store"] = w.storeAddress(p.name)
		}
		if w.plan.Real {
			delete(region, "store")
			region["cassandra"] = w.cassandra(p.name)
		}
		regions = append(regions, region)
	}
	doc := map[string]any{
		"name": "nemesis", "data_dir": w.dataDir(), "regions": regions,
		"zones": []map[string]any{
			{"name": "world", "regions": Regions(), "ack": w.plan.Ack, "at_sign_up": true},
			{"name": "eu", "regions": []string{"eu-west"}, "at_sign_up": true},
			{"name": "in", "regions": []string{"ap-south"}, "transit": "deny", "at_sign_up": true, "host": "in.chat.meridian.test"},
		},
		"home_zones": map[string]any{"default": "world"},
		"router":     map[string]any{"http": net.JoinHostPort(w.outside(), "8080"), "dns": net.JoinHostPort(w.outside(), "8053")},
		"network":    map[string]any{"delay_scale": delayScale, "trusted_proxies": []string{w.cidr()}},
		"security":   map[string]any{"argon2_memory_kib": 64, "argon2_passes": 1, "argon2_parallel": 4},
		"limits": map[string]any{
			"auth_per_minute": 60_000, "sockets_per_address": 20_000, "sockets_per_user": 200, "sends_per_second": 1000,
			"store_reserve_bytes": storeReserveBytes,
		},
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		return err
	}
	w.file = filepath.Join(w.dir, "deployment.yaml")
	if err := os.WriteFile(w.file, text, 0o600); err != nil {
		return err
	}
	if w.Config, err = config.Load(w.file); err != nil {
		return fmt.Errorf("the configuration of the world is not valid: %w", err)
	}
	return nil
}

// storeReserveBytes: a disk with less room takes no writes; small, for the disk that is filled is small.
const storeReserveBytes = 16 << 20

func (w *World) addresses(region chat.Region, node chat.NodeID) map[string]string {
	at := w.hosts[chat.NodeRef{Region: region, Node: node}].Addr
	return map[string]string{
		"http": net.JoinHostPort(at, portHTTP), "admin": net.JoinHostPort(at, portAdmin), "backbone": net.JoinHostPort(at, portBackbone),
	}
}

func (w *World) storeAddress(region chat.Region) string {
	return net.JoinHostPort(w.hosts[chat.NodeRef{Region: region, Node: StoreNode}].Addr, portStore)
}

func (w *World) nodesOf(chat.Region) []chat.NodeID {
	var all []chat.NodeID
	for i := range w.plan.Nodes {
		all = append(all, chat.NodeID(fmt.Sprintf("n%d", i+1)))
	}
	return all
}
