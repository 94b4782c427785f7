package claim

import (
	"testing"
	"time"

	"meridian/chat"
)

var (
	begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	three = chat.Topology{Regions: []chat.Region{"a", "b", "c"}, Zones: map[chat.Zone]chat.ZoneSpec{
		"all": {Name: "all", Regions: []chat.Region{"a", "b", "c"}}, "solo": {Name: "solo", Regions: []chat.Region{"c"}},
	}}
)

// rig drives one core by hand; its store is a map, and answers at once.
type rig struct {
	t     *testing.T
	core  *Core
	now   time.Time
	store map[chat.ClaimKey]chat.Claim
}

func newRig(t *testing.T) *rig {
	return &rig{
		t: t, now: begin, store: map[chat.ClaimKey]chat.Claim{},
		core: New(Config{Self: "a", Topology: three, Timeout: 5 * time.Second}),
	}
}

// step gives the core an input and does the store work that comes of it; it gives what else is to be done.
func (r *rig) step(in Input) []Output {
	var rest []Output
	for _, out := range r.core.Step(r.now, in) {
		switch out := out.(type) {
		case StoreClaim:
			c, ok := r.store[out.Key]
			rest = append(rest, r.step(Done{out.ID, Result{Claim: c, Found: ok}})...)
		case StoreReserve:
			if _, ok := r.store[out.Claim.Key]; !ok {
				r.store[out.Claim.Key] = out.Claim
			}
			rest = append(rest, r.step(Done{out.ID, Result{Claim: r.store[out.Claim.Key], Found: true}})...)
		case StoreRelease:
			if c := r.store[out.Key]; c.Pending && c.Attempt == out.Attempt {
				delete(r.store, out.Key)
			}
			rest = append(rest, r.step(Done{ID: out.ID})...)
		case StoreConfirm:
			r.store[out.Claim.Key] = out.Claim
			rest = append(rest, r.step(Done{ID: out.ID})...)
		default:
			rest = append(rest, out)
		}
	}
	return rest
}

// pass lets time go by, and wakes the core.
func (r *rig) pass(d time.Duration) []Output {
	r.now = r.now.Add(d)
	return r.step(Tick{})
}

// only gives the one output, which must be a T.
func only[T Output](t *testing.T, outs []Output) T {
	t.Helper()
	if len(outs) == 1 {
		if o, ok := outs[0].(T); ok {
			return o
		}
	}
	t.Fatalf("outputs %+v", outs)
	panic("not reached")
}

// key gives one whose slot the region owns.
func key(owner chat.Region) chat.ClaimKey {
	for i := byte(0); ; i++ {
		if k := (chat.ClaimKey{i}); SlotOwner(three, k) == owner {
			return k
		}
	}
}

func claimOf(owner chat.Region, attempt byte) chat.Claim {
	return chat.Claim{Key: key(owner), Zone: "all", Attempt: chat.UUID{attempt}, Pending: true, Version: chat.HLCFromTime(begin)}
}

// A sign-up whose slot owner is silent is told so after its time, when what it may have reserved has been given back, or after
// a second more; then it is given back until that has been heard.
func TestSilentOwner(t *testing.T) {
	r := newRig(t)
	call := only[Call](t, r.step(Claim{1, claimOf("b", 7)}))
	if call.Region != "b" || call.Ask.Kind != AskReserve || call.Timeout != 5*time.Second {
		t.Fatalf("asked %+v", call)
	}
	if outs := r.pass(5*time.Second - 1); len(outs) != 0 {
		t.Fatalf("before its time: %+v", outs)
	}
	if outs := r.pass(1); len(outs) != 0 {
		t.Fatalf("a release overtakes its reservation: %+v", outs)
	}
	answer := only[Answer](t, r.pass(ReleaseTimeout))
	if e := chat.AsError(answer.Result.Err); answer.Token != 1 || e.Code != chat.CodeNoMajority || e.RetryAfter != RetryAfter {
		t.Fatalf("answered %+v", answer)
	}
	silence := Result{Err: &chat.Error{Code: chat.CodeUnknownOutcome}}
	release := only[Call](t, r.step(Done{call.ID, silence}))
	for range 3 {
		if release.Region != "b" || release.Ask.Kind != AskRelease {
			t.Fatalf("asked %+v", release)
		}
		if outs := r.step(Done{release.ID, silence}); len(outs) != 0 {
			t.Fatalf("at once again: %+v", outs)
		}
		release = only[Call](t, r.pass(ReleaseRetry))
	}
	if outs := r.step(Done{ID: release.ID}); len(outs) != 0 || r.core.Busy() != 0 {
		t.Fatalf("after the release: %+v, busy %d", outs, r.core.Busy())
	}
	if at, ok := r.core.Wake(); ok {
		t.Fatalf("it wants to be woken at %s", at)
	}
}

