package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script is a server of one line of shell.
func script(t *testing.T, line string) Spec {
	t.Helper()
	return Spec{Name: "server", Dir: t.TempDir(), Path: "sh", Args: []string{"-c", line}}
}

func started(t *testing.T, spec Spec) *Process {
	t.Helper()
	p := New(spec)
	t.Cleanup(func() { _ = p.Kill() })
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// says is a condition of readiness: the server has written a line.
func says(log *string, line string) func(context.Context) error {
	return func(context.Context) error {
		b, _ := os.ReadFile(*log)
		if !strings.Contains(string(b), line) {
			return errors.New("has not said " + line)
		}
		return nil
	}
}

// Stop takes the whole group with it, also children that do not heed SIGTERM, and leaves no pid file.
func TestStopLeavesNoProcess(t *testing.T) {
	spec := script(t, `sh -c 'trap "" TERM; echo up; while :; do sleep 60; done' & wait`)
	log := filepath.Join(spec.Dir, "server.log")
	spec.Ready, spec.StopWithin = says(&log, "up"), 100*time.Millisecond
	p := started(t, spec)
	pid := p.PID()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if p.Running() || !groupGone(pid) {
		t.Error("something of the group still runs")
	}
	if _, err := os.Stat(p.pidFile()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pid file: %v", err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("a second stop: %v", err)
	}
}

// A server that ends before it is ready is an error that shows the end of its log.
func TestEndBeforeReady(t *testing.T) {
	spec := script(t, "echo no such table; exit 3")
	spec.Ready = func(context.Context) error { return errors.New("nobody listens") }
	err := New(spec).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "ended before it was ready") || !strings.Contains(err.Error(), "no such table") {
		t.Fatalf("got %v", err)
	}
}

// A server that is not ready in time is stopped again, and who waits is told meanwhile why.
func TestReadyIsBounded(t *testing.T) {
	spec := script(t, "sleep 60")
	spec.Ready, spec.ReadyWithin = func(context.Context) error { return errors.New("nobody listens") }, 200*time.Millisecond
	p := New(spec)
	err := p.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "nobody listens") {
		t.Fatalf("got %v", err)
	}
	if p.Running() {
		t.Error("it still runs")
	}
}

// Who comes later finds a running server by its pid file, does not start it twice, and can stop it; a pid file that speaks of
// another process is nobody.
func TestPIDFile(t *testing.T) {
	p := started(t, script(t, "sleep 60"))
	later := New(p.spec)
	if err := later.Start(t.Context()); err != nil || later.PID() != p.PID() {
		t.Fatalf("the second start: pid %d, not %d (%v)", later.PID(), p.PID(), err)
	}
	if err := later.Stop(); err != nil || p.Running() {
		t.Fatalf("stopped by the other: running %v, %v", p.Running(), err)
	}
	if err := os.WriteFile(p.pidFile(), fmt.Appendf(nil, "%d 1\n", os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	if New(p.spec).Running() {
		t.Error("this test was taken for the server")
	}
}

// A frozen process does nothing until it may go on; after a kill -9 it starts again in the same directory.
func TestFreezeAndKill(t *testing.T) {
	// One process from the first beat on: a shell that is stopped while it starts another waits in state D for it.
	spec := script(t, "echo beat > beats; exec sleep 60")
	beats := filepath.Join(spec.Dir, "beats")
	spec.Ready = says(&beats, "beat")
	p := started(t, spec)
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	if state := awaitState(p.PID(), "T"); state != "T" {
		t.Errorf("frozen, it is in state %q", state)
	}
	if err := p.Continue(); err != nil {
		t.Fatal(err)
	}
	first := p.PID()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Freeze(); err == nil {
		t.Error("a killed server was frozen")
	}
	if err := p.Start(t.Context()); err != nil || p.PID() == first {
		t.Fatalf("started again as %d: %v", p.PID(), err)
	}
}

// awaitState gives the process's state once it is want, or what it is after a minute.
func awaitState(pid int, want string) string {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		fields, err := stat(pid)
		if err != nil {
			return err.Error()
		}
		if fields[stateField] == want || time.Now().After(deadline) {
			return fields[stateField]
		}
	}
}

const actAsParent = "MERIDIAN_TEST_PARENT_DIR"

// A server that is not detached dies with the process that started it, also by kill -9.
func TestDiesWithParent(t *testing.T) {
	spec := Spec{Name: "server", Path: "sleep", Args: []string{"60"}}
	if dir := os.Getenv(actAsParent); dir != "" {
		spec.Dir = dir
		if err := New(spec).Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	spec.Dir = t.TempDir()
	parent := exec.Command(os.Args[0], "-test.run", "^TestDiesWithParent$")
	parent.Env = append(os.Environ(), actAsParent+"="+spec.Dir)
	if err := parent.Run(); err == nil {
		t.Fatal("the parent was not killed")
	}
	b, err := os.ReadFile(filepath.Join(spec.Dir, "server.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var id identity
	if _, err := fmt.Sscan(string(b), &id.pid, &id.started); err != nil {
		t.Fatal(err)
	}
	if !id.goneWithin(time.Minute) {
		_ = syscall.Kill(-id.pid, syscall.SIGKILL)
		t.Error("the server outlived its parent")
	}
}

// A password is made once, and only its owner may read it.
func TestSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets", "redis")
	first, err := Secret(path)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := Secret(path); err != nil || second != first || len(first) < 20 {
		t.Errorf("%q, then %q (%v)", first, second, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file: %v, %v", info.Mode(), err)
	}
}
