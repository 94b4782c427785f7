package embedded

import (
	"cmp"

	"github.com/cockroachdb/pebble/v2"

	"meridian/chat"
)

// maxName bounds regions, nodes and zones in keys, in bytes.
const maxName = 255

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
	e := &encoded{rows: rows, claims: b.Claims, life: life, highWater: b.HighWater}
	if err := e.log(b.Log, codec); err != nil {
		return nil, err
	}
	if err := e.parked(b, codec); err != nil {
		return nil, err
	}
	for _, step := range []func(*chat.Batch) error{e.mailboxes, e.changes, e.groups, e.people, e.accounts, e.streams} {
		if err := step(b); err != nil {
			return nil, err
		}
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

// checkID refuses what is no time UUID: its place in the order could not be kept.
func checkID(id chat.MessageID, what string) error {
	if id[6]>>4 != 1 {
		return invalid(what + " is not a time UUID")
	}
	return nil
}

func checkStream(s chat.StreamID, seq uint64) error {
	if s.Region == "" || s.Node == "" || len(s.Region) > maxName || len(s.Node) > maxName || seq == 0 {
		return invalid("a stream needs a region, a node and a sequence from 1")
	}
	return nil
}

func (e *encoded) log(rows []chat.LogRow, codec chat.OpCodec) error {
	for i := range rows {
		op := &rows[i].Op
		if err := checkStream(op.Stream, op.Seq); err != nil {
			return err
		}
		if len(op.To) > chat.MaxRegions {
			return invalid("an op has more destinations than chat.MaxRegions")
		}
		for _, region := range op.To {
			if region == "" || len(region) > maxName {
				return invalid("a destination has no name, or one over 255 bytes")
			}
		}
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
	return nil
}

func (e *encoded) mailboxes(b *chat.Batch) error {
	for i := range b.Messages {
		m := &b.Messages[i]
		if err := checkID(m.ID, "a message's id"); err != nil {
			return err
		}
		e.merge(messageKey(m.Owner, m.Conversation, m.ID), packMessage(m))
	}
	for i := range b.Inbox {
		row := &b.Inbox[i]
		if err := checkID(row.Op, "an inbox entry's op"); err != nil {
			return err
		}
		b := bucketOf(row.Arrival, inboxBucket)
		e.spans.inbox.add(b, b+1)
		e.set(inboxKey(row.Owner, row.Arrival, row.Op), packInbox(row))
		e.highWater = max(e.highWater, row.Arrival)
	}
	for i := range b.Retries {
		row := &b.Retries[i]
		if err := checkID(row.ID, "a retry's id"); err != nil {
			return err
		}
		b := bucketOf(row.ID.Time(), retryBucket)
		e.spans.retries.add(b, b+1)
		e.merge(retryKey(row), packRetry(row))
	}
	for i := range b.Marks {
		m := &b.Marks[i]
		if m.UpTo != chat.NoMessage {
			if err := checkID(m.UpTo, "a mark's message"); err != nil {
				return err
			}
		}
		e.merge(key(tagMark, m.Owner[:], m.Conversation[:], m.User[:], []byte{byte(m.Kind)}), packMark(m))
	}
	for i := range b.Conversations {
		c := &b.Conversations[i]
		e.merge(key(tagConversation, c.Owner[:], c.ID[:]), packConversation(c))
	}
	return nil
}

func (e *encoded) people(b *chat.Batch) error {
	for i := range b.Contacts {
		c := &b.Contacts[i]
		e.merge(key(tagContact, c.Owner[:], c.Other.ID[:], []byte{flag(c.Theirs)}), packContact(c))
	}
	for i := range b.Blocks {
		row := &b.Blocks[i]
		e.merge(key(tagBlock, row.Owner[:], row.Other.ID[:], be64(uint64(row.Time))), packBlock(row))
	}
	return nil
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
	for i := range b.Claims {
		c := &b.Claims[i]
		if err := checkClaim(c, false); err != nil {
			return err
		}
	}
	return nil
}

func checkClaim(c *chat.Claim, pending bool) error {
	if c.Pending != pending {
		return invalid("Batch.Claims takes confirmed claims, Reserve pending ones")
	}
	if len(c.Zone) > maxName {
		return invalid("a zone's name is over 255 bytes")
	}
	return nil
}

func (e *encoded) streams(b *chat.Batch) error {
	for i := range b.Applied {
		a := &b.Applied[i]
		if err := checkStream(a.Stream, 1); err != nil {
			return err
		}
		e.merge(streamKey(tagApplied, a.Stream), packApplied(a))
	}
	for i := range b.Positions {
		p := &b.Positions[i]
		if err := checkStream(p.Stream, 1); err != nil {
			return err
		}
		e.merge(positionKey(p.Stream, p.To), packNumber(p.Seq))
	}
	for i := range b.DeadLetters {
		d := &b.DeadLetters[i]
		if err := checkStream(d.Stream, d.Seq); err != nil {
			return err
		}
		e.merge(streamSeqKey(tagDeadLetter, d.Stream, d.Seq), packDeadLetter(d))
	}
	for i := range b.Refusals {
		f := &b.Refusals[i]
		v, err := packRefusal(f)
		if err != nil {
			return err
		}
		if err := cmp.Or(checkID(f.Op, "Refusal.Op"), checkID(f.Told, "Refusal.Told")); err != nil {
			return err
		}
		e.set(key(tagRefusal, ord(f.Op), ord(f.Told)), v)
	}
	return nil
}
