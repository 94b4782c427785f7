package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// bench is one run of the verb.
type bench struct {
	flags  benchFlags
	dir    string
	log    io.Writer
	pinned bool
	// servers are what the region stands on; nil: the embedded store.
	servers *benchServers
}

// benchServer is what is measured: a region, or the floor.
type benchServer interface {
	name() string
	// prepare makes what all scenarios share: accounts.
	prepare(ctx context.Context) error
	// start runs the server fresh, without what an earlier scenario left in its memory.
	start(ctx context.Context) (*child, error)
	// dial opens connection i of n; a pair is 2k and 2k+1.
	dial(i int) (*loadConn, error)
	// frame builds one send of connection i to its peer. after is the send before it when that is not yet acknowledged.
	frame(i int, id, after, text string) []byte
}

const (
	benchWarmUp = time.Second
	// benchDrain bounds the wait for what is on its way when the load has stopped.
	benchDrain = 10 * time.Second
	// benchSettle lets the collector give back what connecting cost.
	benchSettle = 5 * time.Second
	// benchInFlight is how many messages each connection has under way in scenario sat.
	benchInFlight = 4
)

func (b *bench) measure(ctx context.Context, server benchServer, scenario string) (benchRun, error) {
	c, err := server.start(ctx)
	if err != nil {
		return benchRun{}, err
	}
	defer c.stop()
	switch region, ok := server.(*regionServer); {
	case scenario == "idle":
		return b.measureIdle(ctx, server, c)
	case scenario == "read" && ok:
		return b.measureRead(ctx, region, c)
	}
	l, err := newLoad(server, 2*b.flags.pairs, b.flags.textBytes)
	if err != nil {
		return benchRun{}, err
	}
	defer l.close()
	if scenario == "sat" {
		l.keep = true
		l.begin(benchInFlight)
	} else {
		go l.pace(ctx, b.flags.rate)
	}
	if err := pause(ctx, benchWarmUp); err != nil {
		return benchRun{}, err
	}
	if b.flags.profile != "" && scenario == "sat" && server.name() == "meridian" {
		go b.takeProfile(ctx, c)
	}
	before, err := b.processorTimes(server, c)
	if err != nil {
		return benchRun{}, err
	}
	began := time.Now()
	l.phase.Store(phaseMeasure)
	err = pause(ctx, time.Duration(b.flags.seconds)*time.Second)
	l.phase.Store(phaseStop)
	took := time.Since(began)
	after, cpuErr := b.processorTimes(server, c)
	if err == nil {
		err = cpuErr
	}
	if err != nil {
		return benchRun{}, err
	}
	l.drain(ctx)
	run := l.result()
	run.Server, run.Scenario = server.name(), scenario
	delivered := float64(run.measured)
	run.PerSecond = delivered / took.Seconds()
	run.Busy = (after.server - before.server).Seconds() / took.Seconds()
	if delivered > 0 {
		run.CPUPerMillion = (after.server - before.server).Seconds() / delivered * 1e6
		run.CassandraPerMillion = (after.cassandra - before.cassandra).Seconds() / delivered * 1e6
		run.RedisPerMillion = (after.redis - before.redis).Seconds() / delivered * 1e6
	}
	return run.benchRun, nil
}

// processorTimes are what the processes have used.
type processorTimes struct{ server, cassandra, redis time.Duration }

func (b *bench) processorTimes(server benchServer, c *child) (t processorTimes, err error) {
	if t.server, err = c.cpu(); err != nil {
		return t, err
	}
	if _, region := server.(*regionServer); region {
		t.cassandra, t.redis, err = b.servers.cpu()
	}
	return t, err
}

func (b *bench) measureIdle(ctx context.Context, server benchServer, c *child) (benchRun, error) {
	run := benchRun{Server: server.name(), Scenario: "idle", IdleConns: b.flags.idle}
	if err := pause(ctx, benchSettle); err != nil {
		return run, err
	}
	before, err := c.memory()
	if err != nil {
		return run, err
	}
	l := &load{server: server}
	defer l.close()
	for i := range b.flags.idle {
		conn, err := server.dial(i % (2 * b.flags.pairs))
		if err != nil {
			return run, fmt.Errorf("connection %d: %w", i, err)
		}
		l.conns = append(l.conns, &loadPeer{conn: conn})
		go conn.discard()
	}
	if err := pause(ctx, benchSettle); err != nil {
		return run, err
	}
	after, err := c.memory()
	if err != nil {
		return run, err
	}
	run.BytesPerConn = float64(after-before) / float64(b.flags.idle)
	return run, nil
}

// takeProfile saves a CPU profile of the region.
func (b *bench) takeProfile(ctx context.Context, c *child) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", c.admin, b.flags.seconds), nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+c.adminToken)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Fprintln(b.log, "bench: no profile:", err)
		return
	}
	defer answer.Body.Close()
	file, err := os.Create(b.flags.profile)
	if err == nil {
		_, err = io.Copy(file, answer.Body)
		_ = file.Close() // the copy's error is the one that counts
	}
	if err != nil {
		fmt.Fprintln(b.log, "bench: no profile:", err)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
