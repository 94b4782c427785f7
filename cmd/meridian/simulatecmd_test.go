package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meridian/router/simulate"
)

// simulate prints tables, or one JSON report; what would be too much or lost makes exit code 3, what cannot be asked 2.
func TestSimulate(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.csv")
	if err := os.WriteFile(own, []byte("DE,60\nUS,40\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(t.TempDir(), "small.yaml")
	example, err := os.ReadFile("../../config/examples/three-regions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	capped := strings.ReplaceAll(string(example), "capacity_sockets: 0", "capacity_sockets: 100")
	if err := os.WriteFile(small, []byte(capped), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]struct {
		code int
		says []string
	}{
		"--down us-east": {exitOK, []string{"[us-east] down, 100.00 % of all people", "us-east DOWN", "each IPv4 address of the address data counts once", "IP Geolocation by DB-IP"}},
		"--down us-east --at 1000 --rows 3 --population " + own: {exitOK, []string{"1000 sockets", "US       world      us-east        eu-west               400", "400 sockets move"}},
		"--down ap-south":                                      {exitDegraded, []string{"! zone in cannot be reached"}},
		"--down us-east,ap-south,eu-west":                      {exitFailed, []string{"nobody is left to serve"}},
		"--down moon":                                          {exitFailed, []string{"is not a region"}},
		"--down us-east --at now":                              {exitUsage, []string{"--at now needs --population live"}},
		"--down us-east --at noon":                             {exitUsage, []string{"is not peak, now or a number"}},
		"--down us-east --at 0":                                {exitUsage, []string{"is not peak, now or a number"}},
		"--down us-east --population /nonexistent":             {exitUsage, []string{"/nonexistent"}},
		"--down us-east --population live --data /nonexistent": {exitUnreachable, []string{"no local deployment"}},
		"": {exitUsage, []string{"required flag"}},
	} {
		code, out, errs := verb(t, append([]string{"simulate"}, strings.Fields(line)...)...)
		if code != want.code {
			t.Errorf("%s: exit %d, want %d: %s", line, code, want.code, errs)
		}
		for _, w := range want.says {
			if !strings.Contains(out+errs, w) {
				t.Errorf("%s: no %q in\n%s%s", line, w, out, errs)
			}
		}
	}
	code, out, errs := verb(t, "simulate", "--down", "us-east", "--population", own, "--at", "1000", "--json")
	var r simulate.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	if math.Abs(r.Moved-400) > 1e-6 || r.Sockets != 1000 || len(r.Regions) != 3 || r.AddedMs.P50 <= 0 {
		t.Errorf("%+v", r)
	}
}
