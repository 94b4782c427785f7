package process

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"meridian/chat"
	"meridian/config"
	meridian "meridian/sdk/go"
)

// What the sockets of a region tell of a network is collected without an address, shown for review, and, once it is where the routers
// look, changes what explain, GeoDNS and discovery answer to that network, on the router and on a node, and to nobody else.
func TestRoundTripsAreLearned(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // the system does not tell round trips
	}
	file := filepath.Join(t.TempDir(), "learned.csv")
	c := start(t, func(cfg *config.Config) {
		cfg.Router.Learned.Sample, cfg.Router.Learned.SampleEvery, cfg.Router.Learned.File = true, time.Second, file
		cfg.Network.TrustedProxies = []string{}
	})
	client, neighbour := netip.MustParseAddr("127.0.16.9"), netip.MustParseAddr("127.0.32.9")
	o := &observer{t: t, c: c, client: &http.Client{Timeout: 10 * time.Second, Transport: from(client)}}
	a := askerOf(t, c)
	agree := func(addr netip.Addr, want chat.Region) {
		t.Helper()
		o.agree(a, addr, addr == client, want)
	}
	agree(client, "eu-west") // no data: by the mean round trip
	if code, out := c.Verb("rtt", "collect", "--out", file); code != 1 || !strings.Contains(out, "none has 50 samples") {
		t.Errorf("collected too early: exit code %d, %s", code, out)
	}
	account, err := signUp(t.Context(), &meridian.API{BaseURL: c.URL("ap-south")}, meridian.SignUp{Username: "measured", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	for range 18 {
		measuredSocket(t, c.URL("ap-south"), client, account.Tokens.Access)
	}
	waitUntil(t, time.Minute, "samples", func() bool { return c.Metric("ap-south", "rtt_samples_total", `result="taken"`) >= 54 })
	if code, out := c.Verb("rtt", "collect", "--out", file+".new"); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	text, err := os.ReadFile(file + ".new")
	if err != nil || strings.Count(string(text), "\n") != 4 || !strings.Contains(string(text), "\n127.0.16.0/20,,,ap-south,") {
		t.Fatalf("%v: collected\n%s", err, text)
	}
	for _, verb := range [][]string{{"rtt", "info", file + ".new"}, {"rtt", "diff", "none", file + ".new"}} {
		code, out := c.Verb(verb...)
		if want := map[string]string{"info": "1 rows of 1 networks and 0 systems", "diff": "4096 of 4096 addresses"}[verb[1]]; code != 0 || !strings.Contains(out, want) {
			t.Errorf("%v: exit code %d, %s", verb, code, out)
		}
		if verb[1] == "diff" && !strings.Contains(out, "measured") {
			t.Errorf("the review does not say that it was measured:\n%s", out)
		}
	}
	agree(client, "eu-west") // nothing has changed by itself
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	c.RestartRouter() // one that runs holds the network for three builds
	c.Stop("us-east")
	c.Restart("us-east")
	agree(client, "ap-south")
	agree(neighbour, "eu-west")
	today := regexp.MustCompile(`samples of 127\.0\.16\.0/20, [01] days old`) // 1: another day of UTC has begun meanwhile
	if e, err := o.explain(client, ""); err != nil || !today.MatchString(e.Text) {
		t.Errorf("%v, explain says\n%s", err, e.Text)
	}
}

// agree checks that explain and GeoDNS name a region first for an address, and, when requests come from it, the routes of the router and of a
// node.
func (o *observer) agree(a *asker, addr netip.Addr, own bool, want chat.Region) {
	o.t.Helper()
	// Who has just started may count another region as lost for a while.
	waitUntil(o.t, patience, fmt.Sprintf("explain says %s for %s", want, addr), func() bool {
		e, err := o.explain(addr, "")
		return err == nil && e.Region == want
	})
	waitUntil(o.t, patience, fmt.Sprintf("DNS says %s for %s", want, addr), func() bool {
		names, err := a.ask(addr, 10*time.Second)
		return err == nil && len(names) > 0 && names[0] == want
	})
	if !own {
		return
	}
	for _, base := range []string{o.router(), o.c.URL("us-east")} {
		waitUntil(o.t, patience, "the route of "+base+" leads to "+string(want), func() bool {
			var r routed
			return o.get(base, "/v1/route", "", addr, &r) == nil && len(r.Endpoints) > 0 && r.regions()[0] == want
		})
	}
}

// from makes connections come from an address.
func from(addr netip.Addr) *http.Transport {
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))}
	return &http.Transport{DialContext: dialer.DialContext}
}

// measuredSocket opens a socket from an address until the test ends.
func measuredSocket(t *testing.T, base string, addr netip.Addr, token string) {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"meridian.v1.json"}, HandshakeTimeout: time.Minute, NetDialContext: from(addr).DialContext}
	conn, answer, err := dialer.Dial("ws"+strings.TrimPrefix(base, "http")+"/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.WriteJSON(map[string]string{"t": "hello", "token": token, "device": "measured"}); err != nil {
		t.Fatal(err)
	}
	go func() { // pings are answered by reading
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
}
