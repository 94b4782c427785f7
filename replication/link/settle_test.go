package link

import (
	"context"
	"testing"
	"time"

	"meridian/chat"
)

// TestSettledMeshOwesNothing: what a node has taken, requests and streams, it has answered once it is settled: closed at that moment,
// it leaves nobody without an answer. With nothing under way it is settled at once, and it waits no longer than its context.
func TestSettledMeshOwesNothing(t *testing.T) {
	const each = 8
	took, release := make(chan struct{}, 2*each), make(chan struct{})
	a, b := pair(t, nil, func(o *Options) {
		o.Handlers.OnRequest = func(context.Context, chat.NodeRef, string, []byte) ([]byte, error) {
			took <- struct{}{}
			<-release
			return make([]byte, 1<<20), nil
		}
		o.Handlers.OnStream = func(_ chat.NodeRef, s Stream, _ string, _ []byte) {
			took <- struct{}{}
			<-release
			_ = s.Write(t.Context(), []byte("answer")) // who misses it says so
		}
	})
	a.Settle(t.Context())
	b.Settle(t.Context())
	errs := make(chan error, 2*each)
	for range each {
		go func() {
			_, err := a.Call(t.Context(), "us-east", "anything", nil)
			errs <- err
		}()
		go func() {
			s, err := a.OpenStream(t.Context(), "us-east", "anything", nil)
			if err == nil {
				_, err = s.Read(t.Context())
			}
			errs <- err
		}()
	}
	for range 2 * each {
		<-took
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if b.Settle(ctx); ctx.Err() == nil {
		t.Error("settled while it owed answers")
	}
	close(release)
	b.Settle(t.Context())
	b.Close()
	for range 2 * each {
		if err := <-errs; err != nil {
			t.Errorf("left without an answer: %v", err)
		}
	}
}
