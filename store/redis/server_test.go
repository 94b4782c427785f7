package redis

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
)

// server is a redis-server of one test.
type server struct {
	*local.Redis
	t              testing.TB
	addr, password string
	tls            *tls.Config
	dir            string
}

// startServer starts one.
func startServer(t testing.TB) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{t: t, dir: dir, Redis: localtest.Redis(t, local.RedisOptions{Dir: dir})}
	access := s.Access()
	var err error
	if s.password, err = access.Password(); err != nil {
		t.Fatal(err)
	}
	s.addr = access.Address
	if s.tls, err = access.TLS(); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends one command over a connection of its own and gives the first line of the answer.
func (s *server) ask(command string) (string, error) {
	conn, err := s.Access().Dial(context.Background())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patient))
	fmt.Fprintf(conn, "AUTH %s\r\n%s\r\n", s.password, command)
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
		return "", fmt.Errorf("AUTH: %q, %w", line, err)
	}
	line, err := r.ReadString('\n')
	if err == nil && strings.HasPrefix(line, "-") {
		err = fmt.Errorf("%s: %s", command, line)
	}
	return strings.TrimSpace(line), err
}

func (s *server) must(command string) string {
	s.t.Helper()
	line, err := s.ask(command)
	if err != nil {
		s.t.Fatal(err)
	}
	return line
}

func (s *server) dump() string { return filepath.Join(s.dir, "dump.rdb") }

// saveDump gives what the server would come back with.
func (s *server) saveDump() []byte {
	s.t.Helper()
	s.must("SAVE")
	b, err := os.ReadFile(s.dump())
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// restoreOld kills the server and starts it with an old dump.
func (s *server) restoreOld(dump []byte) {
	s.t.Helper()
	if err := s.Kill(); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.dump(), dump, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

func (s *server) start() {
	s.t.Helper()
	if err := s.Start(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// counter is a Metrics.
type counter struct {
	mu     sync.Mutex
	counts map[string]float64
}

func newCounter() *counter { return &counter{counts: make(map[string]float64)} }

func (c *counter) Count(name string, labels ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[strings.Join(append([]string{name}, labels...), " ")]++
}

func (c *counter) Set(name string, value float64, labels ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[strings.Join(append([]string{name}, labels...), " ")] = value
}

func (c *counter) Observe(string, float64, ...string) {}

func (c *counter) get(name string) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[name]
}

// patient is the time-out of tests that are not about it: the machine may be busy.
const patient = 10 * time.Second

// openClient makes a client that need not be connected yet.
func openClient(t testing.TB, s *server, change func(*Options)) (*Client, *counter) {
	t.Helper()
	m := newCounter()
	opt := Options{Addresses: []string{s.addr}, Password: s.password, TLS: s.tls, Region: "eu-west", Timeout: patient, Log: slog.New(slog.DiscardHandler), Metrics: m}
	if change != nil {
		change(&opt)
	}
	c, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, m
}

// clients makes the connected clients of n nodes.
func clients(t testing.TB, s *server, n int, change func(*Options)) []*Client {
	t.Helper()
	all := make([]*Client, n)
	for i := range all {
		all[i], _ = openClient(t, s, change)
	}
	for _, c := range all {
		within(t, "connected", func() bool { return c.Status().Up })
	}
	return all
}

// waitMax bounds what must happen soon.
const waitMax = time.Minute

// within waits until done gives true.
func within(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitMax); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", waitMax, what)
		}
	}
}

func key(name string) chat.CacheKey { return chat.CacheKey{Class: chat.CacheProfile, Name: name} }

// put fills a value in as a reader does, until it is in: a connection that is made anew meanwhile loses it.
func put(t testing.TB, c chat.Cache, k chat.CacheKey, text string) {
	t.Helper()
	within(t, k.Name+" is in", func() bool {
		got := c.Get(context.Background(), k)
		if got.Lease != "" {
			c.Set(context.Background(), k, got.Lease, []byte(text))
		}
		return value(c, k) == text
	})
}

func value(c chat.Cache, k chat.CacheKey) string {
	return string(c.Get(context.Background(), k).Value)
}
