// Package memstore is a chat.Store in memory, deterministic and without a disk, for simulations and tests.
package memstore

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"meridian/chat"
)

// Tables holds what is durable of a region, whose nodes share it. It is not safe for concurrent use; Store is.
type Tables struct {
	region        chat.Region
	first         chat.NodeID // whom Identity and Apply speak of
	lives         map[chat.StreamID]chat.NodeRow
	log           map[chat.StreamID][]chat.Op
	messages      map[mailbox]map[chat.MessageID]chat.MessageRow
	inbox         map[chat.UserID][]chat.InboxRow
	retries       map[send][]chat.RetryRow
	marks         map[mailbox]map[markKey]chat.MessageID
	conversations map[chat.UserID]map[chat.ConversationID]chat.ConversationRow
	contacts      map[chat.UserID]map[contactKey]chat.ContactRow
	blocks        map[chat.UserID]map[blockKey]chat.BlockRow
	accounts      map[chat.UserID]chat.Account
	sessions      map[chat.UserID]map[chat.SessionID]chat.Session
	claims        map[chat.ClaimKey]chat.Claim
	changes       map[mailbox]map[changeKey]chat.ChangeRow
	groups        map[mailbox]map[chat.MessageID]chat.GroupRow
	members       map[mailbox]map[memberKey]chat.MemberRow
	groupZones    map[chat.ConversationID]map[chat.Zone]chat.HLC
	parked        map[deadKey]chat.ParkedRow
	applied       map[chat.StreamID]chat.AppliedRow
	positions     map[chat.StreamID]map[chat.Region]uint64
	dead          map[deadKey]chat.DeadLetterRow
	refusals      map[chat.MessageID][]chat.RefusalRow // by the op refused
	keys          map[keyKey]chat.KeyRow
	floor         chat.HLC
}

type (
	mailbox struct {
		owner        chat.UserID
		conversation chat.ConversationID
	}
	send struct {
		sender chat.UserID
		client chat.ClientID
	}
	markKey struct {
		user chat.UserID
		kind chat.MarkKind
	}
	contactKey struct {
		other  chat.UserID
		theirs bool
	}
	blockKey struct {
		other chat.UserID
		time  chat.HLC
	}
	deadKey struct {
		stream chat.StreamID
		seq    uint64
		op     chat.MessageID
	}
	changeKey struct {
		target chat.MessageID
		kind   chat.ChangeKind
		user   chat.UserID
		emoji  string
		op     chat.MessageID // of ChangeAlias and ChangeDelete: each is kept
	}
	memberKey struct {
		user chat.UserID
		op   chat.MessageID
	}
	keyKey struct {
		author chat.UserID
		zone   chat.Zone
	}
)

// New makes the empty tables of a region; node is its first node.
func New(region chat.Region, node chat.NodeID) *Tables {
	t := &Tables{
		region:        region,
		first:         node,
		lives:         map[chat.StreamID]chat.NodeRow{},
		log:           map[chat.StreamID][]chat.Op{},
		messages:      map[mailbox]map[chat.MessageID]chat.MessageRow{},
		inbox:         map[chat.UserID][]chat.InboxRow{},
		retries:       map[send][]chat.RetryRow{},
		marks:         map[mailbox]map[markKey]chat.MessageID{},
		conversations: map[chat.UserID]map[chat.ConversationID]chat.ConversationRow{},
		contacts:      map[chat.UserID]map[contactKey]chat.ContactRow{},
		blocks:        map[chat.UserID]map[blockKey]chat.BlockRow{},
		accounts:      map[chat.UserID]chat.Account{},
		sessions:      map[chat.UserID]map[chat.SessionID]chat.Session{},
		claims:        map[chat.ClaimKey]chat.Claim{},
		changes:       map[mailbox]map[changeKey]chat.ChangeRow{},
		groups:        map[mailbox]map[chat.MessageID]chat.GroupRow{},
		members:       map[mailbox]map[memberKey]chat.MemberRow{},
		groupZones:    map[chat.ConversationID]map[chat.Zone]chat.HLC{},
		parked:        map[deadKey]chat.ParkedRow{},
		applied:       map[chat.StreamID]chat.AppliedRow{},
		positions:     map[chat.StreamID]map[chat.Region]uint64{},
		dead:          map[deadKey]chat.DeadLetterRow{},
		refusals:      map[chat.MessageID][]chat.RefusalRow{},
		keys:          map[keyKey]chat.KeyRow{},
	}
	t.life(node)
	return t
}

// inner gives the map under k, made when it is not there.
func inner[K, L comparable, V any](m map[K]map[L]V, k K) map[L]V {
	in, ok := m[k]
	if !ok {
		in = map[L]V{}
		m[k] = in
	}
	return in
}

// insert puts v into a sorted list; an equal element is replaced.
func insert[V any](list []V, v V, compare func(a, b V) int) []V {
	i, found := slices.BinarySearchFunc(list, v, compare)
	if found {
		list[i] = v
		return list
	}
	return slices.Insert(list, i, v)
}

// Apply makes a batch of the first node durable.
func (t *Tables) Apply(b *chat.Batch) { t.ApplyOf(t.first, b) }

