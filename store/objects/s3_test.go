package objects_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/store/objects"
	"meridian/store/storetest"
)

// The one S3 server of these tests; each test has a bucket of its own.
var (
	gateway  *local.VersityGW
	secure   *tls.Config // how clients make sure of it
	starting sync.Once
	failed   error
	buckets  atomic.Int64
)

// s3Options starts the server when it is asked for first, and makes a bucket.
func s3Options(t testing.TB) objects.S3Options {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an S3 server")
	}
	starting.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // the first time it is built
		defer cancel()
		if gateway, failed = local.NewVersityGW(ctx, filepath.Join(scratch, "s3"), nil); failed == nil {
			failed = gateway.Start(ctx)
		}
		if failed == nil {
			secure, failed = local.Trust(gateway.CAFile)
		}
	})
	if failed != nil {
		t.Fatal(failed)
	}
	bucket := fmt.Sprintf("bucket%d", buckets.Add(1))
	if err := gateway.MakeBucket(bucket); err != nil {
		t.Fatal(err)
	}
	return objects.S3Options{Address: gateway.Address, Bucket: bucket, Access: gateway.Access, Secret: gateway.Secret, TLS: secure}
}

func openS3(t testing.TB, o objects.S3Options) *objects.S3 {
	t.Helper()
	s, err := objects.OpenS3(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func restart(t testing.TB) {
	t.Helper()
	if err := gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// A bucket of an S3 server keeps the contract of chat.Objects.
func TestS3Conformance(t *testing.T) {
	storetest.RunObjects(t, func(t testing.TB) (chat.Objects, func() chat.Objects) {
		o := s3Options(t)
		return openS3(t, o), func() chat.Objects {
			restart(t)
			return openS3(t, o)
		}
	})
}

// A server that is trusted is worked with, over TLS, and no other.
func TestS3TLS(t *testing.T) {
	o := s3Options(t)
	use := func(address string, secure *tls.Config, text string) error {
		at := o
		at.Address, at.TLS = address, secure
		s, err := objects.OpenS3(ctx, at)
		if err != nil {
			return err
		}
		put(t, s, "a", text)
		return nil
	}
	storetest.RunTLS(t, storetest.TLSPlace{Server: o.Address, Roots: secure.RootCAs, Secrets: []string{o.Secret}, Use: use})
}

// What the server refuses, and a server that is not there, are told apart, and no error shows the secret.
func TestS3Refuses(t *testing.T) {
	o := s3Options(t)
	with := func(change func(*objects.S3Options)) error {
		wrong := o
		change(&wrong)
		_, err := objects.OpenS3(ctx, wrong)
		if err != nil && strings.Contains(err.Error(), o.Secret) {
			t.Errorf("the error holds the secret: %v", err)
		}
		return err
	}
	for name, c := range map[string]struct {
		err  error
		code chat.Code
	}{
		"a wrong secret": {with(func(o *objects.S3Options) { o.Secret = "wrong" }), chat.CodeDenied},
		"a wrong user":   {with(func(o *objects.S3Options) { o.Access = "nobody" }), chat.CodeDenied},
		"no bucket":      {with(func(o *objects.S3Options) { o.Bucket = "nosuch" }), chat.CodeInvalid},
		"no server":      {with(func(o *objects.S3Options) { o.Address = "127.0.0.1:1" }), chat.CodeRegionDegraded},
		"no address":     {with(func(o *objects.S3Options) { o.Address = "http://x/" }), chat.CodeInvalid},
	} {
		if chat.CodeOf(c.err) != c.code {
			t.Errorf("%s: %v, want %s", name, c.err, c.code)
		}
	}
}

// While the server is down everything fails in time, with a hint when to try again; afterwards it works.
func TestS3Down(t *testing.T) {
	o := s3Options(t)
	s := openS3(t, o)
	put(t, s, "a", "before")
	if err := gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	_, _, get := s.Get(ctx, "a", 0, -1)
	_, list := s.List(ctx, "", "", 1)
	for name, err := range map[string]error{"get": get, "list": list, "delete": s.Delete(ctx, "a"), "put": s.Put(ctx, chat.ObjectInfo{Key: "b"}, strings.NewReader(""))} {
		if e := chat.AsError(err); e == nil || e.Code != chat.CodeRegionDegraded || e.RetryAfter == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if took := time.Since(started); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	if err := gateway.Start(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, s, "b", "after")
}
