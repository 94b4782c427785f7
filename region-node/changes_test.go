package regionnode_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/replication"
)

// change sends an edit, a deletion or a reaction and waits for its ack at level.
func (c *client) change(t, conversation, message, level string, more map[string]any) map[string]any {
	c.w.t.Helper()
	f := map[string]any{"t": t, "client_id": uuid.NewString(), "conversation_id": conversation, "message_id": message}
	maps.Copy(f, more)
	c.send(f)
	return c.expect("ack", func(a map[string]any) bool { return a["client_id"] == f["client_id"] && a["level"] == level })
}

// await waits until a frame of that type that fits has come, also one that was passed over before.
func (c *client) await(t string, fits func(map[string]any) bool) (found map[string]any) {
	c.w.t.Helper()
	c.w.eventually("a frame "+t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, f := range c.all {
			if f["t"] == t && (fits == nil || fits(f)) {
				found = f
				return true
			}
		}
		return false
	})
	return found
}

// settled waits until the stable time of c's region has passed a message: whatever was originated until then is here.
func (c *client) settled(message string) {
	c.w.t.Helper()
	c.reaches("the stable time", message, func(at replication.Cursor) chat.HLC { return at.Global })
}

// passed waits until c has been told everything that came to its region until a message did.
func (c *client) passed(message string) {
	c.w.t.Helper()
	c.reaches("the local mark", message, func(at replication.Cursor) chat.HLC { return at.Local })
}

func (c *client) reaches(what, message string, mark func(replication.Cursor) chat.HLC) {
	c.w.t.Helper()
	u, err := chat.ParseUUID(message)
	must(c.w.t, err)
	c.w.eventually(what, func() bool {
		c.send(map[string]any{"t": "ping"})
		cursor, err := replication.ParseCursor(c.expect("pong", nil)["cursor"].(string))
		return err == nil && mark(cursor) >= chat.MessageID(u).Time()
	})
}

func body(text string) map[string]any { return map[string]any{"body": map[string]any{"text": text}} }

func reaction(emoji string, on bool) map[string]any { return map[string]any{"emoji": emoji, "on": on} }

// about says whether a frame is about that message.
func about(message any) func(map[string]any) bool {
	return func(f map[string]any) bool { return f["message_id"] == message }
}

// message reads one message by REST, nil when it is not shown.
func (w *world) message(r, conversation string, p person, id any) map[string]any {
	w.t.Helper()
	status, out := w.call("GET", chat.Region(r), "/v1/conversations/"+conversation+"/messages", p.token, nil)
	if status != http.StatusOK {
		w.t.Fatalf("messages of %s in %s: %d %v", p.name, r, status, out)
	}
	for _, m := range out["messages"].([]any) {
		if m := m.(map[string]any); m["id"] == id {
			return m
		}
	}
	return nil
}

// messages gives the newest messages by REST, the newest first; none where the conversation has not arrived yet.
func (w *world) messages(r, conversation string, p person) []any {
	w.t.Helper()
	_, out := w.call("GET", chat.Region(r), "/v1/conversations/"+conversation+"/messages", p.token, nil)
	list, _ := out["messages"].([]any)
	return list
}

// An edit, a reaction and a deletion are acknowledged at both levels, come to the other person and to the own other devices in
// every region, and are what a reader finds afterwards; a deleted message does not come back by an edit.
func TestChangesOfMessages(t *testing.T) {
	w := newWorld(t)
	ny, paris := w.signUp("us-east", "newyork_user", ""), w.signUp("eu-west", "paris_user", "")
	a, _ := w.connect("us-east", ny, "")
	device, _ := w.connect("ap-south", ny, "")
	b, _ := w.connect("eu-west", paris, "")
	sent := a.say("paris_user", "helo", "zone")
	id, conversation := sent["message_id"].(string), sent["conversation_id"].(string)
	b.expect("message", nil)

	a.change("edit", conversation, id, "zone", body("hello"))
	for _, c := range []*client{a, device, b} {
		f := c.await("edit", about(id))
		if f["body"].(map[string]any)["text"] != "hello" || f["user"] != ny.id || f["conversation_id"] != conversation || f["at"] == "" || f["cursor"] == "" {
			t.Fatalf("edit: %v", f)
		}
	}
	b.change("react", conversation, id, "zone", reaction("👍", true))
	for _, c := range []*client{a, device, b} {
		if f := c.await("react", about(id)); f["emoji"] != "👍" || f["on"] != true || f["user"] != paris.id {
			t.Fatalf("react: %v", f)
		}
	}
	for _, r := range []string{"us-east", "eu-west", "ap-south"} {
		w.eventually("the edited message in "+r, func() bool {
			m := w.message(r, conversation, paris, id)
			if m == nil || m["edited_at"] == nil || m["reactions"] == nil {
				return false
			}
			one := m["reactions"].([]any)[0].(map[string]any)
			return m["body"].(map[string]any)["text"] == "hello" && one["emoji"] == "👍" && one["users"].([]any)[0] == paris.id
		})
	}
	b.change("react", conversation, id, "zone", reaction("👍", false))
	a.expect("react", func(f map[string]any) bool { return f["on"] == false })
	a.change("delete", conversation, id, "zone", nil)
	for _, c := range []*client{a, device, b} {
		c.await("delete", about(id))
	}
	a.send(map[string]any{"t": "edit", "client_id": uuid.NewString(), "conversation_id": conversation, "message_id": id, "body": map[string]string{"text": "back"}})
	a.expect("error", func(f map[string]any) bool { return f["code"] == "unknown_message" })
	for _, r := range []string{"us-east", "eu-west", "ap-south"} {
		w.eventually("the deleted message in "+r, func() bool {
			m := w.message(r, conversation, ny, id)
			return m != nil && m["deleted"] == true && m["body"].(map[string]any)["text"] == "" && m["reactions"] == nil
		})
	}
}

