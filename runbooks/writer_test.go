//go:build process

package runbooks_test

import (
	"context"
	"strings"
	"testing"
	"time"

	meridian "meridian/sdk/go"
)

// writer is one demo user who writes to another.
type writer struct {
	client *meridian.Client
	acked  chan string // client ids
}

// newWriter logs a demo user in at a region.
func newWriter(t *testing.T, addr string) *writer {
	t.Helper()
	api := &meridian.API{BaseURL: "http://" + addr}
	account, err := api.LogIn(t.Context(), meridian.Credentials{Username: "demo-newyork", Password: "meridian-demo"})
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{acked: make(chan string, 1000)}
	w.client = meridian.New(meridian.Options{
		Endpoints: []meridian.Endpoint{{Region: "us-east", URL: "http://" + addr}}, Tokens: account.Tokens,
		Handle: func(e meridian.Event) {
			if a, ok := e.(meridian.Acked); ok && a.Level == "region" {
				w.acked <- a.ClientID
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.client.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

// untilRefused writes, one text after the other, until one is not acknowledged and the operator is told so: the client keeps it and tries again.
func (w *writer) untilRefused(t *testing.T, refused func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		if _, err := w.client.Send(meridian.Outgoing{ToUser: "demo-mumbai", Text: strings.Repeat("x", 4000)}); err != nil {
			t.Fatal(err)
		}
		for acked := false; !acked && time.Now().Before(end); {
			select {
			case <-w.acked:
				acked = true
			case <-time.After(4 * time.Second): // who is only slowed waits a second at most; or the machine is busy
				if refused() {
					return
				}
			}
		}
	}
	t.Fatal("nothing is refused")
}

// untilAcked waits for what was refused.
func (w *writer) untilAcked(t *testing.T) {
	t.Helper()
	select {
	case <-w.acked:
	case <-time.After(time.Minute):
		t.Error("what was refused is not taken in a minute")
	}
}
