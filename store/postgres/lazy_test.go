package postgres_test

import (
	"fmt"
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
	if err := again(func() error { return s.Save(ctx, []chat.Account{{ID: chat.UserID{1}, Version: 1}}, nil) }); err != nil {
		t.Fatal(err)
	}
	refused := func(what, url string, as func(error) bool) {
		t.Helper()
		err := again(func() error {
			late, err := lazily(url)
			if err == nil {
				_ = late.Close()
			}
			if !as(err) {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	refused("a wrong password", strings.Replace(url, server.Password, "wrong", 1), func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "password")
	})
	execute(t, url, "INSERT INTO meridian_schema (version) VALUES (41)")
	refused("a newer schema", url, func(err error) bool { return chat.CodeOf(err) == chat.CodeUpgradePending })
}
