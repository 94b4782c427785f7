package replication

import (
	"testing"

	"pgregory.net/rapid"

	"meridian/chat"
)

// A cursor comes back from its text as it was.
func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := Cursor{
			Region:      chat.Region(rapid.StringMatching(`[a-z0-9-]{1,40}`).Draw(r, "region")),
			Incarnation: chat.Incarnation(rapid.Uint64().Draw(r, "incarnation")),
			Local:       chat.HLC(rapid.Uint64().Draw(r, "local")),
			Global:      chat.HLC(rapid.Uint64().Draw(r, "global")),
		}
		text := c.String()
		if len(text) > MaxCursorChars {
			r.Fatalf("%d characters", len(text))
		}
		if back, err := ParseCursor(text); err != nil || back != c {
			r.Fatalf("%+v came back as %+v, error %v", c, back, err)
		}
	})
}

// Whatever a client sends as a cursor is refused with CodeInvalid, or is the one text of a cursor.
func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add("AQdldS13ZXN0AQAA")
	f.Add(Cursor{Region: "eu-west", Incarnation: 1, Local: 1_777_000_000_000_000, Global: 1_776_999_999_000_000}.String())
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		switch {
		case err != nil && chat.CodeOf(err) != chat.CodeInvalid:
			t.Fatalf("%q: %v", s, err)
		case err == nil && c.String() != s:
			t.Fatalf("%q is read as %q", s, c.String())
		}
	})
}

// The same region resumes after its own local mark, another one after the global time, and a log that does not reach back
// is a reset to now.
func TestResume(t *testing.T) {
	self := chat.Identity{Region: "eu-west", Incarnation: 2}
	now := Marks{Local: 900, Global: 800}
	for _, tt := range []struct {
		name   string
		cursor Cursor
		floor  chat.HLC
		after  chat.HLC
		reset  bool
	}{
		{"same region", Cursor{"eu-west", 2, 500, 400}, 100, 500, false},
		{"same region, earlier life", Cursor{"eu-west", 1, 500, 400}, 100, 500, false},
		{"another region", Cursor{"us-east", 2, 500, 400}, 100, 400, false},
		{"older than the log", Cursor{"us-east", 2, 500, 400}, 450, 900, true},
		{"local mark within the log, global not", Cursor{"eu-west", 2, 500, 400}, 450, 500, false},
	} {
		r, reset := Resume(tt.cursor, self, now, tt.floor)
		if r.after != tt.after || reset != tt.reset {
			t.Errorf("%s: from %d, reset %v; want %d, %v", tt.name, r.after, reset, tt.after, tt.reset)
		}
	}
}

// An event in the middle of a read moves the local mark only; the last of a complete read moves both, to the marks that
// were taken before the read.
func TestPageCursors(t *testing.T) {
	r := NewReader(chat.Identity{Region: "eu-west", Incarnation: 1}, Marks{Local: 100, Global: 90})
	if _, _, ok := r.Query(Marks{Local: 100, Global: 95}); ok {
		t.Error("a read with nothing to read")
	}
	after, upTo, ok := r.Query(Marks{Local: 200, Global: 150})
	if after != 100 || upTo != 200 || !ok {
		t.Fatalf("read (%d, %d], %v", after, upTo, ok)
	}
	want := func(e Entry, local, global chat.HLC) {
		t.Helper()
		if e.Cursor.Local != local || e.Cursor.Global != global {
			t.Errorf("cursor (%d, %d), want (%d, %d)", e.Cursor.Local, e.Cursor.Global, local, global)
		}
	}
	for _, e := range r.Page([]chat.InboxRow{{Arrival: 120}, {Arrival: 130}, {Arrival: 131}}, false) {
		want(e, e.Row.Arrival, 95)
	}
	if after, _, _ = r.Query(Marks{Local: 210, Global: 160}); after != 130 {
		t.Fatalf("the next page begins after %d", after)
	}
	page := r.Page([]chat.InboxRow{{Arrival: 140}, {Arrival: 190}}, true)
	want(page[0], 140, 95)
	want(page[1], 210, 160)
}

// Entries of one arrival, which two nodes of a region may give, are never torn: neither by a page's end nor by a cursor.
func TestOneArrivalOfTwoNodes(t *testing.T) {
	r := NewReader(chat.Identity{Region: "eu-west"}, Marks{Local: 100, Global: 90})
	r.Query(Marks{Local: 200, Global: 150})
	page := r.Page([]chat.InboxRow{{Arrival: 120}, {Arrival: 130}, {Arrival: 130}}, false)
	if len(page) != 1 || r.after != 120 {
		t.Fatalf("a page cut off in the midst of one arrival has %d entries and ends at %d", len(page), r.after)
	}
	r.Query(Marks{Local: 200, Global: 150})
	page = r.Page([]chat.InboxRow{{Arrival: 130}, {Arrival: 130}}, true)
	if first := page[0].Cursor.Local; first != 120 {
		t.Errorf("who has the first of two entries of one arrival resumes after %d, and misses the other", first)
	}
	if last := page[1].Cursor.Local; last != 200 {
		t.Errorf("the last entry's cursor is at %d", last)
	}
}
