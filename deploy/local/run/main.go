// Command run starts, stops and shows the real servers of three regions on this machine. The scripts up, down and status in
// deploy/local call it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"meridian/deploy/local"
)

// The exit codes are those of meridian.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitDegraded = 3
)

var errNotAllRun = errors.New("not all servers run")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errNotAllRun):
		os.Exit(exitDegraded)
	default:
		fmt.Fprintln(os.Stderr, "deploy/local:", err)
		os.Exit(exitFailed)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		args = []string{""}
	}
	flags := flag.NewFlagSet("deploy/local/"+args[0], flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the servers (default .cache/local)")
	three, purge := "", false
	switch args[0] {
	case "up":
		flags.StringVar(&three, "three-nodes", "", "a region that gets three Cassandra nodes, with three copies of each row")
	case "down":
		flags.BoolVar(&purge, "purge", false, "remove their data too")
	case "status":
	default:
		fmt.Fprintln(os.Stderr, "usage: deploy/local/up | down | status")
		os.Exit(exitUsage)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	switch args[0] {
	case "up":
		return up(ctx, *dir, three)
	case "down":
		return local.Down(ctx, *dir, purge, progress())
	default:
		return status(*dir)
	}
}

// progress shows lines with the time since the start.
func progress() local.Progress {
	started := time.Now()
	return func(line string) { fmt.Printf("%6.1f s  %s\n", time.Since(started).Seconds(), line) }
}

func up(ctx context.Context, dir, three string) error {
	if three != "" && !slices.Contains(local.Regions, three) {
		return fmt.Errorf("%q is not a region; known: %s", three, strings.Join(local.Regions, ", "))
	}
	_, err := local.Up(ctx, local.UpOptions{Dir: dir, ThreeNodes: three, Progress: progress()})
	return err
}

func status(dir string) error {
	servers, err := local.Status(dir)
	if err != nil {
		return err
	}
	running := 0
	for _, s := range servers {
		if s.PID == 0 {
			fmt.Printf("%-28s stopped\n", s.Name)
			continue
		}
		running++
		fmt.Printf("%-28s running  pid %-8d %5d MB\n", s.Name, s.PID, s.MemoryBytes>>20)
	}
	if len(servers) == 0 || running < len(servers) {
		fmt.Printf("%d of %d servers run; start them by deploy/local/up\n", running, len(servers))
		return errNotAllRun
	}
	return nil
}