// What was changed while a client was away it learns on resuming, in another region too: the changes by their events, and a
// message that is new to it as it is now.
func TestResumeBringsChanges(t *testing.T) {
	w := newWorld(t)
	ny, paris := w.signUp("us-east", "newyork_user", ""), w.signUp("eu-west", "paris_user", "")
	a, _ := w.connect("us-east", ny, "")
	b, _ := w.connect("eu-west", paris, "")
	first := a.say("paris_user", "first", "zone")
	conversation := first["conversation_id"].(string)
	cursor := b.expect("message", nil)["cursor"].(string)
	_ = b.ws.Close()
	second, third := a.say("paris_user", "second", "zone"), a.say("paris_user", "third", "zone")
	a.change("edit", conversation, first["message_id"].(string), "zone", body("first, edited"))
	a.change("edit", conversation, second["message_id"].(string), "zone", body("second, edited"))
	a.change("delete", conversation, third["message_id"].(string), "zone", nil)
	w.eventually("the last change in ap-south", func() bool { // the region that has acknowledged it may be the other one
		list := w.messages("ap-south", conversation, paris)
		return len(list) == 3 && list[0].(map[string]any)["deleted"] == true
	})
	b, welcome := w.connect("ap-south", paris, cursor)
	if welcome["reset"] == true {
		t.Fatal("reset where the log reaches back")
	}
	is := func(id any) func(map[string]any) bool {
		return func(f map[string]any) bool { return f["message"].(map[string]any)["id"] == id }
	}
	if f := b.expect("message", is(second["message_id"])); textOf(f) != "second, edited" {
		t.Errorf("second: %v", f)
	}
	if m := b.expect("message", is(third["message_id"]))["message"].(map[string]any); m["deleted"] != true || m["body"].(map[string]any)["text"] != "" {
		t.Errorf("third: %v", m)
	}
	if f := b.expect("edit", about(first["message_id"])); f["body"].(map[string]any)["text"] != "first, edited" {
		t.Errorf("first: %v", f)
	}
	b.expect("delete", about(third["message_id"]))
}

