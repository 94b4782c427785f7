package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
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
		Name: "redis", Dir: dir, Path: "redis-server", ReadyWithin: waitMax,
		Args: append([]string{"--bind", host, "--dir", dir, "--save", "", "--daemonize", "no"}, args...),
		Ready: func(context.Context) error {
			conn, err := net.DialTimeout("tcp", host+":6379", patient)
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

// told sends one command to a server without a password, and gives the beginning of its answer.
func told(t *testing.T, host, command string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", host+":6379", patient)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patient))
	answer := make([]byte, 4096)
	n := 0
	if _, err = conn.Write([]byte(command + "\r\n")); err == nil {
		n, err = conn.Read(answer)
	}
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return string(answer[:n])
}

// meetAgain is when masters are told of each other again: they forget it if a meeting takes 15 s.
const meetAgain = 20 * time.Second

// startCluster starts a Redis Cluster of three masters and gives their hosts.
func startCluster(t *testing.T) (hosts [3]string) {
	t.Helper()
	slots := [3]string{"0 5460", "5461 10922", "10923 16383"}
	for i := range hosts {
		host, err := local.Address(local.RedisPort, 10_000+local.RedisPort)
		if err != nil {
			t.Fatal(err)
		}
		hosts[i] = host
		startSpecial(t, t.TempDir(), host, "--port", "6379", "--cluster-enabled", "yes", "--cluster-announce-ip", host, "--protected-mode", "no")
		if said := told(t, host, "CLUSTER ADDSLOTSRANGE "+slots[i]); said != "+OK\r\n" {
			t.Fatal(said)
		}
	}
	var met time.Time
	for _, host := range hosts {
		within(t, "the masters know each other", func() bool {
			if time.Since(met) > meetAgain {
				for _, other := range hosts[1:] {
					told(t, hosts[0], "CLUSTER MEET "+other+" 6379")
				}
				met = time.Now()
			}
			said := told(t, host, "CLUSTER INFO")
			return strings.Contains(said, "cluster_state:ok") && strings.Contains(said, "cluster_size:3")
		})
	}
	return hosts
}

// In a Redis Cluster of several masters everything works too, with the sharded publish and subscribe, whichever of them the configuration names.
func TestCluster(t *testing.T) {
	hosts := startCluster(t)
	nodes := make([]*Client, 2)
	for i := range nodes {
		var err error
		if nodes[i], err = Open(Options{Addresses: []string{hosts[i] + ":6379"}, Region: "eu-west", Timeout: patient, Log: slog.New(slog.DiscardHandler), Metrics: newCounter()}); err != nil {
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
	var many []chat.CacheKey // on all masters
	for i := range 50 {
		many = append(many, key(fmt.Sprint("many", i)))
		put(t, nodes[0].Cache(), many[i], fmt.Sprint(i))
	}
	for i, k := range many {
		within(t, "the other node has "+k.Name, func() bool { return value(nodes[1].Cache(), k) == fmt.Sprint(i) })
	}
	if err := nodes[1].Cache().Delete(ctx, many...); err != nil {
		t.Fatal(err)
	}
	for _, k := range many {
		within(t, k.Name+" is gone", func() bool { return value(nodes[0].Cache(), k) == "" })
	}
	for _, host := range hosts {
		if told(t, host, "DBSIZE") == ":0\r\n" {
			t.Errorf("master %s was given nothing", host)
		}
	}
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
