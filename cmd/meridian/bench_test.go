package main

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// A load's ids carry what they were made of.
func TestLoadID(t *testing.T) {
	id := loadID(1234567890123, 999, 1<<40)
	if due, sender, number, ok := parseLoadID([]byte(id)); !ok || len(id) != 36 || due != 1234567890123 || sender != 999 || number != 1<<40 {
		t.Errorf("%s gives %d %d %d %t", id, due, sender, number, ok)
	}
	for _, bad := range []string{"", "x", "00000000-0000-0000-0000-00000000000g", id[:35]} {
		if _, _, _, ok := parseLoadID([]byte(bad)); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

// Percentiles are those of the samples, whatever their order.
func TestLatencies(t *testing.T) {
	var samples []time.Duration
	for i := 1000; i > 0; i-- {
		samples = append(samples, time.Duration(i)*time.Millisecond)
	}
	if l := latenciesOf(samples); *l != (benchLatencies{P50: 500, P99: 990, P999: 999, Max: 1000}) {
		t.Errorf("%+v", *l)
	}
	if latenciesOf(nil) != nil {
		t.Error("no samples have latencies")
	}
}

// Ratios are of medians, and only of what was measured on both sides.
func TestFloorRatios(t *testing.T) {
	var runs []benchRun
	for i, perSecond := range []float64{100, 300, 200} {
		runs = append(runs, benchRun{Server: "floor", Scenario: "sat", PerSecond: perSecond}, benchRun{Server: "meridian", Scenario: "sat", PerSecond: float64(50 * (i + 1))})
	}
	if r := floorRatios(runs); r["sat messages/s"] != 0.5 || len(r) != 1 {
		t.Errorf("%v", r)
	}
}

// relayed is a bench server on a floor that runs in this process.
type relayed struct{ floorServer }

// The load counts each message once, and says what was lost or refused; the floor passes everything on.
func TestLoadAgainstFloor(t *testing.T) {
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runFloor(ctx, address, t.TempDir()) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the floor ended with %v", err)
		}
	}()
	for end := time.Now().Add(time.Minute); !answers(ctx, "http://"+address+"/readyz"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the floor does not answer")
		}
	}
	server := &relayed{floorServer{address: address}}
	l, err := newLoad(server, 4, 50)
	if err != nil {
		t.Fatal(err)
	}
	l.keep = true
	l.phase.Store(phaseMeasure)
	l.begin(2)
	waitFor(t, "some messages", func() bool { return l.result().measured >= 8 })
	l.phase.Store(phaseStop)
	l.drain(ctx)
	if r := l.result(); !r.valid() || r.Delivered == nil || r.Sent < r.measured {
		t.Errorf("%+v", r)
	}
	// A message that nobody passes on, one that comes twice and one out of turn: each is counted.
	p := l.conns[0]
	p.mu.Lock()
	p.sent++
	p.mu.Unlock()
	frame := func(number int64) []byte {
		return fmt.Appendf(nil, `{"t":"message","client_id":"%s"}`, loadID(0, 1, number))
	}
	last := p.onMessage(frame(1000), 999)
	last = p.onMessage(frame(1000), last)
	p.onMessage(frame(1002), last)
	l.close()
	if r := l.result(); r.Repeated != 1 || r.Disordered != 1 || r.valid() {
		t.Errorf("planted faults: %+v", r)
	}
}
