package meridian

import "time"

// Event is what a Client tells: one of the types of this file. Events come one after another; while one is handled, no other
// comes, so a handler that takes long slows its own client down, and nobody else.
//
// An event with a Cursor that is not empty covers everything up to it: whoever keeps state across restarts stores the cursor
// together with what the event brought, and gives it back in Options.Resume.
type Event interface{ event() }

// Connected: a region has welcomed the client.
type Connected struct {
	Region   string
	URL      string
	Session  string
	User     User
	HomeZone string
	MaxLevel AckLevel
	Limits   Limits
	// Reset says that the region's log no longer reaches back to the cursor; Reset follows.
	Reset bool
}

// Disconnected: the link ended, or none could be made. The client tries again after Retry.
type Disconnected struct {
	Region string
	Err    error
	Retry  time.Duration
}

// Received: a message that this client did not know, also an own one that another device sent, or one whose ack was lost.
type Received struct {
	Message Message
	Cursor  string
}

// Acked: a send is durable at Level. Final: at the highest level, so the client has forgotten it.
type Acked struct {
	ClientID       string
	MessageID      string
	ConversationID string
	Level          AckLevel
	SentAt         time.Time
	Final          bool
}

// Failed: a send was refused for good; it is no longer kept.
type Failed struct {
	ClientID string
	Err      *Error
}

// Aliased: the message known as From is now known as To: two regions took the same send, and another id won. A client that
// resumes for an earlier run also tells of messages that the application may never have seen.
type Aliased struct {
	ConversationID string
	ClientID       string
	From, To       string
	Cursor         string
}

// Edited: a message has another text. It may come before the message itself, or twice.
type Edited struct {
	ConversationID, MessageID, ClientID string
	User                                string // who did it, an id
	Text                                string
	At                                  time.Time
	Cursor                              string
}

// Deleted: a message is gone.
type Deleted struct {
	ConversationID, MessageID, ClientID string
	User                                string // who did it, an id
	At                                  time.Time
	Cursor                              string
}

// Reacted: somebody set the reaction Emoji, or took it back.
type Reacted struct {
	ConversationID, MessageID, ClientID string
	User                                string // who did it, an id
	Emoji                               string
	On                                  bool
	At                                  time.Time
	Cursor                              string
}

// GroupChanged: a group was created or renamed, or By had User join, leave, be removed, or get another role.
type GroupChanged struct {
	ConversationID string
	Change         string // created, renamed, joined, left, removed, role
	User           User   // none for created and renamed
	By             User
	Name           string
	Role           string
	At             time.Time
	Cursor         string
}

// Undelivered: Region refused for good what was acknowledged, and does not show it; an operator can look into it.
type Undelivered struct {
	ConversationID, MessageID, ClientID string
	Region                              string
	Err                                 *Error
	Cursor                              string
}

// Receipt: User has received or read everything up to MessageID. Kind is delivered or read.
type Receipt struct {
	ConversationID string
	User           string
	Kind           string
	MessageID      string
	Cursor         string
}

// Typing: User is typing.
type Typing struct {
	ConversationID string
	User           string
}

// Presence: User went online or offline.
type Presence struct {
	User     string
	State    string
	LastSeen time.Time
}

// ContactChanged: a contact was asked, accepted, or (State none) went.
type ContactChanged struct {
	User   User
	State  string
	Cursor string
}

// Reset: what is known of conversations may have gaps; forget it. The newest messages of each conversation follow as Received,
// then Synced. Older ones are in API.Messages.
type Reset struct{}

// Synced: all that Reset announced has come.
type Synced struct{ Cursor string }

// CursorMoved: an idle client's cursor moved on without an event.
type CursorMoved struct{ Cursor string }

// TokensChanged: the log-in was renewed; keep the new tokens.
type TokensChanged struct{ Tokens Tokens }

// Refused: the server refused a frame that was no send. Re is the type of the frame.
type Refused struct {
	Re  string
	Err *Error
}

func (Connected) event()      {}
func (Disconnected) event()   {}
func (Received) event()       {}
func (Acked) event()          {}
func (Failed) event()         {}
func (Aliased) event()        {}
func (Edited) event()         {}
func (Deleted) event()        {}
func (Reacted) event()        {}
func (GroupChanged) event()   {}
func (Undelivered) event()    {}
func (Receipt) event()        {}
func (Typing) event()         {}
func (Presence) event()       {}
func (ContactChanged) event() {}
func (Reset) event()          {}
func (Synced) event()         {}
func (CursorMoved) event()    {}
func (TokensChanged) event()  {}
func (Refused) event()        {}
