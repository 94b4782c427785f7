package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meridian/router/learned"
)

// The verbs of rtt show what a file says and whom it would move, with an exit code of its own for what a router would refuse; what cannot be
// read is an error that names it.
func TestRTT(t *testing.T) {
	dir := t.TempDir()
	write := func(name, rows string) string {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, []byte("# meridian learned round trips, version 1\n# collected 2026-11-29T15:00:00Z\nnetwork,country,asn,region,p50_ms,samples,last\n"+rows), 0o600))
		return file
	}
	one := write("one.csv", "81.2.64.0/20,,,us-east,2.00,120,2026-11-29\n")
	two := write("two.csv", "81.2.64.0/20,,,us-east,2.00,120,2026-11-29\n81.2.80.0/20,,,eu-west,300.00,50,2026-11-29\n")
	strict := filepath.Join(dir, "strict.yaml")
	must(t, os.WriteFile(strict, []byte("router: {canaries: [81.2.69.142], learned: {changed_share: 0}}\n"), 0o600))
	for _, c := range []struct {
		line string
		code int
		says string
	}{
		{"rtt info " + one, exitOK, "1 rows of 1 networks and 0 systems"},
		{"rtt info /nonexistent", exitFailed, "/nonexistent cannot be read"},
		{"rtt info " + write("bad.csv", "x\n"), exitFailed, "bad.csv is damaged in line 4"},
		{"rtt diff none", exitUsage, "accepts 2 arg"},
		{"rtt diff none none", exitOK, "IPv4: 0 of 0 addresses"},
		{"rtt diff none " + one, exitOK, "IPv4: 4096 of 4096 addresses"},
		{"rtt diff " + one + " " + two, exitOK, "estimated"},
		{"rtt diff none " + one + " --config " + strict, exitRefused, "a router would refuse it"},
		{"rtt diff none " + write("empty.csv", ""), exitFailed, "holds no rows"},
		{"rtt collect", exitUsage, `"out" not set`},
		{"rtt collect --out x --data /nonexistent", exitUnreachable, "no local deployment runs"},
	} {
		code, out, errs := verb(t, strings.Fields(c.line)...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: exit %d, want %d with %q:\n%s%s", c.line, code, c.code, c.says, out, errs)
		}
	}
	_, out, _ := verb(t, "rtt", "diff", "none", one, "--json")
	var d learned.Difference
	if err := json.Unmarshal([]byte(out), &d); err != nil || len(d.Changes) != 1 || d.Changes[0].To != "us-east" || !d.Changes[0].Measured || d.Changes[0].ToMs != 2 {
		t.Errorf("%v: %+v", err, d)
	}
}

// What was learned counts in simulate and in geo diff as in a decision; a file that cannot be used is an error, not left out.
func TestLearnedIsSimulated(t *testing.T) {
	dir := t.TempDir()
	config := func(rows string) string {
		file := filepath.Join(dir, "learned.csv")
		must(t, os.WriteFile(file, []byte("# meridian learned round trips, version 1\n# collected 2026-11-29T15:00:00Z\nnetwork,country,asn,region,p50_ms,samples,last\n"+rows), 0o600))
		path := filepath.Join(dir, "learned.yaml")
		must(t, os.WriteFile(path, []byte("router: {learned: {max_age: 0s, file: "+file+"}}\n"), 0o600))
		return path
	}
	people := filepath.Join(dir, "people.csv")
	must(t, os.WriteFile(people, []byte("81.2.69.142,1\n"), 0o600))
	says := func(want string, args ...string) {
		t.Helper()
		if code, out, errs := verb(t, args...); !strings.Contains(out+errs, want) {
			t.Errorf("%v: exit %d, no %q in\n%s%s", args, code, want, out, errs)
		}
	}
	london, east := cityFile(t, 1780272000, "London", 51.5, -0.1), cityFile(t, 1782864000, "Nowhere", 40, -75)
	says("0.00 % of all people move", "simulate", "--down", "us-east", "--population", people)
	says("eu-west          us-east", "geo", "diff", london, east)
	near := config("81.2.64.0/20,,,us-east,2.00,120,2026-11-29\n81.2.64.0/20,,,eu-west,20.00,120,2026-11-29\n")
	says("GB       world      us-east        eu-west            100.00       +18", "simulate", "--down", "us-east", "--population", people, "--config", near)
	says("; learned round trips 2026-11-29", "simulate", "--down", "us-east", "--config", near)
	says("IPv4: 0.0000 % of", "geo", "diff", london, east, "--config", near)
	broken := config("x\n")
	says("is damaged in line 4", "simulate", "--down", "us-east", "--config", broken)
	says("is damaged in line 4", "geo", "diff", london, east, "--config", broken)
}
