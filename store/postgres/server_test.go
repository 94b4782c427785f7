package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/store/postgres"
	"meridian/store/storetest"
)

var ctx = context.Background()

// server is the one PostgreSQL of these tests; each test has a database of its own.
var server *local.Postgres

// A real server runs as long as the tests, and nothing that a store starts outlives it.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("store/postgres needs a PostgreSQL: left out with -short")
		return
	}
	os.Exit(withServer(m))
}

func withServer(m *testing.M) int {
	dir, remove, err := local.Scratch("postgres")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer remove()
	if server, err = local.NewPostgres(ctx, dir, nil); err == nil {
		err = server.Start(ctx)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	code := m.Run()
	if err := server.Kill(); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := again(func() error { return goleak.Find(goleak.IgnoreTopFunction("meridian/deploy/local.startBound.func1.1")) }); err != nil {
		fmt.Println(err)
		return 1
	}
	return code
}

// patience bounds what a server takes that has just been started, on a busy machine.
const patience = time.Minute

// again does something that may be done twice until it succeeds, for a while.
func again(do func() error) (err error) {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err = do(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

var databases atomic.Int64

// newDatabase gives the URL of an empty database.
func newDatabase(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	execute(t, "postgres", "CREATE DATABASE "+name, "CHECKPOINT") // else the next kill is followed by the replay of all that was made so far
	return server.URL(name)
}

// execute does what an operator does in a database.
func execute(t testing.TB, database string, statements ...string) {
	t.Helper()
	url := server.URL(database)
	if len(database) > 20 { // a URL already
		url = database
	}
	var conn *pgx.Conn
	if err := again(func() (err error) { conn, err = pgx.Connect(ctx, url); return err }); err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// place is a database. Its crash is that of the whole server.
type place struct {
	t   testing.TB
	url string
}

func newPlace(t testing.TB) storetest.AccountPlace { return &place{t, newDatabase(t)} }

func (p *place) Open() (chat.AccountStore, error) { return opened(postgres.Options{URL: p.url}) }

// opened opens a store of a server that runs; one that has just been started may be late.
func opened(o postgres.Options) (s *postgres.Store, err error) {
	o.Timeout = patience
	err = again(func() (err error) { s, err = postgres.Open(ctx, o); return err })
	return s, err
}

func (p *place) Crash() { restart(p.t) }

// restart kills the server (kill -9) and starts it on what is on the disk.
func restart(t testing.TB) {
	t.Helper()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	start(t)
}

func start(t testing.TB) {
	t.Helper()
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
}
