package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	"meridian/observe"
	"meridian/store/backup"
	"meridian/store/cassandra"
	"meridian/store/embedded"
)

type restoreFlags struct {
	data, config, region, from string
	// dataGiven: the person chose data; else a configuration file says it.
	dataGiven bool
}

// restoreCommand brings a backup back.
func restoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use: "restore", Short: "Bring a backup of a region back where the region's store is lost",
		Long: `Bring a backup back: into the region's directory, which must be empty or not be there, or into the region's keyspace, which must have no
rows. First the manifest and every file are checked; then nothing is changed until the whole of it is sure. Refused with exit code 4: a
damaged backup, one of another region or of a newer version, an occupied place, a store that is in use.
` + noSecrets,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.dataGiven = cmd.Flags().Changed("data")
			return failed(f.run(cmd))
		},
	}
	cmd.Flags().StringVar(&f.data, "data", "data", "directory of the local deployment")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file of the deployment, instead of --data")
	cmd.Flags().StringVar(&f.region, "region", "", "the region to restore")
	cmd.Flags().StringVar(&f.from, "from", "", "the directory of the backup")
	_ = cmd.MarkFlagRequired("region") // the flags exist
	_ = cmd.MarkFlagRequired("from")
	return cmd
}

// configuration gives that of the deployment: of the file, or the built-in one of `up` on --data.
func (f restoreFlags) configuration() (*config.Config, error) {
	cfg := config.Default()
	if f.config != "" {
		var err error
		if cfg, err = config.Load(f.config); err != nil {
			return nil, err
		}
	}
	if f.config == "" || f.dataGiven {
		cfg.DataDir = f.data
	}
	return cfg, nil
}

func (f restoreFlags) run(cmd *cobra.Command) error {
	cfg, err := f.configuration()
	if err != nil {
		return err
	}
	r, ok := cfg.Region(chat.Region(f.region))
	if !ok {
		return unknownRegion(f.region, cfg.Topology().Regions)
	}
	from, err := filepath.Abs(f.from)
	if err != nil {
		return err
	}
	restore := &restorer{cfg: cfg, region: r, from: from, cmd: cmd, out: cmd.OutOrStdout()}
	if err := restore.examine(); err != nil {
		return err
	}
	if r.Cassandra != nil {
		err = restore.intoCluster(cmd.Context())
	} else {
		err = restore.intoDirectory()
	}
	if err != nil {
		return err
	}
	restore.sayWhatNext(f)
	return nil
}

// restorer brings one backup back.
type restorer struct {
	cfg      *config.Config
	region   config.Region
	from     string
	manifest *backup.Manifest
	cmd      *cobra.Command
	out      io.Writer
}

func refused(next, format string, args ...any) error {
	return &exitError{code: exitRefused, what: fmt.Sprintf(format, args...), next: next}
}

// examine refuses a backup that is damaged or does not belong here.
func (r *restorer) examine() error {
	m, problems, err := examine(r.cmd, r.from, false, exitRefused)
	if err != nil {
		return err
	}
	if err := damaged(r.from, problems, exitRefused); err != nil {
		return err
	}
	r.manifest = m
	kind := chat.StoreEmbedded
	if r.region.Cassandra != nil {
		kind = chat.StoreCassandra
	}
	switch {
	case m.Region != r.region.Name:
		return refused("", "%s is a backup of region %s, not of %s", r.from, m.Region, r.region.Name)
	case m.Store.Kind != kind:
		return refused("", "%s is a backup of a store of kind %s; region %s keeps its rows in one of kind %s", r.from, m.Store.Kind, m.Region, kind)
	case kind == chat.StoreEmbedded && m.Store.Version > embedded.Layout:
		return refused("use that version", "%s has layout %d, this version knows %d: it was made by a newer version", r.from, m.Store.Version, embedded.Layout)
	}
	return nil
}

// intoDirectory copies the files beside the region's directory, looks whether they are a store, and moves them into its place.
func (r *restorer) intoDirectory() error {
	dir := filepath.Join(r.cfg.DataDir, string(r.region.Name))
	if err := vacant(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(r.cfg.DataDir, 0o700); err != nil {
		return err
	}
	unfinished := filepath.Join(r.cfg.DataDir, "."+string(r.region.Name)+".restoring")
	unlock, err := lockUnfinished(unfinished)
	if err != nil {
		return err
	}
	defer unlock()
	err = r.fill(unfinished)
	if err == nil {
		err = vacant(dir) // a node may have started meanwhile
	}
	if err == nil {
		err = moveInto(unfinished, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(unfinished))
	}
	return nil
}

// vacant refuses a directory that is in use, or holds something.
func vacant(dir string) error {
	holder, err := embedded.InUse(dir)
	if err != nil {
		return err
	}
	if holder != "" {
		return refused("stop it first", "%s is in use by %s", dir, holder)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return refused(fmt.Sprintf("mv %s %s.old", dir, dir), "%s is not empty: a restore overwrites nothing", dir)
	}
	return nil
}

// lockUnfinished makes the directory in which a restore gathers its files, empty, for this process alone.
func lockUnfinished(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, refused("wait for it", "another restore works in %s", dir)
	}
	left, err := os.ReadDir(dir) // by one that was killed
	for _, entry := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // the lock goes with the file
}

