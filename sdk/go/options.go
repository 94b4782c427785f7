package meridian

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// Options make a Client. Tokens, Handle, and one of Router and Endpoints are required.
type Options struct {
	// Router is the base URL that is asked for endpoints before the first link, and when all that are known fail.
	Router string
	// Endpoints are tried in this order until a region names better ones.
	Endpoints []Endpoint
	// Tokens are those of the log-in. They are renewed in time; TokensChanged tells.
	Tokens Tokens
	// Handle gets every event, one at a time. It may call the Client's methods.
	Handle func(Event)
	// Device names this device in the session list.
	Device string
	// Resume is the cursor of the last event that was kept; empty: begin now.
	Resume string
	// Outbox are sends of an earlier run that were not acknowledged for good, oldest first.
	Outbox []Outgoing
	// OutboxMax bounds the sends that wait; 0: 10,000.
	OutboxMax int
	// ResetMessages is how many messages of each conversation are read anew at a reset; 0: 200.
	ResetMessages int
	// As is a simulated address; only a local deployment takes it.
	As string
	// Header is added to every request, also to that of the socket.
	Header http.Header

	// Clock is the time; nil: the machine's.
	Clock Clock
	// Random gives numbers in [0, 1) for jitter; nil: math/rand.
	Random func() float64
	// Dial opens connections; nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Clock is the time as a Client sees it.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

const (
	outboxMaxDefault     = 10_000
	resetMessagesDefault = 200
)

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Handle == nil {
		o.Handle = func(Event) {}
	}
	if o.OutboxMax <= 0 {
		o.OutboxMax = outboxMaxDefault
	}
	if o.ResetMessages <= 0 {
		o.ResetMessages = resetMessagesDefault
	}
	return o
}
