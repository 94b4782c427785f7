package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
	"meridian/store/backup"
	"meridian/store/cassandra"
	"meridian/store/embedded"
)

// noSecrets is what whoever makes or restores a backup must know.
const noSecrets = "Secrets are not in a backup: keep security.secrets_dir (the zones' keys, directory.key) apart from it, and as safe; without the keys nobody reads a message."

// backupReport is what `backup --json` and `backup check --json` print.
type backupReport struct {
	Dir    string         `json:"dir"`
	Region chat.Region    `json:"region"`
	Store  chat.StoreInfo `json:"store"`
	Files  int            `json:"files"`
	Bytes  int64          `json:"bytes"`
	Began  time.Time      `json:"began"`
	Ended  time.Time      `json:"ended"`
	// Problems are the files that are not as the manifest says; check only.
	Problems []backup.Problem `json:"problems,omitempty"`
}

type backupFlags struct {
	verifyFlags

	region, to string
}

// backupCommand has a region's store copied, and checks copies.
func backupCommand() *cobra.Command {
	var f backupFlags
	cmd := &cobra.Command{
		Use: "backup", Short: "Copy a region's store while it works, or check such a copy",
		Long: `Have a node of the region copy its store to a directory that does not exist yet, while it works, and write MANIFEST.json beside the
files: what they are, when they were taken, and the size and SHA-256 of each. Run it on the machine that keeps the store's files. Everything
that was acknowledged before the backup began is in it. Copy the directory to another machine: an embedded store's backup shares
files with the store as long as both lie on one disk.
` + noSecrets,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.run(cmd)) },
	}
	cmd.Flags().StringVar(&f.data, "data", "data", "directory of the local deployment")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file of a deployment of processes, instead of --data")
	cmd.Flags().StringVar(&f.region, "region", "", "the region whose store to copy")
	cmd.Flags().StringVar(&f.to, "to", "", "the directory to make")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	_ = cmd.MarkFlagRequired("region") // the flags exist
	_ = cmd.MarkFlagRequired("to")
	var asJSON bool
	check := &cobra.Command{
		Use: "check DIR", Short: "Compare a backup with its manifest; restore nothing", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return failed(checkBackup(cmd, args[0], asJSON)) },
	}
	check.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(check)
	return cmd
}

func (f backupFlags) run(cmd *cobra.Command) error {
	dir, err := filepath.Abs(f.to)
	if err != nil {
		return err
	}
	a, err := f.admins()
	if err != nil {
		return err
	}
	region := chat.Region(f.region)
	if a.urls[region] == "" {
		return unknownRegion(f.region, slices.Sorted(maps.Keys(a.urls)))
	}
	if _, err := os.Lstat(dir); err == nil {
		return &exitError{code: exitRefused, what: dir + " exists; a backup makes its directory", next: "choose another --to"}
	}
	manifest := backup.Manifest{Region: region, Began: time.Now().UTC()}
	show, end := f.progress(cmd)
	done, err := askBackup(cmd.Context(), a, region, dir, func(l regionnode.BackupLine) {
		show("%s: copying, %d s", region, l.RunningMs/time.Second.Milliseconds())
	})
	if err != nil {
		return err
	}
	end()
	manifest.Ended, manifest.Store, manifest.Applied = time.Now().UTC(), *done.Store, done.Applied
	if _, err := os.Stat(dir); err != nil {
		return &exitError{
			code: exitFailed, next: "remove " + dir + " there, and run meridian backup there",
			what: fmt.Sprintf("the files are in %s on the machine that keeps region %s's store, not on this one: without a manifest they are no backup", dir, region),
		}
	}
	if manifest.Store.Kind == chat.StoreEmbedded {
		if err := fromFiles(&manifest, dir); err != nil {
			return err
		}
	}
	written, err := backup.Write(dir, manifest, func(done, all int64) { show("%s: reading what was written, %s of %s", region, size(done), size(all)) })
	if err != nil {
		return fmt.Errorf("the backup is not finished, remove %s: %w", dir, err)
	}
	end()
	return printBackup(cmd.OutOrStdout(), f.json, dir, written)
}

// fromFiles opens the copy, which proves that it can be opened, and takes from it what it is: the store's process may be of
// another version than the node.
func fromFiles(m *backup.Manifest, dir string) error {
	region, layout, err := embedded.Inspect(dir)
	if err != nil {
		return fmt.Errorf("the copy cannot be opened, remove %s: %w", dir, err)
	}
	if region != m.Region {
		return fmt.Errorf("%s holds region %s, not %s", dir, region, m.Region)
	}
	m.Store.Version = layout
	return nil
}

func unknownRegion(name string, known []chat.Region) error {
	return &exitError{code: exitUsage, what: fmt.Sprintf("%q is not a region; known: %v", name, known)}
}

// askBackup has the region's node copy its store, and gives its last word.
func askBackup(ctx context.Context, a *admins, region chat.Region, dir string, progress func(regionnode.BackupLine)) (last regionnode.BackupLine, err error) {
	err = a.call(ctx, http.MethodPost, a.urls[region]+"/v1/admin/backup?"+url.Values{"dir": {dir}}.Encode(), func(body io.Reader) error {
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, backupLineBytes)
		for lines.Scan() {
			last = regionnode.BackupLine{}
			if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
				return err
			}
			progress(last)
		}
		return lines.Err()
	})
	var dial *url.Error
	switch {
	case errors.As(err, &dial):
		return last, &exitError{code: exitUnreachable, what: fmt.Sprintf("region %s does not answer: %v", region, err), next: "meridian status"}
	case err != nil:
		return last, err
	case last.Error != nil:
		return last, &exitError{code: exitOf(last.Error.Code), what: fmt.Sprintf("region %s made no backup: %s: %s", region, last.Error.Code, last.Error.Message)}
	case !last.Done || last.Store == nil:
		return last, fmt.Errorf("region %s ended the backup before it was done: remove %s", region, dir)
	}
	return last, nil
}

