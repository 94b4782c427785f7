package embedded_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"meridian/chat"
	"meridian/store/embedded"
	"meridian/store/storetest"
)

// What a process was told is durable is whole after kill -9 in mid-write, round after round.
func TestKill(t *testing.T) {
	storetest.RunKill(t, 4, func(dir string) (chat.Store, error) {
		return embedded.Open(options(dir, storetest.DefaultConfig()))
	})
}

// Abandon loses nothing that was acknowledged, calls every callback, lets go of the directory at once, and lets nothing
// reach the files afterwards.
func TestAbandon(t *testing.T) {
	dir := t.TempDir()
	acked := 0
	for round := range 12 {
		s := mustOpen(t, options(dir, storetest.DefaultConfig()))
		for n := range acked {
			if !has(t, s, n) {
				t.Fatalf("round %d: message %d is gone", round, n)
			}
		}
		var calls sync.WaitGroup
		var mu sync.Mutex
		first, ok := acked, 0
		for n := first; n < first+200; n++ {
			calls.Add(1)
			s.Commit(send(n, 2000), func(err error) {
				defer calls.Done()
				mu.Lock()
				defer mu.Unlock()
				if err == nil && n == first+ok {
					ok++
				}
			})
			if n == first+round*17 {
				if err := storetest.Commit(s, &chat.Batch{HighWater: 1}); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.Abandon()
		calls.Wait()
		acked = first + ok
		if ok < min(round*17+1, 200) {
			t.Fatalf("round %d: only %d acknowledged", round, ok)
		}
		before := fingerprint(t, dir)
		if err := storetest.Commit(s, send(9999, 10)); chat.CodeOf(err) != chat.CodeRegionDegraded {
			t.Fatalf("a commit after Abandon: %v", err)
		}
		if fingerprint(t, dir) != before {
			t.Fatal("the files changed after Abandon")
		}
	}
}

func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, f.Name(), info.Size(), info.ModTime().UnixNano())
	}
	return all.String()
}

// A directory that is open is refused to a second store, with the process that has it; so is one of another region or
// node, and options that name nobody. What is in it stays.
func TestOpenRefused(t *testing.T) {
	cfg := storetest.DefaultConfig()
	dir := t.TempDir()
	s := mustOpen(t, options(dir, cfg))
	if err := storetest.Commit(s, send(1, 10)); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.Open(options(dir, cfg))
	wantCode(t, err, chat.CodeInvalid)
	if !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("the error does not name directory and process: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*embedded.Options){
		func(o *embedded.Options) { o.Region = "us-east" },
		func(o *embedded.Options) { o.Node = "n2" },
		func(o *embedded.Options) { o.Region = "" },
		func(o *embedded.Options) { o.Dir = "" },
		func(o *embedded.Options) { o.Codec = nil },
	} {
		o := options(dir, cfg)
		change(&o)
		_, err := embedded.Open(o)
		wantCode(t, err, chat.CodeInvalid)
	}
	if s = mustOpen(t, options(dir, cfg)); !has(t, s, 1) {
		t.Fatal("the message is gone")
	}
}

// A process that cannot have the directory, since another process has it, is told which; and the holder goes on.
func TestOpenRefusedAcrossProcesses(t *testing.T) {
	cfg := storetest.DefaultConfig()
	if dir := os.Getenv("MERIDIAN_TEST_SECOND_OPEN"); dir != "" {
		_, err := embedded.Open(options(dir, cfg))
		fmt.Println(err)
		return
	}
	dir := t.TempDir()
	s := mustOpen(t, options(dir, cfg))
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "MERIDIAN_TEST_SECOND_OPEN="+dir)
	for range 2 {
		run := *cmd
		out, err := run.CombinedOutput()
		if err != nil || !strings.Contains(string(out), fmt.Sprint("in use by process ", os.Getpid())) {
			t.Fatalf("the second process said %q, error %v", out, err)
		}
	}
	if err := storetest.Commit(s, send(1, 10)); err != nil {
		t.Fatal(err)
	}
}

