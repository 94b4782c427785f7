package nemesis

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/fleet"
	"meridian/test/nemesis/report"
	"meridian/test/nemesis/world"
)

var (
	matrix = flag.String("matrix", "short", "which faults: short (a few minutes) or full (about 20 minutes)")
	outDir = flag.String("report", "", "directory for nemesis.json and nemesis.html; default: .cache/nemesis in the module")
	only   = flag.String("only", "", "faults to do, by name, separated by commas; default: all of the matrix")
)

// full says whether everything is to be done.
func full() bool { return *matrix == "full" }

// nodesEach is how many nodes a region of the fault matrix has.
const nodesEach = 2

// all is what every test of this package adds to.
var all = report.Report{Began: time.Now().UTC(), Machine: fmt.Sprintf("%s, %d CPUs", runtime.GOOS, runtime.NumCPU())}

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("nemesis: skipped: -short is set, and these tests start processes for minutes")
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "meridian-nemesis-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "nemesis:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary = os.Getenv("MERIDIAN_BIN"); binary == "" {
		binary = filepath.Join(dir, "meridian")
		if err := tool("go", "build", "-o", binary, "meridian/cmd/meridian"); err != nil {
			fmt.Fprintln(os.Stderr, "nemesis: cannot build the program:", err)
			return 1
		}
	}
	all.Commit = revision()
	if *outDir == "" {
		*outDir = filepath.Join("..", "..", ".cache", "nemesis")
	}
	code := m.Run()
	if len(all.Scenarios) > 0 {
		all.Table(os.Stdout)
		page, err := all.Save(*outDir)
		if err != nil {
			fmt.Fprintln(os.Stderr, "nemesis: the report was not written:", err)
			return 1
		}
		fmt.Println("nemesis: report in", page)
	}
	return code
}

// binary is the program under test.
var binary string

func tool(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

func revision() string {
	out, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// play runs a scenario, prints its progress, and fails the test for every promise that was broken.
func play(t *testing.T, plan Plan, act func(*Scenario) error) {
	t.Helper()
	began := time.Now()
	plan.Log = func(format string, args ...any) {
		fmt.Printf("nemesis %6.1fs %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	defer cancel()
	if plan.World.Binary == "" {
		plan.World.Binary = binary
	}
	dir := t.TempDir()
	defer keepLogs(t, dir, plan.Name)
	s, err := Run(ctx, dir, plan, act)
	if err != nil {
		t.Fatal(err)
	}
	all.Scenarios = append(all.Scenarios, *s)
	for _, f := range s.Faults {
		if f.Problem != "" {
			t.Errorf("%s: %s", f.Name, f.Problem)
		}
	}
	for _, c := range s.Checks {
		if c.Broken > 0 {
			t.Errorf("%s, %s: broken %d times", c.ID, c.What, c.Broken)
		}
	}
	for _, p := range s.Problems {
		t.Error(p)
	}
}

// keepLogs saves what the processes of a failed scenario wrote beside the report.
func keepLogs(t *testing.T, dir, scenario string) {
	if !t.Failed() {
		return
	}
	kept := filepath.Join(*outDir, "logs", scenario)
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err == nil {
		err = os.MkdirAll(kept, 0o755)
	}
	if err != nil {
		t.Log(err)
		return
	}
	for _, file := range logs {
		var text []byte
		if text, err = os.ReadFile(file); err == nil {
			err = os.WriteFile(filepath.Join(kept, filepath.Base(file)), text, 0o644)
		}
		if err != nil {
			break
		}
	}
	t.Logf("the logs of the nodes lie in %s (error: %v)", kept, err)
}

// strikes does the faults of the matrix that were asked for.
func strikes(t *testing.T, s *Scenario, faults []Fault) error {
	for _, f := range faults {
		if *only != "" && !strings.Contains(","+*only+",", ","+f.Name+",") {
			continue
		}
		if err := s.Strike(t.Context(), f); err != nil {
			return err
		}
	}
	return nil
}

// People in three regions write, answer, read and sign up all the time, while processes die, freeze, lose each other, run out of
// disk and have wrong clocks: every promise holds, and whoever loses a node or a region is served elsewhere in time.
func TestFaultMatrix(t *testing.T) {
	size := fleet.Size{World: 8, Pinned: 3, PerSecond: 60}
	play(t, Plan{
		Name: "fault-matrix", What: "three regions of two nodes and a store each, ack: zone", Size: size, Warm: 5 * time.Second, Removals: true,
		World: world.Plan{Nodes: nodesEach, Ack: chat.AckZone, SmallDisk: "ap-south"},
	}, func(s *Scenario) error { return strikes(t, s, Matrix(nodesEach, !full())) })
}
