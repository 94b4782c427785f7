package storetest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"meridian/chat"
)

// Environment of the writer process.
const (
	killDir   = "MERIDIAN_STORETEST_KILL_DIR"
	killFirst = "MERIDIAN_STORETEST_KILL_FIRST"
)

// RunKill starts this test binary again as a process that writes to a store in a directory, kills it with SIGKILL at a
// random moment, opens the directory, and checks that what the process had been told is durable is whole and the rest
// whole or not there; several rounds on one directory. It must be called directly by the test function.
func RunKill(t *testing.T, rounds int, open func(dir string) (chat.Store, error)) {
	if dir := os.Getenv(killDir); dir != "" {
		t.Fatal(writeUntilKilled(dir, open))
	}
	dir := t.TempDir() + "/store"
	rng := rand.New(rand.NewPCG(7, 7))
	acked := map[int]bool{}
	first, killed := 1, 0
	for range rounds {
		last := killWriter(t, dir, first, 20+rng.IntN(300), acked)
		if last > 0 {
			killed++
		}
		s, err := open(dir)
		if err != nil {
			t.Fatalf("open after kill -9: %v", err)
		}
		end := max(last, first) + killInFlight + 1
		for n := 1; n < end; n++ {
			rows, err := sendStored(s, n)
			if err != nil {
				t.Fatal(err)
			}
			if rows != 0 && rows != sendRows || rows == 0 && acked[n] {
				t.Fatalf("send %d has %d rows of %d; acknowledged: %v", n, rows, sendRows, acked[n])
			}
		}
		must(t, s.Close())
		first = end
	}
	if killed == 0 {
		t.Fatal("no writer was killed while it wrote")
	}
	t.Logf("%d writers killed, %d acknowledged sends checked", killed, len(acked))
}

// killInFlight is how many sends the writer has under way.
const killInFlight = 64

// killWriter runs a writer until it has reported so many sends, and gives the last that it reported.
func killWriter(t *testing.T, dir string, first, reports int, acked map[int]bool) (last int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), killDir+"="+dir, killFirst+"="+strconv.Itoa(first))
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	stuck := time.AfterFunc(50*time.Second, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	lines := bufio.NewScanner(out)
	for count := 0; lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			continue // half a line, or the test framework's words
		}
		acked[n] = true
		last = max(last, n)
		if count++; count == reports {
			_ = cmd.Process.Kill() // what is still in the pipe is read: it was acknowledged too
		}
	}
	_ = cmd.Wait()
	return last
}

// writeUntilKilled commits sends and prints the number of each that is durable. It returns only when something fails.
func writeUntilKilled(dir string, open func(dir string) (chat.Store, error)) error {
	first, err := strconv.Atoi(os.Getenv(killFirst))
	if err != nil {
		return err
	}
	s, err := open(dir)
	if err != nil {
		return err
	}
	slots := make(chan struct{}, killInFlight)
	var mu sync.Mutex
	var failed error
	for n := first; ; n++ {
		slots <- struct{}{}
		mu.Lock()
		err := failed
		mu.Unlock()
		if err != nil {
			return err
		}
		s.Commit(sendBatch(n), func(err error) {
			if err == nil {
				_, err = fmt.Printf("%d\n", n) // one write, not buffered
			}
			mu.Lock()
			failed = err
			mu.Unlock()
			<-slots
		})
	}
}
