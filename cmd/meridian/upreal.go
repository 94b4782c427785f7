package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
)

// What --stores takes.
const (
	storesEmbedded = "embedded"
	storesReal     = "real"
)

// realWait is readyWait with servers that share the machine.
const realWait = time.Minute

// useStores prepares cfg for the stores that the flags name, and says where everything else is kept.
func useStores(ctx context.Context, cfg *config.Config, f *upFlags, talk io.Writer) error {
	switch f.stores {
	case storesEmbedded:
		return nil
	case storesReal:
		return useReal(ctx, cfg, f, talk)
	}
	return &exitError{code: exitUsage, what: fmt.Sprintf("--stores %q is not known; allowed: %s, %s", f.stores, storesEmbedded, storesReal)}
}

// useReal points each region at the servers that deploy/local/up runs for it, and brings their schema up to date. The secrets
// lie beside the servers' data, which they seal: they go together.
func useReal(ctx context.Context, cfg *config.Config, f *upFlags, talk io.Writer) error {
	dir, err := local.UpDir(f.local)
	if err != nil {
		return err
	}
	servers, err := local.Load(dir)
	if err != nil {
		return &exitError{code: exitUnreachable, what: err.Error(), next: "deploy/local/up"}
	}
	if err := someNodeRuns(dir, servers); err != nil {
		return err
	}
	if !f.dataGiven {
		f.data = local.DataDir(dir)
	}
	for i := range cfg.Regions {
		r := &cfg.Regions[i]
		access, ok := servers.Regions[string(r.Name)]
		if !ok {
			return &exitError{code: exitUsage, what: fmt.Sprintf("deploy/local/up runs no servers for region %s", r.Name)}
		}
		if r.Cassandra != nil || r.Redis != nil {
			return &exitError{code: exitUsage, what: fmt.Sprintf("region %s of %s has a cassandra or a redis of its own: leave --stores away", r.Name, f.config)}
		}
		access.Configure(r)
		r.Cassandra.SnapshotCommand, r.Cassandra.ImportCommand = realCopies(dir, r.Name)
	}
	return applySchemas(ctx, cfg, talk)
}

// someNodeRuns refuses servers that were stopped, at once: a cluster that is slow is waited for, one that is not there is not.
func someNodeRuns(dir string, servers *local.Deployment) error {
	list, err := local.Status(dir)
	if err != nil {
		return err
	}
	for region := range servers.Regions {
		runs := func(s local.Server) bool { return s.PID != 0 && strings.HasPrefix(s.Name, region+"/cassandra/") }
		if !slices.ContainsFunc(list, runs) {
			return &exitError{code: exitUnreachable, what: fmt.Sprintf("no Cassandra of region %s runs", region), next: "deploy/local/up"}
		}
	}
	return nil
}

// realCopies gives the commands that copy the files of a region's cluster; none outside of the repository, where the scripts are.
func realCopies(dir string, region chat.Region) (snapshot, imports []string) {
	command := func(name string) []string {
		script, err := local.Script(name)
		if err != nil {
			return nil
		}
		return []string{script, "--dir", dir, string(region)}
	}
	return command("snapshot"), command("import")
}

// applySchemas brings all regions' schemas up to date, side by side: each statement takes a cluster a moment.
func applySchemas(ctx context.Context, cfg *config.Config, talk io.Writer) error {
	talk = &lockedWriter{to: talk}
	errs := make([]error, len(cfg.Regions))
	var all sync.WaitGroup
	for i, r := range cfg.Regions {
		all.Go(func() { errs[i] = applySchema(ctx, cfg, r, talk) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// schemaWithin bounds how long `up` tries: a busy machine may let statements time out, which may be sent again.
const (
	schemaWithin = 90 * time.Second
	schemaAgain  = time.Second
)

func applySchema(ctx context.Context, cfg *config.Config, r config.Region, talk io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, schemaWithin)
	defer cancel()
	for {
		plan, err := regionSchema(ctx, cfg, r, true, talk)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("region %s: schema %d, wanted %d: %w", r.Name, plan.Have, plan.Want, err)
		if chat.CodeOf(err) != chat.CodeRegionDegraded {
			return err
		}
		fmt.Fprintf(talk, "%v; again\n", err)
		select {
		case <-ctx.Done():
			return &exitError{code: exitUnreachable, what: err.Error(), next: "deploy/local/status"}
		case <-time.After(schemaAgain):
		}
	}
}

// lockedWriter lets several goroutines write lines.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}
