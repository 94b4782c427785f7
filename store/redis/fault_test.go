package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"meridian/chat"
)

// refuseAll is a limiter that is told from any other.
type refuseAll struct{}

const refusedFor = 77 * time.Second

func (refuseAll) Take(context.Context, string, chat.Limit, float64) (bool, time.Duration) {
	return false, refusedFor
}

const (
	callTimeout = 500 * time.Millisecond
	// callMax is what one call may take on a busy machine; far less than anything that waits for the server.
	callMax = 30 * time.Second
)

func strict(o *Options) { o.Timeout = callTimeout }

// timely fails when f takes longer than a call may.
func timely(t *testing.T, what string, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > callMax {
		t.Errorf("%s took %v; at most %v", what, took, callMax)
	}
}

// tryAll does one of everything; without a server each answers as its contract says, in time.
func tryAll(t *testing.T, c *Client, bus *Bus) {
	t.Helper()
	ctx, g := context.Background(), chat.JobGroup{Queue: "q", Group: "g", Hold: time.Minute, Attempts: 1}
	degraded := func(what string, f func() error) {
		t.Helper()
		timely(t, what, func() {
			if err := f(); chat.CodeOf(err) != chat.CodeRegionDegraded {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	timely(t, "get", func() {
		if got := c.Cache().Get(ctx, key("ann")); got.Level != chat.CacheMiss || got.Lease != "" {
			t.Errorf("the cache shows %+v", got)
		}
	})
	timely(t, "set", func() { c.Cache().Set(ctx, key("ann"), "l", []byte("v")) })
	degraded("delete", func() error { return c.Cache().Delete(ctx, key("ann")) })
	degraded("enqueue", func() error { _, err := c.Jobs().Enqueue(ctx, "q", nil); return err })
	degraded("take", func() error { _, err := c.Jobs().Take(ctx, g, "c", 1, time.Minute); return err })
	degraded("ack", func() error { return c.Jobs().Ack(ctx, g, "1-1") })
	degraded("lookup", func() error { _, err := c.Presences().Lookup(ctx, []chat.UserID{{1}}, time.Now()); return err })
	timely(t, "limit", func() {
		if ok, wait := c.Limiter(refuseAll{}).Take(ctx, "k", chat.Limit{PerSecond: 1, Burst: 1}, 1); ok || wait != refusedFor {
			t.Errorf("the own limiter was not asked: %v, %v", ok, wait)
		}
	})
	timely(t, "publish", func() { bus.Publish("t", []byte("x")) })
}

// After kill -9 every call answers in time, degraded; nothing from before is shown, and the client recovers by itself.
func TestServerKilled(t *testing.T) {
	s := startServer(t)
	c, m := openClient(t, s, strict)
	within(t, "connected", func() bool { return c.Status().Up })
	bus := c.Bus()
	defer bus.Subscribe("t", func([]byte) {})()
	put(t, c.Cache(), key("ann"), "old")
	lost := m.get("redis_lost_total") // a busy machine may have lost it for a moment
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, "the loss is noticed", func() bool { return !c.Status().Up && m.get("redis_up") == 0 })
	tryAll(t, c, bus)
	if st := c.Status(); st.Error == "" || st.PendingDeletes != 1 || bus.Works() || m.get("redis_up") != 0 || m.get("redis_lost_total") <= lost {
		t.Errorf("status %+v, bus works %v, lost %v times", st, bus.Works(), m.get("redis_lost_total"))
	}
	s.start()
	within(t, "it recovers", func() bool { return c.Status().Up && bus.Works() })
	if got := value(c.Cache(), key("ann")); got != "" {
		t.Errorf("from before the kill: %q", got)
	}
	put(t, c.Cache(), key("bob"), "new")
	within(t, "nothing is owed", func() bool { return c.Status().PendingDeletes == 0 && m.get("redis_up") == 1 })
}

// A client without a server works degraded from its start, and finds the server when it comes.
func TestServerComesLater(t *testing.T) {
	s := startServer(t)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	c, _ := openClient(t, s, strict)
	tryAll(t, c, c.Bus())
	s.start()
	within(t, "connected", func() bool { return c.Status().Up })
	put(t, c.Cache(), key("bob"), "new")
}

// While the server hangs no call waits longer than its time-out, and soon none waits at all. What could not be deleted is not
// shown by the node that wanted it, nor soon by another one's memory; when the server goes on it is deleted before anything
// is shown.
func TestServerHangs(t *testing.T) {
	s := startServer(t)
	nodes := clients(t, s, 2, strict)
	a, b, ctx := nodes[0], nodes[1], context.Background()
	put(t, a.Cache(), key("ann"), "old")
	put(t, a.Cache(), key("eve"), "old")
	within(t, "the other node has it in memory", func() bool { return b.Cache().Get(ctx, key("ann")).Level == chat.CacheMemory })
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	frozen := time.Now()
	timely(t, "delete", func() {
		if err := a.Cache().Delete(ctx, key("ann")); chat.CodeOf(err) != chat.CodeRegionDegraded {
			t.Errorf("delete: %v", err)
		}
	})
	if got := a.Cache().Get(ctx, key("ann")); got.Level != chat.CacheMiss {
		t.Errorf("the node that deleted shows %q", got.Value)
	}
	within(t, "the other node's memory is not believed any more", func() bool { return b.Cache().Get(ctx, key("ann")).Level == chat.CacheMiss })
	if took := time.Since(frozen); took > probeEvery+callTimeout+callMax {
		t.Errorf("that took %v", took)
	}
	within(t, "the loss is noticed", func() bool { return !a.Status().Up && !b.Status().Up })
	start := time.Now()
	for range 1000 {
		a.Cache().Get(ctx, key("x"))
		a.Limiter(refuseAll{}).Take(ctx, "k", chat.Limit{PerSecond: 1}, 1)
	}
	if took := time.Since(start); took > callMax { // of 1000 s, did each wait
		t.Errorf("2000 calls with an open circuit took %v", took)
	}
	tryAll(t, a, a.Bus())
	if err := a.Cache().Delete(ctx, key("eve")); err == nil { // never sent: the circuit is open
		t.Error("deleted without a server")
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	within(t, "it recovers", func() bool { return a.Status().Up && b.Status().Up })
	for i, c := range nodes {
		for _, k := range []chat.CacheKey{key("ann"), key("eve")} {
			if a.Status().PendingDeletes > 0 {
				t.Error("the circuit is closed with deletes owed")
			}
			within(t, "what was deleted is gone", func() bool { return value(c.Cache(), k) == "" })
			if got := value(c.Cache(), k); got != "" {
				t.Errorf("node %d shows %q after the recovery", i, got)
			}
		}
	}
}

// A flush takes everything away, the nodes' memories included; what was read before it does not come in after it.
func TestServerFlushed(t *testing.T) {
	s := startServer(t)
	nodes := clients(t, s, 2, nil)
	ctx := context.Background()
	put(t, nodes[0].Cache(), key("ann"), "old")
	within(t, "in memory", func() bool { return nodes[1].Cache().Get(ctx, key("ann")).Level == chat.CacheMemory })
	lease := nodes[0].Cache().Get(ctx, key("bob")).Lease
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range nodes {
		within(t, "the flush is noticed", func() bool { return value(c.Cache(), key("ann")) == "" })
	}
	nodes[0].Cache().Set(ctx, key("bob"), lease, []byte("read before the flush"))
	if got := value(nodes[1].Cache(), key("bob")); got != "" {
		t.Errorf("shown: %q", got)
	}
	within(t, "a flush is no loss", func() bool { return nodes[0].Status().Up })
}

// A server that comes back with an old dump shows nothing that was cached before; old leases of presence have ended; jobs come
// again.
func TestServerRestoredOld(t *testing.T) {
	s := startServer(t)
	ctx, g := context.Background(), chat.JobGroup{Queue: "q", Group: "g", Hold: time.Minute, Attempts: 5}
	nodes, lives := make([]*Client, 2), make([]*counter, 2)
	for i := range nodes {
		nodes[i], lives[i] = openClient(t, s, nil)
		within(t, "connected", func() bool { return nodes[i].Status().Up })
	}
	node, user := chat.NodeRef{Region: "eu-west", Node: "n1"}, chat.UserID{1}
	put(t, nodes[0].Cache(), key("ann"), "old")
	lease := nodes[0].Cache().Get(ctx, key("bob")).Lease
	if err := nodes[0].Presences().Online(ctx, node, []chat.UserID{user}, time.Now().Add(100*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	id, err := nodes[0].Jobs().Enqueue(ctx, "q", []byte("work"))
	if err != nil {
		t.Fatal(err)
	}
	dump := s.saveDump()
	if err := nodes[0].Cache().Delete(ctx, key("ann")); err != nil {
		t.Fatal(err)
	}
	put(t, nodes[1].Cache(), key("ann"), "new")
	if jobs, err := nodes[0].Jobs().Take(ctx, g, "c", 1, 0); err != nil || len(jobs) != 1 || nodes[0].Jobs().Ack(ctx, g, id) != nil {
		t.Fatalf("took %v, %v", jobs, err)
	}
	within(t, "the lease of presence has ended", func() bool {
		states, err := nodes[1].Presences().Lookup(ctx, []chat.UserID{user}, time.Now())
		return err == nil && !states[0].Online
	})
	s.restoreOld(dump)
	if keys := s.must("DBSIZE"); keys == ":0" {
		t.Fatal("the dump brought nothing back")
	}
	for i, c := range nodes {
		within(t, "both have met the server's new life", func() bool { return lives[i].get("redis_restarted_total") > 0 && c.Status().Up })
	}
	for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); {
		for _, c := range nodes {
			if got := value(c.Cache(), key("ann")); got != "" {
				t.Fatalf("shown after the restore: %q", got)
			}
		}
	}
	nodes[0].Cache().Set(ctx, key("bob"), lease, []byte("with a lease of the dump"))
	if got := value(nodes[0].Cache(), key("bob")); got != "" {
		t.Errorf("shown: %q", got)
	}
	if states, err := nodes[1].Presences().Lookup(ctx, []chat.UserID{user}, time.Now()); err != nil || states[0].Online || states[0].LastSeen.IsZero() {
		t.Errorf("presence after the restore: %+v, %v", states, err)
	}
	if jobs, err := nodes[1].Jobs().Take(ctx, g, "c", 1, 0); err != nil || len(jobs) != 1 || jobs[0].ID != id {
		t.Errorf("the dump's job: %+v, %v", jobs, err)
	}
}

// More deletes than can be remembered while the server is away end with the whole cache deleted.
func TestTooManyDeletesOwed(t *testing.T) {
	s := startServer(t)
	nodes := clients(t, s, 2, strict)
	a, b, ctx := nodes[0], nodes[1], context.Background()
	last := key(strconv.Itoa(maxPending + 500))
	put(t, a.Cache(), last, "old")
	put(t, a.Cache(), key("bystander"), "old too")
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	within(t, "the loss is noticed", func() bool { return !a.Status().Up && !b.Status().Up })
	for i := range maxPending + 501 {
		_ = a.Cache().Delete(ctx, key(strconv.Itoa(i))) // owed
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	within(t, "settled", func() bool { return a.Status().Up && b.Status().Up && a.Status().PendingDeletes == 0 })
	for i, c := range nodes {
		if got := value(c.Cache(), last) + value(c.Cache(), key("bystander")); got != "" {
			t.Errorf("node %d shows %q", i, got)
		}
	}
	put(t, b.Cache(), last, "new")
	within(t, "the cache goes on", func() bool { return value(a.Cache(), last) == "new" })
}

// A wrong password is no reason not to start; the status says what is wrong, without the password.
func TestWrongPassword(t *testing.T) {
	s := startServer(t)
	c, _ := openClient(t, s, func(o *Options) { o.Password, o.Timeout = "a guess", callTimeout })
	within(t, "the reason is told", func() bool { return strings.Contains(c.Status().Error, "WRONGPASS") })
	tryAll(t, c, c.Bus())
	if st := fmt.Sprint(c.Status()); strings.Contains(st, "a guess") || strings.Contains(st, s.password) {
		t.Errorf("the status tells a password: %s", st)
	}
}

// Everything in the cache has its class's time to live at the server too.
func TestTimeToLive(t *testing.T) {
	s := startServer(t)
	c := clients(t, s, 1, nil)[0]
	here := func() (e *epoch) {
		within(t, "the server is known", func() bool { e = c.here(); return e != nil })
		return e
	}
	for _, class := range []chat.CacheClass{chat.CacheProfile, chat.CachePage, chat.CacheContacts} {
		k := chat.CacheKey{Class: class, Name: "ann"}
		put(t, c.Cache(), k, "v")
		name := c.cache.name(here(), k)
		left, err := strconv.Atoi(strings.TrimPrefix(s.must("PTTL "+name), ":"))
		if ttl := int(class.TTL().Milliseconds()); err != nil || left > ttl || left < ttl-60_000 {
			t.Errorf("%s: %d ms left of %d, %v", class, left, ttl, err)
		}
	}
	lease := chat.CacheKey{Class: chat.CacheProfile, Name: "bob"}
	c.Cache().Get(context.Background(), lease)
	if left, err := strconv.Atoi(strings.TrimPrefix(s.must("PTTL "+c.cache.name(here(), lease)), ":")); err != nil || left <= 0 || left > int(chat.CacheLeaseFor.Milliseconds()) {
		t.Errorf("a lease has %d ms, %v", left, err)
	}
}
