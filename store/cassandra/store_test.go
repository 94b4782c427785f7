package cassandra_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
	"meridian/store/cassandra"
	"meridian/store/storetest"
)

var ctx = context.Background()

func TestMain(m *testing.M) { os.Exit(localtest.Main(m)) }

// The keyspaces of the tests: of the store, and of copies of it.
const (
	keyspace = "meridian_test"
	copies   = "meridian_copy"
)

// options gives how a cluster is reached, as the role that writes rows or as the one that changes tables.
func options(t testing.TB, c *local.Cassandra, cfg storetest.Config, keyspace string, asOwner bool) cassandra.Options {
	t.Helper()
	a := c.Access()
	o := cassandra.Options{
		Hosts: a.Hosts, Datacenter: a.Datacenter, Keyspace: keyspace, Region: cfg.Region, Node: cfg.Node, Codec: cfg.Codec,
		Retention: cassandra.Retention{Inbox: cfg.Retention.Inbox, OpLog: cfg.Retention.OpLog, Retries: cfg.Retention.Retries},
		Snapshot:  c.Snapshot, Connections: 1,
	}
	if a.TLS == nil {
		return o
	}
	login := a.App
	if asOwner {
		login = a.Owner
	}
	o.User, o.TLS = login.User, clientTLS(t, a.TLS)
	var err error
	if o.Password, err = login.Password(); err != nil {
		t.Fatal(err)
	}
	return o
}

func clientTLS(t testing.TB, files *local.TLSFiles) *tls.Config {
	t.Helper()
	ca, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
}

// migrated remembers which keyspaces of which clusters have the schema. It keeps the clusters themselves: the address of one that is
// gone may be another's.
var migrated sync.Map

type keyspaceOf struct {
	cluster  *local.Cassandra
	keyspace string
}

func migrate(t testing.TB, c *local.Cassandra, keyspace string) {
	t.Helper()
	if _, done := migrated.LoadOrStore(keyspaceOf{c, keyspace}, true); done {
		return
	}
	if err := c.CreateKeyspace(ctx, keyspace); err != nil {
		t.Fatal(err)
	}
	schema, err := cassandra.NewSchema(options(t, c, storetest.DefaultConfig(), keyspace, true), c.Access().Replication)
	if err != nil {
		t.Fatal(err)
	}
	again(t, "apply the schema", func() error { _, err := schema.Apply(ctx, nil); return err })
}

// inside opens a session that looks inside a keyspace, or empties it.
func inside(t testing.TB, c *local.Cassandra, keyspace string) *gocql.Session {
	t.Helper()
	a := c.Access()
	cfg, err := a.Config(a.Admin)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Keyspace = keyspace
	var s *gocql.Session
	again(t, "open a session", func() (err error) { s, err = cfg.CreateSession(); return err })
	return s
}

// patience bounds what a busy machine may take for a thing that is tried again.
const patience = 2 * time.Minute

// tried does something that may be done twice until the server answers in time, and gives the last error.
func tried(do func() error) (err error) {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if err = do(); err == nil || chat.CodeOf(err) == chat.CodeInvalid || time.Now().After(end) {
			return err
		}
	}
}