// fill copies the backup to dir and opens it: the manifest may have been made of something else.
func (r *restorer) fill(dir string) error {
	show, end := verifyFlags{}.progress(r.cmd)
	if err := r.manifest.Copy(r.from, dir, func(done, all int64) { show("copying, %s of %s", size(done), size(all)) }); err != nil {
		return err
	}
	end()
	region, _, err := embedded.Inspect(dir)
	switch {
	case chat.CodeOf(err) == chat.CodeInvalid:
		return refused("", "%s: %s", r.from, chat.AsError(err).Message)
	case err != nil:
		return refused(otherCopy, "%s cannot be opened as a store: %v", r.from, err)
	case region != r.region.Name:
		return refused("", "%s holds region %s, whatever its manifest says", r.from, region)
	}
	return nil
}

// moveInto gives a directory its name, for which there is at most an empty one.
func moveInto(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// intoCluster brings the files into the region's keyspace by the configured command.
func (r *restorer) intoCluster(ctx context.Context) error {
	c := r.region.Cassandra.WithDefaults(string(r.region.Name))
	talk := r.cmd.ErrOrStderr()
	bring := clusterCommand(c.ImportCommand, talk)
	if bring == nil {
		return &exitError{
			code: exitUsage, what: fmt.Sprintf("region %s has no import_command in its section cassandra: nothing says how files get into its cluster", r.region.Name),
			next: "config/examples/real-stores.yaml shows it",
		}
	}
	o, err := cassandraOptions(r.cfg, chat.NodeRef{Region: r.region.Name, Node: config.OnlyNode}, true, observe.NewLogger(talk, observe.Telemetry(r.cfg.Telemetry)))
	if err != nil {
		return err
	}
	schema, err := cassandra.NewSchema(o, c.Replicas)
	if err != nil {
		return err
	}
	if err := r.vacantKeyspace(ctx, schema); err != nil {
		return err
	}
	if _, err := regionSchema(ctx, r.cfg, r.region, true, talk); err != nil {
		return err
	}
	fmt.Fprintf(talk, "importing into keyspace %s\n", c.Keyspace)
	err = bring(ctx, c.Keyspace, r.from)
	if err == nil {
		err = schema.Restored(ctx, r.manifest.Applied)
	}
	if err != nil {
		return &exitError{
			code: exitFailed, what: fmt.Sprintf("keyspace %s holds a part of the backup: %v", c.Keyspace, err),
			next: "start no node on it; mend that, truncate the tables, and run meridian restore again",
		}
	}
	return nil
}

// vacantKeyspace refuses a keyspace with rows, and a schema that is newer than this version's, there or in the backup.
func (r *restorer) vacantKeyspace(ctx context.Context, schema *cassandra.Schema) error {
	plan, err := schema.Plan(ctx)
	if err != nil {
		return err
	}
	if have := max(plan.Have, r.manifest.Store.Version); have > plan.Want {
		return refused("use that version", "schema %d, this version knows %d: it was made by a newer version", have, plan.Want)
	}
	table, err := schema.Occupied(ctx)
	if err != nil {
		return err
	}
	if table != "" {
		return refused("name another keyspace in the configuration, or stop the region's nodes and truncate the tables if nobody needs what is in them",
			"keyspace %s has rows in table %s: a restore overwrites nothing", plan.Keyspace, table)
	}
	return nil
}

// sayWhatNext ends a restore.
func (r *restorer) sayWhatNext(f restoreFlags) {
	name := r.region.Name
	fmt.Fprintf(r.out, "Region %s is restored. %s\n", name, describe(r.manifest))
	if missing := r.missingKeys(); len(missing) > 0 {
		fmt.Fprintf(r.out, "MISSING: %s. Bring them from where secrets are kept BEFORE a node starts: it would make new ones, and could read no message of before.\n", strings.Join(missing, ", "))
	} else {
		fmt.Fprintf(r.out, "Secrets were not in the backup; those in %s are used. They must be the ones of before.\n", r.cfg.SecretsPath())
	}
	if r.manifest.Store.Accounts != "" {
		fmt.Fprintf(r.out, "Accounts and sessions lie in %s and were not in the backup: restore that by its own means.\n", r.manifest.Store.Accounts)
	}
	start, verify := fmt.Sprintf("meridian region start %s --data %s, or meridian up --data %s", name, r.cfg.DataDir, r.cfg.DataDir), "meridian verify --repair --data "+r.cfg.DataDir
	if f.config != "" {
		start = fmt.Sprintf("meridian node --config %s --region %s", f.config, name)
		verify = "meridian verify --repair --config " + f.config
		if r.region.Store != "" {
			start = fmt.Sprintf("meridian store --config %s --region %s, then %s", f.config, name, start)
		}
	}
	fmt.Fprintf(r.out, "Next: 1. %s. It begins a new life and serves when it has caught up with the other regions.\n", start)
	fmt.Fprintf(r.out, "      2. meridian status, until nothing waits.\n      3. %s: brings back what the region had originated since the backup and others have.\n", verify)
}

// missingKeys gives the key files that a node would make anew.
func (r *restorer) missingKeys() (missing []string) {
	names := []string{"directory.key"}
	for _, z := range r.cfg.Zones {
		if r.cfg.Security.Sealed() && r.cfg.Topology().InZone(r.region.Name, z.Name) {
			names = append(names, zoneKeyFile(z.Name))
		}
	}
	for _, name := range names {
		path := filepath.Join(r.cfg.SecretsPath(), name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, path)
		}
	}
	return missing
}
