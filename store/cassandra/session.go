package cassandra

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// cluster gives how sessions are made; keyspace may be "" for what is not there yet.
func cluster(o Options, keyspace string) *gocql.ClusterConfig {
	c := gocql.NewCluster(o.Hosts...)
	c.ProtoVersion = 4
	c.Keyspace = keyspace
	c.Consistency, c.SerialConsistency, c.DefaultTimestamp = consistency, serialConsistency, false
	c.Timeout, c.WriteTimeout, c.ConnectTimeout = max(o.ReadTimeout, o.WriteTimeout), o.WriteTimeout, connectTimeout
	c.NumConns, c.ReconnectInterval, c.PageSize = o.Connections, reconnectEvery, pageRows
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 3, Interval: reconnectEvery}
	c.MaxPreparedStmts = 1000
	c.Logger = quiet{o}
	watch := observer{o}
	c.QueryObserver, c.BatchObserver, c.ConnectObserver = watch, watch, watch
	if o.User != "" {
		c.Authenticator = gocql.PasswordAuthenticator{Username: o.User, Password: o.Password}
	}
	if o.TLS != nil {
		c.HostDialer = tlsDialer{o.TLS}
	}
	return c
}

// only gives how a session with one node is made. It wants to hear nothing of others: gocql would look which there are, and lose this one, which it
// knows by another id.
func only(o Options, keyspace string, host *gocql.HostInfo) *gocql.ClusterConfig {
	c, at := cluster(o, keyspace), host.ConnectAddress()
	c.Hosts, c.Port = []string{at.String()}, host.Port()
	c.DisableInitialHostLookup, c.NumConns = true, 1
	c.Events.DisableNodeStatusEvents, c.Events.DisableTopologyEvents, c.Events.DisableSchemaEvents = true, true, true
	c.HostFilter = gocql.HostFilterFunc(func(h *gocql.HostInfo) bool { return h.ConnectAddress().Equal(at) })
	return c
}

// connect opens a session with the cluster that keeps which nodes there are.
func connect(o Options, keyspace string, came func(*gocql.HostInfo)) (*gocql.Session, *nodes, error) {
	c, n := cluster(o, keyspace), newNodes(came)
	c.PoolConfig.HostSelectionPolicy = n
	session, err := c.CreateSession()
	return session, n, err
}

// tlsDialer checks each node's certificate against the address that it is dialled by.
type tlsDialer struct{ config *tls.Config }

// DialHost implements gocql.HostDialer.
func (d tlsDialer) DialHost(ctx context.Context, host *gocql.HostInfo) (*gocql.DialedHost, error) {
	config := d.config.Clone()
	if config.ServerName == "" {
		config.ServerName = host.ConnectAddress().String()
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: connectTimeout}, Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host.ConnectAddress().String(), strconv.Itoa(host.Port())))
	if why := chat.Untrusted(err); why != "" {
		return nil, fmt.Errorf("%s%s: %w", untrusted, why, err)
	}
	if err != nil {
		return nil, err
	}
	return &gocql.DialedHost{Conn: conn}, nil
}

// quiet passes gocql's words on at debug level: it names hosts, never values.
type quiet struct{ o Options }

func (q quiet) Print(v ...any)            { q.o.Log.Debug("gocql", "words", v) }
func (q quiet) Println(v ...any)          { q.o.Log.Debug("gocql", "words", v) }
func (q quiet) Printf(f string, v ...any) { q.o.Log.Debug("gocql", "format", f, "words", v) }

// observer counts what gocql does.
type observer struct{ o Options }

// ObserveQuery implements gocql.QueryObserver. The statement's text holds no values.
func (w observer) ObserveQuery(_ context.Context, q gocql.ObservedQuery) {
	kind := "read"
	if len(q.Statement) > 6 && q.Statement[:6] != "SELECT" {
		kind = "write"
	}
	w.took(kind, q.Statement, q.End.Sub(q.Start), q.Err)
}

// ObserveBatch implements gocql.BatchObserver.
func (w observer) ObserveBatch(_ context.Context, b gocql.ObservedBatch) {
	w.took("batch", "", b.End.Sub(b.Start), b.Err)
}

// ObserveConnect implements gocql.ConnectObserver.
func (w observer) ObserveConnect(c gocql.ObservedConnect) {
	w.o.Metrics.Connected(c.Host.ConnectAddress().String(), c.Err != nil)
}

func (w observer) took(kind, statement string, took time.Duration, err error) {
	w.o.Metrics.Request(kind, took, err != nil)
	if took < w.o.SlowQuery {
		return
	}
	w.o.Metrics.Slow(kind)
	w.o.Log.Warn("store: a slow request", "kind", kind, "statement", statement, "ms", took.Milliseconds(), "err", err)
}

