package local_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"meridian/deploy/local"
)

// The S3 server is built, starts, answers, and is the same after a kill; nobody who is not known gets anything.
func TestVersityGW(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 14*time.Minute) // the first build
	defer cancel()
	dir := filepath.Join(t.TempDir(), "s3")
	v, err := local.NewVersityGW(ctx, dir, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Kill() })
	secure, err := local.Trust(v.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true}}
	if err := v.MakeBucket("files"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Start(ctx); err != nil {
			t.Fatal(err)
		}
		var answer *http.Response
		again(t, "ask as a stranger", func() (err error) { answer, err = client.Get("https://" + v.Address + "/files/x"); return err })
		if err := answer.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != http.StatusForbidden {
			t.Errorf("a stranger is answered with %s", answer.Status)
		}
		if err := v.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	again, err := local.NewVersityGW(ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.Address != v.Address || again.Secret != v.Secret {
		t.Error("the server has another address or secret when it is made again")
	}
}
