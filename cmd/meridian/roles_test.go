package main

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/discovery"
)

// A node that is started with some services only says so to the others: whichever is asked for a route names the nodes that serve
// sockets and no others, and status shows what each runs, and that one is gone.
func TestNodesTellWhatTheyRun(t *testing.T) {
	file := sharing(t)
	runningStore(t, file)
	start := func(node chat.NodeID, services ...string) (url string, end func()) {
		t.Helper()
		cfg, err := config.Load(file)
		must(t, err)
		ref := chat.NodeRef{Region: "eu-west", Node: node}
		if len(services) > 0 {
			must(t, runOnly(cfg, ref, services))
		}
		d, err := newDeployment(cfg, io.Discard, false)
		must(t, err)
		r, _ := cfg.Region("eu-west")
		n, _ := r.Node(node)
		ls, err := rebind(n)
		must(t, err)
		running, err := d.startNode(t.Context(), ref, ls)
		must(t, err)
		t.Cleanup(running.Kill)
		return n.BaseURL(), running.Kill
	}
	one, end := start("n1", "auth")
	two, _ := start("n2")
	named := func(at string) []string {
		resp, err := http.Get(at + "/v1/route")
		must(t, err)
		defer resp.Body.Close()
		var route discovery.Route
		must(t, json.NewDecoder(resp.Body).Decode(&route))
		var urls []string
		for _, e := range route.Endpoints {
			urls = append(urls, e.URL)
		}
		return urls
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for limit := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("not in a minute: %s", what)
			}
		}
	}
	for _, at := range []string{one, two} {
		wait("routes to the one node that serves sockets", func() bool { return slices.Equal(named(at), []string{two}) })
	}
	shows := func(code int, lines ...string) {
		t.Helper()
		wait(strings.Join(lines, ", "), func() bool {
			got, out, _ := verb(t, "status", "--config", file)
			return got == code && !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(out, line) })
		})
	}
	shows(exitOK, "All regions serve", "eu-west/n1       serving  auth 0", "eu-west/n2       serving  auth 0, chat 0, messages 0")
	end()
	shows(exitDegraded, "node n1 of region eu-west is down", "eu-west/n1       DEAD")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
