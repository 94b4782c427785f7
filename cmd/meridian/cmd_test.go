package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// verb runs a command line as main does.
func verb(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

// Without a running deployment an address is explained by the configuration alone: the region, the distance, the round trip
// and the reason; an unknown address too.
func TestExplainIP(t *testing.T) {
	for address, want := range map[string][]string{
		"81.2.69.142": {"answer         eu-west", "463 km", "round trip 3.2 ms", "nearest by distance"},
		"8.8.8.8":     {"answer         us-east"},
		"49.36.0.1":   {"answer         ap-south"},
		"2a01:e0a::1": {"answer         eu-west", "FR (country level)"},
		"192.0.2.1":   {"answer         ", "no data"},
	} {
		code, out, errs := verb(t, "explain", "ip", address, "--data", t.TempDir())
		if code != exitOK {
			t.Errorf("%s: exit %d: %s", address, code, errs)
		}
		for _, w := range append(want, "IP Geolocation by DB-IP (https://db-ip.com)") {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", address, w, out)
			}
		}
	}
}

// What cannot be done says what, why and what next, with an exit code that scripts can tell apart.
func TestExitCodes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("name: x\nregionss: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]struct {
		code int
		says string
	}{
		"explain ip nonsense": {exitUsage, `"nonsense" is not an IP address`},
		"frobnicate":          {exitUsage, "unknown command"},
		"store --config ../../config/examples/three-regions.yaml --region eu-west": {exitUsage, "has no store of its own"},
		"store --config ../../config/examples/three-regions.yaml --region moon":    {exitUsage, "is not a region"},
		"region kill": {exitUsage, "accepts 1 arg"},
		"region kill eu-west --data /nonexistent": {exitUnreachable, "Next: meridian up"},
		"up --stores marble":                      {exitUsage, "allowed: embedded, real"},
		"up --stores real --local /nonexistent":   {exitUnreachable, "Next: deploy/local/up"},
		"status --data /nonexistent":              {exitUnreachable, "no local deployment runs on /nonexistent"},
		"config check " + bad:                     {exitFailed, "regionss"},
		"config check /nonexistent":               {exitFailed, "/nonexistent"},
		"sim --seeds 0":                           {exitUsage, "--seeds"},
		"sim --minutes -1":                        {exitUsage, "--minutes"},
		"sim --busy 1us":                          {exitUsage, "--busy"},
		"sim --seed 1 --mask {":                   {exitUsage, "--mask"},
		"node --config /nonexistent --region x":   {exitFailed, "/nonexistent"},
		"node --config ../../config/examples/three-regions.yaml --region eu-west --services chat":                           {exitUsage, `no node of region eu-west runs "auth"`},
		"node --config ../../config/examples/three-regions-two-nodes.yaml --region eu-west --node n1 --services auth,media": {exitUsage, `"media" is not allowed; allowed: auth, messages, chat`},
	} {
		code, _, errs := verb(t, strings.Fields(line)...)
		if code != want.code || !strings.Contains(errs, want.says) {
			t.Errorf("%s: exit %d, want %d, with %q in %q", line, code, want.code, want.says, errs)
		}
	}
	if code, out, errs := verb(t, "config", "check", "../../config/examples/three-regions.yaml"); code != exitOK || !strings.Contains(out, "ok (3 regions") {
		t.Errorf("the example: exit %d %s %s", code, out, errs)
	}
}

// up prints the documented line when it serves; a second one on the same directory is refused with the reason; the
// verbs kill, cut, heal and start regions; the end is clean, and after it the directory can be used again.
func TestUp(t *testing.T) {
	data := t.TempDir()
	for round := range 2 {
		started := time.Now()
		stop, ready := runningUp(t, data)
		t.Logf("ready after %s", time.Since(started))
		if len(ready.Regions) != 3 || ready.Web == "" || ready.Router.DNS == "" || ready.Control == "" || ready.AdminToken == "" || len(ready.DemoUsers) != 3 {
			t.Errorf("round %d: %+v", round, ready)
		}
		if round == 0 {
			checkVerbs(t, data)
		}
		if err := stop(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

func checkVerbs(t *testing.T, data string) {
	if code, _, errs := verb(t, "up", "--data", data); code != exitRefused || !strings.Contains(errs, "in use by another meridian up") {
		t.Errorf("second up: exit %d: %s", code, errs)
	}
	for _, step := range []struct {
		line string
		code int
		says string
	}{
		{"status", exitOK, "All regions serve"},
		{"region drain nowhere", exitUsage, "known: [ap-south eu-west us-east]"},
		{"region drain us-east --within soon", exitUsage, "invalid argument"},
		{"region drain us-east --within 48h", exitUsage, "within must be between"},
		{"region drain us-east --plan", exitOK, "us-east is not being drained; if it were:"},
		{"drain us-east --within 0s --wait", exitOK, "us-east drains until "},
		{"status", exitOK, "us-east    draining"},
		{"undrain us-east", exitOK, "us-east serves as before"},
		{"status", exitOK, "us-east    serving"},
		{"explain user demo-mumbai --ip 81.2.69.142", exitOK, "answer         eu-west"},
		{"explain user nobody", exitFailed, "unknown_user"},
		{"explain user demo-mumbai --ip here", exitUsage, "not an IP address"},
		{"simulate --down us-east --population live", exitFailed, "no node has a socket now"},
		{"region kill eu-west", exitOK, "eu-west    DEAD"},
		{"region kill eu-west", exitChanged, "is not running"},
		{"status", exitDegraded, "region eu-west is down"},
		{"region start eu-west", exitOK, "eu-west    running"},
		{"region cut us-east --peer ap-south", exitOK, "cut from ap-south"},
		{"region cut us-east --peer us-east", exitUsage, "not another region"},
		{"region heal us-east", exitOK, "us-east    running"},
		{"region kill nowhere", exitUsage, "known: [ap-south eu-west us-east]"},
	} {
		code, out, errs := verb(t, append(strings.Fields(step.line), "--data", data)...)
		if code != step.code || !strings.Contains(out+errs, step.says) {
			t.Errorf("%s: exit %d, want %d with %q in\n%s%s", step.line, code, step.code, step.says, out, errs)
		}
	}
}

// runningUp starts a deployment in this process and waits for its line.
func runningUp(t *testing.T, data string) (stop func() error, r ready) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	lines, done := newLines(), make(chan error, 1)
	go func() {
		done <- runUp(ctx, upFlags{data: data, stores: storesEmbedded, readyJSON: true, delayScale: 0}, lines, &bytes.Buffer{})
	}()
	select {
	case line := <-lines.first:
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
	case err := <-done:
		t.Fatalf("up ended: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("up is not ready in a minute")
	}
	return func() error {
		cancel()
		return <-done
	}, r
}

// firstLine gives the first write.
type firstLine struct{ first chan []byte }

func newLines() *firstLine { return &firstLine{first: make(chan []byte, 8)} }

func (l *firstLine) Write(p []byte) (int, error) {
	l.first <- bytes.Clone(p)
	return len(p), nil
}
