package replication

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"meridian/chat"
)

// ownTime in Account.SessionsNotBefore stands for the op's own time, which the caller does not know yet.
const ownTime = ^chat.HLC(0)

// date writes the op's time into what it carries, so that every region stores the same.
func date(op *chat.Op) {
	if a := op.Account; a != nil {
		a.Version = op.Time
		if a.CreatedAt == 0 {
			a.CreatedAt = op.Time
		}
		if a.SessionsNotBefore == ownTime {
			a.SessionsNotBefore = op.Time
		}
	}
	if s := op.Session; s != nil {
		s.Version = op.Time
		if s.CreatedAt == 0 {
			s.CreatedAt = op.Time
		}
	}
	if cl := op.Claim; cl != nil {
		cl.Version, cl.Pending = op.Time, false
	}
}

// retryRow is what remembers the send op.
func retryRow(op *chat.Op) chat.RetryRow {
	return chat.RetryRow{
		Sender: op.Author.ID, Client: op.Client, Conversation: op.Conversation, BodyHash: contentHash(op),
		ID: op.ID, Stream: op.Stream, Seq: op.Seq,
	}
}

// contentHash tells a repetition from another send under the same client id: by the text, and by what a change does to what.
func contentHash(op *chat.Op) [32]byte {
	if op.Kind != chat.OpChange {
		return op.BodyHash
	}
	c := op.Change
	b := append([]byte("meridian.change"), byte(c.Kind))
	if c.On {
		b[len(b)-1] |= 0x80
	}
	b = append(append(b, c.Target[:]...), op.BodyHash[:]...)
	return sha256.Sum256(append(b, c.Emoji...))
}

// sameContent says whether row remembers the very same message.
func sameContent(row *chat.RetryRow, op *chat.Op) bool {
	return row.Conversation == op.Conversation && row.BodyHash == contentHash(op)
}

// applier turns ops into the rows that region self keeps. The rows of a set of ops, stored in whatever order the ops came,
// end in the same state, but for inbox logs, which tell the order in which this region made things visible.
type applier struct {
	self     chat.Region
	topology chat.Topology
	batch    *chat.Batch
	// by, if set, is the region that brings the op and does not speak for its author: only owners whom it serves count.
	by chat.Region
	// next stamps a further inbox entry; each entry of an owner has an arrival of its own, or a page that ends between two
	// of one arrival would lose the second.
	next func() chat.HLC
}

func (c *Core) applier(now time.Time, batch *chat.Batch) *applier {
	return &applier{self: c.cfg.Self, topology: c.cfg.Topology, batch: batch, next: func() chat.HLC { return c.clock.Next(now) }}
}

// apply adds the rows of op, which becomes visible at arrival. known are the retry rows of its send.
func (a *applier) apply(op *chat.Op, arrival chat.HLC, known []chat.RetryRow) {
	if op.Kind == chat.OpClaim {
		claim := *op.Claim
		claim.Version, claim.Pending = op.Time, false
		a.batch.Claims = append(a.batch.Claims, claim)
		return
	}
	switch op.Kind {
	case chat.OpMessage:
		a.message(op, arrival, known)
		return
	case chat.OpRows:
		a.rows(op, known)
		return
	case chat.OpChange:
		a.batch.Retries = append(a.batch.Retries, retryRow(op))
	}
	for _, owner := range a.owners(op) {
		switch op.Kind {
		case chat.OpMark:
			a.mark(op, owner, arrival)
		case chat.OpContact:
			a.contact(op, owner, arrival)
		case chat.OpBlock:
			a.block(op, owner, arrival)
		case chat.OpAccount:
			a.account(op, owner, arrival)
		case chat.OpSession:
			a.session(op, owner, arrival)
		case chat.OpChange:
			a.change(op, owner, arrival)
		case chat.OpGroup:
			a.group(op, owner, arrival)
		case chat.OpMember:
			a.member(op, owner, arrival)
		case chat.OpRefused:
			a.refusal(op, owner, arrival)
		}
	}
}