// A request that ends while the name is being held gives it back; one that ends later changes nothing.
func TestCancel(t *testing.T) {
	r := newRig(t)
	only[Call](t, r.step(Claim{1, claimOf("b", 7)}))
	if outs := r.step(Cancel{1}); len(outs) != 0 {
		t.Fatalf("cancelled: %+v", outs)
	}
	if code := chat.CodeOf(only[Answer](t, r.pass(ReleaseTimeout)).Result.Err); code != chat.CodeNoMajority {
		t.Fatalf("answered %q", code)
	}
	if outs := r.step(Cancel{2}); len(outs) != 0 {
		t.Fatalf("cancelled nothing: %+v", outs)
	}
}

// A reservation here of less than a day is told to who asks whether its sign-up has ended: it may run in another node of this
// region. An older one is not, but one of a sign-up that runs here always is.
func TestAlive(t *testing.T) {
	r := newRig(t)
	c := claimOf("a", 7)
	r.store[c.Key] = c
	alive := func() bool {
		return only[Reply](t, r.step(Request{ID: 9, From: "c", Ask: Ask{AskAlive, c}})).Result.Found
	}
	r.now = begin.Add(PendingTTL - time.Microsecond)
	if !alive() {
		t.Error("a reservation of less than a day is not told")
	}
	r.now = begin.Add(PendingTTL)
	if alive() {
		t.Error("a reservation of a day is told")
	}
	r.step(Claim{1, c})
	if !alive() {
		t.Error("a sign-up that runs is not told")
	}
	c.Pending = false
	r.store[c.Key] = c
	c.Attempt = chat.UUID{8}
	if !alive() {
		t.Error("another's confirmed name is not told")
	}
}

// A name is held where a region of another zone asks for it in vain, confirmed or reserved; nothing is stored.
func TestForeignZone(t *testing.T) {
	r := newRig(t)
	c := claimOf("a", 7)
	c.Zone = "solo"
	for _, kind := range []Kind{AskReserve, AskConfirm} {
		if code := chat.CodeOf(only[Reply](t, r.step(Request{ID: 9, From: "b", Ask: Ask{kind, c}})).Result.Err); code != chat.CodeDenied {
			t.Errorf("question %d is answered %q", kind, code)
		}
	}
	if code := chat.CodeOf(only[Answer](t, r.step(Claim{1, c})).Result.Err); code != chat.CodeDenied {
		t.Errorf("an own sign-up for a zone that is not served is answered %q", code)
	}
	if code := chat.CodeOf(only[Reply](t, r.step(Request{ID: 9, From: "b", Ask: Ask{Kind: 99, Claim: c}})).Result.Err); code != chat.CodeNotFound {
		t.Errorf("an unknown question is answered %q", code)
	}
	if len(r.store) != 0 || r.core.Busy() != 0 {
		t.Errorf("stored %v, busy %d", r.store, r.core.Busy())
	}
}

// Success is answered when a majority has the name as confirmed; a region of the version before counts by its reservation, and
// where too few answer the outcome is unknown.
func TestConfirm(t *testing.T) {
	for name, c := range map[string]struct {
		answer Result
		want   chat.Code
	}{
		"confirmed":          {Result{Found: true, Claim: chat.Claim{Attempt: chat.UUID{7}}}, ""},
		"version before":     {Result{Err: &chat.Error{Code: chat.CodeNotFound}}, ""},
		"pending":            {Result{Found: true, Claim: chat.Claim{Attempt: chat.UUID{7}, Pending: true}}, chat.CodeUnknownOutcome},
		"another's":          {Result{Found: true, Claim: chat.Claim{Attempt: chat.UUID{8}}}, chat.CodeUnknownOutcome},
		"nobody's":           {Result{}, chat.CodeUnknownOutcome},
		"no answer in time":  {Result{Err: &chat.Error{Code: chat.CodeUnknownOutcome}}, chat.CodeUnknownOutcome},
		"not let in by zone": {Result{Err: &chat.Error{Code: chat.CodeDenied}}, chat.CodeUnknownOutcome},
	} {
		r := newRig(t)
		claim := claimOf("a", 7)
		var held []Output
		for _, out := range r.step(Claim{1, claim}) {
			held = append(held, r.step(Done{out.(Call).ID, Result{Claim: claim, Found: true}})...)
		}
		if a := only[Answer](t, held); a.Result.Err != nil {
			t.Fatalf("%s: not held: %v", name, a.Result.Err)
		}
		var last []Output
		for _, out := range r.step(Settle{Token: 1, Claim: claim}) {
			last = append(last, r.step(Done{out.(Call).ID, c.answer})...)
		}
		if got := chat.CodeOf(only[Answer](t, last).Result.Err); got != c.want {
			t.Errorf("%s: answered %q, want %q", name, got, c.want)
		}
	}
}
