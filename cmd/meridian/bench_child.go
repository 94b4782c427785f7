package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// child is a server under measurement: a process of its own.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{}
	// admin and adminToken reach a region's profiles.
	admin, adminToken string
}

const (
	// benchReady bounds the start of a server, benchStop its end.
	benchReady = 30 * time.Second
	benchStop  = 10 * time.Second
)

// serverCore is the core that servers are held to; the load takes the others.
const serverCore = "0"

// pinSelf moves this process off the server's core. It says whether servers can be pinned.
func pinSelf(ctx context.Context) bool {
	if runtime.NumCPU() < 2 {
		return false
	}
	cores := fmt.Sprintf("1-%d", runtime.NumCPU()-1)
	return exec.CommandContext(ctx, "taskset", "-acp", cores, strconv.Itoa(os.Getpid())).Run() == nil
}

// launch starts this program with args, on the server's core, and waits until ready answers.
func (b *bench) launch(ctx context.Context, ready string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	name := self
	if b.pinned {
		name, args = "taskset", append([]string{"-c", serverCore, self}, args...)
	}
	c := &child{cmd: exec.Command(name, args...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.cmd.Stderr = b.log
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.cmd.Wait() // its words are in the log
		close(c.ended)
	}()
	for end := time.Now().Add(benchReady); time.Now().Before(end); {
		if answers(ctx, ready) {
			return c, nil
		}
		select {
		case <-c.ended:
			return nil, fmt.Errorf("the server ended while it started")
		case <-ctx.Done():
			c.stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	c.stop()
	return nil, fmt.Errorf("the server was not ready within %v", benchReady)
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, answer.Body) // only the status counts
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func (c *child) stop() {
	_ = c.cmd.Process.Signal(os.Interrupt) // it may be gone
	select {
	case <-c.ended:
	case <-time.After(benchStop):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// clockTick is the unit of /proc/PID/stat on Linux.
const clockTick = 10 * time.Millisecond

// cpu gives the processor time that the server has used.
func (c *child) cpu() (time.Duration, error) { return processCPU(c.cmd.Process.Pid) }

// processCPU gives the processor time that a process has used.
func processCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat has %d fields", len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc/PID/stat holds no times")
	}
	return time.Duration(user+system) * clockTick, nil
}

// memory gives the server's proportional set size, in bytes.
func (c *child) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/PID/smaps_rollup has no Pss")
}

// freeAddress gives a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
