package meridian

import "time"

// User is how people are named to each other.
type User struct {
	ID       string `json:"id"`
	Username string `json:"username"`
}

// Message is one message as a reader sees it.
type Message struct {
	ID             string
	ConversationID string
	Sender         User
	ClientID       string
	Text           string
	SentAt         time.Time
	ReplyTo        string
	EditedAt       time.Time // zero: not edited
	Deleted        bool      // then Text is empty
	Reactions      []Reaction
	// Refusals are of the regions that will not have it (see Undelivered); of own messages, as read from the history.
	Refusals []Refusal
}

// Refusal says that a region refused a message for good, and why.
type Refusal struct {
	Region string `json:"region"`
	Code   Code   `json:"code"`
	Reason string `json:"reason"`
}

// Reaction is one emoji on a message, with the ids of those who set it.
type Reaction struct {
	Emoji string   `json:"emoji"`
	Users []string `json:"users"`
}

// AckLevel says how far a send has come: durable in one region, then in one more region of the sender's zone.
type AckLevel string

// The ack levels.
const (
	AckRegion AckLevel = "region"
	AckZone   AckLevel = "zone"
)

func (l AckLevel) rank() int {
	switch l {
	case AckRegion:
		return 1
	case AckZone:
		return 2
	}
	return 0
}

// Endpoint is where a region is reached.
type Endpoint struct {
	Region string  `json:"region"`
	URL    string  `json:"url"`
	RTTms  float64 `json:"rtt_ms,omitempty"`
}

// Tokens are one log-in: the access token of a few minutes, and the one that buys the next.
type Tokens struct {
	Access    string    `json:"token"`
	Refresh   string    `json:"refresh_token"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Account is what sign-up, log-in and refresh answer.
type Account struct {
	UserID      string `json:"user_id"`
	Username    string `json:"username"`
	DisplayName string `json:"display_name"`
	HomeZone    string `json:"home_zone"`
	Tokens
}

// Me is the own account.
type Me struct {
	UserID      string `json:"user_id"`
	Username    string `json:"username"`
	DisplayName string `json:"display_name"`
	HomeZone    string `json:"home_zone"`
	Pinned      bool   `json:"pinned"`
}

// LogInSession is one log-in of one device.
type LogInSession struct {
	ID        string    `json:"id"`
	Device    string    `json:"device"`
	CreatedAt time.Time `json:"created_at"`
	Region    string    `json:"region"`
	Current   bool      `json:"current"`
}

// Profile is what one may know of another user.
type Profile struct {
	UserID   string    `json:"user_id"`
	Username string    `json:"username"`
	State    string    `json:"state"`
	LastSeen time.Time `json:"last_seen,omitzero"`
}

// Contact is one contact; State is outgoing, incoming or accepted.
type Contact struct {
	User  User      `json:"user"`
	State string    `json:"state"`
	Since time.Time `json:"since"`
}

// Block is one blocked user.
type Block struct {
	User  User      `json:"user"`
	Since time.Time `json:"since"`
}

// Conversation is one row of the conversation list: direct, with Peer, or a group, with Name, MemberCount and Role. Read,
// PeerRead and PeerDelivered are message ids: everything up to them.
type Conversation struct {
	ID            string
	Kind          string // direct or group
	Peer          User
	Name          string
	MemberCount   int
	Role          string // owner, admin, member, or none for who has left
	State         string
	LastMessage   *Message
	Unread        int // stops counting at 100
	Read          string
	PeerRead      string
	PeerDelivered string
	UpdatedAt     time.Time
}

// Member is somebody in a group; Role is owner, admin or member.
type Member struct {
	User  User      `json:"user"`
	Role  string    `json:"role"`
	Since time.Time `json:"since"`
}

// Group is a group with a page of its members: the owner, admins, then members, each by name. Next is empty on the last page.
type Group struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Role        string   `json:"role"` // one's own
	MemberCount int      `json:"member_count"`
	Members     []Member `json:"members"`
	Next        string   `json:"next"`
}

// Route is what discovery answers: the regions for the caller, best first, and why.
type Route struct {
	Region    string     `json:"region"`
	Endpoints []Endpoint `json:"endpoints"`
	Reasons   []string   `json:"reasons"`
	Expires   time.Time  `json:"expires,omitzero"`
	Signature string     `json:"signature"`
}

// Limits are those of the deployment that a client must know.
type Limits struct {
	FrameBytes     int
	TextBytes      int
	SendsPerSecond float64
	// ClientOutbox is how long an unacknowledged send may be kept and sent again.
	ClientOutbox time.Duration
}
