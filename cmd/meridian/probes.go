package main

import (
	"context"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
	"meridian/router"
	"meridian/router/decide"
	"meridian/router/health"
	"meridian/router/meter"
)

// probesOf makes what probes the other regions for a node of this one, through their public listeners as clients reach them; what it finds
// is this region's vote about them. Nil where there are no others.
func (d *deployment) probesOf(region chat.Region, metrics meter.Metrics) (*health.Monitor, error) {
	all, err := router.RegionsOf(d.cfg)
	if err != nil {
		return nil, err
	}
	var others []config.Region
	var targets []health.Target
	for i, r := range all {
		if r.Name != region {
			others = append(others, d.cfg.Regions[i])
			targets = append(targets, health.Target{Region: r.Name, Ready: r.Bases()})
		}
	}
	if len(targets) == 0 {
		return nil, nil
	}
	return health.NewMonitor(health.Options{
		Regions: others, Limits: d.cfg.Router.Health, Targets: targets, Metrics: metrics, OnStates: func(decide.States) {}, // routers decide
	}), nil
}

// untilDone runs what ends with its context until the node ends.
func untilDone(node *regionnode.Node, run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-node.Done()
		cancel()
	}()
	go run(ctx)
}
