package cassandra

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"meridian/chat"
)

// Options say which cluster a region's store is, and what it may take. Region, Hosts, Keyspace and Codec are required.
type Options struct {
	// Hosts are nodes of the region's own cluster, host or host:port (9042); the others are found by them.
	Hosts []string
	// Datacenter is the region's name in the cluster (cassandra-rackdc.properties); the keyspace is replicated there.
	Datacenter     string
	Keyspace       string
	User, Password string
	// TLS, if set, is how nodes are reached; the server's name is checked against the address that is dialled.
	TLS    *tls.Config
	Region chat.Region
	// Node is whose handle Open gives.
	Node chat.NodeID
	// Codec turns the ops of the op log into bytes.
	Codec     chat.OpCodec
	Retention Retention
	// Connections to each node of the cluster; 0: 4.
	Connections int
	// ReadTimeout and WriteTimeout bound one request; 0: 5 s and 5 s, above the server's own.
	ReadTimeout, WriteTimeout time.Duration
	// SlowQuery is from when a request is counted and logged as slow; 0: 500 ms.
	SlowQuery time.Duration
	// Snapshot takes a snapshot of a keyspace on every node of the cluster and brings its files to dir, which it makes; nil:
	// Checkpoint is refused.
	Snapshot func(ctx context.Context, keyspace, dir string) error
	Log      *slog.Logger
	Metrics  Metrics
}

// Retention says how long what expires is kept; 0: for ever.
type Retention struct{ Inbox, OpLog, Retries time.Duration }

// Metrics are told what happens; each may be nil. They are called on the way of requests and must return at once.
type Metrics struct {
	// Committed: so many batches of so many bytes became durable as one batch of the server, which took that long.
	Committed func(batches, bytes int, took time.Duration)
	// Refused: so many batches were refused or failed with that code.
	Refused func(batches int, code chat.Code)
	// Request: a statement of that kind (read, write, batch) took that long; failed says with an error.
	Request func(kind string, took time.Duration, failed bool)
	// Slow: a request took longer than SlowQuery.
	Slow func(kind string)
	// Retried: a write with an unknown outcome is sent again.
	Retried func(op string)
	// Paced: the server is given so many batches in one from now on, as many as it writes in good time.
	Paced func(batches int)
	// Connected: a connection to a node was made, or could not be.
	Connected func(host string, failed bool)
}

const (
	defaultConnections = 4
	defaultTimeout     = 5 * time.Second
	defaultSlowQuery   = 500 * time.Millisecond
	// connectTimeout bounds the making of one connection, TLS and log-in included.
	connectTimeout = 5 * time.Second
	// reconnectEvery is how often nodes that are down are dialled.
	reconnectEvery = time.Second
	// pageRows is how many rows a page of an internal scan holds.
	pageRows = 1000
	// maxGroupWindow is the longest window of a commit log in group mode that is accepted.
	maxGroupWindow = 20 * time.Millisecond
)

func (o Options) withDefaults() (Options, error) {
	if len(o.Hosts) == 0 || o.Keyspace == "" || o.Region == "" || o.Node == "" || o.Codec == nil || len(o.Region) > chat.MaxNameBytes || len(o.Node) > chat.MaxNameBytes {
		return o, &chat.Error{Code: chat.CodeInvalid, Op: "cassandra.Open", Message: "Hosts, Keyspace, Region, Node and Codec are required; names have at most 255 bytes"}
	}
	if o.Connections <= 0 {
		o.Connections = defaultConnections
	}
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = defaultTimeout
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultTimeout
	}
	if o.SlowQuery <= 0 {
		o.SlowQuery = defaultSlowQuery
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Metrics = o.Metrics.filled()
	return o, nil
}

func (m Metrics) filled() Metrics {
	if m.Committed == nil {
		m.Committed = func(int, int, time.Duration) {}
	}
	if m.Refused == nil {
		m.Refused = func(int, chat.Code) {}
	}
	if m.Request == nil {
		m.Request = func(string, time.Duration, bool) {}
	}
	if m.Slow == nil {
		m.Slow = func(string) {}
	}
	if m.Paced == nil {
		m.Paced = func(int) {}
	}
	if m.Retried == nil {
		m.Retried = func(string) {}
	}
	if m.Connected == nil {
		m.Connected = func(string, bool) {}
	}
	return m
}
