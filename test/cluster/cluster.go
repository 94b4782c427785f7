// Package cluster runs a deployment as an operator does: one process of bin/meridian for each region and one for the router,
// all from one configuration file, on loopback. Tests kill, restart, cut and heal it from outside.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
)

const (
	// readyTimeout bounds the start of one process, and the wait for its links.
	readyTimeout = 2 * time.Minute
	// stopTimeout bounds a clean end; then the process is killed.
	stopTimeout = 30 * time.Second
	// adminTimeout bounds one call to an admin listener.
	adminTimeout = 30 * time.Second
	// logTail is how much of a log a failed test shows, in bytes.
	logTail = 4000
)

// Cluster is one running deployment.
type Cluster struct {
	Config *config.Config

	t      testing.TB
	binary string
	file   string
	dir    string

	mu        sync.Mutex
	processes map[string]*process
}

// process is one child. ended is closed when it is gone.
type process struct {
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{}
}

const router = "router"

// Start writes a configuration (the built-in three regions on free loopback ports, changed by adjust) and starts every process.
// The test's end stops them all.
func Start(t testing.TB, binary string, adjust func(*config.Config)) *Cluster {
	t.Helper()
	c := &Cluster{t: t, binary: binary, dir: t.TempDir(), processes: map[string]*process{}}
	c.Config = config.Default()
	c.Config.DataDir = filepath.Join(c.dir, "data")
	ports := freePorts(t, 3*len(c.Config.Regions)+2)
	next := func() string {
		address := ports[0]
		ports = ports[1:]
		return address
	}
	for i := range c.Config.Regions {
		r := &c.Config.Regions[i]
		r.HTTP, r.Admin, r.Backbone = next(), next(), next()
	}
	c.Config.Router.HTTP, c.Config.Router.DNS = next(), next()
	// Delays above 0 make the backbone one that can be cut; the scale keeps a test of minutes short.
	c.Config.Network.DelayScale = 0.2
	c.Config.Limits.AuthPerMinute, c.Config.Limits.AddressRequestsPerSecond, c.Config.Limits.UserReadsPerSecond = 6000, 10_000, 1000
	if adjust != nil {
		adjust(c.Config)
	}
	c.file = filepath.Join(c.dir, "deployment.yaml")
	c.Write(c.Config)
	t.Cleanup(c.stop)
	for _, r := range c.Config.Regions { // together: whoever comes first makes the keys that all of them read
		c.launch(string(r.Name))
	}
	c.launch(router)
	for _, r := range c.Config.Regions {
		c.WaitReady(r.Name)
	}
	c.waitFor("http://" + c.Config.Router.HTTP + "/readyz")
	for _, r := range c.Config.Regions {
		c.waitLinked(r)
	}
	return c
}

