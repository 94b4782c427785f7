package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"meridian/chat"
)

// process is one child. ended is closed when it is gone.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	told  bool // to end; guarded by World.mu
}

// Launch says how a process differs from the plan.
type Launch struct {
	// Binary is another build; empty: the plan's.
	Binary string
	// ClockOffset is added to the node's clock.
	ClockOffset time.Duration
}

// Launch starts a process; its words go to a file.
func (w *World) Launch(ref chat.NodeRef, l Launch) error {
	if c := w.cluster(ref); c != nil {
		ctx, cancel := context.WithTimeout(context.Background(), realStart)
		defer cancel()
		return c.Start(ctx)
	}
	binary := w.plan.Binary
	if l.Binary != "" {
		binary = l.Binary
	}
	args := []string{"node", "--config", w.file, "--region", string(ref.Region)}
	switch {
	case ref.Node == StoreNode:
		args[0] = "store"
	case w.plan.Nodes > 1:
		args = append(args, "--node", string(ref.Node))
	}
	if ref.Node != StoreNode { // given, it lets SetClock change the clock later
		args = append(args, "--clock-offset", l.ClockOffset.String())
	}
	log, err := os.OpenFile(w.logPath(ref), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	line := w.hosts[ref].Command(binary, args...)
	p := &process{cmd: exec.Command(line[0], line[1:]...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s does not start: %w", ref, err)
	}
	go func() {
		err := p.cmd.Wait()
		w.mu.Lock()
		if !p.told {
			w.exits = append(w.exits, fmt.Sprintf("%s ended by itself: %v", ref, err))
		}
		w.mu.Unlock()
		close(p.ended)
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.processes[ref] = p
	return nil
}

func (w *World) process(ref chat.NodeRef, toEnd bool) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.processes[ref]
	if p != nil && toEnd {
		p.told = true
	}
	return p
}

// Kill ends a process at once, as kill -9 does, and returns when it is gone.
func (w *World) Kill(ref chat.NodeRef) {
	if c := w.cluster(ref); c != nil {
		_ = c.Kill() // as below
		return
	}
	if p := w.process(ref, true); p != nil {
		_ = p.cmd.Process.Kill() // one that is gone needs no signal
		<-p.ended
	}
}

// Stop ends a process cleanly, and by force when that takes long.
func (w *World) Stop(ref chat.NodeRef) {
	if c := w.cluster(ref); c != nil {
		_ = c.Stop() // as in Kill
		return
	}
	p := w.process(ref, true)
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(os.Interrupt) // as in Kill
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		w.Kill(ref)
	}
}

const stopTimeout = 10 * time.Second

// Running says whether a node's process is there.
func (w *World) Running(ref chat.NodeRef) bool {
	if c := w.cluster(ref); c != nil {
		return c.Running()
	}
	p := w.process(ref, false)
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Freeze stops a node's process without its knowing (SIGSTOP); Thaw lets it go on.
func (w *World) Freeze(ref chat.NodeRef) error { return w.signal(ref, syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (w *World) Thaw(ref chat.NodeRef) error { return w.signal(ref, syscall.SIGCONT) }

func (w *World) signal(ref chat.NodeRef, s syscall.Signal) error {
	if p := w.process(ref, false); p != nil {
		return p.cmd.Process.Signal(s)
	}
	return errors.New(ref.String() + " does not run")
}

// Exited says whether a process has ended without having been told to.
func (w *World) Exited() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.exits) > 0
}

// Exits gives the processes that ended without having been told to, and forgets them.
func (w *World) Exits() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	exits := w.exits
	w.exits = nil
	return exits
}

func (w *World) logPath(ref chat.NodeRef) string {
	return filepath.Join(w.dir, fmt.Sprintf("%s-%s.log", ref.Region, ref.Node))
}

// LogPaths lists the files that a region's processes write their words to.
func (w *World) LogPaths(region chat.Region) []string {
	var all []string
	for _, ref := range w.ProcessesOf(region) {
		all = append(all, w.logPath(ref))
	}
	return all
}

// logTail is how much of each log a failed test shows, in bytes.
const logTail = 3000

// Logs gives the end of every process's log.
func (w *World) Logs() string {
	var out strings.Builder
	for _, ref := range w.Processes() {
		b, _ := os.ReadFile(w.logPath(ref)) // no log is no words
		fmt.Fprintf(&out, "--- %s\n%s\n", ref, b[max(0, len(b)-logTail):])
	}
	return out.String()
}

// MemoryBytes gives the largest memory that a process has had, and what it has now, as Linux counts it; 0 when it is not known.
func (w *World) MemoryBytes(ref chat.NodeRef) (peak, now int64) {
	p := w.process(ref, false)
	if p == nil {
		return 0, 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			peak = kib << 10
		}
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			now = kib << 10
		}
	}
	return peak, now
}
