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
	var work func() error
	rest := 0 // how many arguments the verb takes beside flags
	switch args[0] {
	case "up":
		three := flags.String("three-nodes", "", "a region that gets three Cassandra nodes, with three copies of each row")
		work = func() error { return up(ctx, *dir, *three) }
	case "down":
		purge := flags.Bool("purge", false, "remove their data too")
		work = func() error { return local.Down(ctx, *dir, *purge, progress()) }
	case "status":
		work = func() error { return status(*dir) }
	case "nodetool":
		rest = 100
		work = func() error { return nodetool(ctx, *dir, flags.Args()) }
	case "cql":
		rest = 2
		as := flags.String("as", "app", "the role: app, owner or admin")
		work = func() error { return cql(*dir, *as, flags.Args()) }
	case "snapshot", "import":
		rest = 3
		work = func() error { return copyFiles(ctx, *dir, args[0], flags.Args()) }
	default:
		fmt.Fprintln(os.Stderr, "usage: deploy/local/up | down | status | nodetool | cql | snapshot | import")
		os.Exit(exitUsage)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > rest {
		return fmt.Errorf("unknown argument %q", flags.Arg(rest))
	}
	return work()
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
