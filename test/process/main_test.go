// Package process tests the deployment from outside: processes of bin/meridian, real sockets, kill -9. `go test -short` skips
// it. MERIDIAN_BIN names a built binary; without it the test builds one.
package process

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"meridian/config"
	"meridian/test/cluster"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("process: skipped: -short is set, and these tests start processes for minutes")
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if binary = os.Getenv("MERIDIAN_BIN"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "meridian-process-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "process:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "meridian")
	build := exec.Command("go", "build", "-o", binary, "meridian/cmd/meridian")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "process: cannot build the program:", err)
		return 1
	}
	return m.Run()
}

// start runs a deployment for one test.
func start(t *testing.T, adjust func(*config.Config)) *cluster.Cluster {
	t.Helper()
	return cluster.Start(t, binary, adjust)
}
