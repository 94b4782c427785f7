package chat

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sort"
)

// UUID is 16 bytes in network order (RFC 9562). The zero UUID means "none".
type UUID [16]byte

// The kinds of id. They are distinct types so that the compiler refuses a conversation where an owner is due.
type (
	UserID         UUID
	ConversationID UUID
	// ClientID is the client's idempotency key of one send.
	ClientID UUID
	// SessionID names one log-in of one device.
	SessionID UUID
	// MessageID is a time UUID: HLC time, then a hash of (sender, client id). It is the identity of an op, and the
	// display order of messages; Compare gives the order.
	MessageID UUID
	// OwnerID names whose mailbox it is: a user, or the conversation itself for a group's copy in a zone.
	OwnerID UUID
)

// The zero ids, for comparisons.
var (
	NoUser         UserID
	NoConversation ConversationID
	NoClient       ClientID
	NoSession      SessionID
	NoMessage      MessageID
)

// String gives the usual text form, 36 characters.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], u[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], u[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], u[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], u[10:16])
	return string(b[:])
}

// String forms of the ids are those of the UUID.
func (id UserID) String() string         { return UUID(id).String() }
func (id ConversationID) String() string { return UUID(id).String() }
func (id ClientID) String() string       { return UUID(id).String() }
func (id SessionID) String() string      { return UUID(id).String() }
func (id MessageID) String() string      { return UUID(id).String() }
func (id OwnerID) String() string        { return UUID(id).String() }

// ParseUUID reads the 36-character text form, in either case. The error has CodeInvalid.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, &Error{Code: CodeInvalid, Op: "chat.ParseUUID", Message: "not a UUID"}
	}
	packed := make([]byte, 0, 32)
	for i := 0; i < len(s); i++ {
		if i != 8 && i != 13 && i != 18 && i != 23 {
			packed = append(packed, s[i])
		}
	}
	if _, err := hex.Decode(u[:], packed); err != nil {
		return UUID{}, &Error{Code: CodeInvalid, Op: "chat.ParseUUID", Message: "not a UUID"}
	}
	return u, nil
}

// The ids read and print their text form in JSON.

// MarshalText gives the usual text form.
func (id UserID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads it; the error has CodeInvalid.
func (id *UserID) UnmarshalText(b []byte) error {
	u, err := ParseUUID(string(b))
	*id = UserID(u)
	return err
}

// MarshalText gives the usual text form.
func (id ConversationID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads it; the error has CodeInvalid.
func (id *ConversationID) UnmarshalText(b []byte) error {
	u, err := ParseUUID(string(b))
	*id = ConversationID(u)
	return err
}

// MarshalText gives the usual text form.
func (id ClientID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads it; the error has CodeInvalid.
func (id *ClientID) UnmarshalText(b []byte) error {
	u, err := ParseUUID(string(b))
	*id = ClientID(u)
	return err
}

// MarshalText gives the usual text form.
func (id SessionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads it; the error has CodeInvalid.
func (id *SessionID) UnmarshalText(b []byte) error {
	u, err := ParseUUID(string(b))
	*id = SessionID(u)
	return err
}

// MarshalText gives the usual text form.
func (id MessageID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads it; the error has CodeInvalid.
func (id *MessageID) UnmarshalText(b []byte) error {
	u, err := ParseUUID(string(b))
	*id = MessageID(u)
	return err
}

// gregorianOffset is the time from 1582-10-15 to 1970-01-01 in units of 100 ns (RFC 9562 §6.2.1).
const gregorianOffset = 0x01B21DD213814000

// NewMessageID builds the id of the op that sender stamped at t for client: a version-1 UUID whose time is t and whose
// low 8 bytes are a hash of (sender, client). The same three arguments give the same id everywhere.
func NewMessageID(t HLC, sender UserID, client ClientID) MessageID {
	var id MessageID
	ticks := uint64(t)*10 + gregorianOffset
	binary.BigEndian.PutUint32(id[0:4], uint32(ticks))
	binary.BigEndian.PutUint16(id[4:6], uint16(ticks>>32))
	binary.BigEndian.PutUint16(id[6:8], uint16(ticks>>48)&0x0fff|0x1000)
	sum := sha256.Sum256(append(append([]byte("meridian.op"), sender[:]...), client[:]...))
	copy(id[8:], sum[:8])
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Time gives the HLC time inside the id; 0 for an id that is no time UUID or lies before 1970.
func (id MessageID) Time() HLC {
	if id[6]>>4 != 1 {
		return 0
	}
	ticks := uint64(binary.BigEndian.Uint16(id[6:8])&0x0fff)<<48 |
		uint64(binary.BigEndian.Uint16(id[4:6]))<<32 | uint64(binary.BigEndian.Uint32(id[0:4]))
	if ticks < gregorianOffset {
		return 0
	}
	return HLC((ticks - gregorianOffset) / 10)
}

// Ord gives 16 bytes that sort (as unsigned bytes) as the ids do: the time from its high bits down, then the low eight
// bytes as signed bytes, which is how Cassandra compares time UUIDs (AbstractTimeUUIDType).
func (id MessageID) Ord() [16]byte {
	var o [16]byte
	copy(o[0:2], id[6:8])
	o[0] &= 0x0f
	copy(o[2:4], id[4:6])
	copy(o[4:8], id[0:4])
	for i := 8; i < 16; i++ {
		o[i] = id[i] ^ 0x80
	}
	return o
}

// MessageIDFromOrd undoes Ord.
func MessageIDFromOrd(o [16]byte) MessageID {
	var id MessageID
	copy(id[6:8], o[0:2])
	id[6] = id[6]&0x0f | 0x10
	copy(id[4:6], o[2:4])
	copy(id[0:4], o[4:8])
	for i := 8; i < 16; i++ {
		id[i] = o[i] ^ 0x80
	}
	return id
}

// Compare orders ids as people see messages: -1, 0 or 1. The zero id comes first.
func (id MessageID) Compare(other MessageID) int {
	if id == NoMessage || other == NoMessage {
		return bytes.Compare(id[:], other[:])
	}
	a, b := id.Ord(), other.Ord()
	return bytes.Compare(a[:], b[:])
}

// DirectConversation gives the id of the one conversation between a and b: the UUIDv5 (RFC 9562 §5.5, nil namespace) of
// the two ids' text forms, sorted and joined by ":". Both sides compute the same.
func DirectConversation(a, b UserID) ConversationID {
	names := []string{a.String(), b.String()}
	sort.Strings(names)
	return ConversationID(nameUUID(names[0] + ":" + names[1]))
}

// GroupConversation gives the id of the group that maker makes with client: a UUIDv5 (RFC 9562 §5.5, nil namespace) of both.
// Nobody else can make a group of that id, and a repeated request makes the same one.
func GroupConversation(maker Owner, client ClientID) ConversationID {
	return ConversationID(nameUUID("group:" + string(maker.Zone) + ":" + maker.ID.String() + ":" + client.String()))
}

// GroupOwner gives the owner of a group's mailbox in a zone: the conversation itself.
func GroupOwner(id ConversationID, zone Zone) Owner { return Owner{ID: UserID(id), Zone: zone} }

// nameUUID gives the UUIDv5 of name in the nil namespace.
func nameUUID(name string) UUID {
	h := sha1.New()
	h.Write(make([]byte, 16))
	h.Write([]byte(name))
	var id UUID
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return id
}
