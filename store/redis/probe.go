package redis

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"meridian/chat"
)

// watch probes the server until the client ends.
func (c *Client) watch() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		case <-c.kick:
		}
		wait := probeEvery
		if err := c.probe(); err != nil {
			if c.ctx.Err() != nil {
				return
			}
			c.open(err)
			wait = probeOpenEvery
		}
		timer.Reset(wait)
	}
}

// probe asks which life of which server answers, and settles what is owed to it; then the circuit is closed.
func (c *Client) probe() error {
	if err := c.connect(); err != nil {
		return err
	}
	for range openAfter {
		dials := c.dials.Load()
		var id string
		err := c.timed(c.ctx, "probe", c.opt.Timeout, func(ctx context.Context, conn rueidis.Client) (err error) {
			id, err = runID(ctx, conn)
			return err
		})
		if err != nil {
			return err
		}
		if c.dials.Load() != dials { // the answer may have come over the connection before
			continue
		}
		if e := c.epoch.Load(); e != nil && e.id != id {
			c.opt.Metrics.Count("redis_restarted_total")
			c.opt.Log.Warn("another life of Redis answers: what was cached before is not read any more")
		}
		e := &epoch{id: id, dials: dials}
		if err := c.cache.settle(c.ctx, e); err != nil {
			return err
		}
		c.epoch.Store(e)
		c.closeCircuit()
		return nil
	}
	return degraded("probe", nil)
}

// runID names the life of the server, or those of all in a cluster: every start of a server makes a new one, so that what an old
// dump brings back lies under names that nobody reads.
func runID(ctx context.Context, conn rueidis.Client) (string, error) {
	var ids []string
	for _, node := range conn.Nodes() {
		info, err := node.Do(ctx, node.B().Info().Section("server").Build()).ToString()
		if err != nil {
			return "", err
		}
		id := field(info, "run_id:")
		if id == "" {
			return "", &chat.Error{Code: chat.CodeInvalid, Op: "redis.runID", Message: "the server does not tell its run_id"}
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return strings.Join(ids, "."), nil
}

func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