// owners gives the op's owners that self serves, each once.
func (a *applier) owners(op *chat.Op) []chat.Owner {
	var list []chat.Owner
	for _, o := range op.Owners {
		if a.topology.InZone(a.self, o.Zone) && (a.by == "" || a.topology.InZone(a.by, o.Zone)) && !slices.ContainsFunc(list, func(x chat.Owner) bool { return x.ID == o.ID }) {
			list = append(list, o)
		}
	}
	return list
}

func (a *applier) inbox(owner chat.Owner, arrival chat.HLC, op *chat.Op, row chat.InboxRow) {
	row.Owner, row.Arrival = owner.ID, arrival
	if row.Actor == chat.NoUser {
		row.Actor = op.Author.ID
	}
	if row.Op == chat.NoMessage {
		row.Op = op.ID
	}
	a.batch.Inbox = append(a.batch.Inbox, row)
}

// message writes a send. When the same content came under other ids too, the smallest stands and the rest are aliases of
// it: an alias row holds nothing that depends on which of them came first.
func (a *applier) message(op *chat.Op, arrival chat.HLC, known []chat.RetryRow) {
	winner, losers, borne := a.ids(op, known)
	a.remember(op, known)
	owners := a.owners(op)
	for _, owner := range owners {
		a.names(op, owner, known)
		a.batch.Conversations = append(a.batch.Conversations, conversationRow(op, owner))
		if !borne {
			a.copy(op, owner, winner, arrival)
		}
	}
	for i, loser := range losers {
		at := arrival
		if !borne || i > 0 {
			at = a.next()
		}
		a.alias(op, owners, loser, winner, at)
	}
}

// stands gives the id that stands of the send op, and those that become its aliases with it.
func stands(op *chat.Op, known []chat.RetryRow) (winner chat.MessageID, losers []chat.MessageID) {
	winner = op.ID
	for i := range known {
		if id := known[i].ID; id != op.ID && sameContent(&known[i], op) {
			losers = append(losers, id)
			if id.Compare(winner) < 0 {
				winner = id
			}
		}
	}
	if winner != op.ID {
		return winner, []chat.MessageID{op.ID} // the others know it already
	}
	return winner, losers
}

// names writes beside each id of the send op the larger ones, so that from the one that stands all others are found, and
// with them the changes that name them. All pairs are written: which of them were losers on the way depends on the order.
func (a *applier) names(op *chat.Op, owner chat.Owner, known []chat.RetryRow) {
	for i := range known {
		if known[i].ID == op.ID || !sameContent(&known[i], op) {
			continue
		}
		small, large := op.ID, known[i].ID
		if small.Compare(large) > 0 {
			small, large = large, small
		}
		a.batch.Changes = append(a.batch.Changes, chat.ChangeRow{
			Owner: owner.ID, OwnerZone: owner.Zone, Conversation: op.Conversation, Target: small, Kind: chat.ChangeAlias,
			User: op.Author.ID, Op: large, Client: op.Client, Version: large.Time(),
		})
	}
}

// conversationRow is what a message says of owner's view of the conversation.
func conversationRow(op *chat.Op, owner chat.Owner) chat.ConversationRow {
	row := chat.ConversationRow{Owner: owner.ID, ID: op.Conversation, Last: op.ID}
	if isGroupOwner(owner, op.Conversation) {
		row.Group = true
		return row
	}
	row.Peer, row.Answered = peerOf(op, owner), owner.ID == op.Author.ID
	return row
}

// ids gives what stands does, and borne: the message is here already under that id, which an op of the author's side brought.
func (a *applier) ids(op *chat.Op, known []chat.RetryRow) (winner chat.MessageID, losers []chat.MessageID, borne bool) {
	winner, losers = stands(op, known)
	if winner == op.ID {
		return winner, losers, false
	}
	return winner, losers, slices.ContainsFunc(known, func(r chat.RetryRow) bool {
		return r.ID == winner && a.topology.InZone(r.Stream.Region, op.Author.Zone)
	})
}

