package cassandra

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// maxRows bounds every list.
const maxRows = 100_000

// readAgain sends a read to another node when one does not answer. Writes are sent again by write, which knows what it may.
var readAgain = &gocql.SimpleRetryPolicy{NumRetries: 2}

// query is for conditional writes, which are never sent again unasked.
func (s *Store) query(ctx context.Context, cql string, args ...any) *gocql.Query {
	return durable(s.session.Query(cql, args...)).WithContext(ctx)
}

func (s *Store) read(ctx context.Context, cql string, args ...any) *gocql.Query {
	return s.query(ctx, cql, args...).RetryPolicy(readAgain).Idempotent(true)
}

func checkLimit(op string, limit, most int) error {
	if limit < 1 || limit > most {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: fmt.Sprintf("the limit is 1 to %d", most)}
	}
	return nil
}

// asked bounds a read that the caller put no time to, and refuses one of a closed store.
func (s *Store) asked(ctx context.Context, op string) (context.Context, context.CancelFunc, error) {
	if err := s.ready(op); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.ReadTimeout)
	return ctx, cancel, nil
}

// each reads the rows of a query, at most limit (0: all); scan reads one into what the caller keeps and gives it.
func each[T any](ctx context.Context, s *Store, op string, limit int, q func(context.Context) *gocql.Query, scan func(*gocql.Iter) (T, bool, error)) ([]T, error) {
	bounded, cancel, err := s.asked(ctx, op)
	if err != nil {
		return nil, err
	}
	defer cancel()
	it := q(bounded).Iter()
	var rows []T
	for limit == 0 || len(rows) < limit {
		row, ok, err := scan(it)
		if err != nil {
			_ = it.Close()
			return nil, err
		}
		if !ok {
			break
		}
		rows = append(rows, row)
	}
	if err := it.Close(); err != nil {
		return nil, readError(ctx, op, err)
	}
	return rows, nil
}

// list is each for one statement.
func list[T any](ctx context.Context, s *Store, op string, limit int, scan func(*gocql.Iter) (T, bool, error), cql string, args ...any) ([]T, error) {
	return each(ctx, s, op, limit, func(ctx context.Context) *gocql.Query { return s.read(ctx, cql, args...) }, scan)
}

// one gives the row of a query that has at most one.
func one[T any](rows []T, err error) (row T, ok bool, _ error) {
	if err != nil || len(rows) == 0 {
		return row, false, err
	}
	return rows[0], true, nil
}

// single scans one column.
func single[T any](it *gocql.Iter) (v T, ok bool, err error) { //nolint:unparam // as every scan of a list
	ok = it.Scan(&v)
	return v, ok, nil
}

// buckets gives the buckets with rows of a kind between two, newest first.
func (s *Store) buckets(ctx context.Context, op string, kind int8, owner chat.UserID, conversation chat.ConversationID, from, upTo int) ([]int, error) {
	return list(ctx, s, op, 0, single[int], selectBuckets, uid(owner), uid(conversation), kind, from, upTo)
}

// lastBucket is above every bucket.
const lastBucket = 1 << 30

// Messages implements chat.Mailboxes.
func (s *Store) Messages(ctx context.Context, owner chat.UserID, conv chat.ConversationID, before chat.MessageID, limit int) ([]chat.MessageRow, error) {
	const op = "cassandra.Messages"
	if err := checkLimit(op, limit, 1000); err != nil {
		return nil, err
	}
	from := lastBucket
	if before != chat.NoMessage {
		from = bucketOf(before.Time(), mailboxBucket)
	}
	buckets, err := s.buckets(ctx, op, bucketsOfMessages, owner, conv, 0, from)
	if err != nil {
		return nil, err
	}
	var rows []chat.MessageRow
	for _, bucket := range buckets {
		if len(rows) == limit {
			break
		}
		cql, args := selectMessages, []any{uid(owner), uid(conv), bucket}
		if before != chat.NoMessage {
			cql, args = selectMessagesBefore, append(args, uid(before))
		}
		page, err := list(ctx, s, op, 0, scanMessage(owner, conv), cql, append(args, limit-len(rows))...)
		if err != nil {
			return nil, err
		}
		rows = append(rows, page...)
	}
	return rows, nil
}

