package sim

import (
	"strings"
	"testing"
	"time"
)

// A world in which something happens again and again, at whatever pace, is reported as one that never comes to rest.
func TestEndlessWorld(t *testing.T) {
	for _, every := range []time.Duration{0, time.Microsecond} {
		w := &world{seed: 1}
		w.create(Plan{BusyMS: 1000}, nil)
		var again func()
		again = func() { w.after(every, again) }
		w.after(0, again)
		w.run()
		if len(w.violations) != 1 || w.violations[0].Promise != PromiseLiveness || !strings.Contains(w.violations[0].Detail, "never comes to rest") {
			t.Errorf("every %s: %v", every, w.violations)
		}
	}
	claims := newClaimsWorld(1, false)
	var again func()
	again = func() { claims.after(0, again) }
	claims.after(0, again)
	claims.run()
	if len(claims.violations) != 1 || claims.violations[0].Promise != PromiseLiveness {
		t.Errorf("sign-ups: %v", claims.violations)
	}
}

// What takes longer than it may is given up, and what ends in time gives what it found.
func TestWithin(t *testing.T) {
	never := make(chan int)
	if _, ended := within(time.Millisecond, func() int { return <-never }); ended {
		t.Error("what waits for ever has ended")
	}
	if n, ended := within(time.Minute, func() int { return 7 }); n != 7 || !ended {
		t.Errorf("got %d, ended %v", n, ended)
	}
}
