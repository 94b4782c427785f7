package regionnode_test

import (
	"net/http"
	"strings"
	"testing"
)

// A person pinned to another zone is served through any region that the zone lets handle them: sign-up, log-in, requests and
// socket reach the home region, and the socket's region is the edge's.
func TestServedThroughAForeignEdge(t *testing.T) {
	w := newWorld(t)
	eu := w.signUp("us-east", "lisbon_user", "eu")
	ny := w.signUp("us-east", "newyork_user", "")
	status, me := w.call("GET", "us-east", "/v1/me", eu.token, nil)
	if status != http.StatusOK || me["home_zone"] != "eu" || me["pinned"] != true {
		t.Fatalf("me: %d %v", status, me)
	}
	if status, out := w.call("POST", "ap-south", "/v1/login", "", map[string]string{"username": "lisbon_user", "password": "correct horse"}); status != http.StatusOK {
		t.Fatalf("log-in through another region: %d %v", status, out)
	}
	c, welcome := w.connect("us-east", eu, "")
	if welcome["region"] != "us-east" || welcome["home_zone"] != "eu" || welcome["max_level"] != "region" {
		t.Fatalf("welcome: %v", welcome)
	}
	other, _ := w.connect("us-east", ny, "")
	c.say("newyork_user", "from afar", "region")
	if text := textOf(other.expect("message", nil)); text != "from afar" {
		t.Fatalf("got %q", text)
	}
	other.say("lisbon_user", "and back", "zone")
	if text := textOf(c.expect("message", nil)); text != "and back" {
		t.Fatalf("got %q", text)
	}
}

// A zone that forbids transit is never handled by a foreign region: requests get 307 with the right place, the socket a typed
// error with endpoints and close code 4307, and nothing of the person is stored there.
func TestTransitDenied(t *testing.T) {
	w := newWorld(t)
	pinned := w.signUp("ap-south", "pune_user", "in")
	status, out := w.call("GET", "us-east", "/v1/me", pinned.token, nil)
	endpoints, _ := out["endpoints"].([]any)
	if status != http.StatusTemporaryRedirect || out["code"] != "wrong_region" || len(endpoints) != 1 {
		t.Fatalf("request: %d %v", status, out)
	}
	c := w.dial("us-east")
	c.send(map[string]any{"t": "hello", "token": pinned.token, "device": "test"})
	f := c.expect("error", nil)
	if f["code"] != "wrong_region" || !strings.HasPrefix(f["endpoints"].([]any)[0].(map[string]any)["url"].(string), "http") {
		t.Fatalf("socket: %v", f)
	}
	if code := <-c.closed; code != 4307 {
		t.Fatalf("close code %d", code)
	}
	ny := w.signUp("us-east", "newyork_user", "")
	home, _ := w.connect("ap-south", pinned, "")
	home.send(map[string]any{"t": "send", "client_id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "to": map[string]string{"user": "newyork_user"}, "body": map[string]string{"text": "secret"}})
	if f := home.expect("error", nil); f["code"] != "denied" {
		t.Fatalf("send out of the zone: %v", f)
	}
	out1, _ := w.connect("us-east", ny, "")
	out1.say("pune_user", "hello inside", "zone")
	if text := textOf(home.expect("message", nil)); text != "hello inside" {
		t.Fatalf("got %q", text)
	}
}
