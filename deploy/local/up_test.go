package local_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
)

// told collects what is told to who waits.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (p *told) say(line string) {
	localtest.Progress(line)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
}

func (p *told) has(part string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(strings.Join(p.lines, "\n"), part)
}

// Up starts what does not run and says what does; its servers outlive it, and Down ends them all. The data stay until they are
// purged.
func TestUpAndDown(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real Cassandra twice: left out of -short")
	}
	dir := t.TempDir()
	first := upped(t, dir)
	if first.has("runs already") {
		t.Error("the first start found servers")
	}
	servers := running(t, dir, 2)
	if again := upped(t, dir); !again.has("Cassandra runs already") || !again.has("Redis runs already") {
		t.Errorf("the second start does not say what runs: %q", again.lines)
	}
	for i, s := range running(t, dir, 2) {
		if s.PID != servers[i].PID {
			t.Errorf("%s was started a second time", s.Name)
		}
	}
	d, err := local.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	a := d.Regions["eu-west"]
	executed(t, session(t, a.Cassandra, a.Cassandra.Owner), `CREATE TABLE IF NOT EXISTS meridian.kept (k int PRIMARY KEY)`)
	redisTold(t, a.Redis, redisPassword(t, a.Redis), "SET kept 1")

	down(t, dir, false)
	running(t, dir, 0)
	upped(t, dir)
	executed(t, session(t, a.Cassandra, a.Cassandra.App), `SELECT k FROM meridian.kept`)
	if got := redisTold(t, a.Redis, redisPassword(t, a.Redis), "EXISTS kept"); got != ":1" {
		t.Errorf("after a restart Redis answers %q", got)
	}
	down(t, dir, true)
	if _, err := local.Load(dir); err == nil || !strings.Contains(err.Error(), "deploy/local/up") {
		t.Errorf("after a purge: %v", err)
	}
}

func upped(t *testing.T, dir string) *told {
	t.Helper()
	p := &told{}
	t.Cleanup(func() { _ = local.Down(t.Context(), dir, false, nil) })
	if _, err := local.Up(t.Context(), local.UpOptions{Dir: dir, Regions: []string{"eu-west"}, Progress: p.say}); err != nil {
		t.Fatal(err)
	}
	return p
}

func down(t *testing.T, dir string, purge bool) {
	t.Helper()
	if err := local.Down(t.Context(), dir, purge, localtest.Progress); err != nil {
		t.Fatal(err)
	}
}

// running gives all servers of dir, of which so many must run.
func running(t *testing.T, dir string, want int) []local.Server {
	t.Helper()
	servers, err := local.Status(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range servers {
		if s.PID != 0 {
			n++
		}
	}
	if n != want {
		t.Errorf("%d servers run, not %d: %+v", n, want, servers)
	}
	return servers
}

// answerWithin bounds how long a request may take whose coordinator has yet to notice that a node is gone.
const answerWithin = 2 * time.Minute

// again does something until it succeeds, where the server did not answer in time: twice is once. Logging in is such a thing, too:
// the coordinator reads the role from a quorum, and may still ask a node that was killed a moment ago. And a busy machine lets any server
// be late.
func again(t *testing.T, what string, do func() error) {
	t.Helper()
	for end := time.Now().Add(answerWithin); ; time.Sleep(50 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// A region of three nodes goes on when one is killed: each row has three copies, and two answer. The node comes back with what
// it missed.
func TestThreeNodes(t *testing.T) {
	c := localtest.Cassandra(t, localtest.Kind{Nodes: 3})
	a := c.Access()
	executed(t, session(t, a, a.Owner), `CREATE TABLE IF NOT EXISTS meridian.rows (k int PRIMARY KEY, v text)`)
	last := c.Nodes()[2]
	if err := last.Kill(); err != nil {
		t.Fatal(err)
	}
	// The hosts that are left: how fast a client gives up a dead one is the client's affair.
	a.Hosts = a.Hosts[:2]
	app := session(t, a, a.App)
	for k := range 20 {
		executed(t, app, `INSERT INTO meridian.rows (k, v) VALUES (?, ?)`, k, "kept") // with two nodes of three
	}
	if err := last.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Now the other way round: what the killed node gives a quorum with is one other.
	if err := c.Nodes()[0].Kill(); err != nil {
		t.Fatal(err)
	}
	a.Hosts = c.Access().Hosts[1:]
	var n int
	others := session(t, a, a.App)
	again(t, "count the rows", func() error { return others.Query(`SELECT count(*) FROM meridian.rows`).Scan(&n) })
	if n != 20 {
		t.Errorf("%d rows of 20", n)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	again(t, "three nodes that are up, seen by the first", func() error {
		out, err := c.Nodes()[0].Nodetool(t.Context(), "status")
		if err == nil && strings.Count(out, "\nUN ") != 3 {
			err = fmt.Errorf("nodetool status:\n%s", out)
		}
		return err
	})
}