// again is tried, of what must succeed.
func again(t testing.TB, what string, do func() error) {
	t.Helper()
	if err := tried(do); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// some says whether a query gives a row.
func some(s *gocql.Session, query string) (is bool, err error) {
	err = tried(func() error {
		it := s.Query(query).Iter()
		is = it.NumRows() > 0
		return it.Close()
	})
	return is, err
}

// empty empties the tables of a keyspace, but for the notes of the schema's steps. Emptying one takes the server a tenth of a second, looking
// whether it has rows nothing; of deleted rows it may have only that they are.
func empty(t testing.TB, c *local.Cassandra, keyspace string) {
	t.Helper()
	s := inside(t, c, keyspace)
	defer s.Close()
	var tables []string
	again(t, "list the tables", func() error {
		tables = nil
		it := s.Query(`SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?`, keyspace).Iter()
		for table := ""; it.Scan(&table); {
			if !strings.HasPrefix(table, "schema_") {
				tables = append(tables, table)
			}
		}
		return it.Close()
	})
	var all sync.WaitGroup
	for _, table := range tables {
		all.Go(func() {
			full, err := strings.HasPrefix(table, "op_log") || table == "parked", error(nil)
			if !full {
				full, err = some(s, `SELECT * FROM `+table+` LIMIT 1`)
			}
			if full && err == nil {
				err = tried(func() error { return s.Query(`TRUNCATE ` + table).Exec() })
			}
			if err != nil {
				t.Errorf("empty %s: %v", table, err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// place is one keyspace of the tests' cluster, emptied for each test.
type place struct {
	t       testing.TB
	cluster *local.Cassandra
	cfg     storetest.Config
	open    []*cassandra.Store
	copy    string
}

func newPlace(t testing.TB, cfg storetest.Config) storetest.Place {
	t.Helper()
	c := localtest.Cassandra(t, localtest.Kind{})
	migrate(t, c, keyspace)
	empty(t, c, keyspace)
	return &place{t: t, cluster: c, cfg: cfg, copy: filepath.Join(t.TempDir(), "copy")}
}

func (p *place) Open() (chat.Store, error) { return p.OpenNode(p.cfg.Node) }

func (p *place) OpenNode(node chat.NodeID) (chat.Store, error) { return p.in(keyspace, node) }

func (p *place) in(keyspace string, node chat.NodeID) (chat.Store, error) {
	o := options(p.t, p.cluster, p.cfg, keyspace, false)
	o.Node = node
	s, err := opened(o)
	if err != nil {
		return nil, err
	}
	p.open = append(p.open, s)
	return s, nil
}

// opened opens a store of a cluster that runs.
func opened(o cassandra.Options) (s *cassandra.Store, err error) {
	err = tried(func() (err error) { s, err = cassandra.Open(ctx, o); return err })
	return s, err
}

// Crash kills the cluster's node, and starts it again: what it had acknowledged must be there. Batches that it had begun are
// ended from its batch log, some seconds later.
func (p *place) Crash() {
	p.t.Helper()
	if err := p.cluster.Nodes()[0].Kill(); err != nil {
		p.t.Fatal(err)
	}
	for _, s := range p.open {
		s.Abandon()
	}
	p.open = nil
	if err := p.cluster.Start(ctx); err != nil {
		p.t.Fatal(err)
	}
	s := inside(p.t, p.cluster, keyspace)
	defer s.Close()
	waitFor(p.t, patience, "the batch log is empty", func() bool {
		full, err := some(s, `SELECT id FROM system.batches LIMIT 1`)
		return err == nil && !full
	})
}

// waitFor waits for a condition, with a bound.
func waitFor(t testing.TB, bound time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(bound); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", bound, what)
		}
	}
}

func (p *place) CopyDir() string { return p.copy }

// Slow says that a server has to be asked to empty its tables first.
func (p *place) Slow() {}

func (p *place) OpenCopy() (chat.Store, error) {
	migrate(p.t, p.cluster, copies)
	empty(p.t, p.cluster, copies)
	if err := p.cluster.Import(ctx, copies, p.copy); err != nil {
		return nil, err
	}
	return p.in(copies, p.cfg.Node)
}

// A Cassandra cluster keeps what a store must keep, also when its node is killed.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a Cassandra cluster")
	}
	storetest.Run(t, newPlace)
}

// wantCode wants an error of a code whose words say something.
func wantCode(t testing.TB, err error, code chat.Code, words string) {
	t.Helper()
	var typed *chat.Error
	if !errors.As(err, &typed) || typed.Code != code || !strings.Contains(err.Error(), words) {
		t.Fatalf("the error is %v; want code %s and the words %q", err, code, words)
	}
}
