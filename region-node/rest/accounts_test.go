package rest_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/wire"
)

// A person signs up in one region, and is known in every region of the zone: me, log-in, refresh, sessions.
func TestAccountIsKnownInTheWholeZone(t *testing.T) {
	c := newCluster(t, nil)
	bob := want[wire.Login](c, http.StatusCreated, "us-east", "POST", "/v1/signup", "",
		obj{"username": "Bob", "password": password, "display_name": " Bob B. ", "device": "phone", "unknown": []int{1}})
	if bob.Username != "Bob" || bob.DisplayName != "Bob B." || bob.HomeZone != "world" || bob.ExpiresAt != "2027-01-15T08:10:00.000Z" {
		t.Errorf("sign-up answers %+v", bob)
	}
	for _, at := range []chat.Region{"us-east", "eu-west", "ap-south"} {
		me := want[wire.Me](c, 200, at, "GET", "/v1/me", bob.Token, nil)
		if me != (wire.Me{UserID: bob.UserID, Username: "Bob", DisplayName: "Bob B.", HomeZone: "world"}) {
			t.Errorf("%s: me = %+v", at, me)
		}
		again := want[wire.Login](c, 200, at, "POST", "/v1/login", "", obj{"username": "bOB", "password": password, "device": string(at)})
		if again.UserID != bob.UserID || again.Username != "Bob" {
			t.Errorf("%s: log-in = %+v", at, again)
		}
		fresh := want[wire.Login](c, 200, at, "POST", "/v1/token", "", obj{"refresh_token": again.RefreshToken})
		if fresh.Token == "" || fresh.UserID != bob.UserID {
			t.Errorf("%s: refresh = %+v", at, fresh)
		}
	}
	list := want[wire.Sessions](c, 200, "eu-west", "GET", "/v1/me/sessions", bob.Token, nil).Sessions
	var got []string
	for _, s := range list {
		got = append(got, fmt.Sprint(s.Device, " ", s.Region, " ", s.Current))
	}
	if strings.Join(got, ", ") != "ap-south ap-south false, eu-west eu-west false, us-east us-east false, phone us-east true" {
		t.Errorf("sessions: %v", got)
	}
	if n := c.regions["us-east"].metrics.get("sign_ups_total"); n != 1 {
		t.Errorf("%d sign-ups counted", n)
	}
}

// A session ends by log-out, by being revoked, and with all others; its tokens end with it in every region of the zone.
func TestSessionsEnd(t *testing.T) {
	c := newCluster(t, nil)
	first := c.signUp("us-east", "bob", "")
	logIn := func() wire.Login {
		return want[wire.Login](c, 200, "eu-west", "POST", "/v1/login", "", obj{"username": "bob", "password": password})
	}
	dead := func(l wire.Login) {
		t.Helper()
		for _, at := range []chat.Region{"us-east", "eu-west", "ap-south"} {
			c.refused(chat.CodeUnauthorized, at, "GET", "/v1/me", l.Token, nil)
			c.refused(chat.CodeUnauthorized, at, "POST", "/v1/token", "", obj{"refresh_token": l.RefreshToken})
		}
	}
	second := logIn()
	want[none](c, 204, "ap-south", "POST", "/v1/logout", second.Token, nil)
	dead(second)
	third := logIn()
	var id string
	for _, s := range want[wire.Sessions](c, 200, "us-east", "GET", "/v1/me/sessions", third.Token, nil).Sessions {
		if s.Current {
			id = s.ID
		}
	}
	want[none](c, 204, "us-east", "DELETE", "/v1/me/sessions/"+id, first.Token, nil)
	dead(third)
	c.refused(chat.CodeNotFound, "us-east", "DELETE", "/v1/me/sessions/"+id, first.Token, nil)
	c.refused(chat.CodeInvalid, "us-east", "DELETE", "/v1/me/sessions/x", first.Token, nil)
	fourth, fifth := logIn(), logIn()
	want[none](c, 204, "us-east", "DELETE", "/v1/me/sessions", fourth.Token, nil)
	dead(first)
	dead(fifth)
	want[wire.Me](c, 200, "us-east", "GET", "/v1/me", fourth.Token, nil)
}