func scanMessage(owner chat.UserID, conv chat.ConversationID) func(*gocql.Iter) (chat.MessageRow, bool, error) {
	return func(it *gocql.Iter) (chat.MessageRow, bool, error) {
		m := chat.MessageRow{Owner: owner, Conversation: conv}
		var id, sender, client, replyTo gocql.UUID
		var zone string
		var alias []byte
		if !it.Scan(&id, &zone, &sender, &m.SenderName, &client, &replyTo, &m.Body, &alias) {
			return m, false, nil
		}
		m.ID, m.Sender, m.Client, m.ReplyTo = chat.MessageID(id), chat.UserID(sender), chat.ClientID(client), chat.MessageID(replyTo)
		m.OwnerZone = chat.Zone(zone)
		if len(alias) == 16 {
			o := [16]byte(alias)
			for i := range o {
				o[i] = ^o[i]
			}
			m.AliasOf = chat.MessageIDFromOrd(o)
		}
		return m, true, nil
	}
}

// Message implements chat.Mailboxes.
func (s *Store) Message(ctx context.Context, owner chat.UserID, conv chat.ConversationID, id chat.MessageID) (chat.MessageRow, bool, error) {
	if id == chat.NoMessage {
		return chat.MessageRow{}, false, nil
	}
	return one(list(ctx, s, "cassandra.Message", 1, scanMessage(owner, conv), selectMessage,
		uid(owner), uid(conv), bucketOf(id.Time(), mailboxBucket), uid(id)))
}

// Inbox implements chat.Mailboxes.
func (s *Store) Inbox(ctx context.Context, owner chat.UserID, from, upTo chat.HLC, limit int) ([]chat.InboxRow, error) {
	const op = "cassandra.Inbox"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	floor, err := s.recentFloor(ctx, selfInboxFloor)
	if err != nil {
		return nil, err
	}
	from, upTo = max(from, floor), min(upTo, 1<<63-1)
	if from >= upTo {
		return nil, nil
	}
	first, last := bucketOf(from+1, inboxBucket), min(bucketOf(upTo, inboxBucket), lastBucket)
	buckets := []int{first}
	if first < last {
		if buckets, err = s.buckets(ctx, op, bucketsOfInbox, owner, chat.NoConversation, first, last); err != nil {
			return nil, err
		}
	}
	var rows []chat.InboxRow
	for _, bucket := range slices.Backward(buckets) {
		if len(rows) == limit {
			break
		}
		page, err := list(ctx, s, op, 0, scanInbox(owner), selectInbox, uid(owner), bucket, int64(from), int64(upTo), limit-len(rows))
		if err != nil {
			return nil, err
		}
		rows = append(rows, page...)
	}
	return rows, nil
}

func scanInbox(owner chat.UserID) func(*gocql.Iter) (chat.InboxRow, bool, error) {
	return func(it *gocql.Iter) (chat.InboxRow, bool, error) {
		row := chat.InboxRow{Owner: owner}
		var arrival int64
		var kind, mark int8
		var opID, conv, actor, ref gocql.UUID
		if !it.Scan(&arrival, &opID, &kind, &mark, &conv, &actor, &ref) {
			return row, false, nil
		}
		row.Arrival, row.Op, row.Kind, row.Mark = chat.HLC(arrival), chat.MessageID(opID), chat.InboxKind(kind), chat.MarkKind(mark)
		row.Conversation, row.Actor, row.Ref = chat.ConversationID(conv), chat.UserID(actor), chat.MessageID(ref)
		return row, true, nil
	}
}

// Names in table self of how far the tables that expire are swept.
const (
	selfInboxFloor = "inbox-floor"
	selfRetryFloor = "retry-floor"
)

// InboxFloor implements chat.Mailboxes.
func (s *Store) InboxFloor(ctx context.Context) (chat.HLC, error) {
	return s.floor(ctx, selfInboxFloor)
}

func (s *Store) floor(ctx context.Context, name string) (chat.HLC, error) {
	const op = "cassandra.InboxFloor"
	bounded, cancel, err := s.asked(ctx, op)
	if err != nil {
		return 0, err
	}
	defer cancel()
	value, _, err := s.self(bounded, name)
	return chat.HLC(value), readError(ctx, op, err)
}