// Write writes a configuration to the file that all processes read when they start, and a router when it is told to.
func (c *Cluster) Write(cfg *config.Config) {
	c.t.Helper()
	text, err := yaml.Marshal(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.file, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if _, err := config.Load(c.file); err != nil {
		c.t.Fatalf("the test's configuration is not valid: %v", err)
	}
}

// freePorts gives n loopback addresses that nobody listens on, for TCP and UDP alike as far as one can know, nor takes for the other end of
// a connection.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var addresses []string
	at := local.ListenAddress()
	for range n {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// launch starts one process; its words go to a file.
func (c *Cluster) launch(name string) {
	c.t.Helper()
	args := []string{"node", "--config", c.file, "--region", name}
	if name == router {
		args = []string{"router", "--config", c.file}
	}
	log, err := os.OpenFile(c.logPath(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(c.binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatalf("%s does not start: %v", name, err)
	}
	p := &process{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		_ = log.Close()
		close(p.ended)
	}()
	c.mu.Lock()
	c.processes[name] = p
	c.mu.Unlock()
}

func (c *Cluster) logPath(name string) string { return filepath.Join(c.dir, name+".log") }

func (c *Cluster) process(name string) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.processes[name]
}

// WaitReady waits until a region answers that it serves.
func (c *Cluster) WaitReady(region chat.Region) { c.t.Helper(); c.waitFor(c.URL(region) + "/readyz") }

func (c *Cluster) waitFor(address string) {
	c.t.Helper()
	c.waitUntil(address, func([]byte) bool { return true })
}

// waitLinked waits until a region hears every other one: before that it may refuse what needs them.
func (c *Cluster) waitLinked(r config.Region) {
	c.t.Helper()
	c.waitUntil("http://"+r.Admin+"/v1/peers", func(body []byte) bool {
		var view struct {
			Peers map[chat.Region]struct{ Up bool } `json:"peers"`
		}
		return json.Unmarshal(body, &view) == nil && !slices.ContainsFunc(c.Config.Regions, func(other config.Region) bool {
			return other.Name != r.Name && !view.Peers[other.Name].Up
		})
	})
}

// asking bounds one request of a wait.
var asking = &http.Client{Timeout: 10 * time.Second}

// waitUntil waits until an address answers what fits.
func (c *Cluster) waitUntil(address string, fits func(body []byte) bool) {
	c.t.Helper()
	var last string
	for end := time.Now().Add(readyTimeout); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		answer, err := asking.Get(address)
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close() // only read
		if err == nil && answer.StatusCode == http.StatusOK && fits(body) {
			return
		}
		last = fmt.Sprintf("status %s, %s, %v", answer.Status, body, err)
	}
	c.t.Fatalf("%s is not as it must be after %v: %s\n%s", address, readyTimeout, last, c.Logs())
}

// URL is a region's base URL.
func (c *Cluster) URL(region chat.Region) string {
	r, _ := c.Config.Region(region)
	return r.BaseURL()
}

// DataDir is where a region keeps its data.
func (c *Cluster) DataDir(region chat.Region) string {
	return filepath.Join(c.Config.DataDir, string(region))
}

// Kill ends a region's process at once, as kill -9 does, and returns when it is gone.
func (c *Cluster) Kill(region chat.Region) {
	c.t.Helper()
	p := c.process(string(region))
	if err := p.cmd.Process.Kill(); err != nil {
		c.t.Fatalf("kill %s: %v", region, err)
	}
	<-p.ended
}

// Stop ends a region's process cleanly.
func (c *Cluster) Stop(region chat.Region) { c.process(string(region)).end() }

// Restart starts a region's process again and waits until it serves.
func (c *Cluster) Restart(region chat.Region) {
	c.t.Helper()
	c.launch(string(region))
	c.WaitReady(region)
}

// RestartRouter ends the router's process cleanly, starts it again and waits until it serves.
func (c *Cluster) RestartRouter() {
	c.t.Helper()
	c.process(router).end()
	c.launch(router)
	c.waitFor("http://" + c.Config.Router.HTTP + "/readyz")
}

// Verb runs a verb of the program with the deployment's configuration, and gives its exit code and what it prints.
func (c *Cluster) Verb(args ...string) (code int, output string) {
	c.t.Helper()
	cmd := exec.Command(c.binary, append(args, "--config", c.file)...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// Cut breaks the backbone between two regions, at both ends.
func (c *Cluster) Cut(a, b chat.Region) { c.t.Helper(); c.backbone("cut", a, b) }

// Heal mends it.
func (c *Cluster) Heal(a, b chat.Region) { c.t.Helper(); c.backbone("heal", a, b) }

// Drain moves people out of a region, by the query of the admin call: within=, force=.
func (c *Cluster) Drain(region chat.Region, query string) {
	c.t.Helper()
	if status, body := c.admin(region, http.MethodPost, "/v1/admin/drain?"+query); status >= 300 {
		c.t.Fatalf("drain %s: %d %s", region, status, body)
	}
}

// Undrain lets it serve as before.
func (c *Cluster) Undrain(region chat.Region) {
	c.t.Helper()
	if status, body := c.admin(region, http.MethodDelete, "/v1/admin/drain"); status >= 300 {
		c.t.Fatalf("undrain %s: %d %s", region, status, body)
	}
}

func (c *Cluster) backbone(verb string, a, b chat.Region) {
	c.t.Helper()
	for _, end := range [][2]chat.Region{{a, b}, {b, a}} {
		path := "/v1/admin/" + verb + "?peer=" + url.QueryEscape(string(end[1]))
		if status, body := c.admin(end[0], http.MethodPost, path); status >= 300 {
			c.t.Fatalf("%s at %s: %d %s", verb, end[0], status, body)
		}
	}
}

// admin makes a call to a region's admin listener with the admin token.
func (c *Cluster) admin(region chat.Region, method, path string) (status int, body string) {
	c.t.Helper()
	token, err := os.ReadFile(filepath.Join(c.Config.SecretsPath(), "admin.token"))
	if err != nil {
		c.t.Fatal(err)
	}
	r, _ := c.Config.Region(region)
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.Admin+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatalf("admin of %s: %v", region, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatalf("admin of %s: %v", region, err)
	}
	return answer.StatusCode, string(b)
}

// Metric adds up a region's figures of one name (without the prefix meridian_) that carry all the labels, given as `code="denied"`.
func (c *Cluster) Metric(region chat.Region, name string, labels ...string) float64 {
	c.t.Helper()
	_, text := c.admin(region, http.MethodGet, "/metrics")
	sum := 0.0
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(series, "meridian_"+name+"{") {
			continue
		}
		all := true
		for _, label := range labels {
			all = all && strings.Contains(series, label)
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err == nil && all {
			sum += v
		}
	}
	return sum
}

// Logs gives the end of every process's log, for a failed test.
func (c *Cluster) Logs() string {
	var out strings.Builder
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.processes {
		b, _ := os.ReadFile(c.logPath(name)) // no log is no words
		if len(b) > logTail {
			b = b[len(b)-logTail:]
		}
		fmt.Fprintf(&out, "--- %s\n%s\n", name, b)
	}
	return out.String()
}

// LogFile names the log of a region's process.
func (c *Cluster) LogFile(region chat.Region) string { return c.logPath(string(region)) }

func (c *Cluster) stop() {
	if c.t.Failed() {
		c.t.Log(c.Logs())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.processes {
		p.end()
	}
}

func (p *process) end() {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may be gone already
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}
