package regionnode_test

import (
	"fmt"
	"testing"
)

// A message sent in one region is acknowledged there, then by a second region, and reaches the other person in another
// region once, with the id of the ack; the sender learns that it was delivered and read.
func TestMessageCrossesRegions(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	paris := w.signUp("eu-west", "paris_user", "")
	a, welcome := w.connect("us-east", ny, "")
	if welcome["region"] != "us-east" || welcome["home_zone"] != "world" || welcome["max_level"] != "zone" {
		t.Fatalf("welcome: %v", welcome)
	}
	b, _ := w.connect("eu-west", paris, "")
	ack := a.say("paris_user", "bonjour", "zone")
	got := b.expect("message", nil)["message"].(map[string]any)
	if got["id"] != ack["message_id"] || got["body"].(map[string]any)["text"] != "bonjour" || got["sender"].(map[string]any)["username"] != "newyork_user" {
		t.Fatalf("message %v for ack %v", got, ack)
	}
	a.expect("receipt", func(f map[string]any) bool {
		return f["kind"] == "delivered" && f["message_id"] == ack["message_id"] && f["user"] == paris.id
	})
	b.send(map[string]any{"t": "read", "conversation_id": got["conversation_id"], "message_id": got["id"]})
	a.expect("receipt", func(f map[string]any) bool { return f["kind"] == "read" && f["message_id"] == ack["message_id"] })
	reply := b.say("newyork_user", "hello", "region")
	if m := a.expect("message", nil); m["message"].(map[string]any)["id"] != reply["message_id"] {
		t.Fatalf("reply %v, ack %v", m, reply)
	}
}

// A client that lost its region resumes by its cursor in another region and gets, in order, exactly what it missed.
func TestResumeInAnotherRegion(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	paris := w.signUp("eu-west", "paris_user", "")
	a, _ := w.connect("us-east", ny, "")
	b, _ := w.connect("eu-west", paris, "")
	a.say("paris_user", "first", "zone")
	cursor := b.expect("message", nil)["cursor"].(string)
	_ = b.ws.Close()
	for i := range 20 {
		a.say("paris_user", fmt.Sprintf("missed %d", i), "zone")
	}
	b, welcome := w.connect("ap-south", paris, cursor)
	if welcome["reset"] == true {
		t.Fatal("reset where the log reaches back")
	}
	for i := 0; i < 20; {
		switch text := textOf(b.expect("message", nil)); text {
		case "first": // other regions may repeat what the client has; it drops it by its id
		case fmt.Sprintf("missed %d", i):
			i++
		default:
			t.Fatalf("got %q instead of message %d", text, i)
		}
	}
}

// Who was away for longer than a page of the log is told all of it, in order, and the region lives.
func TestResumeOverSeveralPages(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	paris := w.signUp("eu-west", "paris_user", "")
	a, _ := w.connect("us-east", ny, "")
	b, _ := w.connect("eu-west", paris, "")
	a.say("paris_user", "first", "region")
	cursor := b.expect("message", nil)["cursor"].(string)
	_ = b.ws.Close()
	const missed = 400 // a page is 256, and 500 may be sent in a burst
	for i := range missed {
		level := "region"
		if i == missed-1 {
			level = "zone"
		}
		a.say("paris_user", fmt.Sprintf("missed %d", i), level)
	}
	b, _ = w.connect("eu-west", paris, cursor)
	for i := range missed {
		if text := textOf(b.expect("message", nil)); text != fmt.Sprintf("missed %d", i) {
			t.Fatalf("got %q instead of message %d", text, i)
		}
	}
}
