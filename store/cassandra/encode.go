package cassandra

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// Widths of the buckets that keep partitions small.
const (
	// mailboxBucket: a conversation's messages of ten days share a partition.
	mailboxBucket = 10 * 24 * time.Hour
	inboxBucket   = 24 * time.Hour
	// opBucketOps is how many sequence numbers of an op log share a partition, and expire together.
	opBucketOps = 1024
)

// The kinds of table buckets.
const (
	bucketsOfMessages int8 = 1
	bucketsOfChanges  int8 = 2
	bucketsOfInbox    int8 = 3
)

// shardOne is the partition of tables that a region has one small one of.
const shardOne = 0

// fixed is the write time of cells that are only ever set to one value, or whose larger value wins.
const fixed int64 = 1

// statement is one bound write.
type statement struct {
	cql  string
	args []any
}

// writes are the statements of a batch, in three parts that may be written one after the other: what recovery starts from, what
// people read, and what says that it is done.
type writes struct {
	codec          chat.OpCodec
	life           chat.StreamID
	log, rows, end []statement
	indexes        map[string]struct{} // entries of index tables that are in rows already
	known          *known
	highWater      chat.HLC
	bytes          int
	err            error
}

func (w *writes) add(cql string, args ...any) { w.put(&w.rows, cql, args...) }

func (w *writes) put(to *[]statement, cql string, args ...any) {
	*to = append(*to, statement{cql, args})
	w.bytes += statementBytes(args)
}

// statementBytes is about what a statement adds to a batch.
func statementBytes(args []any) int {
	n := 24 + 16*len(args)
	for _, a := range args {
		switch v := a.(type) {
		case []byte:
			n += len(v)
		case string:
			n += len(v)
		}
	}
	return n
}

func uid[T ~[16]byte](id T) gocql.UUID { return gocql.UUID(id) }

// some gives the id, or nothing to be written: a null would be a tombstone.
func some[T ~[16]byte](id T) any {
	if id == (T{}) {
		return gocql.UnsetValue
	}
	return gocql.UUID(id)
}

func text[T ~string](s T) any {
	if s == "" {
		return gocql.UnsetValue
	}
	return string(s)
}

func yes(on bool) any {
	if !on {
		return gocql.UnsetValue
	}
	return true
}

func ord(id chat.MessageID) []byte {
	o := id.Ord()
	return o[:]
}

func bucketOf(t chat.HLC, width time.Duration) int {
	return int(uint64(t) / uint64(width.Microseconds()))
}

// bucketStart is the first time in bucket b.
func bucketStart(b int, width time.Duration) chat.HLC {
	return chat.HLC(uint64(b) * uint64(width.Microseconds()))
}

// encode turns a batch that was checked into statements.
func encode(b *chat.Batch, life chat.StreamID, codec chat.OpCodec, known *known) (*writes, error) {
	w := &writes{codec: codec, life: life, known: known, indexes: make(map[string]struct{}), highWater: b.HighWater}
	for _, part := range []func(*chat.Batch){w.logs, w.mailboxes, w.changes, w.groups, w.people, w.accounts, w.streams, w.parked} {
		part(b)
	}
	if w.highWater > 0 && known.raises(life, w.highWater) {
		w.put(&w.log, insertHighWater, shardOne, string(life.Node), int64(life.Incarnation), int64(w.highWater), int64(w.highWater))
	}
	return w, w.err
}

// index writes an entry of an index table, unless this store knows it to be there.
func (w *writes) index(to *[]statement, name, cql string, args ...any) {
	if _, ok := w.indexes[name]; ok || w.known.has(name) {
		return
	}
	w.indexes[name] = struct{}{}
	w.put(to, cql, append(args, fixed)...)
}

func (w *writes) logs(b *chat.Batch) {
	for i := range b.Log {
		op := &b.Log[i].Op
		s := op.Stream
		entered := max(op.Time, op.Logged)
		bucket := int64(op.Seq / opBucketOps)
		w.index(&w.log, logName(s), insertOpLog, shardOne, string(s.Region), string(s.Node), int64(s.Incarnation))
		w.index(&w.log, fmt.Sprint(logName(s), bucket), insertLogBucket, string(s.Region), string(s.Node), int64(s.Incarnation), bucket)
		to := make([]string, len(op.To))
		for i, region := range op.To {
			to[i] = string(region)
		}
		w.put(&w.log, insertOp, string(s.Region), string(s.Node), int64(s.Incarnation), bucket, int64(op.Seq), int64(entered), to,
			w.codec.Append(nil, op), int64(entered))
		if s == w.life {
			w.highWater = max(w.highWater, entered)
		}
	}
}

