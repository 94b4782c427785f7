package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
	"meridian/replication/member"
)

// nodeCommand runs one region as a process of its own.
func nodeCommand() *cobra.Command {
	var file, region, node string
	var services []string
	var offset time.Duration
	cmd := &cobra.Command{
		Use: "node", Short: "Run a node of one region from a configuration file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ref := chat.NodeRef{Region: chat.Region(region), Node: chat.NodeID(node)}
			prepare := func(cfg *config.Config) error {
				if !cmd.Flags().Changed(servicesFlag) {
					return nil
				}
				return runOnly(cfg, ref, services)
			}
			adjust := func(d *deployment) {
				if cmd.Flags().Changed(clockOffset) {
					d.clock.set(offset)
					d.setClock = d.clock.set
				}
			}
			return failed(runNode(cmd.Context(), file, ref, prepare, adjust, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file of the deployment")
	cmd.Flags().StringVar(&region, "region", "", "the region to run")
	cmd.Flags().StringVar(&node, "node", string(config.OnlyNode), "which of the region's nodes")
	cmd.Flags().StringSliceVar(&services, servicesFlag, nil, "what this node runs, whatever its configuration says: "+chat.ServiceNames(chat.Services())+"; default: as configured, or all")
	cmd.Flags().DurationVar(&offset, clockOffset, 0, "for tests: added to this node's clock, as if the machine's were wrong; POST /v1/admin/clock?offset= then changes it")
	_ = cmd.MarkFlagRequired("config") // the flags exist
	_ = cmd.MarkFlagRequired("region")
	return cmd
}

// servicesFlag is the flag that says what a node runs.
const servicesFlag = "services"

// runOnly lets the configuration say that node ref runs only the named services. The other nodes hear of it from the node itself.
func runOnly(cfg *config.Config, ref chat.NodeRef, names []string) error {
	list := []chat.Service{}
	for _, name := range names {
		list = append(list, chat.Service(name))
	}
	if err := cfg.SetServices(ref, list); err != nil {
		return &exitError{
			code: exitUsage, what: fmt.Sprintf("node %s cannot run only %s: %v", ref, strings.Join(names, ", "), err),
			next: "give the services in the configuration (regions[].nodes[].services), so that every region has a node for each",
		}
	}
	return nil
}

// clockOffset is the flag that makes a node's clock wrong.
const clockOffset = "clock-offset"

// runNode runs a node; prepare may change the configuration once it is known that it has the node.
func runNode(ctx context.Context, file string, ref chat.NodeRef, prepare func(*config.Config) error, adjust func(*deployment), stdout, stderr io.Writer) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	r, ok := cfg.Region(ref.Region)
	if !ok {
		return &exitError{code: exitUsage, what: fmt.Sprintf("%q is not a region of %s; known: %v", ref.Region, file, cfg.Topology().Regions)}
	}
	if _, ok = r.Node(ref.Node); !ok {
		return &exitError{code: exitUsage, what: fmt.Sprintf("%q is not a node of region %s in %s; known: %s", ref.Node, ref.Region, file, nodeNames(r))}
	}
	if err := prepare(cfg); err != nil {
		return err
	}
	r, _ = cfg.Region(ref.Region)
	n, _ := r.Node(ref.Node)
	d, err := newDeployment(cfg, stderr, false)
	if err != nil {
		return err
	}
	adjust(d)
	for failing := time.Now(); ; {
		again, err := d.runLife(ctx, r, n, stdout)
		switch {
		case chat.CodeOf(err) == chat.CodeRegionDegraded && ctx.Err() == nil && time.Since(failing) < startWait:
			d.log.Warn("the node does not start yet", "region", ref.Region, "node", ref.Node, "err", err)
			if pause(ctx, time.Second) != nil {
				return err
			}
			continue
		case err != nil || !again:
			return err
		}
		d.log.Warn("the node begins a new life", "region", ref.Region, "node", ref.Node)
		failing = time.Now()
	}
}

// startWait is how long a node tries to start while its region's store is there and does not answer in time; then it ends, and whoever
// watches over it starts it again.
const startWait = 2 * time.Minute

// runLife runs a node until ctx ends, or its life is over: then again is true, and the node is to be made anew.
func (d *deployment) runLife(ctx context.Context, r config.Region, n config.Node, stdout io.Writer) (again bool, err error) {
	ls, err := rebind(n)
	if err != nil {
		return false, err
	}
	node, err := d.startNode(ctx, chat.NodeRef{Region: r.Name, Node: n.Name}, ls)
	if err != nil {
		return false, err
	}
	pool, err := d.joinPool(r, n, node)
	if err != nil {
		return false, errors.Join(err, node.Close())
	}
	fmt.Fprintf(stdout, "ready %s node=%s http=%s admin=%s backbone=%s\n", r.Name, n.Name, n.HTTP, n.Admin, n.Backbone)
	select {
	case <-ctx.Done():
	case <-node.Over():
		again = true
	}
	if pool != nil {
		err = pool.Close()
	}
	return again, errors.Join(err, node.Close())
}

// joinPool lets the node gossip with those of its region; nil where they do not.
func (d *deployment) joinPool(r config.Region, n config.Node, node *regionnode.Node) (*member.Pool, error) {
	if n.Gossip == "" || len(r.Nodes) < 2 {
		return nil, nil
	}
	peers := make(map[chat.NodeID]string)
	for _, other := range r.Nodes {
		if other.Name != n.Name {
			peers[other.Name] = other.Gossip
		}
	}
	return member.Join(member.Options{
		Deployment: d.cfg.Name, Region: r.Name, Node: n.Name, Listen: n.Gossip, Peers: peers, Key: d.secrets.gossipKeys[r.Name],
		Load: node.Sockets, OnAlive: node.Appeared, OnDead: node.Vanished, Log: d.log.With("region", r.Name, "node", n.Name),
	})
}

func nodeNames(r config.Region) string {
	var names []string
	for _, n := range r.NodeList() {
		names = append(names, string(n.Name))
	}
	return strings.Join(names, ", ")
}
