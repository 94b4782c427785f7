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
	Ref          MessageID // message: its id; mark: up to; alias: the id that won; change: the message changed; failed: the op refused
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
	InboxSession InboxKind = 6  // an account or session changed: sockets check that they may stay
	InboxChange  InboxKind = 7  // a message was edited, deleted or reacted to
	InboxGroup   InboxKind = 8  // a group was made or renamed
	InboxMember  InboxKind = 9  // somebody joined, left or got another role
	InboxFailed  InboxKind = 10 // a region refused for good what the owner had sent
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

// ChangeRow is one change of a message, as kept for Owner: table changes, keyed (Owner, Conversation, Target, Kind, User,
// Emoji); a deletion and an alias also by Op: each of these is kept, since whether a deletion counts is decided when it is
// read. Otherwise the larger (Version, Op) wins. Target may be an alias, or not be here (yet).
type ChangeRow struct {
	Owner        UserID
	OwnerZone    Zone // as in MessageRow; with User it names the key that seals Body
	Conversation ConversationID
	Target       MessageID
	Kind         ChangeKind
	User         UserID // who did it
	Emoji        string
	On           bool
	Op           MessageID // the op that did it; for ChangeAlias the alias
	Client       ClientID  // of that op
	Version      HLC       // its time
	Body         []byte    // ChangeEdit; opaque to stores
}

// GroupRow is a name that a group was given: table groups, keyed (Owner, Conversation, Op), inserted only; Owner is the
// conversation. Which of them counts is decided when they are read (replication.Members.Name).
type GroupRow struct {
	Owner        UserID
	Conversation ConversationID
	Name         string
	Op           MessageID // its time is the name's
	By           UserID
	ByZone       Zone     // as in MemberRow
	Client       ClientID // as in MemberRow
	// Made marks the name that the group was made with.
	Made bool
}

// MemberRow is one step of somebody's membership: table members, keyed (Owner, Conversation, User, Op), inserted only; Owner
// is the conversation. Which steps count is decided when they are read, by their times (replication.Members).
type MemberRow struct {
	Owner        UserID
	Conversation ConversationID
	User         Owner
	Op           MessageID // its time is the step's
	Role         Role      // from then on; RoleNone: left
	By           UserID
	ByZone       Zone     // of By: only its regions bring the step to others
	Client       ClientID // of the op, whose id is made of By, Client and the time
	// Made marks the steps of the op that made the group: they count without anybody's leave.
	Made bool
}

// GroupZoneRow says since when a zone has members in a group: table groupzones, keyed (Conversation, Zone). The smaller Since wins.
type GroupZoneRow struct {
	Conversation ConversationID
	Zone         Zone
	Since        HLC
}

// ConversationRow is one owner's view of a conversation: table conversations. The first write of the fixed fields stays;
// Last and Answered only grow.
type ConversationRow struct {
	Owner    UserID
	ID       ConversationID
	Peer     Owner
	Last     MessageID // newest message; of a person's group: the op that brought the person in
	Answered bool      // the owner wrote here: no longer a request
	// Group: the conversation is a group. A person's row says that the person is, or was, in it; the group's own row, whose
	// Owner is the conversation, has its newest message.
	Group bool
}

// ActivityRow is a conversation with what it is listed by. Newest is Last; but of somebody's group it is the newest message in
// the group's own mailbox here, if that is later, and for who has left the leaving. It is read from the rows, not stored.
type ActivityRow struct {
	ConversationRow
	Newest MessageID
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

// LogRow is one op of an op log: table oplog, ascending by (Op.Stream, Op.Seq). Op.Body is opaque to stores. A foreign stream
// has rows too: what came from it and has other destinations besides, so that a survivor can hand it on.
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

// RefusalRow keeps, in the zone of who did it, that a region refused an op for good: table refusals, keyed (Refusal.Op, Told),
// inserted only.
type RefusalRow struct {
	// Told is the op that told the author; its time is when the op was refused.
	Told MessageID
	Refusal
}

// ParkedRow is an op that was received and cannot be applied yet (its time lies ahead, its kind is not known): table parked,
// keyed (Op.Stream, Op.Seq, Op.ID).
type ParkedRow struct {
	Op     Op
	Reason Code
}

// KeyRow is a wrapped data key: table keys, keyed (Author, Zone), inserted once; destroying it destroys what it sealed.
type KeyRow struct {
	Author  UserID
	Zone    Zone
	Wrapped []byte
}

// Steps of a group are told by whom they were made, so that whoever gets them from another region can prove it: the op's id is
// made of By and Client, and of the op that made a group the group's id of By, ByZone and Client.

// Genuine says whether the step can have been made by its By.
func (m *MemberRow) Genuine() bool {
	return genuine(m.Conversation, m.Op, Owner{ID: m.By, Zone: m.ByZone}, m.Client, m.Made) && (m.User.ID != m.By || m.User.Zone == m.ByZone)
}

// Genuine says whether the name can have been given by its By.
func (g *GroupRow) Genuine() bool {
	return genuine(g.Conversation, g.Op, Owner{ID: g.By, Zone: g.ByZone}, g.Client, g.Made)
}

func genuine(group ConversationID, op MessageID, by Owner, client ClientID, made bool) bool {
	return op == NewMessageID(op.Time(), by.ID, client) && (!made || group == GroupConversation(by, client))
}

// Rows are what the regions of a zone hold alike about its people: each kind merges without regard to order.
type Rows struct {
	Messages      []MessageRow
	Retries       []RetryRow
	Marks         []MarkRow
	Changes       []ChangeRow
	Groups        []GroupRow
	Members       []MemberRow
	GroupZones    []GroupZoneRow
	Conversations []ConversationRow
	Contacts      []ContactRow
	Blocks        []BlockRow
	Accounts      []Account
	Sessions      []Session
}

// Len counts the rows.
func (r *Rows) Len() int {
	return len(r.Messages) + len(r.Retries) + len(r.Marks) + len(r.Changes) + len(r.Groups) + len(r.Members) + len(r.GroupZones) +
		len(r.Conversations) + len(r.Contacts) + len(r.Blocks) + len(r.Accounts) + len(r.Sessions)
}

// Batch is what one step writes: all of it becomes durable, or nothing does.
type Batch struct {
	Rows
	Log         []LogRow
	Inbox       []InboxRow
	Claims      []Claim // confirmed claims, which replace pending ones; of several of a key the smallest (Version, Attempt) stands
	Applied     []AppliedRow
	Positions   []PositionRow
	DeadLetters []DeadLetterRow
	Refusals    []RefusalRow
	Parked      []ParkedRow
	// Unparked are removed from table parked.
	Unparked []ParkedRow
	// HighWater, if not 0, reserves HLC times for the node that commits: restarted, it stamps above it. The larger wins.
	HighWater HLC
}

// Empty says that the batch writes nothing.
func (b *Batch) Empty() bool {
	return b.Rows.Len()+len(b.Log)+len(b.Inbox)+len(b.Claims)+len(b.Applied)+len(b.Positions)+len(b.DeadLetters)+len(b.Refusals)+len(b.Parked)+
		len(b.Unparked) == 0 && b.HighWater == 0
}

// Intent splits the batch in what a store that cannot write all at once makes durable first, and the rest. The first is the
// op log, from which recovery applies again what a crash left undone; the positions, which say that a thing is done, are in the rest.
func (b *Batch) Intent() (intent, rest *Batch) {
	after := *b
	after.Log = nil
	return &Batch{Log: b.Log, HighWater: b.HighWater}, &after
}
