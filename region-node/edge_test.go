package regionnode_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"meridian/chat"
	"meridian/config"
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

// A page that is longer than a frame between regions comes whole through a foreign edge, as it does at home, and says what browsers
// must know of it.
func TestLongPagesThroughAForeignEdge(t *testing.T) {
	w := newWorld(t)
	eu, ny := w.signUp("eu-west", "lisbon_user", "eu"), w.signUp("us-east", "newyork_user", "")
	c, _ := w.connect("eu-west", eu, "")
	text := strings.Repeat(`"`, w.cfg.Limits.TextBytes) // as JSON twice as long
	var conversation string
	for range 110 {
		conversation = c.say(ny.name, text, "region")["conversation_id"].(string)
	}
	get := func(at chat.Region) (http.Header, int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.url(at)+"/v1/conversations/"+conversation+"/messages?limit=100", nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+eu.token)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		defer resp.Body.Close()
		var page struct {
			Messages []struct {
				Body struct{ Text string }
			}
		}
		must(t, json.NewDecoder(resp.Body).Decode(&page))
		whole := 0
		for _, m := range page.Messages {
			if m.Body.Text == text {
				whole++
			}
		}
		return resp.Header, whole
	}
	home, whole := get("eu-west")
	away, through := get("us-east")
	if whole != 100 || through != 100 {
		t.Errorf("%d messages at home, %d through the edge", whole, through)
	}
	for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Cache-Control", "Content-Type"} {
		if home.Get(name) == "" || home.Get(name) != away.Get(name) {
			t.Errorf("%s: %q at home, %q through the edge", name, home.Get(name), away.Get(name))
		}
	}
}

// A client that reads nothing, served through a foreign edge, stalls nobody who is served through it beside: their streams share the
// links between the regions, and each has a window of its own.
func TestSlowClientThroughAForeignEdge(t *testing.T) {
	w := newWorldOf(t, func(c *config.Config) {
		c.Timing.WriteTimeout = patience // else the slow socket is closed, which ends the stall
		c.Limits.SendsPerSecond = 1000
	})
	slow, quick := w.signUp("us-east", "slow_user", "eu"), w.signUp("us-east", "quick_user", "eu")
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4096)
		}
		return c, err
	}}
	ws, resp, err := dialer.Dial("ws"+w.url("us-east")[len("http"):]+"/v1/ws", nil)
	must(t, err)
	_ = resp.Body.Close()
	defer ws.Close()
	must(t, ws.WriteJSON(map[string]any{"t": "hello", "token": slow.token, "device": "slow"}))
	_, welcome, err := ws.ReadMessage()
	must(t, err)
	if !strings.Contains(string(welcome), `"region":"us-east"`) {
		t.Fatalf("welcome: %s", welcome)
	}
	beside, _ := w.connect("us-east", quick, "")
	home, _ := w.connect("eu-west", w.signUp("eu-west", "writer_user", "eu"), "")
	text := strings.Repeat("x", w.cfg.Limits.TextBytes)
	for range 300 { // 5 MB: more than the window and what the kernel holds of both sides
		home.say(slow.name, text, "region")
	}
	for range 50 {
		beside.send(map[string]any{"t": "ping"})
		beside.expect("pong", nil)
	}
	home.say(quick.name, "to who reads", "region")
	if got := textOf(beside.expect("message", nil)); got != "to who reads" {
		t.Errorf("got %q", got)
	}
}
