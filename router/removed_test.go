package router

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/router/health"
)

// admin answers as a region's admin listener with so many sockets.
func admin(t *testing.T, region chat.Region, sockets int) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(health.Report{Region: region, Sockets: sockets})
	}))
	t.Cleanup(s.Close)
	return s
}

// A configuration that leaves out a region in which people are is refused at start, with the figures; not by force, not when nobody is
// there, and not when the region is gone. What was remembered and cannot be read stops the start.
func TestRemovedRegion(t *testing.T) {
	full, empty := admin(t, "sa-east", 3), admin(t, "sa-east", 0)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, c := range map[string]struct {
		admins []string
		force  bool
		code   chat.Code
	}{
		"with people":            {[]string{full.URL}, false, chat.CodeDenied},
		"with people on a node":  {[]string{gone.URL, full.URL}, false, chat.CodeDenied},
		"with people, by force":  {[]string{full.URL}, true, ""},
		"without people":         {[]string{empty.URL}, false, ""},
		"that does not answer":   {[]string{gone.URL}, false, ""},
		"without admin listener": {nil, false, ""},
	} {
		file := filepath.Join(t.TempDir(), "sub", "regions.json")
		before := &Router{opts: Options{StateFile: file, Regions: []Region{{Name: "us-east"}, {Name: "sa-east", Admins: c.admins}}}}
		if err := before.remember(); err != nil {
			t.Fatal(err)
		}
		_, err := New(Options{Config: testConfig(), Key: key, StateFile: file, Force: c.force})
		if chat.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), "region sa-east, where 3 sockets are open") {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "regions.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Config: testConfig(), Key: key, StateFile: file}); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), file) {
		t.Errorf("a damaged file: %v", err)
	}
}

// A router remembers its regions once it listens; a reload that leaves one out is refused because people are there, or, by force and
// without people, because it needs a restart.
func TestReloadWithoutARegion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "regions.json")
	regions, err := RegionsOf(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	for i := range regions {
		regions[i].Admins = []string{admin(t, regions[i].Name, 7*i).URL} // ap-south, the last, has 14
	}
	r := start(t, Options{Config: testConfig(), Regions: regions, StateFile: file})
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), `"region"`) != 3 {
		t.Errorf("remembered %s, %v", text, err)
	}
	for deadline := time.Now().Add(10 * time.Second); r.monitor.Sockets("ap-south") == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the router has not heard of the sockets in 10 s")
		}
	}
	smaller := testConfig()
	smaller.Regions, smaller.Zones = smaller.Regions[:2], nil
	if err := r.Reload(smaller); chat.CodeOf(err) != chat.CodeDenied || !strings.Contains(err.Error(), "ap-south, where 14 sockets are open") {
		t.Errorf("with people: %v", err)
	}
	r.opts.Force = true
	if err := r.Reload(smaller); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), "needs a restart") {
		t.Errorf("by force: %v", err)
	}
}