// A new password ends all sessions but the one that changed it, also one that the region did not know of, and also when
// that one fetched new tokens meanwhile in a region that did not know of the change.
func TestPasswordChangeEndsOtherSessions(t *testing.T) {
	c := newCluster(t, nil)
	first := c.signUp("us-east", "bob", "")
	c.setCut("ap-south", true)
	abroad := want[wire.Login](c, 200, "ap-south", "POST", "/v1/login", "", obj{"username": "bob", "password": password})
	c.pass(time.Minute)
	c.refused(chat.CodeBadCredentials, "us-east", "POST", "/v1/me/password", first.Token, obj{"old_password": "wrong horse", "new_password": "battery staple"})
	c.refused(chat.CodeInvalid, "us-east", "POST", "/v1/me/password", first.Token, obj{"old_password": password, "new_password": "short"})
	want[none](c, 204, "us-east", "POST", "/v1/me/password", first.Token, obj{"old_password": password, "new_password": "battery staple"})
	c.pass(time.Minute)
	abroad = want[wire.Login](c, 200, "ap-south", "POST", "/v1/token", "", obj{"refresh_token": abroad.RefreshToken})
	want[wire.Me](c, 200, "ap-south", "GET", "/v1/me", abroad.Token, nil)
	c.setCut("ap-south", false)
	c.pass(time.Minute)
	for _, at := range []chat.Region{"us-east", "eu-west", "ap-south"} {
		c.refused(chat.CodeUnauthorized, at, "GET", "/v1/me", abroad.Token, nil)
		c.refused(chat.CodeUnauthorized, at, "POST", "/v1/token", "", obj{"refresh_token": abroad.RefreshToken})
		c.refused(chat.CodeBadCredentials, at, "POST", "/v1/login", "", obj{"username": "bob", "password": password})
		want[wire.Me](c, 200, at, "GET", "/v1/me", first.Token, nil)
		want[wire.Login](c, 200, at, "POST", "/v1/token", "", obj{"refresh_token": first.RefreshToken})
		list := want[wire.Sessions](c, 200, at, "GET", "/v1/me/sessions", first.Token, nil).Sessions
		if len(list) != 1 || !list[0].Current {
			t.Errorf("%s: sessions %+v", at, list)
		}
	}
	want[wire.Login](c, 200, "eu-west", "POST", "/v1/login", "", obj{"username": "bob", "password": "battery staple"})
}

// Of sign-ups of one name, or of its look-alikes, at once in all regions, exactly one succeeds.
func TestOneOfConcurrentSignUpsWins(t *testing.T) {
	c := newCluster(t, nil)
	names := []string{"paypal", "PayPal", "paypa1", "pаypal", "PAYPAI", "paypal"}
	status := make([]int, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		at := c.config.Regions[i%3].Name
		all.Go(func() {
			status[i] = c.request(at, "POST", "/v1/signup", "", obj{"username": name, "password": password}).Code
		})
	}
	all.Wait()
	got := map[int]int{}
	for _, s := range status {
		got[s]++
	}
	if got[201] != 1 || got[409] != len(names)-1 {
		t.Errorf("answers %v", status)
	}
	for _, at := range c.config.Regions {
		c.refused(chat.CodeUsernameTaken, at.Name, "POST", "/v1/signup", "", obj{"username": "pAyPa1", "password": password})
	}
}

