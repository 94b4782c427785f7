package cassandra_test

import (
	"fmt"
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
		s, err := cassandra.Open(ctx, o)
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
	if err := admin.Query(`INSERT INTO schema_steps (shard, version, name) VALUES (0, 99, 'later')`).Exec(); err != nil {
		t.Fatal(err)
	}
	refused("has schema 99, this version knows", func(*cassandra.Options) {})
	schema, err := cassandra.NewSchema(options(t, c, storetest.DefaultConfig(), keyspace, true), 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = schema.Apply(ctx, nil)
	wantCode(t, err, chat.CodeInvalid, "has schema 99")
	if err := admin.Query(`DELETE FROM schema_steps WHERE shard = 0 AND version = 99`).Exec(); err != nil {
		t.Fatal(err)
	}

	s, err := cassandra.Open(ctx, options(t, c, storetest.DefaultConfig(), keyspace, false))
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
			plan, err := schema.Apply(ctx, nil)
			if err != nil {
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

// A commit log that is synced some time after the answer is refused, with what to change.
func TestPeriodicCommitLogIsRefused(t *testing.T) {
	needsCluster(t)
	c := localtest.Cassandra(t, localtest.Kind{Open: true, Sync: local.SyncPeriodic})
	_, err := cassandra.Open(ctx, options(t, c, storetest.DefaultConfig(), keyspace, false))
	wantCode(t, err, chat.CodeInvalid, "meridian schema apply")
	migrate(t, c, keyspace)
	_, err = cassandra.Open(ctx, options(t, c, storetest.DefaultConfig(), keyspace, false))
	wantCode(t, err, chat.CodeInvalid, "set commitlog_sync: batch")
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
	if err := storetest.Commit(s, row(1)); err != nil {
		t.Fatal(err)
	}
	if err := p.cluster.Nodes()[0].Kill(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 10*time.Second, "the store says that the cluster is away", func() bool {
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
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("40 refusals took %v: they wait for a cluster that is away", took)
	}
	_, err = cassandra.Open(ctx, options(t, p.cluster, p.cfg, keyspace, false))
	wantCode(t, err, chat.CodeRegionDegraded, "")
	if err := p.cluster.Start(ctx); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 30*time.Second, "the store writes again", func() bool { return storetest.Commit(s, row(3)) == nil })
	for _, n := range []int{1, 3} {
		if a, ok, err := s.Account(ctx, account(n).ID); err != nil || !ok || a != account(n) {
			t.Fatalf("account %d is %+v, there: %v, error %v", n, a, ok, err)
		}
	}
}

func account(n int) chat.Account {
	return chat.Account{ID: chat.UserID{byte(n), 1}, Username: fmt.Sprintf("ann%d", n), Zone: "eu", Version: chat.HLC(n)}
}

// A region of three nodes, each row on all of them, loses one under load: no write fails for good, none is lost, and reads go on. A write whose
// outcome is not known is sent again, as a region node does.
func TestOneOfThreeNodesDies(t *testing.T) {
	needsCluster(t)
	c := localtest.Own(t, local.CassandraOptions{Nodes: 3})
	migrate(t, c, keyspace)
	s, err := cassandra.Open(ctx, options(t, c, storetest.DefaultConfig(), keyspace, false))
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
				err := storetest.Commit(s, &chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{numbered(n)}}})
				for ; chat.CodeOf(err) == chat.CodeUnknownOutcome; err = storetest.Commit(s, &chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{numbered(n)}}}) {
					again.Add(1)
				}
				if err != nil {
					t.Errorf("write %d: %v", n, err)
				}
				acked.Add(1)
			}
		})
	}
	waitFor(t, time.Minute, "some writes are acknowledged", func() bool { return acked.Load() >= before || t.Failed() })
	if err := c.Nodes()[2].Kill(); err != nil {
		t.Error(err)
	}
	all.Wait()
	for n := int64(1); n <= before+after && !t.Failed(); n++ {
		if a, ok, err := s.Account(ctx, numbered(n).ID); err != nil || !ok || a != numbered(n) {
			t.Fatalf("account %d is %+v, there: %v, error %v", n, a, ok, err)
		}
	}
	if !t.Failed() {
		t.Logf("%d writes acknowledged, one of three nodes killed after %d: 0 failed, 0 lost, %d sent again", acked.Load(), before, again.Load())
	}
}

func numbered(n int64) chat.Account {
	return chat.Account{ID: chat.UserID{byte(n), byte(n >> 8), 2}, Username: fmt.Sprint("ann", n), Zone: "eu", Version: chat.HLC(n)}
}
