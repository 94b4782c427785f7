package chat

import "bytes"

// OpKind says what an op changes. Kinds are stored and cross the wire: add, never renumber.
type OpKind uint8

// The kinds of op.
const (
	OpMessage OpKind = 1  // a message; Op.Body, Client, Conversation, ReplyTo
	OpMark    OpKind = 2  // a read or delivered mark; Op.Mark
	OpContact OpKind = 3  // a contact asked, accepted or removed; Op.Contact
	OpBlock   OpKind = 4  // a block or its end; Op.Block
	OpAccount OpKind = 5  // an account made or changed; Op.Account
	OpSession OpKind = 6  // a log-in or its end; Op.Session
	OpClaim   OpKind = 7  // a username's directory entry; Op.Claim
	OpChange  OpKind = 8  // a message edited, deleted or reacted to; Op.Change, and Op.Body for an edit
	OpGroup   OpKind = 9  // a group made or renamed; Op.Group
	OpMember  OpKind = 10 // somebody joins or leaves a group, or gets another role; Op.Member
	OpRows    OpKind = 11 // rows brought to regions that lack them; Op.Rows
	OpRefused OpKind = 12 // a region could not apply an op, for good; Op.Refused
)

// Incarnation numbers the lives of a node, later ones higher. Each start of its process is a life of its own, numbered by its
// clock in µs since 1970: a store that is an old copy of itself does not know the last number that was given out.
type Incarnation uint64

// StreamID names an op log: the ops of one origin node in one incarnation, numbered from 1.
type StreamID struct {
	Region      Region
	Node        NodeID
	Incarnation Incarnation
}

// Owner names a mailbox that an op concerns, with the zone whose regions keep it. Name is the owner's username as known
// to the op's author; it lets the other side be shown without a look-up abroad.
type Owner struct {
	ID   UserID
	Zone Zone
	Name string
}

// Op is one durable change. Applying it twice, or in another order, ends in the same state.
type Op struct {
	ID     MessageID // HLC time + hash of (author, client id)
	Kind   OpKind
	Time   HLC // = ID.Time(); every mutable cell that the op writes carries it
	Stream StreamID
	Seq    uint64 // position in Stream, from 1
	// Logged is when the op entered Stream: Time for an op that begins there; later for one that is brought in by another
	// node or region than the one that stamped it (a survivor, a repair, a late zone). Sequences, watermarks and arrivals
	// follow Logged; identity and display order follow Time.
	Logged HLC
	Author Owner // who did it; the zero Owner for ops of the system
	// Owners are the mailboxes and inbox logs concerned. Of a direct conversation: the author's first, then the other's. Of a
	// group: the conversation itself, once for each zone that has members (see GroupOwner), then whom the op is about.
	// At most MaxOwners.
	Owners []Owner
	// To lists the regions that must have the op, without its origin; sorted. At most MaxRegions.
	To           []Region
	Client       ClientID
	Conversation ConversationID
	ReplyTo      MessageID
	// Body is the text of a message, UTF-8. It is in the clear in memory and on the mutually authenticated backbone only:
	// stores get it sealed.
	Body []byte
	// BodyHash is SHA-256 of the body in the clear, to tell a retry from another message.
	BodyHash [32]byte

	Mark    *Mark
	Contact *ContactChange
	Block   *BlockChange
	Account *Account
	Session *Session
	Claim   *Claim
	Change  *Change
	Group   *GroupChange
	Member  *MemberChange
	Rows    *Rows
	Refused *Refusal

	// TraceParent is the W3C trace context of the request that made the op, or "".
	TraceParent string
	// Unknown holds, in the codec's encoding, what a newer version added to the op: it is kept and forwarded, never read.
	Unknown []byte
}

// Bounds of an op.
const (
	// MaxOwners bounds Op.Owners: a direct conversation has two; a group has one for each zone, and those whom the op invites.
	MaxOwners = 64
	// MaxInvited bounds the people that a group is made with.
	MaxInvited = 32
	// MaxGroupZones bounds the zones whose people may share a group.
	MaxGroupZones = MaxOwners - MaxInvited - 1
	// MaxOpRows bounds the rows that one op carries.
	MaxOpRows = 1024
	// MaxEmojiBytes bounds a reaction.
	MaxEmojiBytes = 32
	// MaxGroupNameBytes bounds the name of a group, in bytes of UTF-8.
	MaxGroupNameBytes = 256
)

// MarkKind tells a delivered mark from a read mark.
type MarkKind uint8

// The kinds of mark.
const (
	MarkDelivered MarkKind = 1
	MarkRead      MarkKind = 2
)

// String gives the word of the client protocol.
func (k MarkKind) String() string {
	if k == MarkRead {
		return "read"
	}
	return "delivered"
}

