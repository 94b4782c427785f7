package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	"meridian/observe"
	"meridian/replication/link"
	"meridian/residency/seal"
	"meridian/store/embedded"
	"meridian/store/shared"
)

// storeWait is how long a node waits at its start for its region's store process.
const storeWait = 30 * time.Second

// storeCommand runs the store that the nodes of one region share. Bodies come to it sealed; it has no key of a zone.
func storeCommand() *cobra.Command {
	var file, region string
	cmd := &cobra.Command{
		Use: "store", Short: "Run the store that the nodes of one region share", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(runStore(cmd.Context(), file, chat.Region(region), cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file of the deployment")
	cmd.Flags().StringVar(&region, "region", "", "the region whose store to run")
	_ = cmd.MarkFlagRequired("config") // the flags exist
	_ = cmd.MarkFlagRequired("region")
	return cmd
}

func runStore(ctx context.Context, file string, region chat.Region, stdout, stderr io.Writer) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	r, ok := cfg.Region(region)
	if !ok {
		return &exitError{code: exitUsage, what: fmt.Sprintf("%q is not a region of %s; known: %v", region, file, cfg.Topology().Regions)}
	}
	if r.Store == "" {
		return &exitError{
			code: exitUsage, what: fmt.Sprintf("region %s of %s has no store of its own: it lives in the node's process", region, file),
			next: fmt.Sprintf("give the region a key store: HOST:PORT, or run meridian node --config %s --region %s", file, region),
		}
	}
	secret, identity, err := storeSecrets(cfg, region)
	if err != nil {
		return err
	}
	log := observe.NewLogger(stderr, observe.Telemetry(cfg.Telemetry)).With("region", region)
	listener, err := net.Listen("tcp", r.Store)
	if err != nil {
		return err
	}
	store, err := openEmbedded(cfg, chat.NodeRef{Region: region}, log, embedded.Metrics{})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server, err := shared.Serve(listener, shared.ServerOptions{
		Region: region, Secret: secret, TLS: identity.WithinRegion(), Codec: link.OpCodec{}, Node: lender(store), Log: log,
	})
	if err != nil {
		return errors.Join(err, listener.Close(), store.Close())
	}
	fmt.Fprintf(stdout, "ready %s store=%s\n", region, r.Store)
	<-ctx.Done()
	return errors.Join(server.Close(), store.Close())
}

// lender gives the handles that nodes ask for.
func lender(store *embedded.Store) func(context.Context, chat.NodeID, chat.Incarnation) (chat.Store, error) {
	return func(ctx context.Context, node chat.NodeID, life chat.Incarnation) (chat.Store, error) {
		if life == 0 {
			return store.Node(ctx, node)
		}
		return store.NodeLife(ctx, node, life)
	}
}

// openEmbedded opens a region's directory, for a node or, when ref names none, to lend it.
func openEmbedded(cfg *config.Config, ref chat.NodeRef, log *slog.Logger, metrics embedded.Metrics) (*embedded.Store, error) {
	l, r := cfg.Limits, cfg.Retention
	dir := filepath.Join(cfg.DataDir, string(ref.Region))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return embedded.Open(embedded.Options{
		Dir: dir, Region: ref.Region, Node: ref.Node, Codec: link.OpCodec{},
		CacheBytes: l.StoreCacheBytes, MemTableBytes: l.StoreMemTableBytes, ReserveBytes: l.StoreReserveBytes,
		Retention: embedded.Retention{Inbox: r.InboxLog, OpLog: r.OpLog, Retries: r.Retries}, Log: log, Metrics: metrics,
	})
}

// openStore gives a node its store: its region's own process where the configuration names one, else the embedded one in
// this process. Bodies are sealed here; under gives the store anew with something put in where they are.
func (d *deployment) openStore(ctx context.Context, ref chat.NodeRef, metrics *observe.Metrics) (sealing chat.Store, under func(put func(chat.Store) chat.Store) chat.Store, err error) {
	store, err := d.openUnsealed(ctx, ref, metrics)
	if err == nil {
		store, err = withAccounts(ctx, d.cfg, ref, store, d.log.With("region", ref.Region, "node", ref.Node), metrics)
	}
	if err != nil {
		return nil, nil, err
	}
	if !d.cfg.Security.Sealed() {
		return store, func(put func(chat.Store) chat.Store) chat.Store { return put(store) }, nil
	}
	masters := make(map[chat.Zone][seal.KeyBytes]byte) // a region holds the keys of the zones that it serves, and no others
	for _, zone := range d.zonesOf(ref.Region) {
		masters[zone] = d.secrets.zoneKeys[zone]
	}
	sealer, err := seal.New(store, masters, rand.Reader)
	if err != nil {
		_ = store.Close() // the first error is the one to tell
		return nil, nil, err
	}
	return seal.Wrap(store, sealer), func(put func(chat.Store) chat.Store) chat.Store { return seal.Wrap(put(store), sealer) }, nil
}

func (d *deployment) openUnsealed(ctx context.Context, ref chat.NodeRef, metrics *observe.Metrics) (chat.Store, error) {
	log := d.log.With("region", ref.Region, "node", ref.Node)
	r, _ := d.cfg.Region(ref.Region)
	if r.Cassandra != nil {
		return openCassandra(ctx, d.cfg, ref, log, metrics)
	}
	if r.Store == "" {
		store, err := openEmbedded(d.cfg, ref, log, embedded.Metrics{
			Committed: func(int, int, time.Duration) { metrics.Count("store_commits_total") },
		})
		if err != nil {
			return nil, err
		}
		return store, nil
	}
	secret, identity, err := storeSecrets(d.cfg, ref.Region)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	store, err := shared.Open(ctx, shared.ClientOptions{
		Network: "tcp", Address: r.Store, Region: ref.Region, Node: ref.Node, Secret: secret, TLS: identity.WithinRegion(),
		Codec: link.OpCodec{}, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("the store of region %s at %s: %w", ref.Region, r.Store, err)
	}
	return store, nil
}
