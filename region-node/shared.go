package regionnode

import (
	"time"

	"meridian/chat"
	"meridian/region-node/messages"
)

// Shared is what the nodes of a region share beside the store. Each part may be missing: then nothing is cached, hints go over
// the links only, and what is known of presence is what nodes tell each other.
type Shared struct {
	Cache     chat.Cache
	Bus       chat.Bus
	Presences chat.Presences
	// Status says how it is found; nil: there is nothing to lose.
	Status func() SharedStatus
	// Close is called when the node ends.
	Close func()
}

// SharedStatus is how a node finds its region's Redis.
type SharedStatus struct {
	Up bool `json:"up"`
	// Error says why not: the node goes on without it.
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since"`
	// PendingDeletes counts what is to be deleted from the shared cache when the server answers.
	PendingDeletes int `json:"pending_deletes,omitempty"`
}

func (s Shared) close() {
	if s.Close != nil {
		s.Close()
	}
}

// logs tells the cache of inbox logs what is known without reading.
type logs struct{ messages *messages.Service }

func (l logs) Mark() chat.HLC { return l.messages.Marks().Local }

func (l logs) Since(owner chat.UserID, group bool, after chat.HLC) ([]chat.InboxRow, bool) {
	upTo := l.Mark() // before the hub is asked
	entries, ok := l.messages.Hub().Since(owner, group, after, upTo)
	rows := make([]chat.InboxRow, len(entries))
	for i := range entries {
		rows[i] = entries[i].Row
	}
	return rows, ok
}
