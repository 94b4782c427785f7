package cassandra_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
	"meridian/store/cassandra"
	"meridian/store/storetest"
)

func needsCluster(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: starts a Cassandra cluster")
	}
}

// Who cannot work with the cluster is told why, and what to do: a wrong password, a missing keyspace, a schema that is missing or that a newer
// version made, another region's keyspace.
func TestRefusedAtOpen(t *testing.T) {
	needsCluster(t)
	c := localtest.Cassandra(t, localtest.Kind{})
	migrate(t, c, keyspace)
	empty(t, c, keyspace)
	refused := func(words string, change func(*cassandra.Options)) {
		t.Helper()
		o := options(t, c, storetest.DefaultConfig(), keyspace, false)
		change(&o)
		s, err := opened(o)
		if err == nil {
			_ = s.Close()
		}
		wantCode(t, err, chat.CodeInvalid, words)
	}
	refused("refuses user or password", func(o *cassandra.Options) { o.Password = "wrong" })
	refused("meridian schema apply", func(o *cassandra.Options) { o.Keyspace = "nowhere" })
	const bare = "meridian_bare"
	if err := c.CreateKeyspace(ctx, bare); err != nil {
		t.Fatal(err)
	}
	refused("run: meridian schema apply", func(o *cassandra.Options) { o.Keyspace = bare })

	admin := inside(t, c, keyspace)
	defer admin.Close()
	again(t, "note a step", admin.Query(`INSERT INTO schema_steps (shard, version, name) VALUES (0, 99, 'later')`).Exec)
	refused("has schema 99, this version knows", func(*cassandra.Options) {})
	schema, err := cassandra.NewSchema(options(t, c, storetest.DefaultConfig(), keyspace, true), 1)
	if err != nil {
		t.Fatal(err)
	}
	err = tried(func() error { _, err := schema.Apply(ctx, nil); return err })
	wantCode(t, err, chat.CodeInvalid, "has schema 99")
	again(t, "take it back", admin.Query(`DELETE FROM schema_steps WHERE shard = 0 AND version = 99`).Exec)

	s, err := opened(options(t, c, storetest.DefaultConfig(), keyspace, false))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	refused("belongs to region eu-west", func(o *cassandra.Options) { o.Region = "us-east" })
}

// The schema may be applied twice, and from two places at once; then there is nothing left to do.
func TestSchemaFromTwoPlaces(t *testing.T) {
	needsCluster(t)
	c := localtest.Cassandra(t, localtest.Kind{})
	const twice = "meridian_twice"
	if err := c.CreateKeyspace(ctx, twice); err != nil {
		t.Fatal(err)
	}
	schema, err := cassandra.NewSchema(options(t, c, storetest.DefaultConfig(), twice, true), 1)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var made atomic.Int64
	for range 2 {
		all.Go(func() {
			var plan cassandra.SchemaPlan
			if err := tried(func() (err error) { plan, err = schema.Apply(ctx, nil); return err }); err != nil {
				t.Error(err)
			}
			made.Add(int64(len(plan.Missing)))
		})
	}
	all.Wait()
	plan, err := schema.Plan(ctx)
	if err != nil || plan.Have != plan.Want || len(plan.Missing) != 0 || made.Load() != int64(plan.Want) {
		t.Fatalf("plan %+v, error %v, %d steps made", plan, err, made.Load())
	}
}

