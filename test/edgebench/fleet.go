//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	readyWithin = time.Minute
	stopWithin  = 10 * time.Second
	// socketsPerPerson keeps below the limit of sockets of one person.
	socketsPerPerson = 500
	password         = "long enough"
)

// fleet is a home region, another region that serves only as its people's edge, and HAProxy before the home.
type fleet struct {
	home, edge, haproxy *process // haproxy may be nil
	tokens              []string
}

// process is a server that runs.
type process struct {
	cmd  *exec.Cmd
	at   string
	said bytes.Buffer
	done chan struct{}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// startFleet starts all and signs people up. On an error nothing runs.
func startFleet(ctx context.Context, dir string, c choices) (_ *fleet, err error) {
	runtime.LockOSThread() // servers end with the thread that started them
	f := &fleet{}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	ports, err := freePorts(7)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "edge.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
data_dir: %[1]s
router: {dns: "", http: ""}
regions:
  - {name: home, country: IE, latitude: 53.35, longitude: -6.26, http: %[2]q, admin: %[3]q, backbone: %[4]q}
  - {name: edge, country: US, latitude: 39.04, longitude: -77.49, http: %[5]q, admin: %[6]q, backbone: %[7]q}
zones: [{name: eu, regions: [home]}, {name: us, regions: [edge]}]
home_zones: {default: eu}
network: {delay_scale: 0}
security: {argon2_memory_kib: 64, argon2_passes: 1}
limits: {sockets_per_address: 100000, sockets_per_user: 1000, auth_per_minute: 100000, address_requests_per_second: 1000000}
timing: {heartbeat: 5m, presence_lease: 15m}
telemetry: {log_level: error}
`, filepath.Join(dir, "data"), ports[0], ports[1], ports[2], ports[3], ports[4], ports[5]), 0o600); err != nil {
		return nil, err
	}
	node := func(region, at string) (*process, error) {
		return launch(at, c.meridian, "node", "--config", file, "--region", region)
	}
	if f.home, err = node("home", ports[0]); err != nil {
		return nil, err
	}
	if f.edge, err = node("edge", ports[3]); err != nil {
		return nil, err
	}
	for _, p := range []*process{f.home, f.edge} {
		if err := p.ready(ctx); err != nil {
			return nil, err
		}
	}
	if c.haproxy != "" {
		if f.haproxy, err = startHAProxy(dir, c.haproxy, ports[6], ports[0]); err != nil {
			return nil, err
		}
		if err := f.haproxy.ready(ctx); err != nil {
			return nil, err
		}
	}
	return f, f.signUp(ctx, 1+c.idle/socketsPerPerson)
}

func startHAProxy(dir, program, at, to string) (*process, error) {
	file := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf("global\n  maxconn 5000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n  timeout server 10m\nlisten bench\n  bind %s\n  server home %s\n", at, to)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return launch(at, program, "-db", "-f", file)
}

func launch(at string, line ...string) (*process, error) {
	p := &process{at: at, done: make(chan struct{})}
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // that it ended is all that matters
		close(p.done)
	}()
	return p, nil
}

// ready waits until the process serves.
func (p *process) ready(ctx context.Context) error {
	for end := time.Now().Add(readyWithin); time.Now().Before(end); {
		resp, err := http.Get("http://" + p.at + "/readyz")
		if err == nil {
			_ = resp.Body.Close() // the status is all
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return fmt.Errorf("%s has ended: %s", p.cmd.Path, p.said.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not ready in %v", p.cmd.Path, readyWithin)
}

func (f *fleet) stop() {
	for _, p := range []*process{f.haproxy, f.edge, f.home} {
		if p == nil {
			continue
		}
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-p.done:
		case <-time.After(stopWithin):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
}

func (f *fleet) signUp(ctx context.Context, people int) error {
	for i := range people {
		body := fmt.Sprintf(`{"username":"bench%d","password":%q}`, i, password)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.home.at+"/v1/signup", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		var account struct {
			Token string `json:"token"`
			Zone  string `json:"home_zone"`
		}
		err = json.NewDecoder(resp.Body).Decode(&account)
		_ = resp.Body.Close() // read
		if err != nil || account.Token == "" || account.Zone != "eu" {
			return fmt.Errorf("no sign-up: %s, zone %q, error %w", resp.Status, account.Zone, err)
		}
		f.tokens = append(f.tokens, account.Token)
	}
	return nil
}

// usage is what a process holds.
type usage struct{ bytes, files int }

// usageOf reads the user memory (RssAnon) and the open files of a process.
func usageOf(pid int) (u usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return u, err
	}
	_, line, found := strings.Cut(string(status), "RssAnon:")
	fields := strings.Fields(line)
	if !found || len(fields) == 0 {
		return u, errors.New("the kernel tells no RssAnon")
	}
	kib, err := strconv.Atoi(fields[0])
	if err != nil {
		return u, err
	}
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	return usage{bytes: kib << 10, files: len(files)}, err
}

func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}
