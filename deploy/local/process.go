package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Spec says how a server is started and when it is ready.
type Spec struct {
	// Name is what messages call the server, and its files: NAME.log and NAME.pid in Dir.
	Name string
	// Dir is the server's working directory; it is made if it does not exist, for the owner only.
	Dir  string
	Path string // the program: a path, or a name to look for in PATH
	Args []string
	Env  []string // NAME=value; what is set here wins over this process's environment
	// User runs the server as another user than this process's: PostgreSQL refuses to be root. Only root can do that, and Dir
	// becomes that user's.
	User *syscall.Credential
	// Ready is asked again and again until it gives nil; nil: the server is ready as soon as it runs. ReadyWithin bounds the
	// wait (default 3 min), StopWithin the wait for an end after SIGTERM, before SIGKILL (default 15 s).
	Ready       func(context.Context) error
	ReadyWithin time.Duration
	StopWithin  time.Duration
	// Progress is told what happens, a line each, while something takes long; nil: nobody is.
	Progress Progress
	// Detached lets the server outlive this process. Otherwise it dies with it, however that ends (on Linux).
	Detached bool
}

// Progress takes one line for a person who waits.
type Progress func(line string)

func (p Progress) say(format string, args ...any) {
	if p != nil {
		p(fmt.Sprintf(format, args...))
	}
}

const (
	readyWithin   = 3 * time.Minute // on a busy machine; otherwise some seconds at most
	stopWithin    = 15 * time.Second
	killWithin    = time.Minute // SIGKILL waits for the kernel only, which has much memory to give back
	readyEvery    = 50 * time.Millisecond
	progressEvery = 5 * time.Second
	logTailBytes  = 2000 // of the log of a server that did not start, shown with the error
)

// Process is one server on this machine. Its methods may be called from several goroutines.
type Process struct {
	spec Spec

	mu    sync.Mutex // one start or stop at a time
	state sync.Mutex // guards what follows
	id    identity
	exit  chan struct{} // closed when a child of ours ended; nil for a server that another process started
}

// New gives the server that spec names. Where its pid file speaks of a process that still runs, it is that one.
func New(spec Spec) *Process {
	if spec.ReadyWithin == 0 {
		spec.ReadyWithin = readyWithin
	}
	if spec.StopWithin == 0 {
		spec.StopWithin = stopWithin
	}
	p := &Process{spec: spec}
	p.id, _ = readPIDFile(p.pidFile()) // none: it does not run
	return p
}

func (p *Process) pidFile() string { return filepath.Join(p.spec.Dir, p.spec.Name+".pid") }

// LogFile is where the server's output goes, start after start.
func (p *Process) LogFile() string { return filepath.Join(p.spec.Dir, p.spec.Name+".log") }

// PID is the process, also the id of its group; 0 when it does not run.
func (p *Process) PID() int {
	p.state.Lock()
	defer p.state.Unlock()
	if !p.id.alive() {
		return 0
	}
	return p.id.pid
}

// Running says whether the process is there. A frozen one is.
func (p *Process) Running() bool { return p.PID() != 0 }

// Start starts the server and returns when it is ready; if it runs already it only waits for that. A server that ends before
// it is ready, or is not ready in time, is stopped again, and the error holds the end of its log.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Running() {
		if err := p.launch(); err != nil {
			return fmt.Errorf("%s: %w", p.spec.Name, err)
		}
	}
	if err := p.waitReady(ctx); err != nil {
		return fmt.Errorf("%s: %w%s", p.spec.Name, errors.Join(err, p.end(syscall.SIGKILL, killWithin)), p.logTail())
	}
	return nil
}

