package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"meridian/sim"
)

// The line of sim --json has the documented keys, and the same seeds give the same worlds.
func TestSimJSON(t *testing.T) {
	_, first, progress := verb(t, "sim", "--seeds", "3", "--first-seed", "7", "--json")
	_, second, _ := verb(t, "sim", "--seeds", "3", "--first-seed", "7", "--json")
	if progress != "" {
		t.Errorf("progress where there is no terminal: %q", progress)
	}
	var keys map[string]any
	if err := json.Unmarshal([]byte(first), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"violations", "seeds", "trace_hash", "faults", "ops", "ops_by_kind", "checks", "claims"} {
		if _, ok := keys[key]; !ok {
			t.Errorf("no key %q in %s", key, first)
		}
	}
	var report simReport
	if err := json.Unmarshal([]byte(first), &report); err != nil {
		t.Fatal(err)
	}
	if first != second || report.Violations != 0 || report.Seeds != 3 || report.TraceHash == "" || report.Ops == 0 || len(report.Faults) == 0 || report.Claims.Seeds != 3 {
		t.Fatalf("%s\n%s", first, second)
	}
}

// Worlds of sign-ups run alone too, and then without what only the others have.
func TestSimClaims(t *testing.T) {
	code, out, _ := verb(t, "sim", "--claims", "--seed", "7")
	if code != exitOK || !strings.Contains(out, "1 worlds of sign-ups: 0 violations") || !strings.Contains(out, "success") {
		t.Errorf("exit %d: %.300s", code, out)
	}
	if code, _, _ := verb(t, "sim", "--claims", "--trace"); code != exitUsage {
		t.Errorf("--claims --trace: exit %d", code)
	}
}

// One seed with --trace prints what happens; with a mask only the part of the world that it leaves; --minutes ends a run.
func TestSimTraceMaskAndMinutes(t *testing.T) {
	code, whole, _ := verb(t, "sim", "--seed", "7", "--trace")
	if code != exitOK || !strings.Contains(whole, "world: healed") || !strings.Contains(whole, "promises checked") {
		t.Errorf("exit %d: %.300s", code, whole)
	}
	code, part, _ := verb(t, "sim", "--seed", "7", "--trace", "--mask", `{"busy_ms":1000,"turns":[],"faults":[]}`)
	if code != exitOK || strings.Contains(part, "  message ") || len(part) > len(whole)/3 {
		t.Errorf("exit %d: %.300s", code, part)
	}
	code, short, errs := verb(t, "sim", "--minutes", "0.01", "--busy", "1s", "--progress")
	if code != exitOK || !strings.Contains(short, "worlds from seed 1") || !strings.Contains(errs, "worlds, ") {
		t.Errorf("exit %d: %s %s", code, short, errs)
	}
}

// A report with violations says for each how to run it again, as flags that a shell takes.
func TestSimReportForPeople(t *testing.T) {
	plan := sim.Plan{Turns: []int{3}, Faults: []int{}, Calm: []string{"clock skew"}}
	r := simReport{Violations: 1, Seeds: 2, FirstSeed: 4, Faults: map[string]int{"crash": 3}, Details: []sim.Violation{{
		Seed: 5, Promise: sim.PromiseOrder, Detail: "a stands before b", Plan: &plan, Trace: []string{"0.1s it happens"},
	}}}
	var out bytes.Buffer
	r.print(&out, time.Second)
	for _, want := range []string{
		"2 worlds from seed 4", "crash", "seed 5: one order: a stands before b", "0.1s it happens",
		`meridian sim --seed 5 --trace --mask '{"turns":[3],"faults":[],"calm":["clock skew"]}'`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}
