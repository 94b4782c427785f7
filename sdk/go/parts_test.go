package meridian

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// Message ids sort by their 60-bit time, then by signed low bytes, as the servers sort them.
func TestCompareMessageIDs(t *testing.T) {
	sorted := []string{
		"", "no id",
		"ffffffff-0000-1000-8000-000000000000",
		"00000000-0001-1000-8000-000000000000",
		"00000000-0000-1001-80ff-000000000000", // 0xff is -1 here
		"00000000-0000-1001-8000-000000000000",
		"00000000-0000-1001-807f-000000000000",
	}
	shuffled := slices.Clone(sorted)
	slices.Reverse(shuffled)
	slices.SortFunc(shuffled, CompareMessageIDs)
	if !slices.Equal(sorted, shuffled) {
		t.Errorf("sorted: %q", shuffled)
	}
}

// Both sides compute the same conversation id, which is the one that the protocol defines.
func TestDirectConversation(t *testing.T) {
	if a, b := DirectConversation(ada, grace), DirectConversation(grace, ada); a != talk || b != talk {
		t.Errorf("got %s and %s", a, b)
	}
}

// The pauses: a step of at most a second while the list lasts, then full jitter from 0.5 s to 20 s.
func TestWait(t *testing.T) {
	var got []string
	for _, failures := range []int{1, 3, 4, 5, 9, 10, 1000} {
		got = append(got, fmt.Sprint(wait(failures, 3, 1)))
	}
	if want := []string{"1s", "1s", "500ms", "1s", "16s", "20s", "20s"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if wait(50, 3, 0) != 0 {
		t.Error("jitter is not full")
	}
}

// The best endpoint that has not failed lately is picked; when all have failed, the one that failed first.
func TestPick(t *testing.T) {
	now := time.Unix(1000, 0)
	e := newEndpoints([]Endpoint{{URL: "a"}, {URL: "b"}, {URL: "c"}})
	pick := func() string {
		ep, _ := e.pick(now)
		return ep.URL
	}
	for _, want := range []string{"a", "b", "c", "a"} {
		if got := pick(); got != want {
			t.Errorf("picked %s, want %s", got, want)
		}
		e.fail(want, now, 0)
		now = now.Add(time.Second)
	}
	if now = now.Add(avoidFor); pick() != "a" || e.exhausted(now) {
		t.Error("a failure is held against an endpoint for ever")
	}
	if _, ok := newEndpoints(nil).pick(now); ok {
		t.Error("picked from an empty list")
	}
}

// A newer list comes first, and what was known before stays behind it; a list that alone is right replaces all.
func TestPreferredEndpoints(t *testing.T) {
	urls := func(e *endpoints) (list []string) {
		for _, ep := range e.list {
			list = append(list, ep.URL)
		}
		return list
	}
	e := newEndpoints([]Endpoint{{URL: "a"}, {URL: "b"}, {URL: "c"}})
	e.prefer([]Endpoint{{URL: "c"}, {URL: "d"}})
	if got := urls(e); !slices.Equal(got, []string{"c", "d", "a", "b"}) {
		t.Errorf("preferred: %v", got)
	}
	e.replace([]Endpoint{{URL: "b"}})
	e.prefer(nil)
	if got := urls(e); !slices.Equal(got, []string{"b"}) {
		t.Errorf("replaced: %v", got)
	}
}

// Only so many sends wait for an ack at once, one without an answer is written again, and old ones are given up.
func TestOutbox(t *testing.T) {
	now := time.Unix(1000, 0)
	var o outbox
	for i := range inFlightMax + 1 {
		o.list = append(o.list, &pending{Outgoing: Outgoing{ClientID: fmt.Sprint(i), Created: now.Add(time.Duration(i))}})
	}
	if n := len(o.due(now)); n != inFlightMax {
		t.Errorf("%d sends at once", n)
	}
	if n := len(o.due(now)); n != 0 {
		t.Errorf("%d sends twice", n)
	}
	if _, gone := o.ack("0", AckRegion, AckZone); gone {
		t.Error("forgotten at level region")
	}
	if f := o.due(now); len(f) != 1 || f[0].(sendFrame).After != fmt.Sprint(inFlightMax-1) {
		t.Errorf("after an ack: %v", f)
	}
	now = now.Add(resendAfter)
	if f := o.due(now); len(f) != inFlightMax || f[0].(sendFrame).ClientID != "1" || f[0].(sendFrame).After != "0" {
		t.Errorf("%d sent again, first %+v", len(f), f[0])
	}
	if old := o.expire(time.Unix(1000, 3)); len(old) != 3 || o.list[0].ClientID != "3" {
		t.Errorf("%d expired", len(old))
	}
}

// The memory of messages is bounded, and forgets the oldest first.
func TestKnownIsBounded(t *testing.T) {
	k := newKnown()
	id := func(i int) string { return fmt.Sprintf("%08x-4a01-11f1-8000-000000000001", i) }
	for i := range knownMax + 10 {
		if n, _ := k.note(keyOf("s", fmt.Sprint(i), "c", "t"), "c", id(i)); n != fresh {
			t.Fatalf("message %d is not fresh", i)
		}
	}
	if len(k.byID) != knownMax || len(k.bySend) != knownMax || len(k.order) != knownMax {
		t.Errorf("remembers %d ids, %d sends", len(k.byID), len(k.bySend))
	}
	if n, _ := k.note(keyOf("s", "10", "c", "t"), "c", id(10)); n != repeat {
		t.Error("forgot a message that is not the oldest")
	}
	if k.newest["c"] != id(knownMax+9) {
		t.Errorf("newest is %s", k.newest["c"])
	}
}

// A refused request gives the server's code, and a call to the wrong region goes to the right one, body and token included.
func TestAPI(t *testing.T) {
	right := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" {
			answer(w, 401, frame{"code": "unauthorized"})
			return
		}
		switch r.URL.Path {
		case "/v1/me":
			answer(w, 200, frame{"username": "ada"})
		case "/v1/me/password":
			w.Header().Set("Retry-After", "3")
			answer(w, 429, frame{"code": "rate_limited", "message": "slowly", "retryable": true})
		default:
			http.Error(w, "<html>", http.StatusBadGateway)
		}
	}))
	defer right.Close()
	wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", right.URL+r.URL.Path)
		answer(w, 307, frame{"code": "wrong_region", "retryable": true, "endpoints": []frame{{"region": "r", "url": right.URL}}})
	}))
	defer wrong.Close()
	api := &API{BaseURL: wrong.URL, Token: func(context.Context) (string, error) { return "t", nil }}
	ctx := context.Background()
	if me, err := api.Me(ctx); err != nil || me.Username != "ada" {
		t.Errorf("Me: %+v, %v", me, err)
	}
	var e *Error
	if err := api.ChangePassword(ctx, "a", "b"); !errors.As(err, &e) || e.Code != CodeRateLimited || !e.Retryable ||
		e.RetryAfter != 3*time.Second || e.HTTPStatus != 429 || !errors.Is(err, &Error{Code: CodeRateLimited}) {
		t.Errorf("ChangePassword: %+v", err)
	}
	if err := api.Block(ctx, "x"); CodeOf(err) != CodeProtocol {
		t.Errorf("Block: %v", err)
	}
	right.Close()
	if err := api.LogOut(ctx); CodeOf(err) != CodeUnreachable {
		t.Errorf("LogOut: %v", err)
	}
}

