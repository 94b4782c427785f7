package replication

import (
	"testing"
	"time"

	"meridian/chat"
)

// A probe is written and shown once, covered by the marks, and its batch moves the high-water mark and holds nothing else; one that fails is
// told and not shown; an older write under way holds back that it is shown, and not that it is durable.
func TestProbe(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	r.settle(r.step(Tick{}))
	owner := chat.UserID{7}
	older := only[Write](r.step(r.submit(1, testMessage("", 0, 0, 1, "x"), 0)))
	wrote := only[Write](r.step(Probe{Token: 2, Owner: owner}))
	if len(older) != 1 || len(wrote) != 1 {
		t.Fatalf("writes %+v, %+v", older, wrote)
	}
	rest := *wrote[0].Batch
	if rest.HighWater = 0; wrote[0].Batch.HighWater == 0 || !rest.Empty() {
		t.Errorf("a probe writes %+v", wrote[0].Batch)
	}
	outs := r.step(Written{Write: wrote[0].ID})
	probed := only[Probed](outs)
	if len(probed) != 1 || probed[0].Token != 2 || probed[0].Err != nil || len(only[Visible](outs)) != 0 {
		t.Fatalf("durable behind an older write: %+v", outs)
	}
	var shown []Visible
	for _, v := range only[Visible](r.settle(r.step(Written{Write: older[0].ID}))) {
		if len(v.Owners) == 1 && v.Owners[0] == owner {
			shown = append(shown, v)
		}
	}
	if len(shown) != 1 || len(shown[0].Rows) != 1 || shown[0].Rows[0].Arrival != probed[0].At || r.core.Marks(r.now).Local < probed[0].At {
		t.Errorf("shown %+v, marks %+v", shown, r.core.Marks(r.now))
	}
	wrote = only[Write](r.step(Probe{Token: 3, Owner: owner}))
	outs = r.step(Written{Write: wrote[0].ID, Err: &chat.Error{Code: chat.CodeStoreFull}})
	if p := only[Probed](outs); len(p) != 1 || chat.CodeOf(p[0].Err) != chat.CodeStoreFull || len(only[Visible](outs)) != 0 {
		t.Errorf("refused by the store: %+v", outs)
	}
	if last := r.core.LastSeq(); last != 1 {
		t.Errorf("the op log ends at %d, want 1", last)
	}
}

// A probe waits where a send would, for the clock to come up to the high-water mark, and is refused where a send would be.
func TestProbeWaitsForTheClock(t *testing.T) {
	r := newRig(t, "eu", Restored{Identity: chat.Identity{HighWater: chat.HLCFromTime(testStart.Add(2 * time.Second))}})
	if outs := r.step(Probe{Token: 1}); len(outs) != 0 {
		t.Fatalf("stamped ahead of the clock: %+v", outs)
	}
	r.now = r.now.Add(2 * time.Second)
	if p := only[Probed](r.settle(r.step(Tick{}))); len(p) != 1 || p[0].Err != nil {
		t.Errorf("when its time has come: %+v", p)
	}
	r.step(ClockState{Known: true, Refuse: &chat.Error{Code: chat.CodeClockSkew}})
	if p := only[Probed](r.step(Probe{Token: 2})); len(p) != 1 || chat.CodeOf(p[0].Err) != chat.CodeClockSkew {
		t.Errorf("with a wrong clock: %+v", p)
	}
}