// Who changes the schema for so long that another has taken the lock changes nothing more.
func TestSchemaLockLost(t *testing.T) {
	needsCluster(t)
	c := localtest.Cassandra(t, localtest.Kind{})
	const lost = "meridian_lost"
	if err := c.CreateKeyspace(ctx, lost); err != nil {
		t.Fatal(err)
	}
	schema, err := cassandra.NewSchema(options(t, c, storetest.DefaultConfig(), lost, true), 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = schema.Apply(ctx, func(cassandra.Migration, int) {
		s := inside(t, c, lost)
		defer s.Close()
		again(t, "take the lock", func() error {
			_, err := s.Query(`UPDATE schema_lock USING TTL 600 SET holder = uuid() WHERE shard = 0 IF EXISTS`).MapScanCAS(map[string]any{})
			return err
		})
	})
	wantCode(t, err, chat.CodeBusy, "another changes the schema")
	var tables int
	s := inside(t, c, lost)
	defer s.Close()
	again(t, "count the tables", func() error {
		return s.Query(`SELECT count(*) FROM system_schema.tables WHERE keyspace_name = ?`, lost).Scan(&tables)
	})
	if tables != 2 { // the lock's, and that of the steps
		t.Errorf("%d tables", tables)
	}
}

// A commit log that is synced some time after the answer is refused, with what to change: at the start, and by a store that is open when a node
// comes back with one.
func TestPeriodicCommitLogIsRefused(t *testing.T) {
	needsCluster(t)
	dir := t.TempDir()
	c := localtest.Own(t, local.CassandraOptions{Dir: dir, Open: true})
	_, err := opened(options(t, c, storetest.DefaultConfig(), keyspace, false))
	wantCode(t, err, chat.CodeInvalid, "meridian schema apply")
	migrate(t, c, keyspace)
	s, err := opened(options(t, c, storetest.DefaultConfig(), keyspace, false))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := &chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{account(1)}}}
	again(t, "a write", func() error { return storetest.Commit(s, row) })
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	periodic, err := local.NewCassandra(ctx, local.CassandraOptions{Datacenter: localtest.Datacenter, Dir: dir, Open: true, CommitLogSync: local.SyncPeriodic})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = periodic.Kill() })
	if err := periodic.Start(ctx); err != nil {
		t.Fatal(err)
	}
	waitFor(t, patience, "the open store writes nothing any more", func() bool {
		err := storetest.Commit(s, row)
		return chat.CodeOf(err) == chat.CodeRegionDegraded && strings.Contains(err.Error(), "does not sync before it answers")
	})
	_, err = opened(options(t, c, storetest.DefaultConfig(), keyspace, false))
	wantCode(t, err, chat.CodeInvalid, "set commitlog_sync: batch")
}

// What is too large for one batch is written in steps, the op log first: what a failure leaves undone is found there, and nothing says that it
// is done.
func TestStepsInOrder(t *testing.T) {
	needsCluster(t)
	s, err := newPlace(t, storetest.DefaultConfig()).Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	life := chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 1}
	id := chat.NewMessageID(chat.HLCFromTime(time.Now()), chat.UserID{1}, chat.ClientID{1})
	err = storetest.Commit(s, &chat.Batch{
		Log:     []chat.LogRow{{Op: chat.Op{ID: id, Kind: chat.OpMessage, Time: id.Time(), Logged: id.Time(), Stream: life, Seq: 1}}},
		Applied: []chat.AppliedRow{{Stream: chat.StreamID{Region: "us-east", Node: "n1", Incarnation: 1}, Seq: 9}},
		Rows: chat.Rows{Messages: []chat.MessageRow{{
			Owner: chat.UserID{1}, OwnerZone: "eu", Conversation: chat.ConversationID{1}, ID: id, Sender: chat.UserID{1}, Client: chat.ClientID{1},
			Body: make([]byte, 6<<20), // more than the server takes
		}}},
	})
	if err == nil {
		t.Fatal("the server takes a row of 6 MiB: the test shows nothing")
	}
	ops, err := s.ReadLog(ctx, life, 0, 10, "", 10)
	if err != nil || len(ops) != 1 || ops[0].ID != id {
		t.Errorf("the op log holds %v, error %v", ops, err)
	}
	if applied, err := s.Applied(ctx); err != nil || len(applied) != 0 {
		t.Errorf("applied is %v, error %v", applied, err)
	}
}

// A write whose outcome is not known is sent again, and done once, before its caller is told anything.
func TestUnknownIsSentAgain(t *testing.T) {
	needsCluster(t)
	p := newPlace(t, storetest.DefaultConfig()).(*place)
	node := p.cluster.Nodes()[0]
	o := options(t, p.cluster, p.cfg, keyspace, false)
	var again atomic.Int64
	o.WriteTimeout = 4 * time.Second
	o.Metrics.Retried = func(string) {
		if again.Add(1) == 1 {
			_ = node.Continue() // seen below
		}
	}
	s, err := opened(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := node.Freeze(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Continue() }()
	if err := storetest.Commit(s, &chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{account(1)}}}); err != nil || again.Load() == 0 {
		t.Fatalf("a commit to a node that stood still gives %v, sent again %d times", err, again.Load())
	}
	wantThere(t, s, account(1))
}

