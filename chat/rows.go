package chat

// The rows that stores keep. Each names the table it belongs to; every row is written idempotently.

// MessageRow is one owner's copy of one message: table messages, newest first by ID within (Owner, Conversation).
type MessageRow struct {
	Owner        UserID
	OwnerZone    Zone // the zone this copy is kept for; with Sender it names the key that seals Body
	Conversation ConversationID
	ID           MessageID
	Sender       UserID
	SenderName   string
	Client       ClientID
	ReplyTo      MessageID
	Body         []byte // opaque to stores
	// AliasOf is set when another id won for this send: the row is not shown, and ids that aim at it mean the other.
	AliasOf MessageID
}

// InboxRow is one entry of an owner's inbox log: table inbox, ascending by (Arrival, Op). It holds ids only.
type InboxRow struct {
	Owner        UserID
	Arrival      HLC // when this region made it visible; unique per node
	Op           MessageID
	Kind         InboxKind
	Conversation ConversationID
	Actor        UserID    // who did it; for InboxContact the other person, whoever did it
	Ref          MessageID // message: its id; mark: up to; alias: the id that won
	Mark         MarkKind  // for InboxMark
}

// InboxKind says what an inbox entry is about.
type InboxKind uint8

// The kinds of inbox entry. They are stored: add, never renumber.
const (
	InboxMessage InboxKind = 1
	InboxMark    InboxKind = 2
	InboxAlias   InboxKind = 3
	InboxContact InboxKind = 4
	InboxBlock   InboxKind = 5
	InboxSession InboxKind = 6 // an account or session changed: sockets check that they may stay
)

// RetryRow remembers a send: table retries, keyed (Sender, Client, Conversation, BodyHash, ID), inserted and never
// overwritten. Of several with one content the smallest ID wins, everywhere.
type RetryRow struct {
	Sender       UserID
	Client       ClientID
	Conversation ConversationID
	BodyHash     [32]byte
	ID           MessageID
	Stream       StreamID
	Seq          uint64
}

// MarkRow is how far User has come in Conversation, as kept for Owner: table marks. The larger UpTo wins.
type MarkRow struct {
	Owner UserID
	Mark
}

// ConversationRow is one owner's view of a conversation: table conversations. The first write of the fixed fields stays;
// Last and Answered only grow.
type ConversationRow struct {
	Owner    UserID
	ID       ConversationID
	Peer     Owner
	Last     MessageID // newest message
	Answered bool      // the owner wrote here: no longer a request
}

// ContactRow is one side's wish: table contacts, keyed (Owner, Other, Theirs). The larger Version wins.
type ContactRow struct {
	Owner   UserID
	Other   Owner
	Theirs  bool // false: Owner wants Other; true: Other wants Owner
	Want    bool
	Version HLC
}

// BlockRow is one step of Owner's blocking of Other: table blocks, keyed (Owner, Other, Time), inserted only. A message of
// Other is hidden from Owner when the newest step at or before its time is On.
type BlockRow struct {
	Owner UserID
	Other Owner
	Time  HLC
	On    bool
}

// LogRow is one op of an op log: table oplog, ascending by (Op.Stream, Op.Seq). Op.Body is opaque to stores.
type LogRow struct{ Op Op }

// AppliedRow says how far this region has durably applied another's stream: table applied. The larger Seq wins.
type AppliedRow struct {
	Stream StreamID
	Seq    uint64
	// Watermark: every op of the stream for this region at or before it is applied.
	Watermark HLC
}

// PositionRow says up to where a destination has acknowledged this stream: table positions. The larger Seq wins.
type PositionRow struct {
	Stream StreamID
	To     Region
	Seq    uint64
}

// DeadLetterRow keeps what could not be applied, without its body: table deadletters.
type DeadLetterRow struct {
	Stream StreamID
	Seq    uint64
	Op     MessageID
	Reason Code
	Detail string
	At     HLC
}

// KeyRow is a wrapped data key: table keys, keyed (Author, Zone), inserted once; destroying it destroys what it sealed.
type KeyRow struct {
	Author  UserID
	Zone    Zone
	Wrapped []byte
}

// Batch is what one step writes: all of it becomes durable, or nothing does.
type Batch struct {
	Log           []LogRow
	Messages      []MessageRow
	Inbox         []InboxRow
	Retries       []RetryRow
	Marks         []MarkRow
	Conversations []ConversationRow
	Contacts      []ContactRow
	Blocks        []BlockRow
	Accounts      []Account
	Sessions      []Session
	Claims        []Claim // confirmed claims; the first confirmed one of a key stays
	Applied       []AppliedRow
	Positions     []PositionRow
	DeadLetters   []DeadLetterRow
	// HighWater, if not 0, reserves HLC times: a restarted node stamps above it. The larger wins.
	HighWater HLC
}

// Empty says that the batch writes nothing.
func (b *Batch) Empty() bool {
	return len(b.Log)+len(b.Messages)+len(b.Inbox)+len(b.Retries)+len(b.Marks)+len(b.Conversations)+len(b.Contacts)+
		len(b.Blocks)+len(b.Accounts)+len(b.Sessions)+len(b.Claims)+len(b.Applied)+len(b.Positions)+len(b.DeadLetters) == 0 &&
		b.HighWater == 0
}
