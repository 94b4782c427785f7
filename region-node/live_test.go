package regionnode_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
)

// People who know each other see each other come and go across regions, and see each other type; nothing of that reaches, or
// comes from, a zone whose policy keeps it at home.
func TestPresenceAndTyping(t *testing.T) {
	w := newWorld(t)
	ny, paris, pune := w.signUp("us-east", "newyork_user", ""), w.signUp("eu-west", "paris_user", ""), w.signUp("ap-south", "pune_user", "in")
	a, _ := w.connect("us-east", ny, "")
	a.say("paris_user", "are you there?", "zone")
	a.say("pune_user", "and you?", "zone")
	b, _ := w.connect("eu-west", paris, "")
	a, _ = w.connect("us-east", ny, "")
	online := func(id string) func(map[string]any) bool {
		return func(f map[string]any) bool { return f["user"] == id && f["state"] == "online" }
	}
	a.expect("presence", online(paris.id))
	b.expect("presence", online(ny.id))

	c, _ := w.connect("ap-south", pune, "")
	c.expect("presence", online(ny.id)) // the world's presence may go into the zone
	conversation := a.say("pune_user", "once more", "zone")["conversation_id"]
	c.expect("message", nil)
	c.send(map[string]any{"t": "typing", "conversation_id": conversation})
	direct := a.say("paris_user", "now type", "zone")["conversation_id"]
	b.expect("message", func(f map[string]any) bool { return textOf(f) == "now type" })
	b.send(map[string]any{"t": "typing", "conversation_id": direct})
	a.expect("typing", func(f map[string]any) bool { return f["user"] == paris.id && f["conversation_id"] == direct })
	_ = b.ws.Close()
	a.expect("presence", func(f map[string]any) bool { return f["user"] == paris.id && f["state"] == "offline" })
	for _, kind := range []string{"presence", "typing"} {
		if a.saw(kind, pune.id) {
			t.Errorf("%s left a zone that keeps it at home", kind)
		}
	}
}

// Ending a session, or changing the password, ends its open sockets in every region with 4001, and no other.
func TestEndedSessionsLoseTheirSockets(t *testing.T) {
	w := newWorld(t)
	first := w.signUp("us-east", "newyork_user", "")
	logIn := func() person {
		status, out := w.call("POST", "us-east", "/v1/login", "", map[string]string{"username": "newyork_user", "password": "correct horse"})
		if status != http.StatusOK {
			t.Fatalf("log-in: %d %v", status, out)
		}
		return person{name: "newyork_user", id: first.id, token: out["token"].(string), refresh: out["refresh_token"].(string)}
	}
	second := logIn()
	kept, _ := w.connect("us-east", first, "")
	ended, _ := w.connect("eu-west", second, "")
	if status, out := w.call("DELETE", "us-east", "/v1/me/sessions", first.token, nil); status != http.StatusNoContent {
		t.Fatalf("ending the others: %d %v", status, out)
	}
	closesWith(t, ended, 4001)
	w.eventually("the ended session to be refused", func() bool {
		status, _ := w.call("POST", "eu-west", "/v1/token", "", map[string]string{"refresh_token": second.refresh})
		return status == http.StatusUnauthorized
	})

	third := logIn()
	ended, _ = w.connect("ap-south", third, "")
	status, out := w.call("POST", "us-east", "/v1/me/password", first.token, map[string]string{"old_password": "correct horse", "new_password": "battery staple"})
	if status != http.StatusNoContent {
		t.Fatalf("new password: %d %v", status, out)
	}
	closesWith(t, ended, 4001)
	id := uuid.NewString()
	kept.send(map[string]any{"t": "ping"})
	kept.expect("pong", nil)
	kept.send(map[string]any{"t": "send", "client_id": id, "to": map[string]string{"user": "nobody_here"}, "body": map[string]string{"text": "x"}})
	if f := kept.expect("error", nil); f["code"] != "unknown_user" || f["re"] != id {
		t.Fatalf("%v", f)
	}
}

func closesWith(t *testing.T, c *client, code int) {
	t.Helper()
	select {
	case got := <-c.closed:
		if got != code {
			t.Fatalf("closed with %d, want %d", got, code)
		}
	case <-time.After(patience):
		t.Fatalf("not closed in %s", patience)
	}
}

// A contact request and its answer reach the other person, and the own other devices, in any region, as events with names.
func TestContactEvents(t *testing.T) {
	w := newWorld(t)
	ny, paris := w.signUp("us-east", "newyork_user", ""), w.signUp("eu-west", "paris_user", "")
	device, _ := w.connect("ap-south", ny, "")
	b, _ := w.connect("eu-west", paris, "")
	state := func(name, want string) func(map[string]any) bool {
		return func(f map[string]any) bool {
			return f["state"] == want && f["user"].(map[string]any)["username"] == name
		}
	}
	if status, out := w.call("PUT", "us-east", "/v1/contacts/paris_user", ny.token, nil); status != http.StatusOK || out["state"] != "outgoing" {
		t.Fatalf("asking: %d %v", status, out)
	}
	b.expect("contact", state("newyork_user", "incoming"))
	device.expect("contact", state("paris_user", "outgoing"))
	if status, out := w.call("PUT", "eu-west", "/v1/contacts/newyork_user", paris.token, nil); status != http.StatusOK || out["state"] != "accepted" {
		t.Fatalf("accepting: %d %v", status, out)
	}
	device.expect("contact", state("paris_user", "accepted"))
	if status, out := w.call("DELETE", "eu-west", "/v1/contacts/newyork_user", paris.token, nil); status != http.StatusNoContent {
		t.Fatalf("removing: %d %v", status, out)
	}
	device.expect("contact", state("paris_user", "none"))
}