// floorFor is how long a floor is believed: it moves by a day at a time, and what lies below it is there a little longer.
const floorFor = 10 * time.Second

// floors are those that were read or moved. Safe for concurrent use.
type floors struct {
	mu   sync.Mutex
	rows map[string]readFloor
}

type readFloor struct {
	at   chat.HLC
	read time.Time
}

func (f *floors) put(name string, at chat.HLC) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rows == nil {
		f.rows = make(map[string]readFloor)
	}
	f.rows[name] = readFloor{at, time.Now()}
}

// recentFloor gives a floor as it was some seconds ago at most.
func (s *Store) recentFloor(ctx context.Context, name string) (chat.HLC, error) {
	s.floors.mu.Lock()
	known, ok := s.floors.rows[name]
	s.floors.mu.Unlock()
	if ok && time.Since(known.read) < floorFor {
		return known.at, nil
	}
	at, err := s.floor(ctx, name)
	if err == nil {
		s.floors.put(name, at)
	}
	return at, err
}

// Retries implements chat.Mailboxes.
func (s *Store) Retries(ctx context.Context, sender chat.UserID, client chat.ClientID) ([]chat.RetryRow, error) {
	const op = "cassandra.Retries"
	rows, err := list(ctx, s, op, 0, func(it *gocql.Iter) (chat.RetryRow, bool, error) {
		row := chat.RetryRow{Sender: sender, Client: client}
		var conv, id gocql.UUID
		var hash []byte
		var region, node string
		var incarnation, seq int64
		if !it.Scan(&conv, &hash, &id, &region, &node, &incarnation, &seq) {
			return row, false, nil
		}
		copy(row.BodyHash[:], hash)
		row.Conversation, row.ID, row.Seq = chat.ConversationID(conv), chat.MessageID(id), uint64(seq)
		row.Stream = streamOf(region, node, incarnation)
		return row, true, nil
	}, selectRetries, uid(sender), uid(client))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	floor, err := s.recentFloor(ctx, selfRetryFloor)
	rows = slices.DeleteFunc(rows, func(r chat.RetryRow) bool { return r.ID.Time() <= floor })
	slices.SortFunc(rows, func(a, b chat.RetryRow) int { return a.ID.Compare(b.ID) })
	return rows, err
}

func streamOf(region, node string, incarnation int64) chat.StreamID {
	return chat.StreamID{Region: chat.Region(region), Node: chat.NodeID(node), Incarnation: chat.Incarnation(incarnation)}
}

// Marks implements chat.Mailboxes.
func (s *Store) Marks(ctx context.Context, owner chat.UserID, conv chat.ConversationID) ([]chat.MarkRow, error) {
	return list(ctx, s, "cassandra.Marks", maxRows, func(it *gocql.Iter) (chat.MarkRow, bool, error) {
		var member gocql.UUID
		var kind int8
		var upTo []byte
		ok := it.Scan(&member, &kind, &upTo)
		row := chat.MarkRow{Owner: owner, Mark: chat.Mark{Conversation: conv, User: chat.UserID(member), Kind: chat.MarkKind(kind), UpTo: fromOrd(upTo)}}
		return row, ok, nil
	}, selectMarks, uid(owner), uid(conv))
}

// fromOrd undoes ord; nothing is the zero id.
func fromOrd(b []byte) chat.MessageID {
	if len(b) != 16 {
		return chat.NoMessage
	}
	return chat.MessageIDFromOrd([16]byte(b))
}

// Contacts implements chat.Mailboxes.
func (s *Store) Contacts(ctx context.Context, owner, from chat.UserID, limit int) ([]chat.ContactRow, error) {
	const op = "cassandra.Contacts"
	if err := checkLimit(op, limit, maxRows/2); err != nil {
		return nil, err
	}
	rows, err := list(ctx, s, op, 0, scanContact(owner), selectContacts, uid(owner), from[:], 2*limit)
	if err != nil {
		return nil, err
	}
	others := 0
	for i := range rows {
		if i == 0 || rows[i].Other.ID != rows[i-1].Other.ID {
			if others++; others > limit {
				return rows[:i], nil
			}
		}
	}
	return rows, nil
}

