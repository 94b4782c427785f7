package embedded

import (
	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// encoded is a batch ready for the committer: what needs no look at the store stands in rows already.
type encoded struct {
	rows      *pebble.Batch
	claims    []chat.Claim
	buckets   map[string]*logBucket // by key of tagLogBucket
	spans     spans
	life      chat.StreamID // whose batch it is
	highWater chat.HLC      // the largest time that this life has given out with the batch, or reserves
	bytes     int
}

// encode turns b, a batch of a node's life, into Pebble operations. The error has CodeInvalid for a malformed row.
func encode(rows *pebble.Batch, life chat.StreamID, b *chat.Batch, codec chat.OpCodec) (*encoded, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	e := &encoded{rows: rows, claims: b.Claims, life: life, highWater: b.HighWater}
	e.log(b.Log, codec)
	e.parked(b, codec)
	e.mailboxes(b)
	e.changes(b)
	e.groups(b)
	e.people(b)
	if err := e.accounts(b); err != nil {
		return nil, err
	}
	if err := e.streams(b); err != nil {
		return nil, err
	}
	e.bytes = rows.Len()
	return e, nil
}

// set is for rows that are the same whenever they are written; merge for those with a rule in merge.go. Pebble's batch
// gives no error for either.
func (e *encoded) set(k, v []byte)   { _ = e.rows.Set(k, v, nil) }
func (e *encoded) merge(k, v []byte) { _ = e.rows.Merge(k, v, nil) }

func invalid(what string) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Commit", Message: what}
}

func (e *encoded) log(rows []chat.LogRow, codec chat.OpCodec) {
	for i := range rows {
		op := &rows[i].Op
		e.set(streamSeqKey(tagLog, op.Stream, op.Seq), packLog(op, codec))
		if e.buckets == nil {
			e.buckets = make(map[string]*logBucket, 1)
		}
		k := string(streamSeqKey(tagLogBucket, op.Stream, op.Seq/opBucketOps))
		if e.buckets[k] == nil {
			e.buckets[k] = &logBucket{}
		}
		entered := max(op.Time, op.Logged)
		e.buckets[k].add(entered, op.Seq, op.To)
		if op.Stream == e.life {
			e.highWater = max(e.highWater, entered)
		}
	}
}

func (e *encoded) mailboxes(b *chat.Batch) {
	for i := range b.Messages {
		m := &b.Messages[i]
		e.merge(messageKey(m.Owner, m.Conversation, m.ID), packMessage(m))
	}
	for i := range b.Inbox {
		row := &b.Inbox[i]
		b := bucketOf(row.Arrival, inboxBucket)
		e.spans.inbox.add(b, b+1)
		e.set(inboxKey(row.Owner, row.Arrival, row.Op), packInbox(row))
		e.highWater = max(e.highWater, row.Arrival)
	}
	for i := range b.Retries {
		row := &b.Retries[i]
		b := bucketOf(row.ID.Time(), retryBucket)
		e.spans.retries.add(b, b+1)
		e.merge(retryKey(row), packRetry(row))
	}
	for i := range b.Marks {
		m := &b.Marks[i]
		e.merge(key(tagMark, m.Owner[:], m.Conversation[:], m.User[:], []byte{byte(m.Kind)}), packMark(m))
	}
	for i := range b.Conversations {
		c := &b.Conversations[i]
		e.merge(key(tagConversation, c.Owner[:], c.ID[:]), packConversation(c))
	}
}

func (e *encoded) people(b *chat.Batch) {
	for i := range b.Contacts {
		c := &b.Contacts[i]
		e.merge(key(tagContact, c.Owner[:], c.Other.ID[:], []byte{flag(c.Theirs)}), packContact(c))
	}
	for i := range b.Blocks {
		row := &b.Blocks[i]
		e.merge(key(tagBlock, row.Owner[:], row.Other.ID[:], be64(uint64(row.Time))), packBlock(row))
	}
}

func (e *encoded) accounts(b *chat.Batch) error {
	for i := range b.Accounts {
		a := &b.Accounts[i]
		v, err := packAccount(a)
		if err != nil {
			return err
		}
		e.merge(key(tagAccount, a.ID[:]), v)
	}
	for i := range b.Sessions {
		s := &b.Sessions[i]
		v, err := packSession(s)
		if err != nil {
			return err
		}
		e.merge(key(tagSession, s.User[:], s.ID[:]), v)
	}
	return nil
}

func (e *encoded) streams(b *chat.Batch) error {
	for i := range b.Applied {
		a := &b.Applied[i]
		e.merge(streamKey(tagApplied, a.Stream), packApplied(a))
	}
	for i := range b.Positions {
		p := &b.Positions[i]
		e.merge(positionKey(p.Stream, p.To), packNumber(p.Seq))
	}
	for i := range b.DeadLetters {
		d := &b.DeadLetters[i]
		e.merge(streamSeqKey(tagDeadLetter, d.Stream, d.Seq), packDeadLetter(d))
	}
	for i := range b.Refusals {
		f := &b.Refusals[i]
		v, err := packRefusal(f)
		if err != nil {
			return err
		}
		e.set(key(tagRefusal, ord(f.Op), ord(f.Told)), v)
	}
	return nil
}
