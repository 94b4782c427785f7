package replication

import (
	"testing"
	"time"

	"meridian/chat"
)

// A submit waits for the lease as long as a start takes, or a moment beyond a lease that ran out; then it is refused so that it
// may be tried elsewhere, and what comes after the lease is back is taken.
func TestSubmitsWithoutALeaseAreRefused(t *testing.T) {
	const lease = 2 * time.Second
	r := newRig(t, "eu", Restored{})
	cfg := r.core.cfg
	cfg.Lease, cfg.AdoptWait = lease, time.Second
	r.core = New(cfg, Restored{Identity: chat.Identity{Region: "eu", Node: "n1", Incarnation: 1}})
	token := uint64(0)
	logged := 0 // ops of the own log that were written
	answers := func(in Input) []Submitted {
		outs := r.settle(r.step(in))
		for _, w := range only[Write](outs) {
			logged += len(w.Batch.Log)
		}
		return only[Submitted](outs)
	}
	submit := func() []Submitted {
		token++
		return answers(r.submit(token, testMessage("", 0, 0, int(token), "x"), 0))
	}
	tick := func(after time.Duration) []Submitted {
		r.now = r.now.Add(after)
		return answers(Tick{})
	}
	refused := func(answers []Submitted) bool {
		return len(answers) == 1 && answers[0].Token == token && chat.CodeOf(answers[0].Err) == chat.CodeRegionDegraded
	}
	if early := append(submit(), tick(lease+leaseWait/2)...); len(early) != 0 {
		t.Fatalf("answered while the node may be starting: %+v", early)
	}
	if late := tick(cfg.MaxDrift + leaseWait); !refused(late) {
		t.Fatalf("a lease that never came: %+v", late)
	}
	answers(Renewed{})
	if refusals := submit(); len(refusals) != 0 || logged != 1 {
		t.Fatalf("with a lease %d ops were logged: %+v", logged, refusals)
	}
	tick(lease)
	if early := append(submit(), tick(leaseWait/2)...); len(early) != 0 {
		t.Fatalf("answered while the lease may come back: %+v", early)
	}
	if late := tick(leaseWait); !refused(late) {
		t.Fatalf("a lease that ran out: %+v", late)
	}
	if early := append(submit(), tick(leaseWait/2)...); len(early) != 0 {
		t.Fatalf("answered without a moment's wait: %+v", early)
	}
	answers(Renewed{})
	if refusals := tick(10 * time.Millisecond); len(refusals) != 0 || logged != 2 {
		t.Fatalf("the lease is back, and %d ops are logged: %+v", logged, refusals)
	}
}