// ApplyOf makes a batch of node durable. Applying it again, or after later batches, changes nothing.
func (t *Tables) ApplyOf(node chat.NodeID, b *chat.Batch) {
	high := b.HighWater
	own := t.life(node).Stream
	for _, row := range b.Log {
		if row.Op.Stream == own {
			high = max(high, row.Op.Logged)
		}
		t.log[row.Op.Stream] = insert(t.log[row.Op.Stream], row.Op, func(a, b chat.Op) int { return cmp.Compare(a.Seq, b.Seq) })
		if life, ok := t.lives[row.Op.Stream]; ok && life.LastSeq < row.Op.Seq {
			life.LastSeq = row.Op.Seq
			t.lives[row.Op.Stream] = life
		}
	}
	for _, row := range b.Inbox {
		high = max(high, row.Arrival)
		t.inbox[row.Owner] = insert(t.inbox[row.Owner], row, compareInbox)
	}
	t.raise(own, high)
	t.applyRows(&b.Rows)
	for _, cl := range b.Claims {
		if old, ok := t.claims[cl.Key]; !ok || old.Pending || cl.Before(old) {
			t.claims[cl.Key] = cl
		}
	}
	t.applyStreams(b)
}

// applyStreams keeps how far streams have come, and what of them could not be applied.
func (t *Tables) applyStreams(b *chat.Batch) {
	for _, row := range b.Applied {
		if old, ok := t.applied[row.Stream]; !ok || row.Seq > old.Seq || row.Seq == old.Seq && row.Watermark > old.Watermark {
			t.applied[row.Stream] = row
		}
	}
	for _, row := range b.Positions {
		m := inner(t.positions, row.Stream)
		m[row.To] = max(m[row.To], row.Seq)
	}
	for _, row := range b.DeadLetters {
		t.dead[deadKey{row.Stream, row.Seq, row.Op}] = row
	}
	for _, row := range b.Refusals {
		t.refusals[row.Op] = insert(t.refusals[row.Op], row, func(a, b chat.RefusalRow) int { return a.Told.Compare(b.Told) })
	}
	for _, row := range b.Parked {
		t.parked[deadKey{row.Op.Stream, row.Op.Seq, row.Op.ID}] = row
	}
	for _, row := range b.Unparked {
		delete(t.parked, deadKey{row.Op.Stream, row.Op.Seq, row.Op.ID})
	}
}

// applyRows merges what the regions of a zone hold alike.
func (t *Tables) applyRows(b *chat.Rows) {
	for _, row := range b.Messages {
		t.applyMessage(row)
	}
	for _, row := range b.Retries {
		k := send{row.Sender, row.Client}
		t.retries[k] = insert(t.retries[k], row, compareRetry)
	}
	t.applyGroups(b)
	t.applyPeople(b)
}

// applyMessage keeps an alias over a message, and the smallest target over others, whatever came first.
func (t *Tables) applyMessage(row chat.MessageRow) {
	m := inner(t.messages, mailbox{row.Owner, row.Conversation})
	if old, ok := m[row.ID]; ok {
		switch {
		case old.AliasOf == row.AliasOf:
			row = larger(row, old)
		case row.AliasOf == chat.NoMessage, old.AliasOf != chat.NoMessage && old.AliasOf.Compare(row.AliasOf) < 0:
			return
		}
	}
	m[row.ID] = row
}

// applyPeople merges what is about people: the larger version, time or position wins.
func (t *Tables) applyPeople(b *chat.Rows) {
	for _, row := range b.Marks {
		m := inner(t.marks, mailbox{row.Owner, row.Conversation})
		k := markKey{row.User, row.Kind}
		if m[k].Compare(row.UpTo) < 0 {
			m[k] = row.UpTo
		}
	}
	for _, row := range b.Conversations {
		m := inner(t.conversations, row.Owner)
		if old, ok := m[row.ID]; ok {
			if old.Last.Compare(row.Last) < 0 {
				old.Last = row.Last
			}
			old.Answered = old.Answered || row.Answered
			old.Group = old.Group || row.Group
			if old.Peer != row.Peer {
				old.Peer = larger(old.Peer, row.Peer)
			}
			row = old
		}
		m[row.ID] = row
	}
	for _, row := range b.Contacts {
		m := inner(t.contacts, row.Owner)
		k := contactKey{row.Other.ID, row.Theirs}
		old, ok := m[k]
		switch {
		case ok && old.Version == row.Version && old.Want != row.Want: // at equal times the end wins
			if old.Want {
				m[k] = row
			}
		case !ok || newer(row.Version, old.Version, row, old):
			m[k] = row
		}
	}
	for _, row := range b.Blocks {
		m, k := inner(t.blocks, row.Owner), blockKey{row.Other.ID, row.Time}
		if old, ok := m[k]; ok {
			row = larger(row, old)
		}
		m[k] = row
	}
	for _, a := range b.Accounts {
		if old, ok := t.accounts[a.ID]; !ok || newer(a.Version, old.Version, a, old) {
			t.accounts[a.ID] = a
		}
	}
	for _, s := range b.Sessions {
		m := inner(t.sessions, s.User)
		if old, ok := m[s.ID]; ok {
			revoked := old.Revoked || s.Revoked
			if newer(old.Version, s.Version, old, s) {
				s = old
			}
			s.Revoked = revoked
		}
		m[s.ID] = s
	}
}

// newer says whether a replaces b: the larger version does, at equal ones the larger value, so that order does not matter.
func newer[V any](av, bv chat.HLC, a, b V) bool {
	return av > bv || av == bv && text(a) > text(b)
}

func text(v any) string { return fmt.Sprintf("%+v", v) }

// larger gives the larger of two values of one key, so that order does not matter.
func larger[V any](a, b V) V {
	if text(a) > text(b) {
		return a
	}
	return b
}

func compareInbox(a, b chat.InboxRow) int {
	return cmp.Or(cmp.Compare(a.Arrival, b.Arrival), a.Op.Compare(b.Op))
}

func compareRetry(a, b chat.RetryRow) int {
	return cmp.Or(a.ID.Compare(b.ID), bytes.Compare(a.Conversation[:], b.Conversation[:]), bytes.Compare(a.BodyHash[:], b.BodyHash[:]))
}
