package process

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/test/cluster"
)

// regionVerb runs a verb of `meridian region` against a cluster and checks its exit code.
func regionVerb(t *testing.T, c *cluster.Cluster, want int, args ...string) string {
	t.Helper()
	file := configured(t, c, func(*config.Config) {})
	cmd := exec.Command(binary, append(append([]string{"region"}, args...), "--config", file)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // the exit code tells
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Fatalf("region %v: exit code %d, want %d\n%s", args, code, want, out.String())
	}
	return out.String()
}

// explainedAs asks the router why an address goes where it goes.
func explainedAs(t *testing.T, c *cluster.Cluster, addr string) (region chat.Region, text string) {
	t.Helper()
	answer, err := http.Get("http://" + c.Config.Router.HTTP + "/v1/explain?ip=" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var e struct {
		Region chat.Region `json:"region"`
		Text   string      `json:"text"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&e); err != nil {
		t.Fatal(err)
	}
	return e.Region, e.Text
}

// toldBy gives what a region's operator has forced, as the region tells routers.
func toldBy(t *testing.T, c *cluster.Cluster, r chat.Region) map[chat.Region]chat.Force {
	t.Helper()
	region, _ := c.Config.Region(r)
	answer, err := http.Get("http://" + region.Admin + "/v1/peers")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var report struct {
		Forces map[chat.Region]chat.Force `json:"forces"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	return report.Forces
}

// routedBy asks a region's node for the route of an address, as a proxy in front of it passes it on.
func routedBy(t *testing.T, c *cluster.Cluster, node chat.Region, addr string) chat.Region {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL(node)+"/v1/route", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", addr)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var route struct {
		Region chat.Region `json:"region"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&route); err != nil {
		t.Fatal(err)
	}
	return route.Region
}

// routes waits until a node routes an address as it should: what regions tell one another takes a moment.
func routes(t *testing.T, c *cluster.Cluster, node chat.Region, addr string, fits func(chat.Region) bool) {
	t.Helper()
	var region chat.Region
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if region = routedBy(t, c, node, addr); fits(region) {
			return
		}
	}
	t.Errorf("%s routes %s to %q", node, addr, region)
}

// until waits until an address is explained by a region and a text.
func until(t *testing.T, c *cluster.Cluster, what, addr string, fits func(region chat.Region, text string) bool) {
	t.Helper()
	var region chat.Region
	var text string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if region, text = explainedAs(t, c, addr); fits(region, text) {
			return
		}
	}
	t.Fatalf("%s: %s goes to %s\n%s", what, addr, region, text)
}

// An operator takes a region out against the probes: every region is told, names and explain follow and say who and why, the nodes keep it over
// a restart, and it is taken back. What would leave a zone without a region is refused. A region that is lost is kept in by the same verb,
// as long as it is forced.
func TestForceRegion(t *testing.T) {
	c := start(t, nil)
	const american, indian = "8.8.8.8", "49.36.0.1"
	dns := askerOf(t, c)
	until(t, c, "at first", american, func(r chat.Region, _ string) bool { return r == "us-east" })

	out := regionVerb(t, c, 0, "force", "down", "us-east", "--until", "1h", "--reason", "it loses sends", "--by", "the night shift")
	if strings.Count(out, "tells: us-east is forced down until ") != 3 {
		t.Errorf("told:\n%s", out)
	}
	until(t, c, "forced down", american, func(r chat.Region, text string) bool {
		return r != "us-east" && strings.Contains(text, "taken out by the operator until ") && strings.Contains(text, ", by the night shift: it loses sends (as ap-south, eu-west, us-east tell)")
	})
	if got, err := dns.ask(netip.MustParseAddr(american), 10*time.Second); err != nil || len(got) == 0 || got[0] == "us-east" {
		t.Errorf("names answer %v, %v", got, err)
	}
	routes(t, c, "eu-west", american, func(r chat.Region) bool { return r != "us-east" && r != "" })
	if out := regionVerb(t, c, 4, "force", "down", "ap-south", "--until", "1h", "--reason", "why not"); !strings.Contains(out, "zone in forbids transit, and no other region of it serves (ap-south)") {
		t.Errorf("refused:\n%s", out)
	}
	if out := regionVerb(t, c, 2, "force", "sideways", "us-east", "--until", "1h", "--reason", "why"); !strings.Contains(out, `"sideways" is not a state`) {
		t.Errorf("no state:\n%s", out)
	}
	regionVerb(t, c, 2, "force", "up", "us-east", "--until", "2000h", "--reason", "for ever")

	for _, r := range []chat.Region{"eu-west", "ap-south"} {
		c.Kill(r)
		c.Restart(r)
		if word := toldBy(t, c, r)["us-east"]; word.State != chat.ForceDown || word.By != "the night shift" {
			t.Errorf("after a restart %s tells %+v", r, word)
		}
	}
	regionVerb(t, c, 0, "release", "us-east")
	until(t, c, "released", american, func(r chat.Region, _ string) bool { return r == "us-east" })
	routes(t, c, "eu-west", american, func(r chat.Region) bool { return r == "us-east" })

	regionVerb(t, c, 0, "force", "up", "ap-south", "--until", "1h", "--reason", "the probes lie")
	c.Kill("ap-south")
	until(t, c, "forced up", indian, func(r chat.Region, text string) bool {
		return r == "ap-south" && strings.Contains(text, "kept in by the operator") && strings.Contains(text, "although it is down")
	})
	if out := regionVerb(t, c, 0, "release", "ap-south"); !strings.Contains(out, fmt.Sprintf("%-14s no answer", "ap-south")) {
		t.Errorf("released without its region:\n%s", out)
	}
	until(t, c, "released while it is down", indian, func(r chat.Region, text string) bool { return r != "ap-south" && !strings.Contains(text, "kept in") })
}
