package redis

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/store/storetest"
)

// startSpecial starts a redis-server with arguments of its own, on port 6379 of a loopback address.
func startSpecial(t *testing.T, dir, host string, args ...string) {
	t.Helper()
	p := local.New(local.Spec{
		Name: "redis", Dir: dir, Path: "redis-server", ReadyWithin: 20 * time.Second,
		Args: append([]string{"--bind", host, "--dir", dir, "--save", "", "--daemonize", "no"}, args...),
		Ready: func(context.Context) error {
			conn, err := net.DialTimeout("tcp", host+":6379", time.Second)
			if err == nil {
				_ = conn.Close()
			}
			return err
		},
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
}

// A server that is trusted is worked with, over TLS, and no other.
func TestTLS(t *testing.T) {
	s := startServer(t)
	use := func(address string, secure *tls.Config, text string) error {
		c, _ := openClient(t, s, func(o *Options) { o.Addresses, o.TLS = []string{address}, secure })
		within(t, "it is up, or says why not", func() bool { return c.Status().Up || c.Status().Error != errNotYet.Error() })
		if st := c.Status(); !st.Up {
			return &chat.Error{Code: chat.CodeRegionDegraded, Message: st.Error}
		}
		put(t, c.Cache(), key("ann"), text)
		return nil
	}
	storetest.RunTLS(t, storetest.TLSPlace{Server: s.addr, Roots: s.tls.RootCAs, Secrets: []string{s.password}, Use: use})
}

// In a Redis Cluster everything works too, with the sharded publish and subscribe.
func TestCluster(t *testing.T) {
	dir := t.TempDir()
	host, err := local.Address(local.RedisPort, 10_000+local.RedisPort)
	if err != nil {
		t.Fatal(err)
	}
	startSpecial(t, dir, host, "--port", "6379", "--cluster-enabled", "yes", "--protected-mode", "no")
	conn, err := net.Dial("tcp", host+":6379")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("CLUSTER ADDSLOTSRANGE 0 16383\r\n")); err != nil {
		t.Fatal(err)
	}
	nodes := make([]*Client, 2)
	for i := range nodes {
		if nodes[i], err = Open(Options{Addresses: []string{host + ":6379"}, Region: "eu-west", Timeout: patient, Log: slog.New(slog.DiscardHandler), Metrics: newCounter()}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nodes[i].Close)
	}
	for _, c := range nodes {
		within(t, "connected", func() bool { return c.Status().Up })
	}
	if !sharded(*nodes[0].conn.Load()) {
		t.Fatal("the client does not see a cluster")
	}
	ctx, k := t.Context(), key("ann")
	put(t, nodes[0].Cache(), k, "v")
	within(t, "the other node has it", func() bool { return value(nodes[1].Cache(), k) == "v" })
	if err := nodes[1].Cache().Delete(ctx, k, key("bob")); err != nil {
		t.Fatal(err)
	}
	within(t, "and loses it", func() bool { return value(nodes[0].Cache(), k) == "" })
	heard := make(chan string, 100)
	from, to := nodes[0].Bus(), nodes[1].Bus()
	defer to.Subscribe("t", func(b []byte) { heard <- string(b) })()
	within(t, "a hint arrives", func() bool { from.Publish("t", []byte("x")); return len(heard) > 0 })
	g := chat.JobGroup{Queue: "q", Group: "g", Hold: time.Minute, Attempts: 2}
	id, err := nodes[0].Jobs().Enqueue(ctx, "q", []byte("work"))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := nodes[1].Jobs().Take(ctx, g, "c", 1, 0)
	if err != nil || len(jobs) != 1 || jobs[0].ID != id {
		t.Fatalf("took %+v, %v", jobs, err)
	}
	if err := nodes[1].Jobs().Fail(ctx, g, jobs[0], "no"); err != nil {
		t.Fatal(err)
	}
	if ok, wait := nodes[0].Limiter(refuseAll{}).Take(ctx, "k", chat.Limit{PerSecond: 1, Burst: 1}, 1); !ok {
		t.Errorf("refused for %v", wait)
	}
	users := []chat.UserID{{1}, {2}, {3}}
	if err := nodes[0].Presences().Online(ctx, chat.NodeRef{Region: "eu-west", Node: "n1"}, users, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if states, err := nodes[1].Presences().Lookup(ctx, users, time.Now()); err != nil || !states[2].Online {
		t.Errorf("%+v, %v", states, err)
	}
}
