package auth

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
)

// cheapHashes makes password hashes cost next to nothing.
func cheapHashes(c *config.Config) *config.Config {
	c.Security.Argon2MemoryKiB, c.Security.Argon2Passes, c.Security.Argon2Threads = 64, 1, 1
	return c
}

// A password is known again by its hash, in both normal forms, and no other is.
func TestHasherKnowsThePassword(t *testing.T) {
	h := NewHasher(cheapHashes(config.Default()).Security)
	stored, err := h.Hash(t.Context(), "pa\u00dfw\u00f6rd")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("stored as %q, want PHC format with its costs", stored)
	}
	for password, want := range map[string]bool{"pa\u00dfw\u00f6rd": true, "pa\u00dfwo\u0308rd": true, "passw\u00f6rd": false, "": false} {
		if got, err := h.Verify(t.Context(), stored, password); got != want || err != nil {
			t.Errorf("Verify(%q) = %v, %v, want %v", password, got, err, want)
		}
	}
	if other, _ := h.Hash(t.Context(), "pa\u00dfw\u00f6rd"); other == stored {
		t.Error("two hashes of one password are equal: no salt")
	}
}

// An unknown user costs what a known one costs: the dummy hash has the same costs, and no password opens it.
func TestHasherUnknownUserCostsTheSame(t *testing.T) {
	h := NewHasher(cheapHashes(config.Default()).Security)
	stored, err := h.Hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	known, err1 := parsePHC(stored)
	dummy, err2 := parsePHC(h.dummy)
	if err1 != nil || err2 != nil || known.memoryKiB != dummy.memoryKiB || known.passes != dummy.passes ||
		known.threads != dummy.threads || len(known.sum) != len(dummy.sum) || len(known.salt) != len(dummy.salt) {
		t.Errorf("dummy %+v costs other than %+v (%v, %v)", dummy, known, err1, err2)
	}
	for _, password := range []string{"", "password"} {
		if ok, err := h.Verify(t.Context(), "", password); ok || err != nil {
			t.Errorf("Verify of no user with %q = %v, %v", password, ok, err)
		}
	}
}

// No more hashes are at work than there are slots, those who wait are bounded, and who gives up leaves the queue.
func TestHasherIsBounded(t *testing.T) {
	s := cheapHashes(config.Default()).Security
	s.Argon2Parallel = 2
	h := NewHasher(s)
	for range 2 { // both slots are at work
		if err := h.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, giveUp := context.WithCancel(t.Context())
	var waiters sync.WaitGroup
	errs := make(chan error, h.maxWaiting)
	for range h.maxWaiting {
		waiters.Go(func() {
			_, err := h.Hash(ctx, "password")
			errs <- err
		})
	}
	waitFor(t, func() bool { return h.waiting.Load() == h.maxWaiting })
	if _, err := h.Hash(t.Context(), "password"); chat.CodeOf(err) != chat.CodeBusy || chat.AsError(err).RetryAfter <= 0 {
		t.Errorf("with a full queue: %v, want %s with RetryAfter", err, chat.CodeBusy)
	}
	giveUp()
	waiters.Wait()
	for range h.maxWaiting {
		if err := <-errs; chat.CodeOf(err) != chat.CodeBusy {
			t.Fatalf("who gave up got %v, want %s", err, chat.CodeBusy)
		}
	}
	h.release()
	if _, err := h.Hash(t.Context(), "password"); err != nil || h.waiting.Load() != 0 {
		t.Errorf("after that: %v, %d waiting", err, h.waiting.Load())
	}
}

// waitFor waits for a condition, at most a minute.
func waitFor(t *testing.T, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("condition not met within a minute")
		}
	}
}

// A stored hash that is damaged, of another kind or of absurd cost is an error, never a match.
func TestParsePHCRefuses(t *testing.T) {
	good := "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if _, err := parsePHC(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "x", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", strings.Replace(good, "v=19", "v=16", 1), strings.Replace(good, "t=1", "t=0", 1),
		strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "m=64", "m=4194304", 1), strings.Replace(good, "m=64", "m=-1", 1),
		strings.Replace(good, "p=1", "p=300", 1), good[:len(good)-40], good + "$", good[:50] + "!" + good[51:],
	} {
		if _, err := parsePHC(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// Passwords that are too short or too long are refused by the name of their field.
func TestValidPassword(t *testing.T) {
	l := config.Default().Limits
	for password, want := range map[string]chat.Code{
		"12345678": "", "пароль12": "", "1234567": chat.CodeInvalid, strings.Repeat("x", 1024): "",
		strings.Repeat("x", 1025): chat.CodeInvalid, "12345678\xff": chat.CodeInvalidUTF8, "": chat.CodeInvalid,
	} {
		err := ValidPassword("new_password", password, l)
		if chat.CodeOf(err) != want || err != nil && !strings.HasPrefix(chat.AsError(err).Message, "new_password ") {
			t.Errorf("%.20q: %v, want %q", password, err, want)
		}
	}
}
