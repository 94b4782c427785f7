package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	meridian "meridian/sdk/go"
	"meridian/store/postgres"
)

// startPostgres runs a real server for a test.
func startPostgres(t *testing.T) *local.Postgres {
	t.Helper()
	dir, remove, err := local.Scratch("postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	server, err := local.NewPostgres(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server
}

// withPostgres gives a configuration of `up` in which a region's accounts lie in the server.
func withPostgres(t *testing.T, server *local.Postgres, region chat.Region) *config.Config {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir, cfg.Network.DelayScale = t.TempDir(), 0
	widen(&cfg.Limits)
	file := filepath.Join(cfg.DataDir, "postgres.password")
	if err := os.WriteFile(file, []byte(server.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range cfg.Regions {
		if cfg.Regions[i].Name == region {
			cfg.Regions[i].Postgres = &config.Postgres{
				Address: fmt.Sprintf("%s:%d", server.Address, local.PostgresPort), Database: "postgres", PasswordFile: file, CAFile: server.CAFile, Timeout: time.Second,
			}
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// While a region's PostgreSQL is down, nobody logs in there (region_degraded, with a time to wait), and messages go on: those of
// its own people and those that other regions bring, also after a log-in in another region. When it is back, it gets the log-ins of that
// time, and people log in as before.
func TestPostgresDown(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three regions and a PostgreSQL")
	}
	server := startPostgres(t)
	cfg := withPostgres(t, server, "eu-west")
	u, err := startUp(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	west, east := u.ready.Regions["eu-west"].HTTP, u.ready.Regions["us-east"].HTTP
	anna, ben := signUp(t, west, "anna"), signUp(t, west, "ben")
	annaHere, benHere := converse(t, west, anna), converse(t, west, ben)
	// Nobody else serves these two: their clients cannot go to another region.
	carlHere, doraHere := converse(t, west, signUpIn(t, west, "carl", "eu")), converse(t, west, signUpIn(t, west, "dora", "eu"))
	annaHere.send(t, "ben", "before")
	benHere.reads(t, "before")

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err = logIn(t, west, "anna")
	var refused *meridian.Error
	if !errors.As(err, &refused) || refused.Code != meridian.CodeRegionDegraded || refused.RetryAfter <= 0 {
		t.Fatalf("a log-in without PostgreSQL gives %v", err)
	}
	annaHere.send(t, "ben", "during")
	benHere.reads(t, "during")
	carlHere.send(t, "dora", "to somebody new") // who is found by name, without the account
	doraHere.reads(t, "to somebody new")
	var abroad meridian.Account // its session comes to eu-west by relay, before what is sent next
	waitFor(t, "a log-in abroad", func() bool { abroad, err = logIn(t, east, "anna"); return err == nil })
	converse(t, east, abroad).send(t, "ben", "from abroad")
	benHere.reads(t, "from abroad")

	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a log-in", func() bool { _, err := logIn(t, west, "anna"); return err == nil })
	accounts, err := postgres.Open(t.Context(), postgres.Options{URL: server.URL("postgres"), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer accounts.Close()
	user, err := chat.ParseUUID(anna.UserID)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the log-in abroad to be in PostgreSQL", func() bool {
		sessions, err := accounts.Sessions(t.Context(), chat.UserID(user))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sessions {
			if s.Region == "us-east" {
				return true
			}
		}
		return false
	})
}

const longPassword = "a long password"

func signUp(t *testing.T, addr, name string) meridian.Account {
	t.Helper()
	return signUpIn(t, addr, name, "")
}

// signUpIn pins the person to a zone, unless that is "". Who is told to try again, or that it is not known what came of it, does so: the
// machine may stand still for longer than the regions wait for each other.
func signUpIn(t *testing.T, addr, name, zone string) (a meridian.Account) {
	t.Helper()
	api := &meridian.API{BaseURL: "http://" + addr}
	tries := 0
	waitFor(t, "the sign-up of "+name, func() bool {
		var err error
		a, err = api.SignUp(t.Context(), meridian.SignUp{Username: name, Password: longPassword, Zone: zone})
		var refused *meridian.Error
		if tries++; tries > 1 && errors.As(err, &refused) && refused.Code == meridian.CodeUsernameTaken { // by an earlier try, which may give it back
			a, err = logIn(t, addr, name)
			return err == nil
		}
		if err != nil && (!errors.As(err, &refused) || !refused.Retryable) {
			t.Fatal(err)
		}
		return err == nil
	})
	return a
}

func logIn(t *testing.T, addr, name string) (meridian.Account, error) {
	return (&meridian.API{BaseURL: "http://" + addr}).LogIn(t.Context(), meridian.Credentials{Username: name, Password: longPassword})
}

// talker is a client with what it was told.
type talker struct {
	client *meridian.Client
	acked  chan string // client ids; one may come again
	texts  chan string
}

// converse connects a person's client to one region.
func converse(t *testing.T, addr string, who meridian.Account) *talker {
	t.Helper()
	k := &talker{acked: make(chan string, 100), texts: make(chan string, 100)}
	connected := make(chan struct{}, 1)
	k.client = meridian.New(meridian.Options{
		Endpoints: []meridian.Endpoint{{URL: "http://" + addr}}, Tokens: who.Tokens,
		Handle: func(e meridian.Event) {
			switch e := e.(type) {
			case meridian.Connected:
				select {
				case connected <- struct{}{}:
				default: // again, on a busy machine
				}
			case meridian.Acked:
				if e.Level == "region" {
					k.acked <- e.ClientID
				}
			case meridian.Received:
				k.texts <- e.Message.Text
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = k.client.Run(ctx) // ends with the test
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	select {
	case <-connected:
	case <-time.After(time.Minute):
		t.Fatal("no socket in a minute")
	}
	return k
}

func (k *talker) send(t *testing.T, to, text string) {
	t.Helper()
	sent, err := k.client.Send(meridian.Outgoing{ToUser: to, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.After(time.Minute); ; {
		select {
		case id := <-k.acked:
			if id == sent {
				return
			}
		case <-end:
			t.Fatalf("%q is not acknowledged in a minute", text)
		}
	}
}

func (k *talker) reads(t *testing.T, text string) {
	t.Helper()
	for end := time.After(time.Minute); ; {
		select {
		case have := <-k.texts:
			if have == text {
				return
			}
		case <-end:
			t.Fatalf("%q is not shown in a minute", text)
		}
	}
}