// remember writes the retry row of op. One that an op of the author's side wrote stays.
func (a *applier) remember(op *chat.Op, known []chat.RetryRow) {
	fromAuthor := func(r chat.Region) bool { return a.topology.InZone(r, op.Author.Zone) }
	for i := range known {
		if row := &known[i]; row.ID == op.ID && sameContent(row, op) && (fromAuthor(row.Stream.Region) || !fromAuthor(op.Stream.Region)) {
			return
		}
	}
	a.batch.Retries = append(a.batch.Retries, retryRow(op))
}

// copy writes owner's copy of op's message under id.
func (a *applier) copy(op *chat.Op, owner chat.Owner, id chat.MessageID, arrival chat.HLC) {
	a.batch.Messages = append(a.batch.Messages, chat.MessageRow{
		Owner: owner.ID, OwnerZone: owner.Zone, Conversation: op.Conversation, ID: id, Sender: op.Author.ID,
		SenderName: op.Author.Name, Client: op.Client, ReplyTo: op.ReplyTo, Body: op.Body,
	})
	a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxMessage, Op: id, Conversation: op.Conversation, Ref: id})
}

// alias writes that the id loser of op's send is an alias of winner.
func (a *applier) alias(op *chat.Op, owners []chat.Owner, loser, winner chat.MessageID, at chat.HLC) {
	for _, owner := range owners {
		a.batch.Messages = append(a.batch.Messages, chat.MessageRow{
			Owner: owner.ID, OwnerZone: owner.Zone, Conversation: op.Conversation, ID: loser, Sender: op.Author.ID,
			Client: op.Client, AliasOf: winner,
		})
		a.inbox(owner, at, op, chat.InboxRow{Kind: chat.InboxAlias, Op: loser, Conversation: op.Conversation, Ref: winner})
	}
}

// peerOf gives the other person of a direct conversation, or owner in one with oneself.
func peerOf(op *chat.Op, owner chat.Owner) chat.Owner {
	for _, o := range op.Owners {
		if o.ID != owner.ID {
			return o
		}
	}
	return owner
}

func (a *applier) mark(op *chat.Op, owner chat.Owner, arrival chat.HLC) {
	m := *op.Mark
	a.batch.Marks = append(a.batch.Marks, chat.MarkRow{Owner: owner.ID, Mark: m})
	a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxMark, Conversation: m.Conversation, Ref: m.UpTo, Mark: m.Kind})
}

// contact writes one side's wish into both people's lists. Ending it ends both halves, for both.
func (a *applier) contact(op *chat.Op, owner chat.Owner, arrival chat.HLC) {
	ch := op.Contact
	other, theirs := ch.To, false
	if owner.ID == ch.To.ID {
		other, theirs = ch.From, true
	}
	row := chat.ContactRow{Owner: owner.ID, Other: other, Theirs: theirs, Want: ch.Want, Version: op.Time}
	a.batch.Contacts = append(a.batch.Contacts, row)
	if !ch.Want {
		row.Theirs = !theirs
		a.batch.Contacts = append(a.batch.Contacts, row)
	}
	a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxContact, Actor: other.ID})
}

// block is known to the one who blocks only.
func (a *applier) block(op *chat.Op, owner chat.Owner, arrival chat.HLC) {
	b := op.Block
	if owner.ID != b.By.ID {
		return
	}
	a.batch.Blocks = append(a.batch.Blocks, chat.BlockRow{Owner: owner.ID, Other: b.User, Time: op.Time, On: b.On})
	a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxBlock})
}

func (a *applier) account(op *chat.Op, owner chat.Owner, arrival chat.HLC) {
	if owner.ID != op.Account.ID {
		return
	}
	acc := *op.Account
	acc.Version = op.Time
	a.batch.Accounts = append(a.batch.Accounts, acc)
	if acc.CreatedAt != acc.Version {
		a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxSession})
	}
}

func (a *applier) session(op *chat.Op, owner chat.Owner, arrival chat.HLC) {
	if owner.ID != op.Session.User {
		return
	}
	s := *op.Session
	s.Version = op.Time
	a.batch.Sessions = append(a.batch.Sessions, s)
	if s.Revoked {
		a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxSession})
	}
}

// sortedKeys walks a map in a fixed order.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