// logName names an op log among the indexes.
func logName(s chat.StreamID) string {
	return fmt.Sprintf("log %s %s %d ", s.Region, s.Node, s.Incarnation)
}

func (w *writes) owner(id chat.UserID, zone chat.Zone) {
	w.index(&w.rows, "owner "+string(id[:])+string(zone), insertOwner, int(id[0]), id[:], text(zone))
}

func (w *writes) bucket(kind int8, owner chat.UserID, conversation chat.ConversationID, bucket int) {
	name := fmt.Sprint("bucket ", kind, bucket, string(owner[:]), string(conversation[:]))
	w.index(&w.rows, name, insertBucket, uid(owner), uid(conversation), kind, bucket)
}

func (w *writes) mailboxes(b *chat.Batch) {
	for i := range b.Messages {
		m := &b.Messages[i]
		bucket := bucketOf(m.ID.Time(), mailboxBucket)
		w.owner(m.Owner, m.OwnerZone)
		w.bucket(bucketsOfMessages, m.Owner, m.Conversation, bucket)
		w.add(insertMessage, uid(m.Owner), uid(m.Conversation), bucket, uid(m.ID), text(m.OwnerZone), some(m.Sender), text(m.SenderName),
			some(m.Client), some(m.ReplyTo), m.Body, alias(m.AliasOf), int64(m.ID.Time()))
	}
	for i := range b.Inbox {
		row := &b.Inbox[i]
		bucket := bucketOf(row.Arrival, inboxBucket)
		w.bucket(bucketsOfInbox, row.Owner, chat.NoConversation, bucket)
		w.add(insertInbox, uid(row.Owner), bucket, int64(row.Arrival), uid(row.Op), int8(row.Kind), int8(row.Mark), some(row.Conversation),
			some(row.Actor), some(row.Ref), int64(row.Arrival))
		w.highWater = max(w.highWater, row.Arrival)
	}
	for i := range b.Retries {
		r := &b.Retries[i]
		w.add(insertRetry, uid(r.Sender), uid(r.Client), uid(r.Conversation), r.BodyHash[:], uid(r.ID), string(r.Stream.Region),
			string(r.Stream.Node), int64(r.Stream.Incarnation), int64(r.Seq), int64(r.ID.Time()))
	}
	for i := range b.Marks {
		m := &b.Marks[i]
		w.owner(m.Owner, "")
		var upTo any = gocql.UnsetValue
		if m.UpTo != chat.NoMessage {
			upTo = ord(m.UpTo)
		}
		w.add(insertMark, uid(m.Owner), uid(m.Conversation), uid(m.User), int8(m.Kind), upTo, max(fixed, int64(m.UpTo.Time())))
	}
	for i := range b.Conversations {
		w.conversation(&b.Conversations[i])
	}
}

// alias is built so that of two the smaller id is the larger value.
func alias(id chat.MessageID) any {
	if id == chat.NoMessage {
		return gocql.UnsetValue
	}
	o := id.Ord()
	for i := range o {
		o[i] = ^o[i]
	}
	return o[:]
}

func (w *writes) conversation(c *chat.ConversationRow) {
	w.owner(c.Owner, "")
	w.add(insertConversation, uid(c.Owner), uid(c.ID), yes(c.Answered), yes(c.Group), fixed)
	if c.Peer != (chat.Owner{}) {
		w.add(setPeer, uid(c.Owner), uid(c.ID), uid(c.Peer.ID), string(c.Peer.Zone), c.Peer.Name, fixed)
	}
	if c.Last != chat.NoMessage {
		w.add(setLast, max(fixed, int64(c.Last.Time())), ord(c.Last), uid(c.Owner), uid(c.ID))
	}
}

func (w *writes) changes(b *chat.Batch) {
	for i := range b.Changes {
		c := &b.Changes[i]
		bucket := bucketOf(c.Target.Time(), mailboxBucket)
		w.owner(c.Owner, c.OwnerZone)
		w.bucket(bucketsOfChanges, c.Owner, c.Conversation, bucket)
		each := []byte{}
		if c.Kind.Each() {
			each = ord(c.Op)
		}
		w.add(insertChange, uid(c.Owner), uid(c.Conversation), bucket, uid(c.Target), int8(c.Kind), c.User[:], c.Emoji, each,
			ord(c.Op), c.On, uid(c.Client), string(c.OwnerZone), c.Body, int64(c.Version), max(fixed, int64(c.Version)))
	}
}

