package chat

import "context"

// Store is one node's handle of its region's durable memory, which the nodes of a region share. Every implementation passes
// store/storetest.
//
// Reads see what Commit has reported done, and nothing that is not durable yet. All methods are safe for concurrent use. Errors: CodeRegionDegraded
// when the store does not answer, CodeStoreFull when it takes no more, CodeInvalid for a malformed row (a defect of the
// caller), CodeUnknownOutcome when ctx ends first; a row that is not there is no error but ok == false.
type Store interface {
	Log
	Mailboxes
	Accounts
	Directory
	Keys
	Nodes

	// Commit makes b durable and then calls done once, from another goroutine; b belongs to the store until then. done(nil)
	// means: fsynced. After an error nothing of b is stored, but for CodeUnknownOutcome, where it may be: commit it again.
	// Batches of one caller become durable in the order of its calls on the embedded store; do not rely on it.
	Commit(b *Batch, done func(error))

	// Identity gives which node of which region this handle is for, and in which life. It is made at first open.
	Identity(ctx context.Context) (Identity, error)
	// NewIncarnation starts a new life of this node, as each start of its process does: the next stream starts at 1. Its number is
	// the larger of least and one more than the last, its HighWater the largest of all nodes of the store.
	NewIncarnation(ctx context.Context, least Incarnation) (Identity, error)
	// Sweep drops what has outlived its retention by now: inbox log, op log (only what every destination has), retry keys.
	// It returns the number of buckets dropped.
	Sweep(ctx context.Context, now HLC) (int, error)
	// Checkpoint writes a consistent copy that can be opened as a store to dir, which must not exist; online.
	Checkpoint(ctx context.Context, dir string) error
	// Close waits for commits under way and releases the store. Abandon drops it as a crash would: what is not synced is lost.
	Close() error
	Abandon()
}

// Nodes tells the nodes that share a store of each other. All of it is linearizable and durable on return; times are the
// caller's.
type Nodes interface {
	// Renew says that this life of this node works until the given time, and that it will stamp nothing at or below low any more.
	// LeaseGivenUp ends the lease at once; otherwise the later time stands.
	// The error has CodeVersionConflict when the life was adopted: it is over.
	Renew(ctx context.Context, until, low HLC) error
	// Nodes gives the latest life of every node, and of the earlier ones those that nobody has adopted and those whose op log is
	// not swept yet, sorted by stream.
	Nodes(ctx context.Context) ([]NodeRow, error)
	// Adopt makes this node answerable for a life whose lease has ended before now, and gives it as it stands; it succeeds
	// again for who has adopted it already. The error has CodeVersionConflict while the life's lease, or that of another node
	// which has adopted it, still runs.
	Adopt(ctx context.Context, life StreamID, now HLC) (NodeRow, error)
}

// LeaseGivenUp is the end of the lease of a node that has left in good order: nothing of it is under way any more.
const LeaseGivenUp HLC = 1

// LeaseEnd gives the end of a lease that had one and is renewed.
func LeaseEnd(had, until HLC) HLC {
	if until == LeaseGivenUp {
		return until
	}
	return max(had, until)
}

// NodeRow is one life of a node.
type NodeRow struct {
	Stream StreamID
	// Until is the end of the lease; 0: it never had one.
	Until HLC
	// Low: the life stamps nothing at or below it any more.
	Low HLC
	// HighWater: nothing that leaves the life lies above it.
	HighWater HLC
	// LastSeq is the largest sequence of the op log.
	LastSeq uint64
	// AdoptedBy is the node that is answerable for the op log since the life has ended; "" while it is its own.
	AdoptedBy NodeID
}

// Identity is what a store knows of a node.
type Identity struct {
	Region      Region
	Node        NodeID
	Incarnation Incarnation
	// HighWater: no HLC time at or below it may be stamped again.
	HighWater HLC
	// LastSeq is the largest sequence in the op log of the current incarnation.
	LastSeq uint64
}

// Log is the op log and its positions.
type Log interface {
	// ReadLog gives ops of stream with after < Seq <= upTo that have to in their destinations ("" for any), ascending, at most limit.
	ReadLog(ctx context.Context, stream StreamID, after, upTo uint64, to Region, limit int) ([]Op, error)
	// Positions gives what each destination has acknowledged of stream.
	Positions(ctx context.Context, stream StreamID) (map[Region]uint64, error)
	// Applied gives how far each foreign stream is applied here.
	Applied(ctx context.Context) ([]AppliedRow, error)
	// DeadLetters gives the newest first, at most limit.
	DeadLetters(ctx context.Context, limit int) ([]DeadLetterRow, error)
	// Refusals gives what is known to be refused of ops, at most 1000, sorted by (Refusal.Op, Told).
	Refusals(ctx context.Context, ops []MessageID) ([]RefusalRow, error)
	// Parked gives what waits to be applied, by stream and sequence.
	Parked(ctx context.Context) ([]ParkedRow, error)
	// Streams gives the op logs that have rows here, own and foreign, sorted, with the largest sequence of each.
	Streams(ctx context.Context) ([]StreamEnd, error)
}