// A zone is had by choice, which pins, or by country; what may not be chosen is refused, and a region outside the zone says
// where to go.
func TestHomeZone(t *testing.T) {
	c := newCluster(t, func(cfg *config.Config) {
		cfg.HomeZones.Countries = map[string]chat.Zone{"IE": "eu"}
		cfg.Zones = append(cfg.Zones, config.Zone{Name: "closed", Regions: []chat.Region{"us-east"}, Policy: chat.PolicyCopy, Transit: chat.TransitAllow})
	})
	anna := c.signUp("eu-west", "anna", "eu")
	if me := want[wire.Me](c, 200, "eu-west", "GET", "/v1/me", anna.Token, nil); !me.Pinned || me.HomeZone != "eu" {
		t.Errorf("by choice: %+v", me)
	}
	c.country = "IE"
	liam := c.signUp("eu-west", "liam", "")
	if me := want[wire.Me](c, 200, "eu-west", "GET", "/v1/me", liam.Token, nil); me.Pinned || me.HomeZone != "eu" {
		t.Errorf("by country: %+v", me)
	}
	c.country = "US"
	for _, zone := range []string{"mars", "closed"} {
		c.refused(chat.CodeZoneNotAllowed, "us-east", "POST", "/v1/signup", "", obj{"username": "eve", "password": password, "zone": zone})
	}
	for name, e := range map[string]wire.Error{
		"sign-up": c.refused(chat.CodeWrongRegion, "us-east", "POST", "/v1/signup", "", obj{"username": "otto", "password": password, "zone": "eu"}),
		"log-in":  c.refused(chat.CodeWrongRegion, "us-east", "POST", "/v1/login", "", obj{"username": "anna", "password": password}),
		"refresh": c.refused(chat.CodeWrongRegion, "us-east", "POST", "/v1/token", "", obj{"refresh_token": anna.RefreshToken}),
		"token":   c.refused(chat.CodeWrongRegion, "us-east", "GET", "/v1/contacts", anna.Token, nil),
	} {
		if len(e.Endpoints) != 1 || e.Endpoints[0].Region != "eu-west" {
			t.Errorf("%s: endpoints %+v", name, e.Endpoints)
		}
	}
	w := c.request("us-east", "GET", "/v1/contacts?limit=3", anna.Token, nil)
	if got := w.Header().Get("Location"); w.Code != 307 || got != "http://eu-west.test/v1/contacts?limit=3" {
		t.Errorf("%d to %q", w.Code, got)
	}
	// Outside the zone nothing is kept of her but the blinded claim.
	id := ownerOf(t, anna).ID
	for _, at := range []chat.Region{"us-east", "ap-south"} {
		if _, found, err := c.regions[at].store.Account(t.Context(), id); found || err != nil {
			t.Errorf("%s has the account: %v, %v", at, found, err)
		}
		c.refused(chat.CodeUsernameTaken, at, "POST", "/v1/signup", "", obj{"username": "ANNA", "password": password})
		bob := c.signUp(at, "bob-"+string(at), "")
		if p := want[wire.Profile](c, 200, at, "GET", "/v1/users/anna", bob.Token, nil); p.UserID != anna.UserID || p.Username != "anna" {
			t.Errorf("%s: anna is %+v", at, p)
		}
	}
}

// The op that spreads a claim names no user, and neither it nor the claim at rest holds the bytes of the user id or name.
func TestClaimOpNamesNobody(t *testing.T) {
	c := newCluster(t, nil)
	anna := c.signUp("eu-west", "annabella", "eu")
	ops, err := c.regions["eu-west"].store.ReadLog(t.Context(), c.regions["eu-west"].core.Stream(), 0, 100, "us-east", 100)
	if err != nil || len(ops) != 1 || ops[0].Kind != chat.OpClaim {
		t.Fatalf("us-east is sent %+v, %v", ops, err)
	}
	op, id := ops[0], ownerOf(t, anna).ID
	if op.Author != (chat.Owner{Zone: "eu"}) || len(op.Owners) != 0 || op.Account != nil || op.Session != nil || op.Claim.Pending {
		t.Errorf("the claim's op is %+v", op)
	}
	text := fmt.Sprintf("%+v %+v %x %x", op, *op.Claim, op.Claim.Key, op.Claim.Blinded)
	for _, leak := range []string{anna.UserID, "annabella", fmt.Sprintf("%x", id[:]), strings.Trim(fmt.Sprintf("%d", id[:]), "[]")} {
		if strings.Contains(text, leak) {
			t.Errorf("the claim's op holds %s", leak)
		}
	}
	if op.Claim.Blinded == id {
		t.Error("the user id is not blinded")
	}
}

// Without a majority of regions nobody signs up, with a retryable answer; people log in all the same.
func TestNoMajority(t *testing.T) {
	c := newCluster(t, nil)
	c.signUp("us-east", "bob", "")
	c.setCut("us-east", true)
	e := c.refused(chat.CodeNoMajority, "us-east", "POST", "/v1/signup", "", obj{"username": "carol", "password": password})
	if e.RetryAfterMs <= 0 {
		t.Errorf("%+v has no retry_after_ms", e)
	}
	want[wire.Login](c, 200, "us-east", "POST", "/v1/login", "", obj{"username": "bob", "password": password})
	c.setCut("us-east", false)
	c.pass(time.Second)
	c.signUp("us-east", "carol", "")
	if n := c.regions["us-east"].metrics.get("claims_total no_majority"); n != 1 {
		t.Errorf("%d counted", n)
	}
}

