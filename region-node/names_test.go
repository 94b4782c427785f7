package regionnode_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
	"meridian/region-node/verify"
)

// forgetful is a store that loses usernames while it is told to, as one that was restored from a copy has lost them.
type forgetful struct {
	chat.Store
	mu   sync.Mutex
	on   bool
	lost map[chat.ClaimKey]int // how often each was lost
}

func (f *forgetful) Commit(b *chat.Batch, done func(error)) {
	f.mu.Lock()
	if f.on && len(b.Claims) > 0 {
		for _, c := range b.Claims {
			f.lost[c.Key]++
		}
		without := *b
		without.Claims = nil
		b = &without
	}
	f.mu.Unlock()
	f.Store.Commit(b, done)
}

func (f *forgetful) Reserve(ctx context.Context, c chat.Claim) (chat.Claim, error) {
	f.mu.Lock()
	on := f.on
	f.mu.Unlock()
	if !on {
		return f.Store.Reserve(ctx, c)
	}
	c.Pending = true
	return c, nil
}

func (f *forgetful) forget(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

// times counts the names that were lost so often: by the call that confirms one, and by its op.
func (f *forgetful) times(n int) (names int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.lost {
		if times >= n {
			names++
		}
	}
	return names
}

// verifyNames has a region compare its usernames with another's, by the admin call.
func (w *world) verifyNames(r, peer chat.Region, repair string) verify.NamesReport {
	w.t.Helper()
	region, _ := w.cfg.Region(r)
	q := url.Values{"peer": {string(peer)}, "repair": {repair}}
	req, err := http.NewRequestWithContext(w.t.Context(), "POST", "http://"+region.Admin+"/v1/admin/verify/names?"+q.Encode(), nil)
	must(w.t, err)
	req.Header.Set("Authorization", "Bearer test-admin")
	resp, err := http.DefaultClient.Do(req)
	must(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(w.t, err)
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var last regionnode.NamesLine
	must(w.t, json.Unmarshal(lines[len(lines)-1], &last))
	if !last.Done || last.Error != nil {
		w.t.Fatalf("verify of names: %s %s", resp.Status, text)
	}
	last.TookMs = 0
	return last.NamesReport
}

// Usernames that a region has lost are found by comparison, and given back by the regions that have them and may speak for
// their zones. Then the region logs people in and finds others without any help.
func TestUsernamesARegionLost(t *testing.T) {
	w, listeners := prepare(t, func(*config.Config) {})
	f := &forgetful{on: true, lost: map[chat.ClaimKey]int{}}
	w.wrap = func(r chat.Region, s chat.Store) chat.Store {
		if r != "eu-west" {
			return s
		}
		f.Store = s
		return f
	}
	w.run(listeners)
	ann := w.signUp("us-east", "ann_forgotten", "")
	w.signUp("eu-west", "bob_forgotten", "")
	w.signUp("ap-south", "indira_forgotten", "in")
	w.eventually("eu-west to have lost three names for good", func() bool { return f.times(1) == 3 && f.times(2) >= 2 })
	f.forget(false)
	carl := w.signUp("us-east", "carl_known", "")

	report := verify.NamesReport{Region: "us-east", Peer: "eu-west", Names: 4, Differ: 3, Brought: 3}
	if got := w.verifyNames("us-east", "eu-west", "true"); got != report {
		t.Errorf("repaired %+v, want %+v", got, report)
	}
	report.Differ, report.Brought = 0, 0
	if got := w.verifyNames("us-east", "eu-west", "false"); got != report {
		t.Errorf("after the repair %+v, want %+v", got, report)
	}

	w.stop("us-east")
	w.stop("ap-south")
	if status, out := w.call("POST", "eu-west", "/v1/login", "", map[string]string{"username": ann.name, "password": "correct horse"}); status != http.StatusOK || out["user_id"] != ann.id {
		t.Errorf("log-in alone: %d %v", status, out)
	}
	for _, name := range []string{"ann_forgotten", "bob_forgotten", "indira_forgotten", "carl_known"} {
		if status, out := w.call("GET", "eu-west", "/v1/users/"+name, carl.token, nil); status != http.StatusOK {
			t.Errorf("look-up of %s alone: %d %v", name, status, out)
		}
	}
}