// Of a message that only an earlier run of the application can know, a client that resumes for it tells the alias; one that
// began by itself does not, for nobody was given the old id.
func TestAliasOfAnEarlierRun(t *testing.T) {
	for _, earlier := range []bool{true, false} {
		if tell := newKnown().alias("from", "to", earlier); tell != earlier {
			t.Errorf("resumed for an earlier run: %v, told: %v", earlier, tell)
		}
	}
}

// After an endpoint is lost the next node of its region is tried; after a region fell silent, the next region; when all have
// failed, whatever failed first.
func TestNextEndpoint(t *testing.T) {
	now := time.Unix(1000, 0)
	e := newEndpoints([]Endpoint{{Region: "eu", URL: "eu1"}, {Region: "eu", URL: "eu2"}, {Region: "us", URL: "us1"}})
	next := func(want string) {
		t.Helper()
		if got, ok := e.pick(now); !ok || got.URL != want {
			t.Errorf("the next is %q, want %q", got.URL, want)
		}
	}
	next("eu1")
	e.fail("eu1", now, 0)
	next("eu2")
	now = now.Add(avoidFor)
	e.fail("eu1", now, 0)
	e.avoidRegion("eu", now)
	next("us1")
	now = now.Add(time.Second)
	e.fail("us1", now, 0)
	next("eu1")
	now = now.Add(avoidFor - time.Second)
	next("eu1")
}

// A client tells the region that it comes to of others that it could not reach of late, not of that one itself, and forgets it.
func TestSilentRegions(t *testing.T) {
	now := time.Unix(1000, 0)
	e := newEndpoints(nil)
	e.silent["us"], e.silent["eu"], e.silent[""] = now, now.Add(time.Second), now
	for _, c := range []struct {
		asked string
		after time.Duration
		want  []string
	}{{"ap", 0, []string{"eu", "us"}}, {"eu", 0, []string{"us"}}, {"ap", avoidFor, []string{"eu"}}, {"ap", avoidFor + time.Second, nil}} {
		if got := e.silentNow(now.Add(c.after), c.asked); !slices.Equal(got, c.want) {
			t.Errorf("to %s after %v: %v, want %v", c.asked, c.after, got, c.want)
		}
	}
}
