package local_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"

	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
)

func TestMain(m *testing.M) { os.Exit(localtest.Main(m)) }

func session(t *testing.T, a local.CassandraAccess, login *local.Login) *gocql.Session {
	t.Helper()
	cfg, err := a.Config(login)
	if err != nil {
		t.Fatal(err)
	}
	var s *gocql.Session
	again(t, "log in", func() (err error) { s, err = cfg.CreateSession(); return err })
	t.Cleanup(s.Close)
	return s
}

// executed executes a statement that may run twice.
func executed(t *testing.T, s *gocql.Session, statement string, values ...any) {
	t.Helper()
	again(t, statement, func() error { return s.Query(statement, values...).Exec() })
}

// After a kill -9 a node starts again with every row that it acknowledged.
func TestCassandraKeepsRowsThroughKill(t *testing.T) {
	c := localtest.Cassandra(t, localtest.Kind{})
	a := c.Access()
	owner := session(t, a, a.Owner)
	executed(t, owner, `CREATE TABLE IF NOT EXISTS meridian.rows (k int PRIMARY KEY, v text)`)
	app := session(t, a, a.App)
	for k := range 10 {
		executed(t, app, `INSERT INTO meridian.rows (k, v) VALUES (?, ?)`, k, "kept")
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if c.Running() {
		t.Error("killed, it runs")
	}
	started := time.Now()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("started again in %v", time.Since(started))
	var n int
	after := session(t, a, a.App)
	again(t, "count the rows", func() error { return after.Query(`SELECT count(*) FROM meridian.rows`).Scan(&n) })
	if n != 10 {
		t.Errorf("%d rows of 10", n)
	}
}

// Nobody gets in with a wrong password, without the cluster's certificate, or as the role that every new cluster has; the app
// reads and writes rows and makes no tables.
func TestCassandraRefuses(t *testing.T) {
	a := localtest.Cassandra(t, localtest.Kind{}).Access()
	logins := map[string]func(*gocql.ClusterConfig){
		"wrong password": func(c *gocql.ClusterConfig) {
			c.Authenticator = gocql.PasswordAuthenticator{Username: a.App.User, Password: "guess"}
		},
		"default role": func(c *gocql.ClusterConfig) {
			c.Authenticator = gocql.PasswordAuthenticator{Username: "cassandra", Password: "cassandra"}
		},
		"no certificate": func(c *gocql.ClusterConfig) { c.SslOpts.CertPath, c.SslOpts.KeyPath = "", "" },
		"no TLS":         func(c *gocql.ClusterConfig) { c.SslOpts = nil },
	}
	for name, spoil := range logins {
		cfg, err := a.Config(a.App)
		if err != nil {
			t.Fatal(err)
		}
		spoil(cfg)
		if s, err := cfg.CreateSession(); err == nil {
			s.Close()
			t.Errorf("%s: was let in", name)
		}
	}
	app := session(t, a, a.App)
	if err := app.Query(`CREATE TABLE meridian.more (k int PRIMARY KEY)`).Exec(); err == nil {
		t.Error("the app made a table")
	}
	var sync string
	again(t, "ask how the commit log is synced", func() error {
		return app.Query(`SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'`).Scan(&sync)
	})
	if sync != "batch" {
		t.Errorf("commitlog_sync is %q", sync)
	}
}

// A node of another cluster's name that asks a running cluster to be let in is refused, and ends.
func TestCassandraRefusesStranger(t *testing.T) {
	c := localtest.Cassandra(t, localtest.Kind{Open: true})
	seed := strings.TrimSuffix(c.Access().Hosts[0], ":9042")
	stranger, err := local.NewCassandra(t.Context(), local.CassandraOptions{
		Datacenter: localtest.Datacenter, ClusterName: "stranger", Dir: t.TempDir(), Open: true, Seeds: []string{seed},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Kill() })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	started := time.Now()
	err = stranger.Start(ctx)
	t.Logf("ended after %v", time.Since(started))
	log, _ := os.ReadFile(stranger.Nodes()[0].LogFile()) // the error has its last lines only
	if err == nil || !strings.Contains(string(log), "Unable to gossip with any peers") {
		t.Fatalf("the stranger started: %v", err)
	}
	if stranger.Running() {
		t.Error("the stranger runs")
	}
}
