package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/config"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
	meridian "meridian/sdk/go"
)

// caller asks a region as one person.
type caller struct {
	api  *meridian.API
	name string
}

// answeredWithin is what a request may take while Redis is lost, on a busy machine.
const answeredWithin = 15 * time.Second

// looks asks for a profile, the contacts and the newest messages of the first conversation, and gives what is shown.
func (c caller) looks(t *testing.T, other string) string {
	t.Helper()
	start, ctx := time.Now(), t.Context()
	profile, err := c.api.User(ctx, other)
	if err != nil {
		t.Fatalf("%s looks for %s: %v", c.name, other, err)
	}
	contacts, _, err := c.api.Contacts(ctx, "", 50)
	if err != nil {
		t.Fatalf("%s looks at contacts: %v", c.name, err)
	}
	var shown []string
	for _, one := range contacts {
		shown = append(shown, "contact "+one.User.Username)
	}
	list, _, err := c.api.Conversations(ctx, "", 10)
	if err != nil {
		t.Fatalf("%s looks at conversations: %v", c.name, err)
	}
	if len(list) > 0 {
		messages, _, err := c.api.Messages(ctx, list[0].ID, "", 10)
		if err != nil {
			t.Fatalf("%s looks at messages: %v", c.name, err)
		}
		for _, m := range slices.Backward(messages) {
			shown = append(shown, m.Text)
		}
	}
	if took := time.Since(start); took > answeredWithin {
		t.Errorf("%s was answered after %v", c.name, took)
	}
	return profile.Username + ": " + strings.Join(shown, ", ")
}

func (c caller) sees(t *testing.T, other, want string) {
	t.Helper()
	if got := c.looks(t, other); got != want {
		t.Errorf("%s sees %q, not %q", c.name, got, want)
	}
}

// metric reads a counter or gauge of a region's node.
func metric(t *testing.T, admin, series string) (v float64) {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		name, value, _ := strings.Cut(line, " ")
		matches := true
		for _, part := range strings.Fields(series) {
			matches = matches && strings.Contains(name, part)
		}
		if matches && strings.HasPrefix(name, "meridian_"+strings.Fields(series)[0]) {
			var one float64
			fmt.Sscan(value, &one)
			v += one
		}
	}
	return v
}

// upWithRedis starts three regions, of which eu-west has a Redis.
func upWithRedis(t *testing.T, access local.RedisAccess) *up {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir, cfg.Network.DelayScale = t.TempDir(), 0
	widen(&cfg.Limits)
	for i := range cfg.Regions {
		if cfg.Regions[i].Name == "eu-west" {
			cfg.Regions[i].Redis = &config.Redis{Addresses: []string{access.Address}, PasswordFile: access.PasswordFile, CAFile: access.CAFile}
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	u, err := startUp(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.close)
	return u
}

// While a region's Redis is killed, hangs, is flushed or comes back with an old dump, people see what is right and nothing is
// lost: the service goes on, says that Redis is away, and takes it again by itself.
func TestRedisFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three regions and a Redis")
	}
	dir := t.TempDir()
	server := localtest.Redis(t, local.RedisOptions{Dir: dir})
	access := server.Access()
	u := upWithRedis(t, access)
	at := u.ready.Regions["eu-west"]
	account := signUp(t, at.HTTP, "anna")
	anna := caller{&meridian.API{BaseURL: "http://" + at.HTTP, Token: func(context.Context) (string, error) { return account.Access, nil }}, "anna"}
	ben := converse(t, at.HTTP, signUp(t, at.HTTP, "ben"))
	redisUp := func(want float64) {
		t.Helper()
		waitFor(t, fmt.Sprintf("redis_up is %v", want), func() bool { return metric(t, at.Admin, "redis_up") == want })
	}
	redisUp(1)
	said := ""
	says := func(text string) {
		t.Helper()
		ben.send(t, "anna", text)
		said += ", " + text
		for range 3 { // read, kept, and read again
			anna.sees(t, "Ben", "ben: "+strings.TrimPrefix(said, ", "))
		}
	}
	says("one")
	if hits := metric(t, at.Admin, `cache_reads_total class="page" level="memory"`) + metric(t, at.Admin, `cache_reads_total class="page" level="shared"`); hits == 0 {
		t.Error("no page came from the cache")
	}
	dump := savedDump(t, access, dir)
	says("two")

	must := mustBe(t)
	must(server.Kill())
	says("while it is dead")
	redisUp(0)
	says("while it is known to be dead")
	_, err := anna.api.PutContact(t.Context(), "ben")
	must(err)
	said = ", contact ben" + said
	anna.sees(t, "ben", "ben: "+strings.TrimPrefix(said, ", "))
	must(os.WriteFile(filepath.Join(dir, "dump.rdb"), dump, 0o600))
	must(server.Start(t.Context()))
	redisUp(1)
	anna.sees(t, "ben", "ben: "+strings.TrimPrefix(said, ", "))
	says("after the old dump")

	must(server.Freeze())
	says("while it hangs")
	redisUp(0)
	must(anna.api.DeleteContact(t.Context(), "ben"))
	said = strings.TrimPrefix(said, ", contact ben")
	anna.sees(t, "ben", "ben: "+strings.TrimPrefix(said, ", "))
	must(server.Continue())
	redisUp(1)
	anna.sees(t, "ben", "ben: "+strings.TrimPrefix(said, ", "))

	must(server.Flush(t.Context()))
	says("after the flush")
	must(anna.api.Block(t.Context(), "ben"))
	ben.send(t, "anna", "behind the block")
	anna.sees(t, "ben", "ben: "+strings.TrimPrefix(said, ", "))
	if lost := metric(t, at.Admin, "redis_lost_total"); lost < 2 {
		t.Errorf("Redis was lost twice, redis_lost_total says %v", lost)
	}
}

// savedDump has Redis write its dump, and gives it.
func savedDump(t *testing.T, access local.RedisAccess, dir string) []byte {
	t.Helper()
	password, err := access.Password()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := access.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "AUTH %s\r\nSAVE\r\n", password)
	answers := bufio.NewReader(conn)
	for range 2 {
		if line, err := answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
			t.Fatalf("SAVE: %q, %v", line, err)
		}
	}
	dump, err := os.ReadFile(filepath.Join(dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return dump
}

// mustBe gives what ends the test at an error.
func mustBe(t *testing.T) func(error) {
	return func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}
