package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"meridian/config"
	"meridian/deploy/local"
)

// What happens in a region is in its Redis stream, once, by ids alone: no text, no name. What happened while the Redis was down is too.
func TestEventsToRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three regions and a Redis")
	}
	server, err := local.NewRedis(local.RedisOptions{Dir: filepath.Join(t.TempDir(), "redis"), Synced: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.DataDir, cfg.Network.DelayScale = t.TempDir(), 0
	widen(&cfg.Limits)
	access := server.Access()
	for i := range cfg.Regions {
		if cfg.Regions[i].Name == "eu-west" {
			cfg.Regions[i].Events = &config.Events{Redis: &config.RedisStream{Address: access.Address, PasswordFile: access.PasswordFile, CAFile: access.CAFile}}
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	u, err := startUp(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	west := u.ready.Regions["eu-west"].HTTP
	anna := signUp(t, west, "canary-anna")
	signUp(t, west, "canary-ben")
	here := converse(t, west, anna)
	here.send(t, "canary-ben", "canary one")
	waitFor(t, "an event", func() bool { return strings.Contains(streamed(t, access), "message.sent") })

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	here.send(t, "canary-ben", "canary two")
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "both events", func() bool { return strings.Count(streamed(t, access), "meridian.message.sent") >= 2 })
	all := streamed(t, access)
	if n := strings.Count(all, "meridian.user.created"); n != 2 {
		t.Errorf("%d users were made, want 2", n)
	}
	if !strings.Contains(all, anna.UserID) || strings.Contains(all, "canary") {
		t.Errorf("the events lack the user's id, or hold a name or a text: %s", all)
	}
}

// streamed gives all that the stream has, as text.
func streamed(t *testing.T, access local.RedisAccess) string {
	t.Helper()
	password, err := access.Password()
	if err != nil {
		t.Fatal(err)
	}
	secure, err := access.TLS()
	if err != nil {
		t.Fatal(err)
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{access.Address}, Password: password, TLSConfig: secure, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	entries, err := client.Do(t.Context(), client.B().Xrange().Key("meridian.events").Start("-").End("+").Build()).AsXRange()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, e := range entries {
		text.WriteString(e.FieldValues["event"] + "\n")
	}
	return text.String()
}
