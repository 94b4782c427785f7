package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"meridian/router/dns/keys"
)

// The verbs of `dns key` roll a key: each step has its state, is refused before its time with exit code 4, and says the next one.
func TestDNSKeyVerbs(t *testing.T) {
	data := t.TempDir()
	list := func() (all []keyInfo) {
		t.Helper()
		code, out, errs := verb(t, "dns", "key", "list", "--json", "--data", data)
		if code != exitOK || json.Unmarshal([]byte(out), &all) != nil {
			t.Fatalf("list: exit %d: %s%s", code, out, errs)
		}
		return all
	}
	step := func(line string, wantCode int, want string) {
		t.Helper()
		code, out, errs := verb(t, append(strings.Fields("dns key "+line), "--data", data)...)
		if code != wantCode || !strings.Contains(out+errs, want) {
			t.Errorf("%s: exit %d, want %d, with %q in %s%s", line, code, wantCode, want, out, errs)
		}
	}
	if all := list(); len(all) != 0 {
		t.Errorf("keys at the beginning: %v", all)
	}
	step("ds", exitFailed, "Next: meridian dns key new")
	step("activate", exitChanged, "0 keys that are published")
	step("new --zone moon.test", exitUsage, "chat.meridian.test")
	step("new", exitOK, "is active")
	step("new", exitOK, "is published")
	step("new", exitRefused, "one rollover at a time")
	step("activate", exitRefused, "may not be in all caches")
	step("activate 99999", exitUsage, "no key with the tag")
	step("activate --force", exitOK, "is active")
	step("remove", exitRefused, "may be needed by caches")
	step("remove --force", exitOK, "is removed")
	byState := map[keys.State]keyInfo{}
	for _, k := range list() {
		byState[k.State] = k
	}
	active := byState[keys.Active]
	if len(byState) != 2 || byState[keys.Removed].Tag == 0 || active.Zone != "chat.meridian.test." {
		t.Errorf("keys at the end: %+v", byState)
	}
	_, out, _ := verb(t, "dns", "key", "ds", "--data", data)
	if rr, err := dns.NewRR(strings.TrimSpace(out)); err != nil || rr.(*dns.DS).KeyTag != active.Tag || rr.String() != active.DS {
		t.Errorf("ds prints %q: %v", out, err)
	}
}

// A resolver says whether the parent has the right DS records, and a key that it still names is not removed.
func TestDNSKeyAsksTheParent(t *testing.T) {
	data := t.TempDir()
	var records []dns.RR
	conn, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	resolver := &dns.Server{Listener: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = records
		_ = w.WriteMsg(m)
	})}
	go func() { _ = resolver.ActivateAndServe() }()
	defer func() { _ = resolver.Shutdown() }()
	run := func(line string) (int, string) {
		code, out, errs := verb(t, append(strings.Fields("dns key "+line), "--data", data, "--resolver", conn.Addr().String())...)
		return code, out + errs
	}
	for range 2 {
		if code, _, errs := verb(t, "dns", "key", "new", "--data", data); code != exitOK {
			t.Fatal(errs)
		}
	}
	if code, out := run("ds"); code != exitDegraded || !strings.Contains(out, "it has 0 other(s)") {
		t.Errorf("nothing at the parent: exit %d: %s", code, out)
	}
	_, out, _ := verb(t, "dns", "key", "ds", "--data", data)
	for line := range strings.Lines(out) {
		rr, err := dns.NewRR(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rr)
	}
	if code, out := run("ds"); code != exitOK || !strings.Contains(out, "has them") {
		t.Errorf("all at the parent: exit %d: %s", code, out)
	}
	if code, _, errs := verb(t, "dns", "key", "activate", "--force", "--data", data); code != exitOK {
		t.Fatal(errs)
	}
	if code, out := run("remove --force"); code != exitRefused || !strings.Contains(out, "still has a DS record") {
		t.Errorf("a key that the parent names: exit %d: %s", code, out)
	}
	records = records[1:]
	if code, out := run("remove --force"); code != exitOK {
		t.Errorf("a key that the parent does not name: exit %d: %s", code, out)
	}
}