// A node whose certificate is signed by somebody else, or for another address, is not worked with.
func TestTLS(t *testing.T) {
	needsCluster(t)
	c := localtest.Cassandra(t, localtest.Kind{})
	migrate(t, c, keyspace)
	o := options(t, c, storetest.DefaultConfig(), keyspace, false)
	for name, change := range map[string]func(*tls.Config){
		"signed by nobody that ca_file names": func(c *tls.Config) { c.RootCAs = x509.NewCertPool() },
		"for another host":                    func(c *tls.Config) { c.ServerName = "elsewhere.example.org" },
	} {
		o.TLS = options(t, c, storetest.DefaultConfig(), keyspace, false).TLS
		change(o.TLS)
		_, err := opened(o)
		wantCode(t, err, chat.CodeInvalid, name)
	}
}

// While the cluster is away nothing is acknowledged and every request is refused at once, with when to try again; when it is back the same store
// goes on, and what it had acknowledged is there.
func TestClusterAwayAndBack(t *testing.T) {
	needsCluster(t)
	p := newPlace(t, storetest.DefaultConfig()).(*place)
	s, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := func(n int) *chat.Batch { return &chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{account(n)}}} }
	again(t, "a write", func() error { return storetest.Commit(s, row(1)) })
	if err := p.cluster.Nodes()[0].Kill(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, patience, "the store says that the cluster is away", func() bool {
		return chat.CodeOf(storetest.Commit(s, row(2))) == chat.CodeRegionDegraded
	})
	began := time.Now()
	for range 20 {
		err := storetest.Commit(s, row(2))
		wantCode(t, err, chat.CodeRegionDegraded, "cannot be reached")
		if chat.AsError(err).RetryAfter <= 0 {
			t.Fatal("nothing says when to try again")
		}
		_, _, err = s.Account(ctx, account(1).ID)
		wantCode(t, err, chat.CodeRegionDegraded, "")
	}
	if took := time.Since(began); took > time.Minute { // each would wait for 5 s
		t.Errorf("40 refusals took %v: they wait for a cluster that is away", took)
	}
	_, err = cassandra.Open(ctx, options(t, p.cluster, p.cfg, keyspace, false))
	wantCode(t, err, chat.CodeRegionDegraded, "")
	if err := p.cluster.Start(ctx); err != nil {
		t.Fatal(err)
	}
	again(t, "the store writes again", func() error { return storetest.Commit(s, row(3)) })
	for _, n := range []int{1, 3} {
		wantThere(t, s, account(n))
	}
}

// wantThere wants an account as it was written.
func wantThere(t *testing.T, s chat.Store, want chat.Account) {
	t.Helper()
	var a chat.Account
	var ok bool
	err := tried(func() (err error) { a, ok, err = s.Account(ctx, want.ID); return err })
	if err != nil || !ok || a != want {
		t.Fatalf("account %s is %+v, there: %v, error %v", want.Username, a, ok, err)
	}
}

func account(n int) chat.Account {
	return chat.Account{ID: chat.UserID{byte(n), 1}, Username: fmt.Sprintf("ann%d", n), Zone: "eu", Version: chat.HLC(n)}
}

// A region of three nodes, each row on all of them, loses one under load: no write fails for good, none is lost, and reads go on. A write whose
// outcome is not known is sent again, as a region node does, and one that is refused for the moment, as a client does.
func TestOneOfThreeNodesDies(t *testing.T) {
	needsCluster(t)
	c := localtest.Own(t, local.CassandraOptions{Nodes: 3})
	migrate(t, c, keyspace)
	s, err := opened(options(t, c, storetest.DefaultConfig(), keyspace, false))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const writers, before, after = 8, 200, 600
	var next, acked, again atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for n := next.Add(1); n <= before+after && !t.Failed(); n = next.Add(1) {
				again.Add(-1) // the first time
				err := tried(func() error {
					again.Add(1)
					return storetest.Commit(s, &chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{numbered(n)}}})
				})
				if err != nil {
					t.Errorf("write %d: %v", n, err)
				}
				acked.Add(1)
			}
		})
	}
	waitFor(t, patience, "some writes are acknowledged", func() bool { return acked.Load() >= before || t.Failed() })
	if err := c.Nodes()[2].Kill(); err != nil {
		t.Error(err)
	}
	all.Wait()
	for n := int64(1); n <= before+after && !t.Failed(); n++ {
		wantThere(t, s, numbered(n))
	}
	if !t.Failed() {
		t.Logf("%d writes acknowledged, one of three nodes killed after %d: 0 failed, 0 lost, %d sent again", acked.Load(), before, again.Load())
	}
}

func numbered(n int64) chat.Account {
	return chat.Account{ID: chat.UserID{byte(n), byte(n >> 8), 2}, Username: fmt.Sprint("ann", n), Zone: "eu", Version: chat.HLC(n)}
}
