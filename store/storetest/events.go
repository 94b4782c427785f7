package storetest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
)

// EventsPlace is a broker that one test has for itself.
type EventsPlace interface {
	Open(ctx context.Context) (chat.Events, error)
	// Kill ends the broker (kill -9), Start starts it on what is on its disk.
	Kill()
	Start()
	// Read takes all that the broker has now, in its order: the ids, and the bodies as consumers get them.
	Read() (ids []string, bodies []string)
}

// EventsFactory gives a broker with nothing in it.
type EventsFactory func(t testing.TB) EventsPlace

// RunEvents runs the suite of chat.Events.
func RunEvents(t *testing.T, f EventsFactory) {
	tests := []struct {
		name string
		test func(*testing.T, EventsFactory)
	}{
		{"Order", testEventOrder},
		{"BrokerDies", testBrokerDies},
		{"Closed", testEventsClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, f) })
	}
}

// event gives the n-th event.
func event(n int) chat.Event {
	return chat.Event{
		ID: message(n).String(), Type: chat.EventMessageSent, Time: at(n), Stream: stream(1), Seq: uint64(n), Actor: user(n % 3), Zone: "eu",
		Conversation: conversation(n % 2), Message: message(n),
	}
}

func eventsUpTo(first, n int) (all []chat.Event, ids []string) {
	for i := first; i < first+n; i++ {
		all = append(all, event(i))
		ids = append(ids, event(i).ID)
	}
	return all, ids
}

func openEvents(t testing.TB, p EventsPlace) chat.Events {
	t.Helper()
	e, err := p.Open(t.Context())
	must(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// Events come in the order in which they were published, whole, with the same id when they are published again.
func testEventOrder(t *testing.T, f EventsFactory) {
	p := f(t)
	e := openEvents(t, p)
	first, ids := eventsUpTo(1, 300)
	must(t, e.Publish(t.Context(), first))
	must(t, e.Publish(t.Context(), nil))
	second, more := eventsUpTo(301, chat.MaxEventsAtOnce)
	must(t, e.Publish(t.Context(), second))
	must(t, e.Publish(t.Context(), first[:1]))
	have, bodies := p.Read()
	same(t, "the ids", have, slices.Concat(ids, more, ids[:1]))
	for i, want := range []string{first[0].ID, `"type":"meridian.message.sent"`, `"zone":"eu"`, first[0].Message.String(), first[0].Conversation.String()} {
		if len(bodies) == 0 || !strings.Contains(bodies[0], want) {
			t.Errorf("part %d: the event lacks %s: %s", i, want, bodies[0])
		}
	}
	tooMany, _ := eventsUpTo(1, chat.MaxEventsAtOnce+1)
	wantCode(t, e.Publish(t.Context(), tooMany), chat.CodeInvalid)
}

// What was confirmed is there after the broker was killed. While it is down, Publish fails in time, with a hint when to try again; the
// same handle works again when the broker is back.
func testBrokerDies(t *testing.T, f EventsFactory) {
	p := f(t)
	e := openEvents(t, p)
	var want []string
	for round := range 3 {
		some, ids := eventsUpTo(1+round*100, 100)
		want = append(want, ids...)
		must(t, publishUntil(t, e, some))
		p.Kill()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		started := time.Now()
		err := e.Publish(ctx, some)
		cancel()
		if f := chat.AsError(err); f == nil || f.Code != chat.CodeRegionDegraded || f.RetryAfter == 0 {
			t.Fatalf("without a broker Publish gives %v", err)
		}
		if took := time.Since(started); took > time.Minute {
			t.Fatalf("without a broker Publish takes %s", took)
		}
		p.Start()
	}
	must(t, publishUntil(t, e, nil))
	have, _ := p.Read()
	same(t, "the ids, repeats apart", Once(have), want)
}

// publishWait bounds what a broker takes that has just been started, on a busy machine.
const publishWait = 2 * time.Minute

// publishUntil publishes as a pump does: again until it succeeds.
func publishUntil(t testing.TB, e chat.Events, events []chat.Event) error {
	for end := time.Now().Add(publishWait); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := e.Publish(ctx, events)
		cancel()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// A closed handle refuses.
func testEventsClosed(t *testing.T, f EventsFactory) {
	e := openEvents(t, f(t))
	must(t, e.Close())
	must(t, e.Close())
	some, _ := eventsUpTo(1, 1)
	wantCode(t, e.Publish(t.Context(), some), chat.CodeRegionDegraded)
}

// EventOps gives a batch of an op log with n sends, from the first on, and the ids of the events that they are; for tests of
// what publishes an op log.
func EventOps(first, n int) (*chat.Batch, []string) {
	b := &chat.Batch{}
	var ids []string
	for i := first; i < first+n; i++ {
		b.Log = append(b.Log, logRow(i, uint64(i), "us-east"))
		ids = append(ids, message(i).String())
	}
	return b, ids
}

// EventTime is the time of the n-th op of EventOps.
func EventTime(n int) chat.HLC { return at(n) }

// Once gives each id where it stands first.
func Once(ids []string) (first []string) {
	seen := map[string]bool{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			first = append(first, id)
		}
	}
	return first
}
