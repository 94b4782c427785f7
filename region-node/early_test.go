package regionnode_test

import (
	"testing"

	"github.com/google/uuid"

	"meridian/chat"
)

// What somebody who comes from another region says of a conversation that is still on its way here is refused for now only, with
// the time to try again, and is taken once the conversation is here; of one that nobody has it is refused for good.
func TestSaidBeforeTheConversationIsHere(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.signUp("us-east", "early_ann", ""), w.signUp("us-east", "early_bob", "")
	there, _ := w.connect("us-east", ann, "")
	here, _ := w.connect("eu-west", ann, "")
	for _, r := range []chat.Region{"us-east", "ap-south"} { // nobody may hand it on meanwhile
		w.net.Cut("eu-west", r, true)
	}
	sent := there.say(bob.name, "helo", "region")
	conversation, id := sent["conversation_id"].(string), sent["message_id"].(string)
	edit := map[string]any{
		"t": "edit", "client_id": uuid.NewString(), "conversation_id": conversation, "message_id": id, "body": map[string]string{"text": "hello"},
	}
	for what, f := range map[string]map[string]any{
		"edit":   edit,
		"read":   {"t": "read", "conversation_id": conversation, "message_id": id},
		"answer": {"t": "send", "client_id": uuid.NewString(), "to": map[string]string{"conversation": conversation}, "reply_to": id, "body": map[string]string{"text": "x"}},
	} {
		here.send(f)
		if e := here.expect("error", nil); e["code"] != string(chat.CodeAfterUnknown) || e["retryable"] != true || e["retry_after_ms"] == nil {
			t.Errorf("%s: %v", what, e)
		}
	}
	if code := here.refused(map[string]any{"t": "read", "conversation_id": uuid.NewString(), "message_id": earliest}); code != string(chat.CodeUnknownConversation) {
		t.Errorf("of what nobody has: %v", code)
	}
	w.net.Heal("eu-west", "us-east")
	w.net.Heal("eu-west", "ap-south")
	here.expect("message", says("helo"))
	here.send(edit)
	here.expect("ack", func(a map[string]any) bool { return a["client_id"] == edit["client_id"] })
}

// earliest is a message id of long ago.
const earliest = "13814000-1dd2-11b2-8000-000000000000"
