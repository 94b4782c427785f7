package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// UpOptions says what Up starts.
type UpOptions struct {
	Dir     string   // see UpDir
	Cache   string   // see CassandraOptions
	Regions []string // default: Regions
	// ThreeNodes names a region that gets three Cassandra nodes with three copies of each row; empty: none, or the one that has
	// them already.
	ThreeNodes string
	Progress   Progress
}

const threeNodes = 3

// Up starts a Cassandra cluster and a Redis for each region, side by side, and leaves them running. What runs already stays.
// It writes local.json.
func Up(ctx context.Context, o UpOptions) (*Deployment, error) {
	dir, err := UpDir(o.Dir)
	if err != nil {
		return nil, err
	}
	if len(o.Regions) == 0 {
		o.Regions = Regions
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockFile(ctx, filepath.Join(dir, "lock"), o.Progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	jars, err := install(ctx, o.Cache, o.Progress)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	regions, errs := make([]RegionAccess, len(o.Regions)), make([]error, len(o.Regions))
	var all sync.WaitGroup
	for i, region := range o.Regions {
		all.Go(func() { regions[i], errs[i] = upRegion(ctx, jars, o, region, filepath.Join(dir, region)) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	d := &Deployment{Regions: make(map[string]RegionAccess, len(o.Regions))}
	for i, region := range o.Regions {
		d.Regions[region] = regions[i]
	}
	o.Progress.say("ready after %.1f s: %s", time.Since(started).Seconds(), filepath.Join(dir, deploymentFile))
	return d, d.save(dir)
}

func upRegion(ctx context.Context, jars *jars, o UpOptions, region, dir string) (RegionAccess, error) {
	progress := Progress(func(line string) { o.Progress.say("%s: %s", region, line) })
	redis, err := NewRedis(RedisOptions{Dir: filepath.Join(dir, "redis"), AppendOnly: true, Detached: true, Progress: progress})
	if err != nil {
		return RegionAccess{}, err
	}
	options := CassandraOptions{Datacenter: region, Dir: filepath.Join(dir, "cassandra"), Detached: true, Progress: progress}
	if region == o.ThreeNodes {
		options.Nodes = threeNodes
	}
	cassandra, err := newCassandra(jars, options)
	if err != nil {
		return RegionAccess{}, err
	}
	if redis.Running() {
		progress.say("Redis runs already")
	}
	if err := redis.Start(ctx); err != nil {
		return RegionAccess{}, err
	}
	if cassandra.Running() {
		progress.say("Cassandra runs already")
	}
	return RegionAccess{Cassandra: cassandra.Access(), Redis: redis.Access()}, cassandra.Start(ctx)
}

// Server is one server of a directory of Up.
type Server struct {
	Name string // REGION/cassandra/n1, REGION/redis …
	PID  int    // 0: it does not run
	// MemoryBytes is what it holds of the machine's memory.
	MemoryBytes int64
}

// Status gives the servers that run, or have run, in dir (see UpDir).
func Status(dir string) ([]Server, error) {
	found, err := processes(dir)
	if err != nil {
		return nil, err
	}
	var list []Server
	for _, p := range found {
		s := Server{Name: p.name, PID: p.PID()}
		if s.PID != 0 {
			s.MemoryBytes = residentBytes(s.PID)
		}
		list = append(list, s)
	}
	return list, nil
}

// Down ends every server that Up, or another who used dir (see UpDir), has left running there. Their data stay, unless
// purge says that dir goes.
func Down(ctx context.Context, dir string, purge bool, progress Progress) error {
	dir, err := UpDir(dir)
	if err != nil {
		return err
	}
	lock := filepath.Join(dir, "lock")
	if _, err := os.Stat(lock); errors.Is(err, os.ErrNotExist) {
		return nil // Up was never here: nothing of it runs, and nothing may be removed
	}
	unlock, err := lockFile(ctx, lock, progress)
	if err != nil {
		return err
	}
	defer unlock()
	found, err := processes(dir)
	if err != nil {
		return err
	}
	errs := make([]error, len(found))
	var all sync.WaitGroup
	for i, p := range found {
		if !p.Running() {
			continue
		}
		all.Go(func() {
			if errs[i] = p.Stop(); errs[i] == nil {
				progress.say("%s: stopped", p.name)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil || !purge {
		return err
	}
	progress.say("removing %s", dir)
	return os.RemoveAll(dir)
}

type namedProcess struct {
	*Process

	name string
}

// processes finds the servers of a directory of Up by their logs, which stay when they end.
func processes(dir string) ([]namedProcess, error) {
	dir, err := UpDir(dir)
	if err != nil {
		return nil, err
	}
	var found []namedProcess
	for _, pattern := range []string{"*/*/*.log", "*/*/n*/*.log"} {
		logs, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil {
			return nil, err
		}
		for _, log := range logs {
			name, file := path.Split(log)
			if strings.HasPrefix(name, dataDir+"/") || strings.HasPrefix(file, "hs_err_pid") {
				continue // Meridian's own; what a Java that crashed leaves
			}
			p := New(Spec{Name: strings.TrimSuffix(file, ".log"), Dir: filepath.Join(dir, name), StopWithin: nodeStopWithin})
			found = append(found, namedProcess{p, strings.TrimSuffix(name, "/")})
		}
	}
	return found, nil
}

// residentBytes reads from /proc what a process holds of the memory; 0 if that cannot be read.
func residentBytes(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}