// StreamEnd is the largest sequence that is known of a stream.
type StreamEnd struct {
	Stream StreamID
	Seq    uint64
}

// Mailboxes is what a person reads.
type Mailboxes interface {
	// Messages gives owner's copies in conversation with ID < before (NoMessage: from the newest), newest first, at most
	// limit (1 to 1000). Rows with AliasOf are included.
	Messages(ctx context.Context, owner UserID, conversation ConversationID, before MessageID, limit int) ([]MessageRow, error)
	// Message gives one copy.
	Message(ctx context.Context, owner UserID, conversation ConversationID, id MessageID) (row MessageRow, ok bool, err error)
	// Inbox gives owner's log with after < Arrival <= upTo, ascending, at most limit.
	Inbox(ctx context.Context, owner UserID, after, upTo HLC, limit int) ([]InboxRow, error)
	// InboxFloor: the log is complete after this time; older entries have expired.
	InboxFloor(ctx context.Context) (HLC, error)
	// Retries gives the rows of this send, ascending by ID.
	Retries(ctx context.Context, sender UserID, client ClientID) ([]RetryRow, error)
	// Marks gives all marks that owner keeps for conversation.
	Marks(ctx context.Context, owner UserID, conversation ConversationID) ([]MarkRow, error)
	// Conversations gives owner's conversations, latest Last first, those with Last < before, at most limit.
	Conversations(ctx context.Context, owner UserID, before MessageID, limit int) ([]ConversationRow, error)
	// Activities gives owner's conversations with Newest < before (NoMessage: from the latest), latest first, at most limit.
	Activities(ctx context.Context, owner UserID, before MessageID, limit int) ([]ActivityRow, error)
	// Conversation gives one.
	Conversation(ctx context.Context, owner UserID, id ConversationID) (row ConversationRow, ok bool, err error)
	// Changes gives the changes of the messages with from <= Target <= to, ascending by (Target, Kind, User, Emoji), at most limit.
	Changes(ctx context.Context, owner UserID, conversation ConversationID, from, to MessageID, limit int) ([]ChangeRow, error)
	// GroupNames gives all names that a group was given, ascending by Op; owner is the conversation.
	GroupNames(ctx context.Context, owner UserID, conversation ConversationID) ([]GroupRow, error)
	// Members gives all steps of a group's memberships, ascending by (Op, User.ID); of user only, unless that is NoUser.
	Members(ctx context.Context, owner UserID, conversation ConversationID, user UserID) ([]MemberRow, error)
	// GroupZones gives the zones that have, or had, members in a group, sorted.
	GroupZones(ctx context.Context, conversation ConversationID) ([]GroupZoneRow, error)
	// Owners gives who has rows in this store, ascending by id, those after the given one, at most limit.
	Owners(ctx context.Context, after UserID, limit int) ([]OwnerRow, error)
	// Contacts gives both sides' rows of owner's contacts with Other.ID > after, ascending by Other.ID, of at most limit others.
	Contacts(ctx context.Context, owner UserID, after UserID, limit int) ([]ContactRow, error)
	// Contact gives the up to two rows for one other.
	Contact(ctx context.Context, owner, other UserID) ([]ContactRow, error)
	// Blocks gives all steps of owner's blocking, ascending by (Other.ID, Time).
	Blocks(ctx context.Context, owner UserID) ([]BlockRow, error)
}

// OwnerRow is somebody, or a group, with a mailbox or an account here; Zone is "" where no row says it.
type OwnerRow struct {
	ID   UserID
	Zone Zone
}

// Accounts is who people are; kept in their home zone only.
type Accounts interface {
	Account(ctx context.Context, id UserID) (a Account, ok bool, err error)
	Session(ctx context.Context, user UserID, id SessionID) (s Session, ok bool, err error)
	// Sessions gives all of user's sessions that are not revoked, newest first.
	Sessions(ctx context.Context, user UserID) ([]Session, error)
}

// Directory maps usernames to users, in every region, without personal data in the open.
type Directory interface {
	// Claim gives the entry of a name.
	Claim(ctx context.Context, key ClaimKey) (c Claim, ok bool, err error)
	// Claims gives the entries of the names after the given one (zero: from the first), in the order of their keys, at most limit.
	Claims(ctx context.Context, after ClaimKey, limit int) ([]Claim, error)
	// Reserve inserts c as Pending unless the key has an entry of another attempt; it gives the entry that stands. Linearizable, durable on return.
	Reserve(ctx context.Context, c Claim) (stands Claim, err error)
	// Release removes a Pending entry of that attempt; nothing else.
	Release(ctx context.Context, key ClaimKey, attempt UUID) error
	// ZonesOfBucket gives the zones of the names in a bucket, sorted, each once.
	ZonesOfBucket(ctx context.Context, bucket uint16) ([]Zone, error)
}

// Keys keeps wrapped data keys.
type Keys interface {
	Key(ctx context.Context, author UserID, zone Zone) (k KeyRow, ok bool, err error)
	// InsertKey stores k unless there is one; it gives the one that stands. Durable on return.
	InsertKey(ctx context.Context, k KeyRow) (stands KeyRow, err error)
}