// nodes is a policy that also keeps which nodes the cluster has.
type nodes struct {
	gocql.HostSelectionPolicy
	mu    sync.Mutex
	hosts map[string]*gocql.HostInfo
	// came, if set, is told of a node that has come up.
	came func(*gocql.HostInfo)
}

func newNodes(came func(*gocql.HostInfo)) *nodes {
	policy := gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
	return &nodes{HostSelectionPolicy: policy, hosts: make(map[string]*gocql.HostInfo), came: came}
}

// AddHost implements gocql.HostSelectionPolicy.
func (n *nodes) AddHost(h *gocql.HostInfo) {
	n.note(h, true)
	n.HostSelectionPolicy.AddHost(h)
}

// RemoveHost implements gocql.HostSelectionPolicy.
func (n *nodes) RemoveHost(h *gocql.HostInfo) {
	n.note(h, false)
	n.HostSelectionPolicy.RemoveHost(h)
}

// HostUp implements gocql.HostSelectionPolicy.
func (n *nodes) HostUp(h *gocql.HostInfo) {
	n.note(h, true)
	if n.came != nil {
		go n.came(h)
	}
	n.HostSelectionPolicy.HostUp(h)
}

func (n *nodes) note(h *gocql.HostInfo, there bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if there {
		n.hosts[h.ConnectAddress().String()] = h
		return
	}
	delete(n.hosts, h.ConnectAddress().String())
}

func (n *nodes) all() []*gocql.HostInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.hosts))
}

// checkNodes asks every node of the cluster that is up how it writes its commit log: an acknowledgement means fsynced. The error has
// CodeInvalid for a node that does not sync before it answers. batchBytes is the smallest limit of a batch.
func checkNodes(o Options, hosts []*gocql.HostInfo) (batchBytes int, err error) {
	for _, host := range hosts {
		settings, err := settingsOf(o, host)
		if away(err) {
			continue // it is asked when it comes up
		}
		if err != nil {
			return 0, openError("asking node "+host.ConnectAddress().String()+" for its settings", err)
		}
		if err := settings.check(host.ConnectAddress().String()); err != nil {
			return 0, err
		}
		if batchBytes == 0 || settings.batchBytes < batchBytes {
			batchBytes = settings.batchBytes
		}
	}
	if batchBytes == 0 {
		return 0, openError("asking for the cluster's settings", gocql.ErrNoConnections)
	}
	return batchBytes, nil
}

// settings are what matters of a node's.
type settings struct {
	sync, window string
	batchBytes   int
}

// settingsOf asks one node, by a connection to it alone.
func settingsOf(o Options, host *gocql.HostInfo) (settings, error) {
	var out settings
	s, err := only(o, "", host).CreateSession()
	if err != nil {
		return out, err
	}
	defer s.Close()
	for name, set := range map[string]func(string){
		"commitlog_sync":              func(v string) { out.sync = v },
		"commitlog_sync_group_window": func(v string) { out.window = v },
		"batch_size_fail_threshold":   func(v string) { out.batchBytes = bytesOf(v) },
	} {
		var value *string
		if err := durable(s.Query(selectSetting, name)).Scan(&value); err != nil {
			return out, err
		}
		if value != nil {
			set(*value)
		}
	}
	return out, nil
}

func (s settings) check(host string) error {
	what := ""
	window, err := time.ParseDuration(s.window)
	switch {
	case s.sync == "batch":
	case s.sync == "group" && err == nil && window <= maxGroupWindow:
	case s.sync == "group":
		what = "commitlog_sync is group with a window of " + s.window + ", longer than " + maxGroupWindow.String() +
			": set commitlog_sync: batch, or commitlog_sync_group_window: 1ms, in cassandra.yaml"
	default:
		what = "commitlog_sync is " + s.sync + ": it acknowledges what a power cut takes back; set commitlog_sync: batch in cassandra.yaml and restart the node"
	}
	if what == "" {
		return nil
	}
	return &chat.Error{Code: chat.CodeInvalid, Op: "cassandra.Open", Message: "node " + host + ": " + what}
}

// minBatchBytes is what is assumed where a node does not say how large a batch may be.
const minBatchBytes = 50 << 10

// bytesOf reads a size of cassandra.yaml, as in 50KiB.
func bytesOf(v string) int {
	for unit, scale := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "B": 1} {
		if number, ok := cutSuffix(v, unit); ok {
			if n, err := strconv.Atoi(number); err == nil && n > 0 {
				return n * scale
			}
		}
	}
	return minBatchBytes
}

// cutSuffix cuts a unit off a number.
func cutSuffix(v, unit string) (string, bool) {
	if len(v) <= len(unit) || v[len(v)-len(unit):] != unit {
		return v, false
	}
	number := v[:len(v)-len(unit)]
	_, err := strconv.Atoi(number)
	return number, err == nil
}
