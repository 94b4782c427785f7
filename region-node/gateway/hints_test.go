package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"meridian/chat"
)

// What a socket was told replaces reading the log only when it is everything between the client's place and the marks; in any
// doubt the log is read.
func TestTold(t *testing.T) {
	type h struct{ prev, at chat.HLC }
	for name, c := range map[string]struct {
		hints       []h
		after, upTo chat.HLC
		want        []chat.HLC
		ok          bool
		left        int
	}{
		"nothing was told":                  {nil, 10, 20, nil, false, 0},
		"all of it":                         {[]h{{8, 12}, {12, 15}}, 10, 20, []chat.HLC{12, 15}, true, 0},
		"from the very entry before":        {[]h{{10, 12}}, 10, 20, []chat.HLC{12}, true, 0},
		"an entry before it was not told":   {[]h{{11, 12}}, 10, 20, nil, false, 1},
		"what was before it is not known":   {[]h{{0, 12}}, 10, 20, nil, false, 1},
		"what the client has is passed":     {[]h{{0, 9}, {9, 12}}, 10, 20, []chat.HLC{12}, true, 0},
		"only what the client has":          {[]h{{0, 9}}, 10, 20, nil, false, 0},
		"a broken chain starts anew":        {[]h{{8, 12}, {14, 15}}, 10, 20, nil, false, 1},
		"what the marks do not cover waits": {[]h{{8, 12}, {12, 25}}, 10, 20, []chat.HLC{12}, true, 1},
		"nothing between, more to come":     {[]h{{8, 25}}, 10, 20, nil, true, 1},
	} {
		s := &session{}
		for _, x := range c.hints {
			s.Hint(x.prev, chat.InboxRow{Arrival: x.at}, nil)
		}
		rows, _, ok := s.told(c.after, c.upTo)
		var got []chat.HLC
		for _, r := range rows {
			got = append(got, r.Arrival)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || ok != c.ok || len(s.hints) != c.left {
			t.Errorf("%s: ok %v, %d left (-want +got)\n%s", name, ok, len(s.hints), diff)
		}
	}
}

// A socket that falls behind forgets what it was told and reads the log: its memory is bounded.
func TestHintsAreBounded(t *testing.T) {
	s := &session{}
	for i := range chat.HLC(3 * maxHints) {
		s.Hint(i, chat.InboxRow{Arrival: i + 1}, nil)
		if len(s.hints) > maxHints {
			t.Fatalf("%d entries are kept", len(s.hints))
		}
	}
	if _, _, ok := s.told(0, 4*maxHints); ok {
		t.Error("what was forgotten is not read from the log")
	}
}
