package main

import (
	"fmt"
	"math"

	"meridian/chat"
	"meridian/config"
	"meridian/observe"
	regionnode "meridian/region-node"
	"meridian/store/memory"
	"meridian/store/redis"
)

const (
	// limiterKeys bounds the memory of a node's limits: addresses and people, each in a few classes.
	limiterKeys = 300_000
	// cacheBytes bounds the cache of a node that has its region for itself.
	cacheBytes = 16 << 20
)

// sharedParts gives what the nodes of a region share beside the store, and their limiter: in its Redis where the configuration names one. Without one a
// node that is alone in its region keeps it in its memory, and nodes that are not share nothing: what one has changed would be
// shown old by the others.
func (d *deployment) sharedParts(ref chat.NodeRef, metrics *observe.Metrics) (regionnode.Shared, chat.Limiter, error) {
	r, _ := d.cfg.Region(ref.Region)
	own := memory.NewLimiter(limiterKeys, nil)
	switch {
	case r.Redis != nil:
	case len(r.NodeList()) == 1:
		return regionnode.Shared{Cache: memory.NewCache(cacheBytes, nil)}, own, nil
	default:
		return regionnode.Shared{}, own, nil
	}
	opt, err := redisOptions(d.cfg, r)
	if err != nil {
		return regionnode.Shared{}, nil, err
	}
	opt.Log, opt.Metrics = d.log.With("region", ref.Region, "node", ref.Node), metrics
	c, err := redis.Open(opt)
	if err != nil {
		return regionnode.Shared{}, nil, err
	}
	return regionnode.Shared{
		Cache: c.Cache(), Bus: c.Bus(), Presences: c.Presences(), Close: c.Close,
		Status: func() regionnode.SharedStatus { return regionnode.SharedStatus(c.Status()) },
	}, c.Limiter(own), nil
}

func redisOptions(cfg *config.Config, r config.Region) (redis.Options, error) {
	c := r.Redis.WithDefaults()
	secret, err := password(cfg, c.PasswordFile)
	if err != nil {
		return redis.Options{}, fmt.Errorf("the Redis of region %s: %w", r.Name, err)
	}
	secure, err := serverTLS(cfg, trusted{c.CAFile, c.ServerName, c.CertFile, c.KeyFile})
	if err != nil {
		return redis.Options{}, fmt.Errorf("the Redis of region %s: %w", r.Name, err)
	}
	return redis.Options{
		Addresses: c.Addresses, Username: c.User, Password: secret, TLS: secure, Region: r.Name,
		Timeout: c.Timeout, CacheBytes: int(min(c.CacheBytes, math.MaxInt)), MaxJobs: c.QueueJobs,
	}, nil
}
