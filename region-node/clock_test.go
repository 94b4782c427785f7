package regionnode_test

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"

	"meridian/chat"
)

// setClock makes a region's clock wrong, by the admin call.
func (w *world) setClock(r chat.Region, offset string) {
	w.t.Helper()
	region, _ := w.cfg.Region(r)
	req, err := http.NewRequestWithContext(w.t.Context(), "POST", "http://"+region.Admin+"/v1/admin/clock?offset="+offset, nil)
	must(w.t, err)
	req.Header.Set("Authorization", "Bearer test-admin")
	resp, err := http.DefaultClient.Do(req)
	must(w.t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		w.t.Fatalf("set the clock of %s: %s", r, resp.Status)
	}
}

// ready waits until a region is ready, or is not, for its clock.
func (w *world) ready(r chat.Region, want bool) {
	w.t.Helper()
	w.eventually("readiness of "+string(r), func() bool {
		status, out := w.call("GET", r, "/readyz", "", nil)
		return want && status == http.StatusOK || !want && status == http.StatusServiceUnavailable && out["code"] == "clock_skew"
	})
}

// nothingAhead demands that nothing durable in a region was stamped ahead of the real time.
func (w *world) nothingAhead(r chat.Region) {
	w.t.Helper()
	id, err := w.stores[r].Identity(w.t.Context())
	must(w.t, err)
	if ahead := time.Until(id.HighWater.Time()); ahead > 5*time.Second {
		w.t.Errorf("%s holds something stamped %v ahead", r, ahead)
	}
}

// A region whose clock is an hour off takes nothing from people, with a typed error, sends them elsewhere and is not ready; it
// applies what others bring, and reading goes on. Right again it serves. Nothing is ever stamped with the wrong time.
func TestWrongClock(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	w.signUp("us-east", "boston_user", "")
	a, _ := w.connect("us-east", ny, "")
	first := a.say("boston_user", "while the clock is right", "zone")
	path := "/v1/conversations/" + first["conversation_id"].(string) + "/messages"
	for i, offset := range []string{"1h", "-1h"} {
		a, _ = w.connect("us-east", ny, "")
		w.setClock("us-east", offset)
		select {
		case code := <-a.closed:
			if code != 1013 {
				t.Errorf("%s: the socket is closed with %d", offset, code)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the socket stays", offset)
		}
		w.ready("us-east", false)
		refused := w.dial("us-east")
		refused.send(map[string]any{"t": "hello", "token": ny.token, "device": "test"})
		if f := refused.expect("error", nil); f["code"] != "clock_skew" || f["retryable"] != true || f["retry_after_ms"] == nil {
			t.Errorf("%s: hello: %v", offset, f)
		}
		status, out := w.call("POST", "us-east", "/v1/groups", ny.token, map[string]any{"client_id": uuid.NewString(), "name": "g", "members": []string{"boston_user"}})
		if status != http.StatusServiceUnavailable || out["code"] != "clock_skew" {
			t.Errorf("%s: a new group: %d %v", offset, status, out)
		}
		b, _ := w.connect("eu-west", ny, "")
		b.say("boston_user", "elsewhere", "zone")
		w.eventually("what was sent elsewhere, in us-east", func() bool {
			status, out := w.call("GET", "us-east", path, ny.token, nil)
			return status == http.StatusOK && len(out["messages"].([]any)) == 2*i+2
		})
		if st := w.nodes["us-east"].Status(t.Context()); st.Ready || st.Clock.Standing != "held" || st.Clock.AheadMs == nil {
			t.Errorf("%s: status %+v", offset, st)
		}
		w.setClock("us-east", "0s")
		w.ready("us-east", true)
		a, _ = w.connect("us-east", ny, "")
		a.say("boston_user", "right again", "zone")
		w.nothingAhead("us-east")
		w.nothingAhead("eu-west")
	}
}

// A region that starts with its clock an hour ahead stamps nothing until the clock is right, and calls no token expired: by its clock
// all of them are, and a client that believed it would forget its log-in. Its people are served by another region.
func TestStartsWithAWrongClock(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	w.signUp("us-east", "boston_user", "")
	w.setClock("us-east", "1h")
	w.restart("us-east", 1<<20)
	w.ready("us-east", false)
	w.nothingAhead("us-east")
	w.eventually("another region to serve who comes to us-east", func() bool {
		c := w.dial("us-east")
		c.send(map[string]any{"t": "hello", "token": ny.token, "device": "test"})
		f := c.each(func(f map[string]any) bool { return f["t"] == "welcome" || f["t"] == "error" })
		if f["t"] == "error" && f["retryable"] != true {
			t.Fatalf("hello: %v", f)
		}
		status, out := w.call("GET", "us-east", "/v1/me", ny.token, nil)
		if status == http.StatusUnauthorized {
			t.Fatalf("who am I: %d %v", status, out)
		}
		return f["t"] == "welcome" && status == http.StatusOK
	})
	if here := w.nodes["us-east"].Sockets(); here != 0 {
		t.Errorf("us-east serves %d sockets", here)
	}
	w.setClock("us-east", "0s")
	w.ready("us-east", true)
	a, _ := w.connect("us-east", ny, "")
	a.say("boston_user", "right again", "zone")
	w.nothingAhead("us-east")
}

// A region whose durable mark lies an hour ahead, as a wrong clock left it, says so: it is not ready, refuses what people send with
// a typed error, and applies what others bring. It neither stamps an hour ahead nor hangs.
func TestMarkAnHourAhead(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	w.signUp("us-east", "boston_user", "")
	b, _ := w.connect("eu-west", ny, "")
	first := b.say("boston_user", "before", "zone")
	done := make(chan error, 1)
	w.stores["us-east"].Commit(&chat.Batch{HighWater: chat.HLCFromTime(time.Now().Add(time.Hour))}, func(err error) { done <- err })
	must(t, <-done)
	w.restart("us-east", 1<<20)
	w.ready("us-east", false)
	why := regexp.MustCompile(`lies (1h0m0s|5[0-9]m[0-9]+s) ahead`) // the hour has begun before the start
	w.eventually("the reason in the status", func() bool { return why.MatchString(w.nodes["us-east"].Status(t.Context()).NotReady) })
	w.eventually("us-east to catch up", func() bool { return !w.nodes["us-east"].Status(t.Context()).CatchingUp })
	status, out := w.call("POST", "us-east", "/v1/groups", ny.token, map[string]any{"client_id": uuid.NewString(), "name": "g", "members": []string{"boston_user"}})
	if status != http.StatusServiceUnavailable || out["code"] != "clock_skew" {
		t.Errorf("a new group: %d %v", status, out)
	}
	b.say("boston_user", "meanwhile", "zone")
	w.eventually("what was sent elsewhere, in us-east", func() bool {
		status, out := w.call("GET", "us-east", "/v1/conversations/"+first["conversation_id"].(string)+"/messages", ny.token, nil)
		return status == http.StatusOK && len(out["messages"].([]any)) == 2
	})
}
