package postgres_test

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/store/postgres"
	"meridian/store/storetest"
)

// The store keeps the contract of chat.AccountStore, also when its server is killed.
func TestConformance(t *testing.T) { storetest.RunAccounts(t, newPlace) }

func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := opened(postgres.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func wantRefused(t *testing.T, url string, code chat.Code, words ...string) {
	t.Helper()
	var err error // the last one's: a server that is late says nothing of it yet
	wrong := again(func() error {
		var s *postgres.Store
		if s, err = postgres.Open(ctx, postgres.Options{URL: url}); err == nil {
			_ = s.Close()
		}
		if chat.CodeOf(err) != code {
			return fmt.Errorf("open gives %w, want code %s", err, code)
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				return fmt.Errorf("%w does not say %q", err, word)
			}
		}
		return nil
	})
	if wrong != nil {
		t.Fatal(wrong)
	}
	if strings.Contains(err.Error(), server.Password) {
		t.Errorf("the error holds the password: %v", err)
	}
}

// Migrations are safe to run again, and from many nodes at once; a schema that a newer build made is refused by the numbers of
// both versions.
func TestMigrations(t *testing.T) {
	url := newDatabase(t)
	var all sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		all.Go(func() {
			s, err := opened(postgres.Options{URL: url, MaxConns: 1})
			if err == nil {
				err = s.Close()
			}
			errs[i] = err
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, url)
	if err := s.Save(ctx, []chat.Account{{ID: chat.UserID{1}, Username: "ann", Version: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	execute(t, url, "SELECT username, created_at FROM account_list", "SELECT device FROM session_list")
	execute(t, url, "INSERT INTO meridian_schema (version) VALUES (41)")
	wantRefused(t, url, chat.CodeUpgradePending, "41", "up to 2")
}

// A migration that breaks off leaves the schema as it was.
func TestMigrationBreaksOff(t *testing.T) {
	url := newDatabase(t)
	execute(t, url, "CREATE TABLE sessions (n int)") // in the way of the first step
	wantRefused(t, url, chat.CodeRegionDegraded, "migration 1")
	execute(t, url, "DROP TABLE sessions", "CREATE TABLE accounts (n int)", "DROP TABLE accounts")
	open(t, url)
}

// A server that acknowledges what is not on its disk is refused, and the error says what to change.
func TestUnsyncedServerIsRefused(t *testing.T) {
	url := newDatabase(t)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	execute(t, "postgres", "ALTER DATABASE "+name+" SET synchronous_commit = off")
	wantRefused(t, url, chat.CodeInvalid, "synchronous_commit=on")
	execute(t, "postgres", "ALTER DATABASE "+name+" RESET synchronous_commit")
	open(t, url)
	// A reload is asynchronous: what comes after it waits until it is done.
	defer func() {
		execute(t, "postgres", "ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()")
		open(t, url)
	}()
	execute(t, "postgres", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
	wantRefused(t, url, chat.CodeInvalid, "fsync=on")
}

// A server that is trusted is worked with, over TLS, and no other: that is refused at the start, also of a node that need not find it.
func TestTLS(t *testing.T) {
	secure, err := local.Trust(server.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(newDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	id := chat.UserID{1}
	use := func(address string, secure *tls.Config, text string) error {
		at := *u
		at.Host, at.RawQuery = address, "sslmode=disable"
		s, err := postgres.Open(ctx, postgres.Options{URL: at.String(), TLS: secure, Lazy: true})
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.Save(ctx, []chat.Account{{ID: id, Username: text, Version: 1}}, nil); err != nil {
			return err
		}
		_, _, err = s.Account(ctx, id)
		return err
	}
	storetest.RunTLS(t, storetest.TLSPlace{Server: u.Host, Roots: secure.RootCAs, Secrets: []string{server.Password}, Use: use})
	other := secure.Clone()
	other.ServerName = "elsewhere.example.org"
	if _, err := postgres.Open(ctx, postgres.Options{URL: u.String(), TLS: other, Lazy: true}); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("a server that is not trusted is refused with %v", err)
	}
}

// A wrong URL, password, database or port is told apart from a server that works, and no error shows the password.
func TestWrongServer(t *testing.T) {
	url := newDatabase(t)
	wantRefused(t, "mysql://"+server.Password+"@host/x", chat.CodeInvalid, "postgres://")
	wantRefused(t, strings.Replace(url, server.Password, "wrong", 1), chat.CodeRegionDegraded, "password")
	wantRefused(t, server.URL("nosuch"), chat.CodeRegionDegraded, "no such database")
	wantRefused(t, strings.Replace(url, ":5432", ":1", 1), chat.CodeRegionDegraded, "does not answer")
	if _, err := postgres.Open(ctx, postgres.Options{URL: url, MaxConns: 100_000}); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("a pool of 100,000: %v", err)
	}
}

// A row that can never be stored is refused for good, and nothing that is saved with it is stored.
func TestRefusedRow(t *testing.T) {
	s := open(t, newDatabase(t))
	good := chat.Account{ID: chat.UserID{1}, Version: 1}
	for _, bad := range []chat.Account{{ID: chat.UserID{2}, Version: 1 << 63}, {ID: chat.UserID{2}, Zone: "a\x00b"}} {
		if err := s.Save(ctx, []chat.Account{good, bad}, nil); chat.CodeOf(err) != chat.CodeInvalid {
			t.Fatalf("got %v", err)
		}
		if _, ok, err := s.Account(ctx, good.ID); ok || err != nil {
			t.Fatalf("a part is stored: %v, %v", ok, err)
		}
	}
}

// While the server is gone, or stands still, calls fail in time with a hint when to try again; afterwards they succeed.
func TestServerGone(t *testing.T) {
	url := newDatabase(t)
	open(t, url) // which makes the tables
	var s *postgres.Store
	err := again(func() (err error) {
		s, err = postgres.Open(ctx, postgres.Options{URL: url, Timeout: 4 * time.Second})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := []chat.Account{{ID: chat.UserID{1}, Version: 1}}
	wantDown := func() {
		t.Helper()
		started := time.Now() // two calls, of 4 s each at most
		_, _, err := s.Account(ctx, row[0].ID)
		if e := chat.AsError(err); e == nil || e.Code != chat.CodeRegionDegraded || e.RetryAfter == 0 {
			t.Fatalf("a read gives %v", err)
		}
		err = s.Save(ctx, row, nil)
		if code := chat.CodeOf(err); code != chat.CodeRegionDegraded && code != chat.CodeUnknownOutcome {
			t.Fatalf("a write gives %v", err)
		}
		if took := time.Since(started); took > time.Minute {
			t.Fatalf("it took %s", took)
		}
	}
	if err := again(func() error { return s.Save(ctx, row, nil) }); err != nil {
		t.Fatal(err)
	}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	wantDown()
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	wantDown()
	start(t)
	row[0].Version = 2
	if err := again(func() error { return s.Save(ctx, row, nil) }); err != nil {
		t.Fatal(err)
	}
	var a chat.Account
	var ok bool
	err = again(func() (err error) { a, ok, err = s.Account(ctx, row[0].ID); return err })
	if err != nil || !ok || a.Version != 2 {
		t.Fatalf("got %+v, %v, %v", a, ok, err)
	}
}
