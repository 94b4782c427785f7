package cassandra_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gocql/gocql"

	"meridian/chat"
	"meridian/store/cassandra"
	"meridian/store/storetest"
)

var ctx = context.Background()

// place is one keyspace of the tests' cluster, emptied for each test.
type place struct {
	t    testing.TB
	cfg  storetest.Config
	open []*cassandra.Store
	copy string
}

func options(cfg storetest.Config) cassandra.Options {
	return cassandra.Options{
		Hosts: []string{"127.0.99.1"}, Datacenter: "eu-west", Keyspace: "meridian_test", Region: cfg.Region, Node: cfg.Node, Codec: cfg.Codec,
		Retention: cassandra.Retention{Inbox: cfg.Retention.Inbox, OpLog: cfg.Retention.OpLog, Retries: cfg.Retention.Retries},
	}
}

var migrate = sync.OnceValue(func() error {
	schema, err := cassandra.NewSchema(options(storetest.DefaultConfig()), 1)
	if err != nil {
		return err
	}
	_, err = schema.Apply(ctx, nil)
	return err
})

func newPlace(t testing.TB, cfg storetest.Config) storetest.Place {
	t.Helper()
	if err := migrate(); err != nil {
		t.Fatal(err)
	}
	empty(t)
	return &place{t: t, cfg: cfg, copy: filepath.Join(t.TempDir(), "copy")}
}

// admin runs statements as the owner.
func admin(t testing.TB) *gocql.Session {
	t.Helper()
	c := gocql.NewCluster("127.0.99.1")
	c.Keyspace = "meridian_test"
	s, err := c.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// empty empties every table, but for the notes of the schema's steps.
func empty(t testing.TB) {
	t.Helper()
	s := admin(t)
	it := s.Query(`SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?`, "meridian_test").Iter()
	var all sync.WaitGroup
	for table := ""; it.Scan(&table); {
		if strings.HasPrefix(table, "schema_") {
			continue
		}
		all.Go(func() { // emptying takes the server a tenth of a second, looking nothing; what was deleted may leave only that it was
			if !strings.HasPrefix(table, "op_log") && table != "parked" && s.Query(`SELECT * FROM `+table+` LIMIT 1`).Iter().NumRows() == 0 {
				return
			}
			if err := s.Query(`TRUNCATE ` + table).Exec(); err != nil {
				t.Errorf("empty %s: %v", table, err)
			}
		})
	}
	all.Wait()
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
}

func (p *place) Open() (chat.Store, error) { return p.OpenNode(p.cfg.Node) }

func (p *place) OpenNode(node chat.NodeID) (chat.Store, error) {
	o := options(p.cfg)
	o.Node = node
	s, err := cassandra.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	p.open = append(p.open, s)
	return s, nil
}

func (p *place) Crash() {
	for _, s := range p.open {
		s.Abandon()
	}
	p.open = nil
}

func (p *place) OpenCopy() (chat.Store, error) { return nil, os.ErrNotExist }
func (p *place) CopyDir() string               { return p.copy }

// A Cassandra cluster keeps what a store must keep.
func TestConformance(t *testing.T) { storetest.Run(t, newPlace) }
