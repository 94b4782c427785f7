package drain

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"meridian/chat"
)

// tells makes the house hear what a node of a region tells.
func (h *house) tells(from chat.NodeRef, words map[chat.Region]chat.Force) {
	h.t.Helper()
	payload, err := json.Marshal(Word{Forces: words})
	if err != nil {
		h.t.Fatal(err)
	}
	h.s.Hear(from, payload)
}

// What an operator forces counts here when enough regions tell it, is told to all, outlives the node and ends with its time. A word that
// another region has taken is the same word here; one that was given before changes nothing.
func TestForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		h := newHouse(t, dir)
		counts := func(what string, want chat.ForceState) {
			t.Helper()
			word, _, _ := h.s.Forced("us-east")
			if word.State != want {
				t.Errorf("%s: us-east is forced %q, want %q", what, word.State, want)
			}
		}
		word, err := h.s.Force("us-east", chat.Force{State: chat.ForceDown, Until: time.Now().Add(time.Hour), Reason: "it loses sends", By: "ops"})
		if err != nil || word.Given.IsZero() {
			t.Fatalf("%+v, %v", word, err)
		}
		counts("told by one of two others", "")
		if len(h.told) != 1 || h.told[0].Forces["us-east"].Reason != "it loses sends" {
			t.Errorf("told: %+v", h.told)
		}
		h.tells(chat.NodeRef{Region: "ap-south", Node: "n1"}, map[chat.Region]chat.Force{"us-east": word, "moon": word})
		counts("told by both", chat.ForceDown)
		if forces := h.s.Forces(); len(forces["ap-south"]) != 1 {
			t.Errorf("heard: %+v", forces)
		}
		again := newHouse(t, dir)
		again.tells(chat.NodeRef{Region: "ap-south", Node: "n1"}, map[chat.Region]chat.Force{"us-east": word})
		if got, by, ok := again.s.Forced("us-east"); !ok || !got.Same(word) || len(by) != 2 || got.By != "ops" {
			t.Errorf("after a restart: %+v by %v", got, by)
		}
		h.give(true, time.Minute) // an order about this region goes into the same file
		if again = newHouse(t, dir); !again.s.Order("eu-west").On || again.s.Forces()["eu-west"]["us-east"].State != chat.ForceDown {
			t.Error("a drain and what is forced do not lie in one file")
		}
		time.Sleep(59 * time.Minute)
		counts("before its time is over", chat.ForceDown)
		time.Sleep(time.Minute)
		counts("its time is over", "")
	})
}

// A word is taken back by a later one, whatever clock it comes from; a node of the same region takes it over and keeps it; a node that has not
// heard yet takes nothing back.
func TestForceIsReleased(t *testing.T) {
	h := newHouse(t, t.TempDir())
	sibling := chat.NodeRef{Region: "eu-west", Node: "n2"}
	ahead := time.Now().Add(time.Minute).UTC()
	h.tells(sibling, map[chat.Region]chat.Force{"eu-west": {State: chat.ForceDown, Given: ahead, Until: ahead.Add(time.Hour), Reason: "why"}})
	if word, by, ok := h.s.Forced("eu-west"); !ok || word.State != chat.ForceDown || len(by) != 1 {
		t.Fatalf("a sibling's word: %+v by %v", word, by)
	}
	h.tells(sibling, nil)
	word, err := h.s.Force("eu-west", chat.Force{By: "ops"})
	if _, _, ok := h.s.Forced("eu-west"); err != nil || ok || !word.Given.After(ahead) {
		t.Errorf("taken back: %+v, %v, still forced: %v", word, err, ok)
	}
	if kept := newHouse(t, h.dir).s.Forces()["eu-west"]["eu-west"]; kept.State != chat.ForceNone || !kept.Same(word) {
		t.Errorf("kept: %+v", kept)
	}
}

// What is no region, no state, no time, too long or without a reason is refused and changes nothing, also when another node tells it.
func TestBadForcesAreRefused(t *testing.T) {
	h := newHouse(t, t.TempDir())
	soon := time.Now().Add(time.Hour)
	good := chat.Force{State: chat.ForceDown, Until: soon, Reason: "why", Given: time.Now()}
	for name, c := range map[string]struct {
		region chat.Region
		change func(*chat.Force)
	}{
		"no region":    {"moon", func(*chat.Force) {}},
		"no state":     {"us-east", func(f *chat.Force) { f.State = "sideways" }},
		"over":         {"us-east", func(f *chat.Force) { f.Until = time.Now() }},
		"for too long": {"us-east", func(f *chat.Force) { f.Until = time.Now().Add(ForceMax + time.Minute) }},
		"given later":  {"us-east", func(f *chat.Force) { f.Given = time.Now().Add(ForceMax + time.Minute) }},
		"no reason":    {"us-east", func(f *chat.Force) { f.Reason = "" }},
		"two lines":    {"us-east", func(f *chat.Force) { f.Reason = "a\nb" }},
		"a long name":  {"us-east", func(f *chat.Force) { f.By = strings.Repeat("x", ReasonBytesMax+1) }},
	} {
		bad := good
		c.change(&bad)
		if _, err := h.s.Force(c.region, bad); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
		h.tells(chat.NodeRef{Region: "us-east", Node: "n1"}, map[chat.Region]chat.Force{c.region: bad})
	}
	if len(h.s.Forces()) != 0 {
		t.Errorf("forced: %+v", h.s.Forces())
	}
	if err := os.WriteFile(filepath.Join(h.dir, "sub"), nil, 0o600); err != nil { // where the file's directory would be
		t.Fatal(err)
	}
	if _, err := h.s.Force("us-east", good); chat.CodeOf(err) != chat.CodeInternal || len(h.s.Forces()["eu-west"]) != 0 {
		t.Errorf("a word that cannot be kept: %v, %+v", err, h.s.Forces())
	}
}
