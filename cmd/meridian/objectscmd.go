package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	"meridian/store/objects"
)

// objectsCheck is what `meridian objects check` prints with --json.
type objectsCheck struct {
	Region   chat.Region `json:"region"`
	Store    string      `json:"store"` // disk or s3
	PutMs    float64     `json:"put_ms"`
	GetMs    float64     `json:"get_ms"`
	ListMs   float64     `json:"list_ms"`
	DeleteMs float64     `json:"delete_ms"`
}

// objectsCommand looks after where a region keeps files.
func objectsCommand() *cobra.Command {
	var file, region string
	var asJSON bool
	cmd := &cobra.Command{Use: "objects", Short: "Look after where a region keeps files"}
	check := &cobra.Command{
		Use: "check", Short: "Put, read, list and delete one small file, and say how long each took", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(runObjectsCheck(cmd.Context(), file, chat.Region(region), asJSON, cmd.OutOrStdout()))
		},
	}
	check.Flags().StringVar(&file, "config", "", "configuration file of the deployment")
	check.Flags().StringVar(&region, "region", "", "the region")
	check.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	_ = check.MarkFlagRequired("config") // the flags exist
	_ = check.MarkFlagRequired("region")
	cmd.AddCommand(check)
	return cmd
}

func runObjectsCheck(ctx context.Context, file string, region chat.Region, asJSON bool, stdout io.Writer) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	r, ok := cfg.Region(region)
	if !ok || r.Objects == nil {
		return &exitError{code: exitUsage, what: fmt.Sprintf("%s names no place for files of a region %q", file, region), next: "give the region a key objects"}
	}
	store, kind, err := openObjects(ctx, cfg, r.Objects)
	if err != nil {
		return err
	}
	c := objectsCheck{Region: region, Store: kind}
	if err := c.run(ctx, store); err != nil {
		return err
	}
	if asJSON {
		return printJSON(stdout, c)
	}
	_, err = fmt.Fprintf(stdout, "%s keeps files (%s): put %.1f ms, get %.1f ms, list %.1f ms, delete %.1f ms\n", region, kind, c.PutMs, c.GetMs, c.ListMs, c.DeleteMs)
	return err
}

// openObjects opens where a region keeps files.
func openObjects(ctx context.Context, cfg *config.Config, o *config.Objects) (store chat.Objects, kind string, err error) {
	if o.S3 == nil {
		disk, err := objects.OpenDisk(o.Disk.Dir)
		return disk, "disk", err
	}
	c := o.S3.WithDefaults()
	s := objects.S3Options{Address: c.Address, Bucket: c.Bucket, Region: c.Region, Access: c.AccessKey}
	if s.Secret, err = password(cfg, c.SecretFile); err != nil {
		return nil, "", err
	}
	if s.TLS, err = serverTLS(cfg, trusted{ca: c.CAFile, name: c.ServerName}); err != nil {
		return nil, "", err
	}
	s3, err := objects.OpenS3(ctx, s)
	return s3, "s3", err
}

// run goes the way of a file that is attached, read, found and erased.
func (c *objectsCheck) run(ctx context.Context, store chat.Objects) error {
	text := []byte("a file of meridian objects check: " + rand.Text())
	info := chat.ObjectInfo{Key: "check/" + rand.Text(), Size: int64(len(text)), SHA256: sha256.Sum256(text)}
	err := errors.Join(
		timed(&c.PutMs, func() error { return store.Put(ctx, info, bytes.NewReader(text)) }),
		timed(&c.GetMs, func() error { return readBack(ctx, store, info, text) }),
		timed(&c.ListMs, func() error {
			list, err := store.List(ctx, info.Key, "", 1)
			if err == nil && (len(list) != 1 || list[0].Key != info.Key) {
				err = &chat.Error{Code: chat.CodeRegionDegraded, Op: "objects check", Message: "the file that was put is not listed"}
			}
			return err
		}),
	)
	return errors.Join(err, timed(&c.DeleteMs, func() error { return store.Delete(ctx, info.Key) }))
}

func readBack(ctx context.Context, store chat.Objects, info chat.ObjectInfo, want []byte) error {
	r, _, err := store.Get(ctx, info.Key, 0, -1)
	if err != nil {
		return err
	}
	have, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err == nil && !bytes.Equal(have, want) {
		err = &chat.Error{Code: chat.CodeRegionDegraded, Op: "objects check", Message: "the file that was put reads differently"}
	}
	return err
}

func timed(ms *float64, do func() error) error {
	started := time.Now()
	err := do()
	*ms = float64(time.Since(started).Microseconds()) / 1000
	return err
}