// An address that signs up and logs in too often waits; what it is told is enough to wait for.
func TestRateLimitPerAddress(t *testing.T) {
	c := newCluster(t, func(cfg *config.Config) { cfg.Limits.AuthPerMinute = 3 })
	c.signUp("us-east", "bob", "")
	for range 2 {
		c.refused(chat.CodeBadCredentials, "us-east", "POST", "/v1/login", "", obj{"username": "bob", "password": "wrong horse"})
	}
	w := c.request("us-east", "POST", "/v1/login", "", obj{"username": "bob", "password": password})
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "20" {
		t.Fatalf("%d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
	c.pass(20 * time.Second)
	want[wire.Login](c, 200, "us-east", "POST", "/v1/login", "", obj{"username": "bob", "password": password})
	if n := c.regions["us-east"].metrics.get("rate_limited_total auth"); n != 1 {
		t.Errorf("%d counted", n)
	}
}

// A person who reads, changes or looks names up too often is refused with the time to wait, which is enough; each counts apart, and
// other people are not touched.
func TestRateLimitPerPerson(t *testing.T) {
	c := newCluster(t, func(cfg *config.Config) { // bursts of ten seconds, of look-ups of sixty
		cfg.Limits.UserReadsPerSecond, cfg.Limits.UserWritesPerSecond, cfg.Limits.LookupsPerSecond = 0.5, 0.2, 0.05
	})
	bob, ann := c.signUp("us-east", "bob", ""), c.signUp("us-east", "ann", "")
	spend := func(class string, n int, wait time.Duration, method, path string) {
		t.Helper()
		for i := range n {
			if w := c.request("us-east", method, path, bob.Token, nil); w.Code >= 300 {
				t.Fatalf("%s: request %d: %d %s", class, i, w.Code, w.Body)
			}
		}
		w := c.request("us-east", method, path, bob.Token, nil)
		if after := strconv.Itoa(int(wait / time.Second)); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != after {
			t.Fatalf("%s: %d, Retry-After %q, want %s: %s", class, w.Code, w.Header().Get("Retry-After"), after, w.Body)
		}
		if n := c.regions["us-east"].metrics.get("rate_limited_total " + class); n != 1 {
			t.Errorf("%s: %d counted", class, n)
		}
		c.pass(wait)
		if w := c.request("us-east", method, path, bob.Token, nil); w.Code >= 300 {
			t.Fatalf("%s: after the wait: %d %s", class, w.Code, w.Body)
		}
	}
	spend("reads", 5, 2*time.Second, "GET", "/v1/contacts")
	spend("writes", 2, 5*time.Second, "DELETE", "/v1/me/sessions")
	c.pass(time.Minute) // looking up is reading too
	spend("lookups", 3, 20*time.Second, "GET", "/v1/users/ann")
	want[wire.Contacts](c, 200, "us-east", "GET", "/v1/contacts", ann.Token, nil)
}

// Who has as many sessions as are allowed loses the oldest by a new one.
func TestSessionsAreBounded(t *testing.T) {
	c := newCluster(t, func(cfg *config.Config) { cfg.Limits.SessionsPerUser = 3 })
	first := c.signUp("us-east", "bob", "")
	var last wire.Login
	for range 4 {
		last = want[wire.Login](c, 200, "us-east", "POST", "/v1/login", "", obj{"username": "bob", "password": password})
	}
	if n := len(want[wire.Sessions](c, 200, "us-east", "GET", "/v1/me/sessions", last.Token, nil).Sessions); n != 3 {
		t.Errorf("%d sessions", n)
	}
	c.refused(chat.CodeUnauthorized, "us-east", "GET", "/v1/me", first.Token, nil)
}

// Who logs in where the name is known but the account is still on its way gets in as soon as it is there; if it does not
// come, the answer is to try again, not a wrong password.
func TestLogInWaitsForTheAccount(t *testing.T) {
	c := newCluster(t, nil)
	c.setCut("ap-south", true)
	bob := c.signUp("us-east", "bob", "")
	ops, err := c.regions["us-east"].store.ReadLog(t.Context(), c.regions["us-east"].core.Stream(), 0, 100, "ap-south", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		if op.Kind == chat.OpClaim {
			done := make(chan error, 1)
			c.regions["ap-south"].store.Commit(&chat.Batch{Claims: []chat.Claim{*op.Claim}}, func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	credentials := obj{"username": "bob", "password": password}
	c.refused(chat.CodeBusy, "ap-south", "POST", "/v1/login", "", credentials)
	// A token is its own proof meanwhile, and tells what it can.
	if me := want[wire.Me](c, 200, "ap-south", "GET", "/v1/me", bob.Token, nil); me.Username != "bob" || me.UserID != bob.UserID {
		t.Errorf("me = %+v", me)
	}
	status := make(chan int)
	go func() { status <- c.request("ap-south", "POST", "/v1/login", "", credentials).Code }()
	c.setCut("ap-south", false)
	c.pass(time.Second)
	if got := <-status; got != http.StatusOK {
		t.Errorf("log-in = %d", got)
	}
}
