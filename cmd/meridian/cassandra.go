package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/observe"
	"meridian/replication/link"
	"meridian/store/cassandra"
)

// namedFile reads a file that the configuration names; relative paths lie in the directory of secrets.
func namedFile(cfg *config.Config, path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(cfg.SecretsPath(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "config", Message: "a file that the configuration names cannot be read", Cause: err}
	}
	return b, nil
}

// password reads a file with one line.
func password(cfg *config.Config, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := namedFile(cfg, path)
	return strings.TrimSpace(string(b)), err
}

// trusted says which server is the right one: the file with who signs its certificate, and the name in it, where that is not the address
// that is dialled; and, where the server asks for them, the files with the node's own certificate and key.
type trusted struct{ ca, name, cert, key string }

// serverTLS gives how a server of the region's is reached over TLS; nil without a file of authorities: nothing is encrypted then.
func serverTLS(cfg *config.Config, s trusted) (*tls.Config, error) {
	if s.ca == "" {
		return nil, nil
	}
	var pem [3][]byte
	for i, path := range []string{s.ca, s.cert, s.key} {
		if path == "" {
			continue
		}
		var err error
		if pem[i], err = namedFile(cfg, path); err != nil {
			return nil, err
		}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem[0]) {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "config", Message: s.ca + " holds no certificate"}
	}
	secure := &tls.Config{RootCAs: roots, ServerName: s.name, MinVersion: tls.VersionTLS12}
	if s.cert == "" {
		return secure, nil
	}
	pair, err := tls.X509KeyPair(pem[1], pem[2])
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "config", Message: "certificate and key of " + s.cert + " do not go together", Cause: err}
	}
	secure.Certificates = []tls.Certificate{pair}
	return secure, nil
}

// cassandraOptions gives how a region's cluster is reached, as the role that writes rows or as the one that changes tables.
func cassandraOptions(cfg *config.Config, ref chat.NodeRef, asOwner bool, log *slog.Logger) (cassandra.Options, error) {
	r, _ := cfg.Region(ref.Region)
	c := r.Cassandra.WithDefaults(string(r.Name))
	user, file := c.User, c.PasswordFile
	if asOwner {
		user, file = c.Owner, c.OwnerPasswordFile
	}
	secret, err := password(cfg, file)
	if err != nil {
		return cassandra.Options{}, err
	}
	secure, err := serverTLS(cfg, trusted{ca: c.CAFile, cert: c.CertFile, key: c.KeyFile})
	if err != nil {
		return cassandra.Options{}, err
	}
	keep := cfg.Retention
	return cassandra.Options{
		Hosts: c.Hosts, Datacenter: c.Datacenter, Keyspace: c.Keyspace, User: user, Password: secret, TLS: secure,
		Region: ref.Region, Node: ref.Node, Codec: link.OpCodec{}, Connections: c.Connections,
		Retention:   cassandra.Retention{Inbox: keep.InboxLog, OpLog: keep.OpLog, Retries: keep.Retries},
		ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, SlowQuery: c.SlowQuery, Snapshot: snapshotCommand(c.SnapshotCommand), Log: log,
	}, nil
}

// cassandraWait is how long a node waits at its start for its region's cluster.
const cassandraWait = 60 * time.Second

// openCassandra opens a node's store in its region's cluster, and waits for one that cannot be reached yet.
func openCassandra(ctx context.Context, cfg *config.Config, ref chat.NodeRef, log *slog.Logger, metrics *observe.Metrics) (chat.Store, error) {
	o, err := cassandraOptions(cfg, ref, false, log)
	if err != nil {
		return nil, err
	}
	o.Metrics = cassandraMetrics(metrics)
	ctx, cancel := context.WithTimeout(ctx, cassandraWait)
	defer cancel()
	for {
		store, err := cassandra.Open(ctx, o)
		if err == nil {
			return store, nil
		}
		if chat.CodeOf(err) != chat.CodeRegionDegraded || ctx.Err() != nil {
			return nil, fmt.Errorf("the store of region %s: %w", ref.Region, err)
		}
		log.Warn("the region's Cassandra cannot be worked with yet", "err", err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the store of region %s: %w", ref.Region, errors.Join(err, ctx.Err()))
		case <-time.After(time.Second):
		}
	}
}

func cassandraMetrics(m *observe.Metrics) cassandra.Metrics {
	return cassandra.Metrics{
		Committed: func(_, _ int, took time.Duration) {
			m.Count("store_commits_total")
			m.Observe("store_commit_seconds", took.Seconds())
		},
		Refused: func(batches int, code chat.Code) {
			for range batches {
				m.Count("store_errors_total", string(code))
			}
		},
		Request: func(kind string, took time.Duration, failed bool) {
			m.Observe("cassandra_request_seconds", took.Seconds(), kind)
			if failed {
				m.Count("cassandra_request_errors_total", kind)
			}
		},
		Slow:      func(kind string) { m.Count("cassandra_slow_total", kind) },
		Retried:   func(string) { m.Count("cassandra_retries_total") },
		Paced:     func(batches int) { m.Set("cassandra_group_batches", float64(batches)) },
		Connected: func(_ string, failed bool) { m.Count("cassandra_connects_total", outcome(failed)) },
	}
}

func outcome(failed bool) string {
	if failed {
		return "failed"
	}
	return "ok"
}