func (w *writes) groups(b *chat.Batch) {
	for i := range b.Groups {
		g := &b.Groups[i]
		w.owner(g.Owner, "")
		w.add(insertGroupName, uid(g.Owner), uid(g.Conversation), uid(g.Op), text(g.Name), some(g.By), text(g.ByZone), some(g.Client), yes(g.Made),
			int64(g.Op.Time()))
	}
	for i := range b.Members {
		m := &b.Members[i]
		w.owner(m.Owner, "")
		w.add(insertMember, uid(m.Owner), uid(m.Conversation), uid(m.User.ID), uid(m.Op), text(m.User.Zone), text(m.User.Name), int8(m.Role),
			some(m.By), text(m.ByZone), some(m.Client), yes(m.Made), int64(m.Op.Time()))
	}
	for i := range b.GroupZones {
		z := &b.GroupZones[i]
		w.owner(chat.UserID(z.Conversation), "")
		w.add(insertGroupZone, uid(z.Conversation), string(z.Zone), int64(z.Since), fixed)
	}
}

func (w *writes) people(b *chat.Batch) {
	for i := range b.Contacts {
		c := &b.Contacts[i]
		w.owner(c.Owner, "")
		w.add(insertContact, uid(c.Owner), c.Other.ID[:], c.Theirs, c.Want, string(c.Other.Zone), c.Other.Name, int64(c.Version),
			max(fixed, int64(c.Version)))
	}
	for i := range b.Blocks {
		row := &b.Blocks[i]
		w.owner(row.Owner, "")
		w.add(insertBlock, uid(row.Owner), row.Other.ID[:], int64(row.Time), row.On, text(row.Other.Zone), text(row.Other.Name), max(fixed, int64(row.Time)))
	}
}

// accounts keeps each as JSON that the newest version replaces as a whole.
func (w *writes) accounts(b *chat.Batch) {
	for i := range b.Accounts {
		a := &b.Accounts[i]
		w.owner(a.ID, a.Zone)
		w.add(insertAccount, uid(a.ID), w.json(a), max(fixed, int64(a.Version)))
	}
	for i := range b.Sessions {
		s := b.Sessions[i]
		w.owner(s.User, "")
		if s.Revoked {
			w.add(revokeSession, uid(s.User), uid(s.ID), true, fixed)
		}
		s.Revoked = false
		w.add(insertSession, uid(s.User), uid(s.ID), w.json(&s), max(fixed, int64(s.Version)))
	}
}

func (w *writes) json(v any) string {
	b, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = &chat.Error{Code: chat.CodeInvalid, Op: "cassandra.Commit", Message: "a row cannot be encoded", Cause: err}
	}
	return string(b)
}

func (w *writes) streams(b *chat.Batch) {
	for i := range b.DeadLetters {
		d := &b.DeadLetters[i]
		month := monthOf(d.At)
		w.index(&w.rows, fmt.Sprint("month ", month), insertDeadLetterMonth, shardOne, month)
		w.add(insertDeadLetter, month, string(d.Stream.Region), string(d.Stream.Node), int64(d.Stream.Incarnation), int64(d.Seq), some(d.Op),
			string(d.Reason), text(d.Detail), int64(d.At), fixed)
	}
	for i := range b.Refusals {
		r := &b.Refusals[i]
		w.add(insertRefusal, uid(r.Op), uid(r.Told), w.json(&r.Refusal), fixed)
	}
	for i := range b.Applied {
		a := &b.Applied[i]
		w.put(&w.end, insertApplied, shardOne, string(a.Stream.Region), string(a.Stream.Node), int64(a.Stream.Incarnation),
			int64(a.Seq), int64(a.Watermark), max(fixed, int64(a.Seq)))
	}
	for i := range b.Positions {
		p := &b.Positions[i]
		w.put(&w.end, insertPosition, string(p.Stream.Region), string(p.Stream.Node), int64(p.Stream.Incarnation), string(p.To), int64(p.Seq),
			max(fixed, int64(p.Seq)))
	}
}

// monthOf gives the months since 1970.
func monthOf(t chat.HLC) int {
	at := t.Time()
	return 12*(at.Year()-1970) + int(at.Month()) - 1
}

// parked: an op is parked once and taken out once, in the batch that applies it, so that the removal may stand for ever.
func (w *writes) parked(b *chat.Batch) {
	for i := range b.Parked {
		p := &b.Parked[i]
		s := p.Op.Stream
		w.add(insertParked, shardOne, string(s.Region), string(s.Node), int64(s.Incarnation), int64(p.Op.Seq), uid(p.Op.ID),
			w.codec.Append(nil, &p.Op), string(p.Reason), fixed)
	}
	for i := range b.Unparked {
		op := &b.Unparked[i].Op
		s := op.Stream
		w.put(&w.end, deleteParked, fixed+1, shardOne, string(s.Region), string(s.Node), int64(s.Incarnation), int64(op.Seq), uid(op.ID))
	}
}
