package regionnode_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
)

// Nodes measure the sockets that end at them, also those that are served elsewhere, but not people whose address is another than the
// socket's; they tell networks and counts, to who has the admin token; and by default they measure nothing.
func TestRoundTripsOfSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("this system does not tell round trips: nodes then know nothing")
	}
	w := newWorldOf(t, func(c *config.Config) {
		c.Router.Learned.Sample, c.Router.Learned.SampleEvery = true, 50*time.Millisecond
		c.Network.TrustedProxies = nil
	})
	eu := w.signUp("eu-west", "lisbon_user", "eu") // the home of zone eu is eu-west
	w.connect("us-east", eu, "")
	other := w.dial("ap-south")
	other.send(map[string]any{"t": "hello", "token": eu.token, "device": "test", "as": "81.2.69.142"})
	other.expect("welcome", nil)
	w.eventually("samples of all sockets", func() bool {
		page := w.get("us-east", "/metrics")
		return runtime.GOOS != "linux" || strings.Contains(page, `rtt_samples_total{region="us-east",result="taken"}`)
	})
	w.eventually("a look at ap-south's socket", func() bool { return strings.Contains(w.get("ap-south", "/metrics"), `result="other"`) })
	if runtime.GOOS == "linux" {
		here := w.roundTrips("us-east")
		if len(here.Groups) != 1 || here.Groups[0].Network != "127.0.0.0/20" || here.Groups[0].Cells[0].Ms > 10_000 || !here.Sampling {
			t.Errorf("us-east: %+v", here)
		}
	}
	for _, r := range []chat.Region{"eu-west", "ap-south"} {
		if answer := w.roundTrips(r); len(answer.Groups) != 0 {
			t.Errorf("%s: %+v", r, answer)
		}
	}
	if status, _ := w.admin("GET", "us-east", "/v1/admin/rtt", "wrong"); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d", status)
	}
}

// The round trip of a listed proxy is not its clients': sockets that come from one are not measured.
func TestNoRoundTripsOfProxies(t *testing.T) {
	w := newWorldOf(t, func(c *config.Config) {
		c.Router.Learned.Sample, c.Router.Learned.SampleEvery = true, 50*time.Millisecond
		c.Network.TrustedProxies = []string{"127.0.0.0/8"}
	})
	w.connect("us-east", w.signUp("us-east", "behind_a_proxy", ""), "")
	w.eventually("a look at the socket", func() bool { return strings.Contains(w.get("us-east", "/metrics"), `result="other"`) })
	if answer := w.roundTrips("us-east"); len(answer.Groups) != 0 {
		t.Errorf("measured all the same: %+v", answer)
	}
}

func (w *world) roundTrips(r chat.Region) regionnode.RoundTrips {
	w.t.Helper()
	status, body := w.admin("GET", r, "/v1/admin/rtt", "test-admin")
	var answer regionnode.RoundTrips
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		w.t.Fatalf("%d %s", status, body)
	}
	if strings.Contains(body, "127.0.0.1") || strings.Contains(body, "81.2.69") {
		w.t.Errorf("an address is told: %s", body)
	}
	return answer
}

// get gives a page of a region's admin listener.
func (w *world) get(r chat.Region, path string) string {
	w.t.Helper()
	_, body := w.admin("GET", r, path, "test-admin")
	return body
}