// backupLineBytes bounds a line of the answer: the last one holds a position of each op log that there is.
const backupLineBytes = 16 << 20

// checkBackup compares a backup with its manifest.
func checkBackup(cmd *cobra.Command, dir string, asJSON bool) error {
	m, problems, err := examine(cmd, dir, asJSON, exitDegraded)
	if err != nil {
		return err
	}
	report := reportOf(dir, m)
	report.Problems = problems
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), report); err != nil {
			return err
		}
	} else if len(problems) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: intact. %s\n", dir, describe(m))
	}
	return damaged(dir, problems, exitDegraded)
}

// examine reads the manifest of a backup and compares all files with it; code is the exit code of what is no whole backup.
func examine(cmd *cobra.Command, dir string, quiet bool, code int) (*backup.Manifest, []backup.Problem, error) {
	m, err := backup.Read(dir)
	switch chat.CodeOf(err) {
	case "":
	case chat.CodeUpgradePending:
		return nil, nil, &exitError{code: exitRefused, what: chat.AsError(err).Message}
	case chat.CodeInvalid, chat.CodeNotFound:
		return nil, nil, &exitError{code: code, what: chat.AsError(err).Message, next: otherCopy}
	default:
		return nil, nil, err
	}
	show, end := verifyFlags{json: quiet}.progress(cmd)
	problems, err := m.Check(dir, func(done, all int64) { show("checking, %s of %s", size(done), size(all)) })
	end()
	return m, problems, err
}

// otherCopy is what helps where a backup is damaged.
const otherCopy = "take another copy of this backup, or an older one"

// problemsShown is how many damaged files an error lists.
const problemsShown = 10

func damaged(dir string, problems []backup.Problem, code int) error {
	if len(problems) == 0 {
		return nil
	}
	what := []string{fmt.Sprintf("%s is damaged: %d files are not as %s says", dir, len(problems), backup.ManifestName)}
	for i, p := range problems {
		if i == problemsShown {
			what = append(what, "…")
			break
		}
		what = append(what, p.String())
	}
	return &exitError{code: code, what: strings.Join(what, "\n  "), next: otherCopy}
}

func reportOf(dir string, m *backup.Manifest) backupReport {
	return backupReport{Dir: dir, Region: m.Region, Store: m.Store, Files: len(m.Files), Bytes: m.Bytes(), Began: m.Began, Ended: m.Ended}
}

func printBackup(w io.Writer, asJSON bool, dir string, m *backup.Manifest) error {
	if asJSON {
		return printJSON(w, reportOf(dir, m))
	}
	fmt.Fprintf(w, "%s: %s\n", dir, describe(m))
	fmt.Fprintln(w, "Copy it to another machine.", noSecrets)
	if m.Store.Accounts != "" {
		fmt.Fprintf(w, "Accounts and sessions lie in %s and are not in it: back that up by its own means.\n", m.Store.Accounts)
	}
	return nil
}

// describe says in one line what a backup is.
func describe(m *backup.Manifest) string {
	of := fmt.Sprintf("layout %d", m.Store.Version)
	if m.Store.Kind == chat.StoreCassandra {
		of = fmt.Sprintf("keyspace %s, schema %d", m.Store.Keyspace, m.Store.Version)
	}
	return fmt.Sprintf("Region %s (%s, %s), %d files, %s, begun %s, took %s.", m.Region, m.Store.Kind, of, len(m.Files), size(m.Bytes()),
		m.Began.Format(time.RFC3339), m.Ended.Sub(m.Began).Round(time.Millisecond))
}

func size(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// storeInfo gives what tells a region's node what its store is.
func (d *deployment) storeInfo(ref chat.NodeRef) func(context.Context) (chat.StoreInfo, error) {
	r, _ := d.cfg.Region(ref.Region)
	return func(ctx context.Context) (chat.StoreInfo, error) {
		info := chat.StoreInfo{Kind: chat.StoreEmbedded, Version: embedded.Layout}
		if r.Postgres != nil {
			info.Accounts = "PostgreSQL"
		}
		if r.Cassandra == nil {
			return info, nil
		}
		plan, err := d.schemaNow(ctx, r)
		info.Kind, info.Keyspace, info.Version = chat.StoreCassandra, plan.Keyspace, plan.Have
		return info, err
	}
}

// schemaNow asks which schema a region's keyspace has, as the role that a node logs in as.
func (d *deployment) schemaNow(ctx context.Context, r config.Region) (cassandra.SchemaPlan, error) {
	o, err := cassandraOptions(d.cfg, chat.NodeRef{Region: r.Name, Node: config.OnlyNode}, false, d.log)
	if err != nil {
		return cassandra.SchemaPlan{}, err
	}
	schema, err := cassandra.NewSchema(o, r.Cassandra.WithDefaults(string(r.Name)).Replicas)
	if err != nil {
		return cassandra.SchemaPlan{}, err
	}
	return schema.Plan(ctx)
}