// damaged makes a store with tables and a log, and gives its directory and the files of a kind in it.
func damaged(t *testing.T, pattern string) (dir string, files []string) {
	t.Helper()
	dir = t.TempDir()
	s := mustOpen(t, options(dir, storetest.DefaultConfig()))
	for n := range 400 {
		if err := storetest.Commit(s, send(n, 20_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no file %s; error %v", pattern, err)
	}
	return dir, files
}

// A damaged, cut or missing file is an error with a code that names the file, not a loss in silence; nothing is removed.
func TestDamagedFiles(t *testing.T) {
	flip := func(name string) error {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b[min(len(b)/3, 3000)] ^= 0x55
		return os.WriteFile(name, b, 0o600)
	}
	cut := func(name string) error {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		return os.Truncate(name, info.Size()/2)
	}
	tests := []struct {
		name, pattern string
		harm          func(string) error
		atRead        bool // tables are checked when they are read, not at open
	}{
		{"log flipped", "*.log", flip, false},
		{"manifest flipped", "MANIFEST-*", flip, false},
		{"manifest missing", "MANIFEST-*", os.Remove, false},
		{"marker missing", "marker.manifest.*", os.Remove, false},
		{"table missing", "*.sst", os.Remove, false},
		{"table cut", "*.sst", cut, false},
		{"table flipped", "*.sst", flip, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, files := damaged(t, tt.pattern)
			harmed := files[len(files)-1]
			if err := tt.harm(harmed); err != nil {
				t.Fatal(err)
			}
			before, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
			s, err := embedded.Open(options(dir, storetest.DefaultConfig()))
			if tt.atRead {
				if err != nil {
					t.Fatal(err)
				}
				defer s.Abandon()
				_, err = s.Messages(ctx, user(1), chat.NoConversation, chat.NoMessage, 1000)
			}
			wantCode(t, err, chat.CodeRegionDegraded)
			t.Log(err)
			base := strings.TrimSuffix(filepath.Base(harmed), ".sst")
			if !strings.Contains(err.Error(), base) && !strings.Contains(err.Error(), "marker.manifest") {
				t.Fatalf("the error does not name %s: %v", base, err)
			}
			for _, name := range before {
				if _, err := os.Stat(name); err != nil {
					t.Fatalf("%s was removed", name)
				}
			}
		})
	}
}

// A disk that runs full for real, a tmpfs of few megabytes in an own mount namespace, refuses writes with CodeStoreFull
// and loses nothing that was acknowledged.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv("MERIDIAN_TEST_FULL_DISK"); dir != "" {
		fillDisk(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("a mount namespace needs root")
	}
	dir := t.TempDir()
	script := `mount -t tmpfs -o size=12m none "$1" && exec "$2" -test.run='^TestFullDisk$' -test.v`
	cmd := exec.Command("unshare", "-m", "sh", "-c", script, "sh", dir, os.Args[0])
	cmd.Env = append(os.Environ(), "MERIDIAN_TEST_FULL_DISK="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("Operation not permitted")) {
		t.Skipf("no mount namespace here: %s", out)
	}
	if err != nil || !bytes.Contains(out, []byte("disk filled")) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func fillDisk(t *testing.T, dir string) {
	for _, reserve := range []int64{0, 1 << 20} {
		o := options(filepath.Join(dir, fmt.Sprint(reserve)), storetest.DefaultConfig())
		o.ReserveBytes = reserve
		s := mustOpen(t, o)
		acked, err := 0, error(nil)
		for n := 0; n < 5000 && err == nil; n++ {
			if err = storetest.Commit(s, send(n, 20_000)); err == nil {
				acked++
			}
		}
		if code := chat.CodeOf(err); code != chat.CodeStoreFull && (reserve > 0 || code != chat.CodeUnknownOutcome) {
			t.Fatalf("reserve %d: error is %v", reserve, err)
		}
		wantCode(t, storetest.Commit(s, send(6000, 20_000)), chat.CodeStoreFull)
		checkReadable(t, s, acked)
		s.Abandon()
		if reserve > 0 { // what is there opens again on the full disk
			s = mustOpen(t, o)
			checkReadable(t, s, acked)
			s.Abandon()
		}
		t.Logf("reserve %d: disk filled after %d messages: %v", reserve, acked, err)
		if err := os.RemoveAll(o.Dir); err != nil {
			t.Fatal(err)
		}
	}
}
