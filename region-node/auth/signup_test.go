package auth

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/limits"
	"meridian/store/memory"
)

// slowOps is a Submitter whose claims wait for a word: their error, or nil.
type slowOps struct {
	w     *world
	at    chat.Region
	claim chan error
	given chan struct{} // one for each claim that waits
}

// Submit is as of Submitter; it stores what a claim's op confirms.
func (s *slowOps) Submit(ctx context.Context, op chat.Op) (chat.Op, error) {
	op.Time = chat.HLCFromTime(s.w.clock())
	if op.Kind != chat.OpClaim {
		return op, nil
	}
	s.given <- struct{}{}
	select {
	case err := <-s.claim:
		if err != nil {
			return chat.Op{}, err
		}
	case <-ctx.Done():
		return chat.Op{}, &chat.Error{Code: chat.CodeUnknownOutcome, Cause: ctx.Err()}
	}
	c := *op.Claim
	c.Version, c.Pending = op.Time, false
	done := make(chan error, 1)
	s.w.stores[s.at].Commit(&chat.Batch{Claims: []chat.Claim{c}}, func(err error) { done <- err })
	return op, <-done
}

// newSlowService makes a service in us-east of a world, and its ops.
func newSlowService(t *testing.T, w *world) (*Service, *slowOps) {
	cfg := config.Default()
	s := &cfg.Security
	s.Argon2MemoryKiB, s.Argon2Passes, s.Argon2Threads, s.Argon2Parallel = 64, 1, 1, 4
	ring, err := LoadOrCreateZoneKeys(t.TempDir(), []chat.Zone{"eu", "in", "world"})
	if err != nil {
		t.Fatal(err)
	}
	ops := &slowOps{w: w, at: "us-east", claim: make(chan error), given: make(chan struct{}, 10)}
	service := New(Options{
		Self: "us-east", Config: cfg, Keys: ring, DirectoryKey: DirectoryKey{7}, Store: w.stores["us-east"], Submitter: ops,
		Remote: caller{w, "us-east"}, Endpoints: func(chat.Zone) []chat.Endpoint { return nil },
		Country: func(netip.Addr) string { return "" }, Now: w.clock, Limits: limits.New(memory.NewLimiter(1000, w.clock), cfg.Limits, nil),
	})
	w.regions["us-east"] = service.directory
	return service, ops
}

// A sign-up whose request ends while its op is on the way to the disk goes on: nobody else gets the name, even a day later, until
// it is known what came of it. Then it is the person's, or free.
func TestSignUpOutlivesItsRequest(t *testing.T) {
	for name, c := range map[string]struct {
		outcome error
		want    chat.Code // of the next sign-up
	}{
		"durable": {nil, chat.CodeUsernameTaken},
		"failed":  {&chat.Error{Code: chat.CodeStoreFull}, ""},
	} {
		w := newWorld(t, threeRegions)
		service, ops := newSlowService(t, w)
		request := SignUpRequest{Username: "anna", Password: "correct horse", Zone: "", Addr: netip.MustParseAddr("192.0.2.7")}
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan error, 1)
		go func() {
			_, err := service.SignUp(ctx, request)
			answered <- err
		}()
		<-ops.given
		cancel()
		if err := <-answered; chat.CodeOf(err) != chat.CodeUnknownOutcome {
			t.Fatalf("%s: the request is answered %v", name, err)
		}
		w.pass(25 * time.Hour)
		other := w.entry("ap-south", "anna", 2, "world")
		if err := w.regions["ap-south"].claim(t.Context(), other); chat.CodeOf(err) != chat.CodeUsernameTaken {
			t.Fatalf("%s: meanwhile another sign-up gets %v", name, err)
		}
		ops.claim <- c.outcome
		settled := func() bool {
			for _, store := range w.stores {
				stands, found, err := store.Claim(t.Context(), other.Key)
				if err != nil || found != (c.outcome == nil) || found && stands.Pending {
					return false
				}
			}
			return true
		}
		for !settled() {
			runtime.Gosched()
		}
		if err := w.regions["ap-south"].claim(t.Context(), other); chat.CodeOf(err) != c.want {
			t.Errorf("%s: the next sign-up gets %v, want %q", name, err, c.want)
		}
	}
}

// A region whose store may be an old copy of itself answers no other region about names: it may have forgotten whom it gave one to.
func TestNoVoiceWhileCatchingUp(t *testing.T) {
	w := newWorld(t, threeRegions)
	service, _ := newSlowService(t, w)
	behind := &chat.Error{Code: chat.CodeRegionDegraded, Message: "catching up"}
	service.opt.Serving = func() *chat.Error { return behind }
	payload := encodeClaim(w.entry("ap-south", "anna", 2, "world"))
	if _, err := service.HandleRequest(t.Context(), "ap-south", MethodReserve, payload); chat.CodeOf(err) != chat.CodeRegionDegraded {
		t.Fatalf("asked for a name it answers %v", err)
	}
	behind = nil
	if _, err := service.HandleRequest(t.Context(), "ap-south", MethodReserve, payload); err != nil {
		t.Fatal(err)
	}
}
