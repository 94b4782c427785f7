package chat

import "context"

// Store is a region's durable memory. Every implementation passes store/storetest.
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

	// Commit makes b durable and then calls done once, from another goroutine; b belongs to the store until then. done(nil)
	// means: fsynced. After an error nothing of b is stored, but for CodeUnknownOutcome, where it may be: commit it again.
	// Batches of one caller become durable in the order of its calls on the embedded store; do not rely on it.
	Commit(b *Batch, done func(error))

	// Identity gives who this store belongs to and in which life. It is made at first open.
	Identity(ctx context.Context) (Identity, error)
	// NewIncarnation starts a new life of the store after a restore: the next stream starts at 1.
	NewIncarnation(ctx context.Context) (Identity, error)
	// Sweep drops what has outlived its retention by now: inbox log, op log (only what every destination has), retry keys.
	// It returns the number of buckets dropped.
	Sweep(ctx context.Context, now HLC) (int, error)
	// Checkpoint writes a consistent copy that can be opened as a store to dir, which must not exist; online.
	Checkpoint(ctx context.Context, dir string) error
	// Close waits for commits under way and releases the store. Abandon drops it as a crash would: what is not synced is lost.
	Close() error
	Abandon()
}

// Identity is what a store knows of itself.
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
	// Conversation gives one.
	Conversation(ctx context.Context, owner UserID, id ConversationID) (row ConversationRow, ok bool, err error)
	// Contacts gives both sides' rows of owner's contacts with Other.ID > after, ascending by Other.ID, of at most limit others.
	Contacts(ctx context.Context, owner UserID, after UserID, limit int) ([]ContactRow, error)
	// Contact gives the up to two rows for one other.
	Contact(ctx context.Context, owner, other UserID) ([]ContactRow, error)
	// Blocks gives all steps of owner's blocking, ascending by (Other.ID, Time).
	Blocks(ctx context.Context, owner UserID) ([]BlockRow, error)
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
