package regionnode_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"meridian/config"
)

// While a region is away, who writes to people of its zones is acknowledged later and later and then refused, with a time to come
// back; who writes to others is not. When it is back, what was refused is taken, and it has all that was acknowledged, in order.
func TestOutboxBudget(t *testing.T) {
	w := newWorldOf(t, func(c *config.Config) { c.Limits.OutboxBytes = 64 << 10 })
	paris := w.signUp("eu-west", "paris_user", "")
	w.signUp("eu-west", "lyon_user", "")
	rome := w.signUp("eu-west", "rome_user", "eu")
	w.signUp("eu-west", "milan_user", "eu")
	a, _ := w.connect("eu-west", paris, "")
	local, _ := w.connect("eu-west", rome, "")
	conversation := a.say("lyon_user", "first", "zone")["conversation_id"].(string)
	w.stop("ap-south")

	sent, took, frame, refused := a.untilRefused("lyon_user")
	if retry, _ := refused["retry_after_ms"].(float64); refused["code"] != "busy" || refused["retryable"] != true || retry < 1000 {
		t.Errorf("refused with %v", refused)
	}
	slowed := w.heldUp(1)
	if last := took[len(took)-1]; last < 500*time.Millisecond || slowed == 0 || slowed > uint64(sent/2) {
		t.Errorf("the last send before the refusal took %s; of %d sends %d were held up", last, sent, slowed)
	}
	local.say("milan_user", "not held up", "region")
	a.send(frame)
	if again := a.answer(frame["client_id"]); again["code"] != "busy" {
		t.Errorf("sent again it was answered with %v", again)
	}
	if n := w.heldUp(2); n != slowed {
		t.Error("a send that does not concern the region was held up")
	}
	w.eventually("the metrics to count", func() bool {
		n, _ := w.metrics["eu-west"].Value("outbox_refused_total", "ap-south")
		return n > 0
	})

	w.again("ap-south", 1<<20)
	w.eventually("the refused send to be taken", func() bool {
		a.send(frame)
		return a.answer(frame["client_id"]) == nil
	})
	var texts []string
	w.eventually("the region to have all", func() bool {
		texts = nil
		path := "/v1/conversations/" + conversation + "/messages?limit=100"
		status, page := w.call("GET", "ap-south", path, paris.token, nil)
		if status == http.StatusOK {
			for _, m := range page["messages"].([]any) {
				texts = append(texts, m.(map[string]any)["body"].(map[string]any)["text"].(string))
			}
		}
		return len(texts) == sent+1
	})
	for i, text := range texts[:sent] { // newest first
		if want := fmt.Sprint(sent-i) + " "; !strings.HasPrefix(text, want) {
			t.Fatalf("message %d begins with %.6q, want %q", i, text, want)
		}
	}
}

// heldUp gives how many sends that concern ap-south eu-west has answered late, once its status counts so many refusals.
func (w *world) heldUp(refused uint64) (slowed uint64) {
	w.t.Helper()
	w.eventually("the status to tell of the budget", func() bool {
		to := w.nodes["eu-west"].Status(w.t.Context()).Streams.To["ap-south"]
		slowed = to.Slowed
		return to.OutboxRatio >= 0.9 && to.Refused >= refused
	})
	return slowed
}

// untilRefused sends numbered texts, each once the one before is acknowledged, until one is refused; it gives how many were taken,
// with an earlier one, and how long each took.
func (c *client) untilRefused(to string) (sent int, took []time.Duration, frame, refused map[string]any) {
	c.w.t.Helper()
	for sent = 1; sent <= 64; sent++ {
		frame = map[string]any{
			"t": "send", "client_id": uuid.NewString(), "to": map[string]string{"user": to},
			"body": map[string]string{"text": fmt.Sprintf("%d %s", sent, strings.Repeat("x", 2000))},
		}
		began := time.Now()
		c.send(frame)
		if refused = c.answer(frame["client_id"]); refused != nil {
			return sent, took, frame, refused
		}
		took = append(took, time.Since(began))
	}
	c.w.t.Fatal("more is taken than the budget holds")
	return sent, took, frame, refused
}

// answer waits for the ack of a send at level region (nil) or its refusal.
func (c *client) answer(id any) (refused map[string]any) {
	c.w.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case f := <-c.frames:
			switch {
			case f["t"] == "ack" && f["client_id"] == id:
				return nil
			case f["t"] == "error" && f["re"] == id:
				return f
			}
		case <-timeout:
			c.w.t.Fatalf("no answer to %v in %s", id, patience)
		}
	}
}
