package messages_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	"meridian/region-node/messages"
)

// way remembers the steps of a walk.
type way struct {
	mu    sync.Mutex
	steps []string
}

func (w *way) at(step string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, step)
}

func (w *way) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.steps)
}

// walkable runs a service that is ready.
func walkable(t *testing.T) (*messages.Service, *held) {
	t.Helper()
	s, h, _ := onHeld(t)
	for deadline := time.Now().Add(patience); s.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(s.Ready())
		}
	}
	return s, h
}

// A walk goes through every step in order, and leaves no op and nobody in the hub.
func TestWalk(t *testing.T) {
	s, h := walkable(t)
	var w way
	if err := s.Walk(t.Context(), w.at); err != nil {
		t.Fatal(err)
	}
	if want := []string{messages.StepLoop, messages.StepStore, messages.StepHub, messages.StepRead}; !slices.Equal(w.all(), want) {
		t.Errorf("steps %v, want %v", w.all(), want)
	}
	if n := s.Hub().Readers(); n != 0 {
		t.Errorf("%d logs are still read", n)
	}
	if streams, err := h.Streams(t.Context()); err != nil || len(streams) != 0 {
		t.Errorf("op logs %v, %v", streams, err)
	}
}

// When a look-up of the store does not come back a walk stands at the loop, and when the hub wakes nobody at the hub: only its
// context ends the waiting.
func TestWalkStandsWhereItIsBroken(t *testing.T) {
	s, h := walkable(t)
	stands := func(at string, atStep func(string)) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var w way
		ended, reached := make(chan error, 1), make(chan struct{}, 4)
		go func() {
			ended <- s.Walk(ctx, func(step string) {
				w.at(step)
				atStep(step)
				if step == at {
					reached <- struct{}{}
				}
			})
		}()
		got(t, "the step "+at, reached)
		select {
		case err := <-ended:
			t.Fatalf("%s: the walk ended: %v after %v", at, err, w.all())
		case <-time.After(200 * time.Millisecond):
		}
		cancel()
		if err := got(t, "end of the walk", ended); chat.CodeOf(err) != chat.CodeUnknownOutcome {
			t.Errorf("%s: %v", at, err)
		}
		if steps := w.all(); steps[len(steps)-1] != at {
			t.Errorf("stood after %v, want %s", steps, at)
		}
	}
	stands(messages.StepHub, func(step string) {
		if step == messages.StepLoop {
			s.Hub().Lose()
		}
	})
	h.mu.Lock()
	h.all = make(chan struct{})
	h.mu.Unlock()
	stands(messages.StepLoop, func(string) {})
	close(h.all)
	h.mu.Lock()
	h.all = nil
	h.mu.Unlock()
	if err := s.Walk(t.Context(), func(string) {}); err != nil {
		t.Errorf("mended: %v", err)
	}
}
