package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
)

const (
	realMessages  = 1500
	realTime      = 75 * time.Second
	realEach      = 5
	threeMessages = 300
	threeTime     = 40 * time.Second
	// storeDown and redisDown are how long a killed server stays dead.
	storeDown = 5 * time.Second
	redisDown = 3 * time.Second
)

// servers are one region's.
type servers struct {
	cassandra *local.Cassandra
	redis     *local.Redis
}

// realServers starts a Cassandra cluster and a Redis for each region, side by side. They end with the test.
func realServers(t *testing.T) map[chat.Region]servers {
	t.Helper()
	all := map[chat.Region]servers{}
	var starts sync.WaitGroup
	errs := make(chan error, len(regions))
	for _, r := range regions {
		c, err := local.NewCassandra(t.Context(), local.CassandraOptions{Datacenter: string(r), Dir: t.TempDir(), Progress: localtest.Progress})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Kill(); err != nil {
				t.Error(err)
			}
		})
		starts.Go(func() { errs <- c.Start(t.Context()) })
		all[r] = servers{cassandra: c, redis: localtest.Redis(t, local.RedisOptions{})}
	}
	starts.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// onServers points a configuration at the servers and makes their tables, as an operator does. A region without servers keeps its
// embedded store.
func onServers(t *testing.T, all map[chat.Region]servers) func(*config.Config) {
	return func(cfg *config.Config) {
		t.Helper()
		for i := range cfg.Regions {
			if s, ok := all[cfg.Regions[i].Name]; ok {
				local.RegionAccess{Cassandra: s.cassandra.Access(), Redis: s.redis.Access()}.Configure(&cfg.Regions[i])
			}
		}
		text, err := yaml.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "schema.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(binary, "schema", "apply", "--config", file).CombinedOutput(); err != nil {
			t.Fatalf("meridian schema apply: %v\n%s", err, out)
		}
	}
}

// On real clusters, while a region's Cassandra, another's Redis and then a whole region with its servers are killed (kill -9)
// under load: every acknowledged message stands exactly once in every mailbox that must have it, in one order.
func TestRealStoresLoseNothing(t *testing.T) {
	all := realServers(t)
	f := &fleet{t: t, c: start(t, onServers(t, all)), messages: realMessages, spread: realTime, perRegion: realEach}
	f.join()
	f.run(func() {
		f.writes(100)
		f.strike("Cassandra of eu-west", storeDown, all["eu-west"].cassandra.Kill, func() error { return all["eu-west"].cassandra.Start(t.Context()) })
		f.writes(100)
		f.strike("Redis of us-east", redisDown, all["us-east"].redis.Kill, func() error { return all["us-east"].redis.Start(t.Context()) })
		f.writes(60)
		f.killWhole("ap-south", all["ap-south"])
	})
}

// A region whose Cassandra has three nodes, with three copies of each row, loses one under load and gets it back, and nobody is
// refused anything or has to go to another region: each request finds two nodes.
func TestThreeNodesLoseOne(t *testing.T) {
	c := localtest.Own(t, local.CassandraOptions{Datacenter: "eu-west", Nodes: 3})
	all := map[chat.Region]servers{"eu-west": {cassandra: c, redis: localtest.Redis(t, local.RedisOptions{})}}
	f := &fleet{t: t, c: start(t, onServers(t, all)), messages: threeMessages, spread: threeTime, perRegion: realEach}
	f.join()
	f.run(func() {
		f.writes(40)
		one := c.Nodes()[1]
		f.strike("one Cassandra node of three", storeDown, one.Kill, func() error { return one.Start(t.Context()) })
	})
	for _, m := range f.members {
		m.mu.Lock()
		for _, err := range m.refusals {
			t.Errorf("%s was refused: %v", m.name, err)
		}
		m.mu.Unlock()
	}
	refused, unknown := f.c.Metric("eu-west", "store_errors_total", `code="region_degraded"`), f.c.Metric("eu-west", "store_errors_total", `code="unknown_outcome"`)
	fmt.Printf("process: eu-west refused %v writes; of %v it did not know the outcome, and sent them again\n", refused, unknown)
	if refused > 0 {
		t.Errorf("eu-west could not do %v writes", refused)
	}
}

// writes waits until so many more messages have been sent.
func (f *fleet) writes(more int64) {
	f.t.Helper()
	want := f.sent.Load() + more
	for end := time.Now().Add(patience); f.sent.Load() < want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("only %d of %d messages are sent after %v", f.sent.Load(), want, patience)
		}
	}
}

// strike kills something, leaves it dead for a while and starts it again.
func (f *fleet) strike(what string, down time.Duration, kill, start func() error) {
	f.t.Helper()
	began := time.Now()
	if err := kill(); err != nil {
		f.t.Errorf("kill %s: %v", what, err)
	}
	time.Sleep(down)
	if err := start(); err != nil {
		f.t.Fatalf("start %s: %v", what, err)
	}
	fmt.Printf("process: %s killed; runs again %v later\n", what, time.Since(began).Round(time.Millisecond))
}

// killWhole kills a region's node and servers together.
func (f *fleet) killWhole(region chat.Region, s servers) {
	f.t.Helper()
	f.c.Kill(region)
	f.strike("whole of "+string(region), storeDown, func() error {
		if err := s.redis.Kill(); err != nil {
			return err
		}
		return s.cassandra.Kill()
	}, func() error {
		if err := s.redis.Start(f.t.Context()); err != nil {
			return err
		}
		return s.cassandra.Start(f.t.Context())
	})
	f.c.Restart(region)
}
