package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"meridian/router/geo"
	"meridian/router/geo/geotest"
)

// cityFile writes a city database of one network, made at a time in seconds since 1970.
func cityFile(t *testing.T, built int64, city string, lat, lon float32) string {
	t.Helper()
	return geotest.File(t, filepath.Join(t.TempDir(), "city.mmdb"), "DBIP-City-Lite", built, geotest.Networks{"81.2.69.0/24": geotest.Flat("GB", city, lat, lon)})
}

// The verbs of geo show what files hold and owe, what one would change, and replace a file after the checks; what is refused for
// safety has an exit code of its own.
func TestGeo(t *testing.T) {
	london := cityFile(t, 1780272000, "London", 51.5, -0.1)
	east := cityFile(t, 1782864000, "Nowhere", 40, -75)
	to := filepath.Join(t.TempDir(), "data", "city.mmdb")
	for _, c := range []struct {
		line string
		code int
		says string
	}{
		{"geo info", exitOK, "attribution owed: IP Geolocation by DB-IP (https://db-ip.com)"},
		{"geo info " + london, exitOK, "city.mmdb (DBIP-City-Lite)\n    edition 2026-06-01"},
		{"geo info --asn " + london, exitFailed, "holds no autonomous systems"},
		{"geo info /nonexistent", exitFailed, "/nonexistent cannot be read"},
		{"geo diff built-in", exitUsage, "accepts 2 arg"},
		{"geo diff built-in built-in", exitOK, "IPv4: 0.0000 % of"},
		{"geo diff " + london + " " + east, exitOK, "eu-west          us-east"},
		{"geo update --to " + to, exitUsage, `"from" not set`},
		{"geo update --from " + london + " --to " + to + " --check", exitOK, "checked; "},
		{"geo update --from http://127.0.0.1/x --to " + to, exitFailed, "only https"},
		{"geo update --from " + east + " --to " + to, exitOK, "is replaced"},
		{"geo update --from " + london + " --to " + to, exitRefused, "was made on 2026-06-01; " + to + " is of 2026-07-01"},
		{"geo update --from " + london + " --to " + to + " --force", exitOK, "forced against"},
		{"geo update --from " + london + " --sha256 00 --to " + to, exitFailed, "not 00"},
	} {
		code, out, errs := verb(t, strings.Fields(c.line)...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: exit %d, want %d with %q:\n%s%s", c.line, code, c.code, c.says, out, errs)
		}
	}
	code, out, errs := verb(t, "geo", "diff", "built-in", to, "--json")
	var d geo.Difference
	if err := json.Unmarshal([]byte(out), &d); code != exitOK || err != nil || d.IPv4.Addresses < 3e9 || d.IPv4.Region != 0 {
		t.Errorf("exit %d, %v, %+v: %s", code, err, d.IPv4, errs)
	}
}
