package regionnode_test

import (
	"net/http"
	"testing"
)

// A region that has started and waits for what others originated meanwhile serves nobody: its people are served by another region of
// their zone, by the same addresses, and by the region itself once it has caught up, be it without a region that is down.
func TestServedElsewhereWhileCatchingUp(t *testing.T) {
	w := newWorld(t)
	ny := w.signUp("us-east", "newyork_user", "")
	w.signUp("us-east", "boston_user", "")
	w.stop("ap-south")
	var a *client
	for try := 0; a == nil || w.nodes["us-east"].Ready(t.Context()) == nil; try++ { // a busy machine may take longer than the region waits
		if try == 20 {
			t.Fatal("us-east serves before anybody has come")
		}
		w.restart("us-east", 1<<20)
		w.eventually("the link to eu-west", func() bool { return w.nodes["us-east"].Peers()["eu-west"].Up })
		if a != nil {
			_ = a.ws.Close()
			w.eventually("the last try's socket is gone", func() bool { return w.nodes["eu-west"].Sockets() == 0 })
		}
		a, _ = w.connect("us-east", ny, "")
	}
	if here, there := w.nodes["us-east"].Sockets(), w.nodes["eu-west"].Sockets(); here != 0 || there != 1 {
		t.Fatalf("%d sockets served by us-east, %d by eu-west while us-east waits for ap-south", here, there)
	}
	sent := a.say("boston_user", "from elsewhere", "region")
	path := "/v1/conversations/" + sent["conversation_id"].(string) + "/messages"
	if status, out := w.call("GET", "us-east", path, ny.token, nil); status != http.StatusOK || len(out["messages"].([]any)) != 1 {
		t.Errorf("reading: %d %v", status, out)
	}
	w.serves("us-east")
	w.connect("us-east", ny, "")
	if here := w.nodes["us-east"].Sockets(); here != 1 {
		t.Fatalf("%d sockets served by us-east once it serves", here)
	}
}