// A change that is not allowed, or makes no sense, is refused with its own code, and nothing of it is kept; the socket goes on.
func TestBadChanges(t *testing.T) {
	w := newWorld(t)
	ny, paris := w.signUp("us-east", "newyork_user", ""), w.signUp("eu-west", "paris_user", "")
	other := w.signUp("us-east", "boston_user", "")
	a, _ := w.connect("us-east", ny, "")
	b, _ := w.connect("eu-west", paris, "")
	c, _ := w.connect("us-east", other, "")
	sent := a.say("paris_user", "hello", "zone")
	elsewhere := a.say("boston_user", "hello", "zone")
	id, conversation := sent["message_id"].(string), sent["conversation_id"].(string)
	b.expect("message", nil)
	a.settled(elsewhere["message_id"].(string))
	frame := func(kind string, more map[string]any) map[string]any {
		f := map[string]any{"t": kind, "client_id": uuid.NewString(), "conversation_id": conversation, "message_id": id, "body": map[string]string{"text": "x"}, "emoji": "👍", "on": true}
		for k, v := range more {
			if f[k] = v; v == nil {
				delete(f, k)
			}
		}
		return f
	}
	with := func(k string, v any) map[string]any { return map[string]any{k: v} }
	for _, test := range []struct {
		name  string
		by    *client
		frame map[string]any
		code  string
	}{
		{"no client id", a, frame("edit", with("client_id", nil)), "invalid"},
		{"a client id that is none", a, frame("delete", with("client_id", "x")), "invalid"},
		{"no conversation", a, frame("edit", with("conversation_id", nil)), "invalid"},
		{"a conversation that is none", a, frame("edit", with("conversation_id", "x")), "invalid"},
		{"an unknown conversation", a, frame("edit", with("conversation_id", uuid.NewString())), "unknown_conversation"},
		{"a message id that is none", a, frame("edit", with("message_id", uuid.NewString())), "invalid"},
		{"a message of another conversation", a, frame("edit", with("message_id", elsewhere["message_id"])), "unknown_message"},
		{"a message from 1970", a, frame("react", with("message_id", "13814000-1dd2-11b2-8000-000000000000")), "invalid"},
		{"a message from 1982", a, frame("react", with("message_id", "00000000-1000-11c0-8000-000000000000")), "unknown_message"},
		{"a message of the future", a, frame("react", with("message_id", "00000000-0000-1fff-8000-000000000000")), "clock_skew"},
		{"no text", a, frame("edit", with("body", map[string]string{"text": " "})), "empty_text"},
		{"no body", a, frame("edit", with("body", nil)), "invalid"},
		{"a long text", a, frame("edit", with("body", map[string]string{"text": strings.Repeat("x", w.cfg.Limits.TextBytes+1)})), "too_large"},
		{"another's message, edited", b, frame("edit", nil), "denied"},
		{"another's message, deleted", b, frame("delete", nil), "denied"},
		{"another's conversation", c, frame("react", nil), "unknown_conversation"},
		{"no emoji", a, frame("react", with("emoji", "")), "invalid"},
		{"a long emoji", a, frame("react", with("emoji", strings.Repeat("👍", 9))), "too_large"},
		{"an emoji of blanks", a, frame("react", with("emoji", "a b")), "invalid"},
		{"an emoji of control characters", a, frame("react", with("emoji", "\u0007")), "invalid"},
		{"an emoji of another type", a, frame("react", with("emoji", 5)), "invalid"},
		{"neither on nor off", a, frame("react", with("on", nil)), "invalid"},
		{"on of another type", a, frame("react", with("on", "yes")), "invalid"},
		{"an answer to what is not there", a, map[string]any{"t": "send", "client_id": uuid.NewString(), "to": map[string]string{"conversation": conversation}, "body": map[string]string{"text": "x"}, "reply_to": elsewhere["message_id"]}, "unknown_message"},
	} {
		test.by.send(test.frame)
		if f := test.by.expect("error", nil); f["code"] != test.code {
			t.Errorf("%s: %v, want %s", test.name, f, test.code)
		}
	}
	for i := range w.cfg.Limits.ReactionsPerUser {
		b.change("react", conversation, id, "region", reaction(fmt.Sprint(i), true))
	}
	b.send(frame("react", with("emoji", "more")))
	if f := b.expect("error", nil); f["code"] != "invalid" {
		t.Errorf("one reaction too many: %v", f)
	}
	w.eventually("nothing but the reactions", func() bool {
		m := w.message("us-east", conversation, ny, id)
		return m["body"].(map[string]any)["text"] == "hello" && m["deleted"] == nil && m["edited_at"] == nil && len(m["reactions"].([]any)) == w.cfg.Limits.ReactionsPerUser
	})
}

// The same change sent again under its client id is acknowledged again and does nothing more, in another region too, and also
// when it has been overtaken since.
func TestChangeSentTwice(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	w.signUp("eu-west", "paris_user", "")
	a, _ := w.connect("us-east", ny, "")
	sent := a.say("paris_user", "one", "zone")
	id, conversation := sent["message_id"].(string), sent["conversation_id"].(string)
	client := uuid.NewString()
	two := map[string]any{"client_id": client, "body": map[string]any{"text": "two"}}
	first := a.change("edit", conversation, id, "zone", two)
	a.change("edit", conversation, id, "zone", body("three"))
	for _, r := range []string{"us-east", "eu-west"} {
		c, _ := w.connect(chat.Region(r), ny, "")
		w.eventually("both edits in "+r, func() bool {
			list := w.messages(r, conversation, ny)
			return len(list) == 1 && list[0].(map[string]any)["body"].(map[string]any)["text"] == "three"
		})
		if again := c.change("edit", conversation, id, "zone", two); again["message_id"] != first["message_id"] {
			t.Errorf("%s: a retry became %v, not %v", r, again["message_id"], first["message_id"])
		}
		c.send(map[string]any{"t": "edit", "client_id": client, "conversation_id": conversation, "message_id": id, "body": map[string]string{"text": "four"}})
		if f := c.expect("error", nil); f["code"] != "client_id_reused" {
			t.Errorf("%s: another text under the same client id: %v", r, f)
		}
	}
	if m := w.message("us-east", conversation, ny, id); m["body"].(map[string]any)["text"] != "three" {
		t.Errorf("after the retries: %v", m)
	}
}
