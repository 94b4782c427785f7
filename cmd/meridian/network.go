package main

import (
	"time"

	"meridian/chat"
	"meridian/replication/link"
	"meridian/replication/link/simnet"
)

// buildNetwork gives the backbone's network: with a delay scale, the measured round trips of the real world between the
// regions' network points; without one, and outside of `up`, the network as it is.
func (d *deployment) buildNetwork() link.Network {
	scale := d.cfg.Network.DelayScale
	if !d.simulate && scale == 0 {
		return link.TCP{}
	}
	return simnet.New(func(from, to chat.Region) time.Duration {
		rtt, ok := d.model.RTTms(from, to)
		if !ok {
			return 0
		}
		return time.Duration(rtt / 2 * scale * float64(time.Millisecond))
	})
}

// simulated is the network of a local `up`, which can be cut.
func (d *deployment) simulated() *simnet.Network { return d.network.(*simnet.Network) }
