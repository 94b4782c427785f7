package claim

import (
	"testing"

	"meridian/chat"
)

// A confirmed entry is given to the regions that lack it, whatever they hold for another sign-up that is not confirmed. Of two
// confirmed ones only that of a majority is brought, and only where the stores let it stand; nothing else changes.
func TestMend(t *testing.T) {
	mine := claimOf("a", 7)
	mine.Pending = false
	pending, earlier, later := mine, mine, mine
	pending.Attempt, pending.Pending = chat.UUID{8}, true
	earlier.Attempt, earlier.Version = chat.UUID{8}, mine.Version-1
	later.Attempt, later.Version = chat.UUID{8}, mine.Version+1
	has := func(c chat.Claim) Result { return Result{Claim: c, Found: true} }
	silent := Result{Err: &chat.Error{Code: chat.CodeUnknownOutcome}}
	for name, c := range map[string]struct {
		b, c    Result // what the others have
		brought []chat.Region
		code    chat.Code
	}{
		"all have it":                          {has(mine), has(mine), nil, ""},
		"one lacks it":                         {Result{}, has(mine), []chat.Region{"b"}, ""},
		"both lack it":                         {Result{}, Result{}, []chat.Region{"b", "c"}, ""},
		"one holds it for another":             {has(pending), has(mine), []chat.Region{"b"}, ""},
		"one does not answer":                  {silent, Result{}, []chat.Region{"c"}, ""},
		"one has another's, which is later":    {has(later), has(mine), []chat.Region{"b"}, ""},
		"one has another's, which would stand": {has(earlier), has(mine), nil, chat.CodeVersionConflict},
		"both have another's":                  {has(later), has(later), nil, chat.CodeVersionConflict},
		"one has another's, one has none":      {has(later), Result{}, nil, chat.CodeVersionConflict},
	} {
		r := newRig(t)
		r.store[mine.Key] = mine
		var outs []Output
		for _, out := range r.step(Mend{1, mine.Key}) {
			call := out.(Call)
			if call.Ask.Kind != AskLookup {
				t.Fatalf("%s: asked %+v before anything is known", name, call)
			}
			outs = append(outs, r.step(Done{call.ID, map[chat.Region]Result{"b": c.b, "c": c.c}[call.Region]})...)
		}
		var last []Output
		for i, region := range c.brought {
			call := outs[i].(Call)
			if call.Region != region || call.Ask != (Ask{AskConfirm, mine}) {
				t.Fatalf("%s: asked %+v", name, call)
			}
			last = append(last, r.step(Done{call.ID, has(mine)})...)
		}
		answer := only[Answer](t, append(outs[len(c.brought):], last...)).Result
		if code := chat.CodeOf(answer.Err); code != c.code || answer.Brought != len(c.brought) || c.code == "" && answer.Claim != mine {
			t.Errorf("%s: answered %+v", name, answer)
		}
		if r.core.Busy() != 0 || r.store[mine.Key] != mine {
			t.Errorf("%s: busy %d, stored %+v", name, r.core.Busy(), r.store)
		}
	}
}

// What is not confirmed here is taken when a majority has it alike and this region serves its zone, and only then.
func TestMendAdopts(t *testing.T) {
	theirs := claimOf("a", 7)
	theirs.Pending = false
	rival, foreign, pending := theirs, theirs, theirs
	rival.Attempt, foreign.Zone, pending.Pending = chat.UUID{8}, "solo", true
	has := func(c chat.Claim) Result { return Result{Claim: c, Found: true} }
	for name, c := range map[string]struct {
		here   chat.Claim
		others [2]Result
		taken  bool
	}{
		"a majority has it":                  {chat.Claim{}, [2]Result{has(theirs), has(theirs)}, true},
		"it is held here for another":        {pending, [2]Result{has(theirs), has(theirs)}, true},
		"one has it":                         {chat.Claim{}, [2]Result{has(theirs), {}}, false},
		"one has it, one does not answer":    {chat.Claim{}, [2]Result{has(theirs), {Err: &chat.Error{Code: chat.CodeUnknownOutcome}}}, false},
		"they have it for different ones":    {chat.Claim{}, [2]Result{has(theirs), has(rival)}, false},
		"they only hold it":                  {chat.Claim{}, [2]Result{has(pending), has(pending)}, false},
		"it is of a zone not served here":    {chat.Claim{}, [2]Result{has(foreign), has(foreign)}, false},
		"nobody has it, and it is held here": {pending, [2]Result{}, false},
	} {
		r := newRig(t)
		if c.here != (chat.Claim{}) {
			r.store[theirs.Key] = c.here
		}
		outs := r.step(Mend{1, theirs.Key})
		for range 2 { // adopt asks, and then spread does
			var next []Output
			for i, out := range outs {
				if call, ok := out.(Call); ok {
					next = append(next, r.step(Done{call.ID, c.others[i]})...)
				} else {
					next = append(next, out)
				}
			}
			outs = next
		}
		answer := only[Answer](t, outs).Result
		if answer.Found != c.taken || answer.Err != nil || c.taken && (answer.Brought != 1 || r.store[theirs.Key] != theirs) || !c.taken && r.store[theirs.Key] != c.here {
			t.Errorf("%s: answered %+v, stored %+v", name, answer, r.store)
		}
		if r.core.Busy() != 0 {
			t.Errorf("%s: busy", name)
		}
	}
}

// What is of a zone that this region does not serve it brings to nobody; a region that does not take an entry is told of.
func TestMendNothing(t *testing.T) {
	r := newRig(t)
	c := claimOf("a", 7)
	c.Pending, c.Zone = false, "solo"
	r.store[c.Key] = c
	if a := only[Answer](t, r.step(Mend{1, c.Key})); chat.CodeOf(a.Result.Err) != chat.CodeDenied {
		t.Errorf("of a foreign zone: %+v", a)
	}
	c.Zone = "all"
	r.store[c.Key] = c
	var last []Output
	for _, out := range r.step(Mend{1, c.Key}) {
		last = append(last, r.step(Done{out.(Call).ID, Result{}})...)
	}
	full := &chat.Error{Code: chat.CodeStoreFull}
	last = append(r.step(Done{last[0].(Call).ID, Result{Err: full}}), r.step(Done{last[1].(Call).ID, Result{Claim: c, Found: true}})...)
	if a := only[Answer](t, last); chat.CodeOf(a.Result.Err) != chat.CodeStoreFull || a.Result.Brought != 1 {
		t.Errorf("where one store is full: %+v", a)
	}
}
