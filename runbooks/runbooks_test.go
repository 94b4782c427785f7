//go:build process

package runbooks_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// step is one command of a runbook, with what its output must show.
type step struct {
	command string
	expect  []string
	never   []string
	until   string // run it again until the output shows this
	within  time.Duration
}

// readSteps gives the commands of a runbook's console fences, in order.
func readSteps(t *testing.T, file string) []step {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	fenced := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "```console":
			fenced = true
		case line == "```":
			fenced = false
		case !fenced:
		case strings.HasPrefix(line, "$ meridian "):
			steps = append(steps, step{command: strings.TrimPrefix(line, "$ meridian "), within: 30 * time.Second})
		default:
			addExpectation(t, &steps[len(steps)-1], line)
		}
	}
	if len(steps) == 0 {
		t.Fatalf("%s has no commands", file)
	}
	return steps
}

func addExpectation(t *testing.T, s *step, line string) {
	t.Helper()
	key, value, ok := strings.Cut(line, ": ")
	if !ok {
		t.Fatalf("%q is neither a command nor an expectation", line)
	}
	switch key {
	case "expect":
		s.expect = append(s.expect, value)
	case "expect-not":
		s.never = append(s.never, value)
	case "until":
		s.until = value
	case "within":
		within, err := time.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		s.within = within
	default:
		t.Fatalf("unknown expectation %q", key)
	}
}

// Every command of the failover and return runbooks does, against a live deployment that lost a region, what the runbook says.
func TestProcessRunbooks(t *testing.T) {
	binary, err := filepath.Abs("../bin/meridian")
	if err != nil {
		t.Fatal(err)
	}
	data, _ := startUp(t, binary)
	run := runner(t, binary, data)
	run("region kill eu-west")
	waitFor(t, "routing to leave the region", time.Minute, func() bool {
		out := run("explain ip 81.2.69.142")
		return strings.Contains(out, "answer         ") && !strings.Contains(out, "answer         eu-west")
	})
	follow(t, "region-failover.md", run)
	follow(t, "region-return.md", run, "region kill eu-west")
}

// Every command of the runbook that empties a region does what the runbook says.
func TestProcessDrainRunbook(t *testing.T) {
	binary, err := filepath.Abs("../bin/meridian")
	if err != nil {
		t.Fatal(err)
	}
	data, _ := startUp(t, binary)
	follow(t, "region-drain.md", runner(t, binary, data))
}

