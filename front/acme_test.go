package front

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"meridian/config"
)

// withACME gives a front whose ACME server nobody asks, and the directory that it keeps things in.
func withACME(t *testing.T) (*Front, autocert.DirCache) {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.Network.TLS.ACME = &config.ACME{Directory: "https://127.0.0.1:1/dir", Names: []string{"b.test", "a.test"}}
	f, err := New(cfg, slog.New(slog.DiscardHandler))
	must(t, err)
	return f, autocert.DirCache(cfg.ACMEPath())
}

// Another node is given the answer to a challenge, and neither a certificate nor the account nor what is of other names.
func TestAnswersAreChallengesOnly(t *testing.T) {
	f, kept := withACME(t)
	for _, key := range []string{"a.test+token", "a.test", "acme_account+key", "other.test+token"} {
		must(t, kept.Put(t.Context(), key, []byte("kept under "+key)))
	}
	for key, want := range map[string]string{
		"a.test+token": "kept under a.test+token", "b.test+token": "", "a.test": "", "acme_account+key": "", "other.test+token": "", "": "", "../a.test+token": "",
	} {
		if got := string(f.Answer(t.Context(), key)); got != want {
			t.Errorf("%q: answered %q, want %q", key, got, want)
		}
	}
	var none *Front
	if got := none.Answer(t.Context(), "a.test+token"); got != nil {
		t.Errorf("without a front: answered %q", got)
	}
}

// Other nodes are asked for challenges only, a few at a time, and what they say beyond the limit is nothing.
func TestOthersAreAskedForChallenges(t *testing.T) {
	f, _ := withACME(t)
	a, _ := f.acme()
	var asked []string
	answer := []byte("x")
	f.AskOthers(func(_ context.Context, key string) []byte {
		asked = append(asked, key)
		return answer
	})
	for _, key := range []string{"a.test", "acme_account+key", "a.test+token"} {
		_, err := a.kept.Get(t.Context(), key)
		if challenge := key == "a.test+token"; challenge != (err == nil) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if len(asked) != 1 {
		t.Errorf("asked for %v", asked)
	}
	answer = make([]byte, challengeMaxBytes+1)
	if _, err := a.kept.Get(t.Context(), "a.test+token"); !errors.Is(err, autocert.ErrCacheMiss) {
		t.Errorf("a huge answer: %v", err)
	}
	answer = []byte("x")
	for range asksMax {
		a.kept.asking <- struct{}{}
	}
	if _, err := a.kept.Get(t.Context(), "a.test+token"); !errors.Is(err, autocert.ErrCacheMiss) {
		t.Errorf("more than %d at a time: %v", asksMax, err)
	}
}

// A name that has failed is not tried again for a while, a longer one after each failure, and others are; what is not listed is
// never tried.
func TestFailuresArePaced(t *testing.T) {
	f, _ := withACME(t)
	a, _ := f.acme()
	for want := acmeRetryMin; want <= 3*acmeRetryMax; want *= 2 {
		a.settle("a.test", nil, errors.New("refused"))
		if got := a.failing["a.test"]; got.pause != min(want, acmeRetryMax) || a.mayTry("a.test") == nil {
			t.Errorf("pause %v, want %v; may try: %v", got.pause, min(want, acmeRetryMax), a.mayTry("a.test"))
		}
		a.settle("a.test", nil, errors.New("of another handshake"))
		if got := a.failing["a.test"]; got.pause != min(want, acmeRetryMax) {
			t.Errorf("two handshakes counted as two failures")
		}
		past := a.failing["a.test"]
		past.until = time.Now().Add(-time.Second)
		a.failing["a.test"] = past
		if err := a.mayTry("a.test"); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	}
	if err := a.mayTry("b.test"); err != nil {
		t.Errorf("another name: %v", err)
	}
	for _, name := range []string{"other.test", "x.a.test"} {
		for _, protocols := range [][]string{nil, {acme.ALPNProto}} {
			if _, err := a.get(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: protocols}); !errors.Is(err, errNoCertificate) {
				t.Errorf("%s %v: %v", name, protocols, err)
			}
		}
	}
}
