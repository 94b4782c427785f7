package regionnode_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"meridian/chat"
)

// What one region refuses for good, by a policy that the sender's region does not have yet, is told to its sender: on the open
// socket, on resume in another region of the home zone, and in the history there. Nobody is shown it where it is refused.
func TestRefusedElsewhere(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.signUp("us-east", "ann_refused", ""), w.signUp("ap-south", "bob_pinned", "in")
	w.eventually("ann's account in eu-west", func() bool {
		status, _ := w.call("GET", "eu-west", "/v1/me", ann.token, nil)
		return status == http.StatusOK
	})
	older := w.cfg
	newer := *older
	newer.Zones = slices.Clone(older.Zones)
	for i := range newer.Zones {
		if newer.Zones[i].Name == "world" {
			newer.Zones[i].Policy = chat.PolicyDeny
		}
	}
	w.cfg = &newer
	w.restart("ap-south", 1<<20)
	w.cfg = older
	a, welcome := w.connect("us-east", ann, "")
	cursor := welcome["cursor"].(string)
	ack := a.say("bob_pinned", "not for there", "region")
	is := func(f map[string]any) error {
		for field, want := range map[string]any{
			"message_id": ack["message_id"], "client_id": ack["client_id"], "conversation_id": ack["conversation_id"],
			"region": "ap-south", "code": "denied",
		} {
			if f[field] != want {
				return fmt.Errorf("%s is %v, want %v", field, f[field], want)
			}
		}
		if f["cursor"] == "" || f["message"] == "" {
			return fmt.Errorf("no cursor or message")
		}
		return nil
	}
	if f := a.expect("failed", nil); is(f) != nil {
		t.Errorf("live: %v: %v", f, is(f))
	}
	elsewhere, _ := w.connect("eu-west", ann, cursor)
	if f := elsewhere.expect("failed", nil); is(f) != nil {
		t.Errorf("on resume in eu-west: %v: %v", f, is(f))
	}
	for _, r := range []chat.Region{"us-east", "eu-west"} {
		m := w.message(string(r), ack["conversation_id"].(string), ann, ack["message_id"])
		refused, _ := m["refusals"].([]any)
		if len(refused) != 1 || refused[0].(map[string]any)["region"] != "ap-south" || refused[0].(map[string]any)["code"] != "denied" {
			t.Errorf("the history in %s says %v", r, m["refusals"])
		}
	}
	w.serves("ap-south")
	b, _ := w.connect("ap-south", bob, "")
	if status, out := w.call("GET", "ap-south", "/v1/conversations", bob.token, nil); status != http.StatusOK || len(out["conversations"].([]any)) > 0 {
		t.Errorf("bob has %d %v", status, out)
	}
	if b.got("not for there") {
		t.Error("bob was shown what his region refuses")
	}
}
