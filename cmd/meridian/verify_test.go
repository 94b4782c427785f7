package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
)

// A region that comes back with the copy of its store from before a conversation begins a new life, catches up by relay what
// others originated, and `verify --repair` brings back what it had originated itself and only others have: then no region of
// the zone holds anything else than the others, and people log in and read all of it in the restored region, also when it is
// the only one.
func TestVerifyHealsARestoredRegion(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three regions several times")
	}
	data := t.TempDir()
	stop, ready := runningUp(t, data)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	home := ready.Regions["eu-west"].HTTP
	must := func(line string, code int, says string) {
		t.Helper()
		got, out, errs := verb(t, append(strings.Fields(line), "--data", data)...)
		if got != code || !strings.Contains(out+errs, says) {
			t.Fatalf("%s: exit %d, want %d with %q in\n%s%s", line, got, code, says, out, errs)
		}
	}
	waitVerb(t, data, "verify", exitOK, "0 differ")

	store, backup := filepath.Join(data, "eu-west"), filepath.Join(t.TempDir(), "backup")
	must("region kill eu-west", exitOK, "DEAD")
	if err := os.CopyFS(backup, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	must("verify", exitDegraded, "eu-west    does not answer")
	must("region start eu-west", exitOK, "running")
	waitVerb(t, data, "status", exitOK, "nothing waits")

	texts := chatter(t, home)
	waitVerb(t, data, "verify", exitOK, "0 differ")
	life := lifeOf(t, data, "eu-west")
	must("region kill eu-west", exitOK, "DEAD")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(store, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	must("region start eu-west", exitOK, "running")
	// The region serves in the life of the copy until others tell it: what is asked before that may end with that life.
	waitFor(t, "the new life", func() bool { return lifeOf(t, data, "eu-west") > life })
	waitVerb(t, data, "status", exitOK, "nothing waits")

	must("verify --zone world", exitDegraded, "mailboxes differ")
	must("verify --zone world --repair", exitOK, "rows brought")
	waitVerb(t, data, "verify", exitOK, "0 differ")
	// Alone, so that the names by which people log in are its own, too.
	must("region kill us-east", exitOK, "DEAD")
	must("region kill ap-south", exitOK, "DEAD")
	checkTexts(t, home, texts, "restored-anna", "restored-ben")
}

// waitVerb repeats a verb until it ends as it should, and says so.
func waitVerb(t *testing.T, data, line string, code int, says string) {
	t.Helper()
	var last string
	waitFor(t, line, func() bool {
		got, out, errs := verb(t, append(strings.Fields(line), "--data", data)...)
		last = fmt.Sprintf("exit %d\n%s%s", got, out, errs)
		return got == code && strings.Contains(out, says)
	}, &last)
}

// waitFor waits up to two minutes; told, if given, is what it shows when that was in vain.
func waitFor(t *testing.T, what string, ok func() bool, told ...*string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(200 * time.Millisecond) {
		if !time.Now().After(end) {
			continue
		}
		for _, text := range told {
			what += ": " + *text
		}
		t.Fatalf("not within two minutes: %s", what)
	}
}

// lifeOf gives which life of its store a region is in; 0 while it has none, between two.
func lifeOf(t *testing.T, data string, region chat.Region) chat.Incarnation {
	t.Helper()
	_, out, errs := verb(t, "status", "--json", "--data", data)
	var report statusReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("status: %v: %s%s", err, out, errs)
	}
	for _, r := range report.Regions {
		if r.Region == region && r.Status != nil {
			return r.Status.Streams.Stream.Incarnation
		}
	}
	return 0
}

// chatter has two people of one region sign up and write to each other there, until all of it is acknowledged.
func chatter(t *testing.T, addr string) (texts []string) {
	w := newCorrespondent(t, "eu-west", addr, "world", "restored-anna", "restored-ben")
	defer w.stop()
	w.say(20)
	return w.texts
}

// correspondent is somebody who writes to somebody else.
type correspondent struct {
	t      *testing.T
	client *meridian.Client
	to     string
	acked  chan string // client ids; one may come again
	texts  []string
	stop   func()
}

// newCorrespondent signs two people of a zone up in a region, of whom the first will write to the second there.
func newCorrespondent(t *testing.T, region, addr, zone, from, to string) *correspondent {
	t.Helper()
	account := signUpIn(t, addr, from, zone)
	signUpIn(t, addr, to, zone)
	w := &correspondent{t: t, to: to, acked: make(chan string, 100)}
	w.client = meridian.New(meridian.Options{
		Endpoints: []meridian.Endpoint{{Region: region, URL: "http://" + addr}}, Tokens: account.Tokens,
		Handle: func(e meridian.Event) {
			if a, ok := e.(meridian.Acked); ok && a.Level == "region" {
				w.acked <- a.ClientID
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.client.Run(ctx) }()
	w.stop = func() {
		cancel()
		<-ended
	}
	return w
}

// say writes so many texts and waits until all are acknowledged.
func (w *correspondent) say(texts int) {
	waits := make(map[string]bool)
	for range texts {
		text := fmt.Sprintf("before the loss, %d", len(w.texts))
		w.texts = append(w.texts, text)
		id, err := w.client.Send(meridian.Outgoing{ToUser: w.to, Text: text})
		if err != nil {
			w.t.Error(err)
			return
		}
		waits[id] = true
	}
	for end := time.After(time.Minute); len(waits) > 0; {
		select {
		case id := <-w.acked:
			delete(waits, id)
		case <-end:
			w.t.Error("not acknowledged in a minute")
			return
		}
	}
}

// checkTexts looks for the texts in the mailboxes, by a log-in in the region.
func checkTexts(t *testing.T, addr string, texts []string, names ...string) {
	t.Helper()
	for _, name := range names {
		if have := readTexts(t, addr, name); !slices.Equal(have, texts) {
			t.Errorf("%s has %d messages, want %d: %q", name, len(have), len(texts), have)
		}
	}
}

// readTexts gives what is in somebody's one conversation, the oldest first, by a log-in in the region. Who is refused asks again: the node, or what
// keeps its rows, may have started a moment ago.
func readTexts(t *testing.T, addr, name string) (texts []string) {
	t.Helper()
	var refused string
	waitFor(t, name+" to read", func() (answered bool) {
		var err error
		if texts, err = askTexts(t, addr, name); err != nil {
			refused = err.Error()
		}
		return err == nil
	}, &refused)
	return texts
}

func askTexts(t *testing.T, addr, name string) (texts []string, err error) {
	t.Helper()
	api := &meridian.API{BaseURL: "http://" + addr}
	account, err := logIn(t, addr, name)
	if err != nil {
		return nil, err
	}
	api.Token = func(context.Context) (string, error) { return account.Access, nil }
	list, _, err := api.Conversations(t.Context(), "", 10)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		t.Fatalf("%s has %d conversations", name, len(list))
	}
	page, _, err := api.Messages(t.Context(), list[0].ID, "", 100)
	for _, m := range slices.Backward(page) {
		texts = append(texts, m.Text)
	}
	return texts, err
}
