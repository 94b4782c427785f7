package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
)

// benchServers are what a region stands on with --stores real: a Cassandra of one node and a Redis, of this run alone. They are not held to a
// core.
type benchServers struct {
	cassandra *local.Cassandra
	redis     *local.Redis
}

// benchServersWithin bounds their start.
const benchServersWithin = 5 * time.Minute

func (b *bench) startServers(ctx context.Context) (*benchServers, error) {
	ctx, cancel := context.WithTimeout(ctx, benchServersWithin)
	defer cancel()
	talk := func(line string) { fmt.Fprintln(b.log, "bench: "+line) }
	c, err := local.NewCassandra(ctx, local.CassandraOptions{Datacenter: string(benchRegion), Dir: filepath.Join(b.dir, "cassandra"), Progress: talk})
	if err != nil {
		return nil, err
	}
	r, err := local.NewRedis(local.RedisOptions{Dir: filepath.Join(b.dir, "redis"), Progress: talk})
	if err != nil {
		return nil, err
	}
	s := &benchServers{cassandra: c, redis: r}
	if err := errors.Join(c.Start(ctx), r.Start(ctx)); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *benchServers) stop() error { return errors.Join(s.cassandra.Kill(), s.redis.Kill()) }

// configure points a region at the servers and makes its tables.
func (s *benchServers) configure(ctx context.Context, cfg *config.Config, b *bench) error {
	region := &cfg.Regions[0]
	local.RegionAccess{Cassandra: s.cassandra.Access(), Redis: s.redis.Access()}.Configure(region)
	return applySchema(ctx, cfg, *region, b.log)
}

// cpu gives the processor time that each of them has used.
func (s *benchServers) cpu() (cassandra, redis time.Duration, err error) {
	if s == nil {
		return 0, 0, nil
	}
	for _, node := range s.cassandra.Nodes() {
		used, err := processCPU(node.PID())
		if err != nil {
			return 0, 0, err
		}
		cassandra += used
	}
	redis, err = processCPU(s.redis.PID())
	return cassandra, redis, err
}

// benchRegion is the region that is measured: the first of the built-in configuration.
var benchRegion = func() chat.Region { return config.Default().Regions[0].Name }()
