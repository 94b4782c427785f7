package postgres_test

import (
	"strings"
	"testing"

	"meridian/chat"
	"meridian/store/postgres"
)

// A node may start while the server is away: calls are refused until it is there, and then it is prepared. A wrong password and a newer
// schema are refused at the start all the same.
func TestLazyOpen(t *testing.T) {
	url := newDatabase(t)
	lazily := func(url string) (*postgres.Store, error) {
		return postgres.Open(ctx, postgres.Options{URL: url, Lazy: true})
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	s, err := lazily(url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, err := s.Account(ctx, chat.UserID{1}); chat.CodeOf(err) != chat.CodeRegionDegraded || chat.AsError(err).RetryAfter == 0 {
		t.Fatalf("a read without a server gives %v", err)
	}
	start(t)
	if err := s.Save(ctx, []chat.Account{{ID: chat.UserID{1}, Version: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := lazily(strings.Replace(url, server.Password, "wrong", 1)); err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("a wrong password: %v", err)
	}
	execute(t, url, "INSERT INTO meridian_schema (version) VALUES (41)")
	if _, err := lazily(url); chat.CodeOf(err) != chat.CodeUpgradePending {
		t.Errorf("a newer schema: %v", err)
	}
}