func (p *Process) launch() error {
	path, err := exec.LookPath(p.spec.Path)
	if err != nil {
		return err
	}
	if err := p.makeDir(); err != nil {
		return err
	}
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the server has it
	cmd := exec.Command(path, p.spec.Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.spec.Dir, log, log
	cmd.Env = append(os.Environ(), p.spec.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.spec.User}
	if p.spec.Detached {
		err = cmd.Start()
	} else {
		err = startBound(cmd)
	}
	if err != nil {
		return err
	}
	exit := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		close(exit)
	}()
	id, err := identify(cmd.Process.Pid)
	if err != nil { // it has ended already: waitReady tells
		id = identity{pid: cmd.Process.Pid}
	}
	p.state.Lock()
	p.id, p.exit = id, exit
	p.state.Unlock()
	return id.writePIDFile(p.pidFile())
}

func (p *Process) makeDir() error {
	if err := os.MkdirAll(p.spec.Dir, 0o700); err != nil {
		return err
	}
	if p.spec.User == nil {
		return nil
	}
	return os.Chown(p.spec.Dir, int(p.spec.User.Uid), int(p.spec.User.Gid))
}

// waitReady asks Ready until it has no objection.
func (p *Process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.spec.ReadyWithin)
	defer cancel()
	started, told := time.Now(), time.Now()
	for {
		if !p.Running() {
			return errors.New("ended before it was ready")
		}
		if p.spec.Ready == nil {
			return nil
		}
		err := p.spec.Ready(ctx)
		if err == nil {
			return nil
		}
		if time.Since(told) >= progressEvery {
			told = time.Now()
			p.spec.Progress.say("%s: not ready after %d s: %v", p.spec.Name, int(time.Since(started).Seconds()), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready after %d s: %w", int(time.Since(started).Seconds()), err)
		case <-time.After(readyEvery):
		}
	}
}

// logTail gives the end of the log, for an error.
func (p *Process) logTail() string {
	b, err := os.ReadFile(p.LogFile())
	if err != nil || len(b) == 0 {
		return ""
	}
	tail := string(b[max(0, len(b)-logTailBytes):])
	return "\n--- the end of " + p.LogFile() + ":\n" + strings.TrimSpace(tail)
}

// Stop ends the server by SIGTERM, and by SIGKILL if it does not end in time. It returns when the whole group has ended; that
// nothing runs is no error.
func (p *Process) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.named(p.end(syscall.SIGTERM, p.spec.StopWithin))
}

// Kill ends the server by SIGKILL (kill -9), as a crash does.
func (p *Process) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.named(p.end(syscall.SIGKILL, killWithin))
}

// Restart is Stop and Start: the server's data stay.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Stop(); err != nil {
		return err
	}
	return p.Start(ctx)
}

// Freeze stops the process where it stands (SIGSTOP): its sockets stay open and nobody answers. Continue lets it go on.
func (p *Process) Freeze() error { return p.named(p.signal(syscall.SIGSTOP)) }

// Continue lets a frozen process go on.
func (p *Process) Continue() error { return p.named(p.signal(syscall.SIGCONT)) }

func (p *Process) named(err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", p.spec.Name, err)
	}
	return nil
}

func (p *Process) signal(s syscall.Signal) error {
	p.state.Lock()
	defer p.state.Unlock()
	if !p.id.alive() {
		return errors.New("is not running")
	}
	return syscall.Kill(-p.id.pid, s)
}

// end sends s to the group, SIGKILL after within, and returns when it is gone.
func (p *Process) end(s syscall.Signal, within time.Duration) error {
	p.state.Lock()
	id, exit := p.id, p.exit
	p.state.Unlock()
	if id.pid == 0 {
		return nil
	}
	if !id.gone() {
		for _, step := range []struct {
			signal syscall.Signal
			within time.Duration
		}{{s, within}, {syscall.SIGKILL, killWithin}} {
			// A frozen group takes SIGTERM only when it goes on.
			_, _ = syscall.Kill(-id.pid, step.signal), syscall.Kill(-id.pid, syscall.SIGCONT)
			if id.goneWithin(step.within) {
				break
			}
		}
		if !id.gone() {
			return fmt.Errorf("process group %d does not end", id.pid)
		}
	}
	if exit != nil {
		<-exit
	}
	p.state.Lock()
	p.id, p.exit = identity{}, nil
	p.state.Unlock()
	if err := os.Remove(p.pidFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
