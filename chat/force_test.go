package chat_test

import (
	"slices"
	"testing"
	"time"

	"meridian/chat"
)

// A region is forced by its own word, or by that of a majority of the others; never up by its own alone, and never by one other. The last word
// counts, also one that takes back, until its time is over.
func TestForcesCount(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	word := func(state chat.ForceState, given, until time.Duration) chat.Force {
		return chat.Force{State: state, Given: now.Add(given), Until: now.Add(until)}
	}
	down, up := word(chat.ForceDown, -time.Minute, time.Hour), word(chat.ForceUp, -time.Minute, time.Hour)
	back := word(chat.ForceNone, 0, time.Hour)
	four := []chat.Region{"a", "b", "c", "d"}
	for name, c := range map[string]struct {
		all  []chat.Region
		told map[chat.Region]chat.Force // by who tells, about a
		want chat.ForceState
		by   []chat.Region
	}{
		"nobody":                          {four, nil, "", nil},
		"itself down":                     {four, map[chat.Region]chat.Force{"a": down}, chat.ForceDown, []chat.Region{"a"}},
		"itself up":                       {four, map[chat.Region]chat.Force{"a": up}, "", nil},
		"one other":                       {four, map[chat.Region]chat.Force{"b": down}, "", nil},
		"two of three others":             {four, map[chat.Region]chat.Force{"b": down, "d": down}, chat.ForceDown, []chat.Region{"b", "d"}},
		"two others up":                   {four, map[chat.Region]chat.Force{"c": up, "d": up}, chat.ForceUp, []chat.Region{"c", "d"}},
		"itself and one other up":         {four, map[chat.Region]chat.Force{"a": up, "b": up}, "", nil},
		"two others of two minds":         {four, map[chat.Region]chat.Force{"b": down, "c": up}, "", nil},
		"one of one other":                {four[:2], map[chat.Region]chat.Force{"b": down}, chat.ForceDown, []chat.Region{"b"}},
		"one of two others":               {four[:3], map[chat.Region]chat.Force{"b": down}, "", nil},
		"over":                            {four, map[chat.Region]chat.Force{"a": word(chat.ForceDown, -time.Hour, 0)}, "", nil},
		"itself, taken back by most":      {four, map[chat.Region]chat.Force{"a": down, "b": back, "c": back}, "", nil},
		"itself, taken back by one":       {four, map[chat.Region]chat.Force{"a": down, "b": back}, chat.ForceDown, []chat.Region{"a"}},
		"by most, taken back by itself":   {four, map[chat.Region]chat.Force{"a": back, "b": down, "c": down, "d": down}, "", nil},
		"a stranger and one other":        {four, map[chat.Region]chat.Force{"b": down, "x": down}, "", nil},
		"the last of two that both count": {four, map[chat.Region]chat.Force{"a": down, "b": word(chat.ForceUp, 0, time.Hour), "c": word(chat.ForceUp, 0, time.Hour)}, chat.ForceUp, []chat.Region{"b", "c"}},
	} {
		forces := make(chat.Forces)
		for teller, f := range c.told {
			forces.Take(teller, "a", f)
		}
		got, by, ok := forces.About("a", c.all, now)
		if ok != (c.want != "") || ok && (got.State != c.want || !slices.Equal(by, c.by)) {
			t.Errorf("%s: %v by %v (%v), want %q by %v", name, got.State, by, ok, c.want, c.by)
		}
		if _, _, other := forces.About("b", c.all, now); other {
			t.Errorf("%s: b is forced too", name)
		}
	}
	forces := make(chat.Forces)
	if !forces.Take("b", "a", down) || forces.Take("b", "a", down) || forces.Take("b", "a", word(chat.ForceUp, -time.Hour, time.Hour)) || !forces.Take("b", "a", back) {
		t.Error("the last word does not count")
	}
}