// Mark says that User has received or read everything up to UpTo in Conversation. It only moves forward.
type Mark struct {
	Conversation ConversationID
	User         UserID
	Kind         MarkKind
	UpTo         MessageID
}

// ContactChange says whether From wants To as a contact. Two people are contacts when both want it; Want false ends it
// on both sides.
type ContactChange struct {
	From, To Owner
	Want     bool
}

// BlockChange says that By blocks, or no longer blocks, User from the op's time on.
type BlockChange struct {
	By, User Owner
	On       bool
}

// ChangeKind says what is done to a message. Kinds are stored and cross the wire: add, never renumber.
type ChangeKind uint8

// The kinds of change.
const (
	ChangeEdit     ChangeKind = 1 // another text, in Op.Body; the newest of the message's own sender counts
	ChangeDelete   ChangeKind = 2 // the message goes, for good
	ChangeReaction ChangeKind = 3 // Emoji is set or taken back; the newest of each (user, emoji) counts
	ChangeAlias    ChangeKind = 4 // never in an op: another id of the message, kept beside it so that changes of that id are found
)

// Each says that every change of the kind is kept, by its op: an alias, or a deletion, which may turn out not to count. Of the
// others the newest stands.
func (k ChangeKind) Each() bool { return k == ChangeAlias || k == ChangeDelete }

// Change is what the op's author does to the message Target of Op.Conversation.
type Change struct {
	Kind   ChangeKind
	Target MessageID
	Emoji  string // ChangeReaction: at most MaxEmojiBytes
	On     bool   // ChangeReaction: set, or taken back
}

// Role is what somebody may do in a group. Roles are stored and cross the wire: add, never renumber.
type Role uint8

// The roles, from less to more.
const (
	RoleNone   Role = 0 // not in the group
	RoleMember Role = 1
	RoleAdmin  Role = 2 // invites, removes, renames, deletes messages
	RoleOwner  Role = 3 // also makes admins
)

// GroupChange makes the group Op.Conversation, when Make is set (then the author is its owner and Invited are its first
// members), or renames it.
type GroupChange struct {
	Name    string // at most MaxGroupNameBytes
	Make    bool
	Invited []Owner // at most MaxInvited, none twice, not the author
}

// MemberChange gives User another Role in the group Op.Conversation; RoleNone ends the membership.
type MemberChange struct {
	User Owner
	Role Role
}

// Refusal says that Region could not apply the op of Stream and Seq and keeps it as a dead letter. Author is that op's, so
// that the person can be told.
type Refusal struct {
	Region       Region
	Stream       StreamID
	Seq          uint64
	Op           MessageID
	Author       Owner
	Client       ClientID
	Conversation ConversationID
	Code         Code
	Detail       string
}

// Account is a person's account; it lives in the home zone only. The newest Version wins as a whole.
type Account struct {
	ID           UserID
	Username     string // as typed at sign-up; unique after normalisation
	DisplayName  string
	PasswordHash string // PHC string format, argon2id
	Zone         Zone
	Pinned       bool // the zone was chosen, not given by the country rule
	CreatedAt    HLC
	Version      HLC
	// SessionsNotBefore ends every session made before it, but for SessionKept: a password change.
	SessionsNotBefore HLC
	SessionKept       SessionID
}

// Session is one log-in of one device. The newest Version wins; Revoked never goes back.
type Session struct {
	ID        SessionID
	User      UserID
	Zone      Zone
	Device    string
	Region    Region // where the log-in happened
	CreatedAt HLC
	Version   HLC
	Revoked   bool
}

// ClaimKey is HMAC-SHA-256 of a normalised username under the deployment's directory key.
type ClaimKey [32]byte

// Claim is a username's entry in the directory that every region keeps. It holds no personal data in the open: the user
// id is blinded by a key that only the name gives.
type Claim struct {
	Key     ClaimKey
	Blinded [16]byte // user id XOR HMAC(directory key, "id:" + name)
	Zone    Zone
	// Bucket is the first 16 bits of SHA-256 of the normalised name: what a client may ask by before it logs in.
	Bucket uint16
	// Attempt names the sign-up that made the claim, so that its retry is told from another's.
	Attempt UUID
	// Pending: reserved at the slot owner, not yet confirmed by a finished sign-up.
	Pending bool
	Version HLC
}

// Before says that, of two confirmed claims of one name, c is the one that stands, in every region.
func (c Claim) Before(other Claim) bool {
	return c.Version < other.Version || c.Version == other.Version && bytes.Compare(c.Attempt[:], other.Attempt[:]) < 0
}

// OpCodec turns ops into bytes and back, for op logs and the backbone. Fields it does not know survive a round trip
// through a decoder of an older version where the encoding allows it. Decode's error has CodeInvalid.
type OpCodec interface {
	Append(dst []byte, op *Op) []byte
	Decode(b []byte) (Op, error)
}