func scanContact(owner chat.UserID) func(*gocql.Iter) (chat.ContactRow, bool, error) {
	return func(it *gocql.Iter) (chat.ContactRow, bool, error) {
		row := chat.ContactRow{Owner: owner}
		var other []byte
		var zone string
		var version int64
		if !it.Scan(&other, &row.Theirs, &row.Want, &zone, &row.Other.Name, &version) {
			return row, false, nil
		}
		copy(row.Other.ID[:], other)
		row.Other.Zone, row.Version = chat.Zone(zone), chat.HLC(version)
		return row, true, nil
	}
}

// Contact implements chat.Mailboxes.
func (s *Store) Contact(ctx context.Context, owner, other chat.UserID) ([]chat.ContactRow, error) {
	return list(ctx, s, "cassandra.Contact", 2, scanContact(owner), selectContact, uid(owner), other[:])
}

// Blocks implements chat.Mailboxes.
func (s *Store) Blocks(ctx context.Context, owner chat.UserID) ([]chat.BlockRow, error) {
	return list(ctx, s, "cassandra.Blocks", maxRows, func(it *gocql.Iter) (chat.BlockRow, bool, error) {
		row := chat.BlockRow{Owner: owner}
		var other []byte
		var zone string
		var at int64
		ok := it.Scan(&other, &at, &row.On, &zone, &row.Other.Name)
		copy(row.Other.ID[:], other)
		row.Time, row.Other.Zone = chat.HLC(at), chat.Zone(zone)
		return row, ok, nil
	}, selectBlocks, uid(owner))
}

// Owners implements chat.Mailboxes.
func (s *Store) Owners(ctx context.Context, after chat.UserID, limit int) ([]chat.OwnerRow, error) {
	const op = "cassandra.Owners"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	var found []chat.OwnerRow
	from := after[:]
	for shard := int(after[0]); shard < 256 && len(found) < limit; shard++ {
		page, err := list(ctx, s, op, 0, func(it *gocql.Iter) (chat.OwnerRow, bool, error) {
			var id []byte
			var zone string
			ok := it.Scan(&id, &zone)
			row := chat.OwnerRow{Zone: chat.Zone(zone)}
			copy(row.ID[:], id)
			return row, ok, nil
		}, selectOwners, shard, from, limit-len(found))
		if err != nil {
			return nil, err
		}
		found, from = append(found, page...), []byte{}
	}
	return found, nil
}

// Account implements chat.Accounts.
func (s *Store) Account(ctx context.Context, id chat.UserID) (chat.Account, bool, error) {
	return one(list(ctx, s, "cassandra.Account", 1, func(it *gocql.Iter) (a chat.Account, ok bool, err error) {
		var state string
		if ok = it.Scan(&state); ok {
			err = decodeJSON("accounts", state, &a)
		}
		return a, ok, err
	}, selectAccount, uid(id)))
}

func scanSession(it *gocql.Iter) (row chat.Session, ok bool, err error) {
	var id gocql.UUID
	var state string
	var revoked bool
	if ok = it.Scan(&id, &state, &revoked); ok && state != "" {
		err = decodeJSON("sessions", state, &row)
	}
	row.Revoked = revoked
	return row, ok, err
}

// Session implements chat.Accounts.
func (s *Store) Session(ctx context.Context, user chat.UserID, id chat.SessionID) (chat.Session, bool, error) {
	return one(list(ctx, s, "cassandra.Session", 1, scanSession, selectSession, uid(user), uid(id)))
}

// Sessions implements chat.Accounts.
func (s *Store) Sessions(ctx context.Context, user chat.UserID) ([]chat.Session, error) {
	all, err := list(ctx, s, "cassandra.Sessions", maxRows, scanSession, selectSessions, uid(user))
	all = slices.DeleteFunc(all, func(row chat.Session) bool { return row.Revoked })
	slices.SortFunc(all, func(a, b chat.Session) int { return cmp.Compare(b.CreatedAt, a.CreatedAt) })
	return all, err
}
