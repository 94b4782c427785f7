package events

import (
	"context"
	"fmt"
	"time"

	"meridian/chat"
)

const (
	// dialWithin bounds the making of one connection, heartbeat the silence of one before it is given up.
	dialWithin = 3 * time.Second
	heartbeat  = 5 * time.Second
	// retryAfter is told to who meets a broker that does not answer.
	retryAfter = time.Second
)

// DefaultName is the stream, or the exchange and the queue, that events go to.
const DefaultName = "meridian.events"

func checkCount(op string, events []chat.Event) error {
	if len(events) > chat.MaxEventsAtOnce {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: fmt.Sprintf("more than %d events at once", chat.MaxEventsAtOnce)}
	}
	return nil
}

// unavailable says that the broker did not do what was asked.
func unavailable(op, message string, cause error) error {
	if why := chat.Untrusted(cause); why != "" {
		message = "the broker is not trusted: " + why
	}
	return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: message, Cause: cause, RetryAfter: retryAfter}
}

// deadline gives when a connection that is being made, or ended, must be done.
func deadline(ctx context.Context) time.Time {
	end := time.Now().Add(dialWithin)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		return d
	}
	return end
}