// Every command of the runbook about a full outbox does what the runbook says, where a region was cut off while somebody wrote
// until that was refused; and what was refused is taken when all is done.
func TestProcessOutboxRunbook(t *testing.T) {
	binary, err := filepath.Abs("../bin/meridian")
	if err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(t.TempDir(), "small.yaml")
	if err := os.WriteFile(small, []byte("limits: {outbox_bytes: 65536, sends_per_second: 1000}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, regions := startUp(t, binary, "--config", small)
	run := runner(t, binary, data)
	w := newWriter(t, regions["us-east"].HTTP)
	run("region cut eu-west")
	w.untilRefused(t, func() bool { return strings.Contains(run("status"), "who writes to its people is refused") })
	follow(t, "outbox-full.md", run, "region cut eu-west")
	w.untilAcked(t)
}

// Every command of the runbook about a lost store does what the runbook says, where a region was backed up and then lost its directory.
func TestProcessRestoreRunbook(t *testing.T) {
	binary, err := filepath.Abs("../bin/meridian")
	if err != nil {
		t.Fatal(err)
	}
	data, _ := startUp(t, binary)
	run := runner(t, binary, data)
	if out := run("backup --region eu-west --to backups/eu-west"); !strings.Contains(out, "Secrets are not in a backup") {
		t.Fatalf("backup says %s", out)
	}
	run("region kill eu-west")
	if err := os.RemoveAll(filepath.Join(data, "eu-west")); err != nil {
		t.Fatal(err)
	}
	follow(t, "restore-from-backup.md", run)
}

// Every command of the runbook that rolls a DNSSEC key does what the runbook says, while a router signs: it takes up each step by itself,
// and ends with the new key alone.
func TestProcessKeyRollRunbook(t *testing.T) {
	binary, err := filepath.Abs("../bin/meridian")
	if err != nil {
		t.Fatal(err)
	}
	fast := filepath.Join(t.TempDir(), "fast.yaml")
	if err := os.WriteFile(fast, []byte("router: {ttl: 1s, name_server: {dnssec: {key_ttl: 1s, parent_ds_ttl: 1s, key_spread: 0s}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, ready := startUpReady(t, binary, "--config", fast)
	all := runner(t, binary, data)
	run := func(command string) string { return all(command + " --config " + fast) }
	tags := func() (out []uint16) {
		m, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion("chat.meridian.test.", dns.TypeDNSKEY), ready.Router.DNS)
		if err != nil {
			t.Log(err)
			return nil
		}
		for _, rr := range m.Answer {
			if k, ok := rr.(*dns.DNSKEY); ok {
				out = append(out, k.KeyTag())
			}
		}
		return out
	}
	if out := run("dns key new"); !strings.Contains(out, "is active") {
		t.Fatalf("dns key new says %s", out)
	}
	var first uint16
	waitFor(t, "the router to sign", time.Minute, func() bool {
		now := tags()
		if len(now) == 1 {
			first = now[0]
		}
		return len(now) == 1
	})
	follow(t, "dnssec-key-roll.md", run)
	waitFor(t, "the router to sign by the new key alone", time.Minute, func() bool {
		now := tags()
		return len(now) == 1 && now[0] != first
	})
}

// runner gives what runs a command against the deployment, in a directory of its own, and gives its output.
func runner(t *testing.T, binary, data string) func(command string) string {
	dir := t.TempDir()
	return func(command string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		args := strings.Fields(command)
		if !strings.HasPrefix(command, "backup check ") { // which needs no deployment
			args = append(args, "--data", data)
		}
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput() // status exits with 3 while there are problems: the output is what counts
		return string(out)
	}
}

// follow runs the commands of a runbook but for the undo of a rehearsal.
func follow(t *testing.T, file string, run func(string) string, undo ...string) {
	t.Helper()
	started := time.Now()
	for _, s := range readSteps(t, file) {
		if !slices.Contains(undo, s.command) {
			check(t, file, s, run)
		}
	}
	t.Logf("%s: %s", file, time.Since(started).Round(100*time.Millisecond))
}

func check(t *testing.T, file string, s step, run func(string) string) {
	t.Helper()
	var out string
	if s.until != "" {
		waitFor(t, file+": "+s.command+" to show "+s.until, s.within, func() bool {
			out = run(s.command)
			return strings.Contains(out, s.until)
		})
		return
	}
	out = run(s.command)
	for _, want := range s.expect {
		if !strings.Contains(out, want) {
			t.Errorf("%s: meridian %s does not show %q:\n%s", file, s.command, want, out)
		}
	}
	for _, never := range s.never {
		if strings.Contains(out, never) {
			t.Errorf("%s: meridian %s shows %q:\n%s", file, s.command, never, out)
		}
	}
}

func waitFor(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in %s: %s", within, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// region is where a region of a deployment is.
type region struct {
	HTTP string `json:"http"`
}

// upReady is what a deployment says when it serves.
type upReady struct {
	Regions map[string]region `json:"regions"`
	Router  struct {
		DNS string `json:"dns"`
	} `json:"router"`
}

// startTimeout bounds the start of a deployment.
const startTimeout = 2 * time.Minute

// startUp starts a deployment of its own, waits until it serves and gives where its regions are.
func startUp(t *testing.T, binary string, more ...string) (data string, regions map[string]region) {
	t.Helper()
	data, ready := startUpReady(t, binary, more...)
	return data, ready.Regions
}

func startUpReady(t *testing.T, binary string, more ...string) (data string, answer upReady) {
	t.Helper()
	data = t.TempDir()
	cmd := exec.Command(binary, append([]string{"up", "--ready-json", "--data", data}, more...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			t.Errorf("up did not end cleanly: %v", err)
		}
	})
	ready := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &answer)
		}
		ready <- err
	}()
	select {
	case err := <-ready:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(startTimeout):
		t.Fatalf("up is not ready in %v", startTimeout)
	}
	return data, answer
}
