package wire

import "meridian/chat"

// What REST answers, besides User, Message and Error.

// Login answers sign-up, log-in and the refresh of a token.
type Login struct {
	UserID       string    `json:"user_id"`
	Username     string    `json:"username"`
	DisplayName  string    `json:"display_name"`
	HomeZone     chat.Zone `json:"home_zone"`
	Token        string    `json:"token"`
	RefreshToken string    `json:"refresh_token"`
	ExpiresAt    string    `json:"expires_at"` // of Token
}

// Me is the own account.
type Me struct {
	UserID      string    `json:"user_id"`
	Username    string    `json:"username"`
	DisplayName string    `json:"display_name"`
	HomeZone    chat.Zone `json:"home_zone"`
	Pinned      bool      `json:"pinned"`
}

// Session is one log-in.
type Session struct {
	ID        string      `json:"id"`
	Device    string      `json:"device"`
	CreatedAt string      `json:"created_at"`
	Region    chat.Region `json:"region"`
	Current   bool        `json:"current"`
}

// Sessions is the list of them.
type Sessions struct {
	Sessions []Session `json:"sessions"`
}

// Profile is what others may know of a user. State is "online" or "offline", "" where it is not known.
type Profile struct {
	UserID   string `json:"user_id"`
	Username string `json:"username"`
	State    string `json:"state,omitempty"`
	LastSeen string `json:"last_seen,omitempty"`
}

// Contact is one contact; State is "outgoing", "incoming" or "accepted".
type Contact struct {
	User  User   `json:"user"`
	State string `json:"state"`
	Since string `json:"since"`
}

// Contacts is a page of them.
type Contacts struct {
	Contacts []Contact `json:"contacts"`
	Next     string    `json:"next,omitempty"`
}

// Block is somebody who is blocked.
type Block struct {
	User  User   `json:"user"`
	Since string `json:"since"`
}

// Blocks is the list of them.
type Blocks struct {
	Blocks []Block `json:"blocks"`
}

// Conversation is one conversation in the list: direct, with Peer, or a group, with Name, MemberCount and Role. Read, PeerRead
// and PeerDelivered are message ids, "" for none.
type Conversation struct {
	ID            string   `json:"id"`
	Kind          string   `json:"kind"`
	Peer          *User    `json:"peer,omitempty"`
	Name          string   `json:"name,omitempty"`
	MemberCount   *int     `json:"member_count,omitempty"`
	Role          string   `json:"role,omitempty"`
	State         string   `json:"state"`
	LastMessage   *Message `json:"last_message,omitempty"`
	Unread        int      `json:"unread"`
	Read          string   `json:"read,omitempty"`
	PeerRead      string   `json:"peer_read,omitempty"`
	PeerDelivered string   `json:"peer_delivered,omitempty"`
	UpdatedAt     string   `json:"updated_at"`
}

// Conversations is a page of them.
type Conversations struct {
	Conversations []Conversation `json:"conversations"`
	Next          string         `json:"next,omitempty"`
}

// Messages is a page of a conversation, newest first.
type Messages struct {
	Messages []Message `json:"messages"`
	Next     string    `json:"next,omitempty"`
}

// Member is somebody in a group.
type Member struct {
	User  User   `json:"user"`
	Role  string `json:"role"`
	Since string `json:"since"`
}

// Group is a group with a page of its members.
type Group struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Role        string   `json:"role"`
	MemberCount int      `json:"member_count"`
	Members     []Member `json:"members"`
	Next        string   `json:"next,omitempty"`
}

// RoleOf gives the word of a role.
func RoleOf(r chat.Role) string {
	switch r {
	case chat.RoleOwner:
		return "owner"
	case chat.RoleAdmin:
		return "admin"
	case chat.RoleMember:
		return "member"
	}
	return "none"
}

// UserOf names o.
func UserOf(o chat.Owner) User { return User{ID: o.ID.String(), Username: o.Name} }

// IDOrNone gives the text form of id, "" for none.
func IDOrNone(id chat.MessageID) string {
	if id == chat.NoMessage {
		return ""
	}
	return id.String()
}
