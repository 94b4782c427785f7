package regionnode_test

import (
	"math"
	"net/http"
	"testing"

	"github.com/google/uuid"
)

// A region whose disk is full refuses what it would have to store, with a typed and counted error, keeps what it has readable,
// and takes the same send once there is room again: nothing is lost.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	w.signUp("us-east", "boston_user", "")
	a, _ := w.connect("us-east", ny, "")
	first := a.say("boston_user", "while there is room", "region")
	w.restart("us-east", math.MaxInt64)
	w.upToDate("us-east")

	a, _ = w.connect("us-east", ny, "")
	id := uuid.NewString()
	send := map[string]any{"t": "send", "client_id": id, "to": map[string]string{"user": "boston_user"}, "body": map[string]string{"text": "no room"}}
	a.send(send)
	if f := a.expect("error", nil); f["code"] != "store_full" || f["re"] != id || f["retryable"] != true {
		t.Fatalf("send: %v", f)
	}
	status, out := w.call("POST", "us-east", "/v1/signup", "", map[string]string{"username": "late_user", "password": "correct horse"})
	if status != http.StatusServiceUnavailable || out["code"] != "store_full" {
		t.Errorf("sign-up: %d %v", status, out)
	}
	if n, _ := w.metrics["us-east"].Value("refused_total", "store_full"); n < 1 {
		t.Errorf("refused_total{store_full} = %v", n)
	}
	w.eventually("the region to say that it is not ready", func() bool {
		status, out := w.call("GET", "us-east", "/readyz", "", nil)
		return status == http.StatusServiceUnavailable && out["code"] == "store_full"
	})
	path := "/v1/conversations/" + first["conversation_id"].(string) + "/messages"
	if status, out := w.call("GET", "us-east", path, ny.token, nil); status != http.StatusOK || len(out["messages"].([]any)) != 1 {
		t.Errorf("reading: %d %v", status, out)
	}

	w.restart("us-east", 1<<20)
	w.serves("us-east")
	a, _ = w.connect("us-east", ny, "")
	a.send(send)
	a.expect("ack", func(f map[string]any) bool { return f["client_id"] == id })
}
