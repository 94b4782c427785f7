package chat

import (
	"context"
	"time"
)

// LastSeenKeep is how long it is remembered when somebody was last seen.
const LastSeenKeep = 24 * time.Hour

// PresenceState is whether somebody is online, and when they went if they are not and it is known.
type PresenceState struct {
	Online   bool
	LastSeen time.Time
}

// Presences is what a region's nodes share of who is online: leases per person and node, so that what a lost node said ends by
// itself, and when people went. Only people whose zone the region serves are told to it. It may forget everything. Times are the
// callers' clocks'. Safe for concurrent use. The error has CodeRegionDegraded when it does not answer in time.
type Presences interface {
	// Online says that users have sockets at node until the given time, which lies at most TTLPresence ahead.
	Online(ctx context.Context, node NodeRef, users []UserID, until time.Time) error
	// Offline says that users have gone from node.
	Offline(ctx context.Context, node NodeRef, users []UserID, at time.Time) error
	// Lookup gives what is known of users at now, in their order; the zero state where nothing is.
	Lookup(ctx context.Context, users []UserID, now time.Time) ([]PresenceState, error)
}
