package verify

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"meridian/chat"
)

// day counts days since 1970, UTC.
type day uint32

func dayOf(t chat.HLC) day { return day(t.Time().Unix() / int64((24 * time.Hour).Seconds())) }

// digest stands for a set of rows: it does not depend on their order.
type digest [sha256.Size]byte

// add joins a row's digest.
func (d *digest) add(other digest) {
	for i := range d {
		d[i] ^= other[i]
	}
}

// gatherer reads what this region holds of one owner, page by page: of all of it only digests are kept.
type gatherer struct {
	store chat.Store
	owner chat.UserID
	// since leaves out what was written before: a group's zone does not get what is older than itself.
	since chat.HLC
	days  map[day]digest
	// take, if set, is given every row, of a day and of about so many bytes, and puts it among others by put.
	take func(d day, bytes int, put func(*chat.Rows)) error
}

// readPage is how many rows are read at once.
const readPage = 500

// gather reads what the region holds of an owner, and gives its digests by day.
func (g *gatherer) gather(ctx context.Context) (map[day]digest, error) {
	g.days = map[day]digest{}
	for _, part := range []func(context.Context) error{g.account, g.people, g.conversations} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	return g.days, nil
}

// add notes a row of time t; put puts it among those that a repair brings. What differs between regions without meaning
// anything (the zone that a copy is kept for) is left out of the row by the caller.
func (g *gatherer) add(t chat.HLC, kind string, row any, put func(*chat.Rows)) error {
	text, err := json.Marshal(row)
	if err != nil {
		return &chat.Error{Code: chat.CodeInternal, Op: "verify.gather", Message: "a row cannot be encoded", Cause: err}
	}
	sum := g.days[dayOf(t)]
	sum.add(sha256.Sum256(append([]byte(kind+"\x00"), text...)))
	g.days[dayOf(t)] = sum
	return g.give(dayOf(t), len(text), put)
}

// give gives a row on to whoever wants rows.
func (g *gatherer) give(d day, bytes int, put func(*chat.Rows)) error {
	if g.take == nil {
		return nil
	}
	return g.take(d, bytes, put)
}

func (g *gatherer) account(ctx context.Context) error {
	account, ok, err := g.store.Account(ctx, g.owner)
	if err != nil || !ok {
		return err
	}
	if err := g.add(account.Version, "account", account, func(r *chat.Rows) { r.Accounts = append(r.Accounts, account) }); err != nil {
		return err
	}
	sessions, err := g.store.Sessions(ctx, g.owner)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if err := g.add(s.Version, "session", s, func(r *chat.Rows) { r.Sessions = append(r.Sessions, s) }); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) people(ctx context.Context) error {
	blocks, err := g.store.Blocks(ctx, g.owner)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if err := g.add(b.Time, "block", b, func(r *chat.Rows) { r.Blocks = append(r.Blocks, b) }); err != nil {
			return err
		}
	}
	for after := chat.NoUser; ; {
		contacts, err := g.store.Contacts(ctx, g.owner, after, readPage)
		if err != nil || len(contacts) == 0 {
			return err
		}
		for _, c := range contacts {
			if err := g.add(c.Version, "contact", c, func(r *chat.Rows) { r.Contacts = append(r.Contacts, c) }); err != nil {
				return err
			}
			after = c.Other.ID
		}
	}
}

// conversations reads the owner's conversations: a person's, or of a group its one mailbox.
func (g *gatherer) conversations(ctx context.Context) error {
	before := chat.NoMessage
	for {
		list, err := g.store.Conversations(ctx, g.owner, before, readPage)
		if err != nil {
			return err
		}
		for i := range list {
			if err := g.conversation(ctx, &list[i]); err != nil {
				return err
			}
			before = list[i].Last
		}
		if len(list) < readPage {
			return nil
		}
	}
}

func (g *gatherer) conversation(ctx context.Context, row *chat.ConversationRow) error {
	if g.owner == chat.UserID(row.ID) {
		// It follows from the rest.
		if err := g.give(0, 0, func(r *chat.Rows) { r.Conversations = append(r.Conversations, *row) }); err != nil {
			return err
		}
	} else {
		plain := *row
		plain.Last = chat.NoMessage // follows from the messages
		if err := g.add(0, "conversation", plain, func(r *chat.Rows) { r.Conversations = append(r.Conversations, *row) }); err != nil {
			return err
		}
	}
	if err := g.group(ctx, row); err != nil {
		return err
	}
	marks, err := g.store.Marks(ctx, g.owner, row.ID)
	if err != nil {
		return err
	}
	for _, m := range marks {
		if err := g.add(m.UpTo.Time(), "mark", m, func(r *chat.Rows) { r.Marks = append(r.Marks, m) }); err != nil {
			return err
		}
	}
	if err := g.messages(ctx, row.ID); err != nil {
		return err
	}
	return g.changes(ctx, row.ID)
}

func (g *gatherer) group(ctx context.Context, row *chat.ConversationRow) error {
	if g.owner != chat.UserID(row.ID) {
		return nil
	}
	names, err := g.store.GroupNames(ctx, g.owner, row.ID)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := g.add(n.Op.Time(), "group", n, func(r *chat.Rows) { r.Groups = append(r.Groups, n) }); err != nil {
			return err
		}
	}
	members, err := g.store.Members(ctx, g.owner, row.ID, chat.NoUser)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := g.add(m.Op.Time(), "member", m, func(r *chat.Rows) { r.Members = append(r.Members, m) }); err != nil {
			return err
		}
	}
	zones, err := g.store.GroupZones(ctx, row.ID)
	if err != nil {
		return err
	}
	for _, z := range zones {
		if err := g.add(z.Since, "zone", z, func(r *chat.Rows) { r.GroupZones = append(r.GroupZones, z) }); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) messages(ctx context.Context, id chat.ConversationID) error {
	before := chat.NoMessage
	for {
		page, err := g.store.Messages(ctx, g.owner, id, before, readPage)
		if err != nil {
			return err
		}
		for _, m := range page {
			before = m.ID
			if m.ID.Time() < g.since {
				return nil
			}
			row := m
			row.OwnerZone = ""
			if row.AliasOf != chat.NoMessage { // an alias may have been a message before: what else it holds depends on that
				row = chat.MessageRow{Owner: m.Owner, Conversation: m.Conversation, ID: m.ID, AliasOf: m.AliasOf}
			}
			retries, err := g.retries(ctx, &m)
			if err != nil {
				return err
			}
			if err := g.add(m.ID.Time(), "message", row, func(r *chat.Rows) {
				r.Messages = append(r.Messages, m)
				r.Retries = append(r.Retries, retries...)
			}); err != nil {
				return err
			}
		}
		if len(page) < readPage {
			return nil
		}
	}
}

// retries gives what remembers the send, so that it is known again where it is repaired.
func (g *gatherer) retries(ctx context.Context, m *chat.MessageRow) ([]chat.RetryRow, error) {
	rows, err := g.store.Retries(ctx, m.Sender, m.Client)
	return slices.DeleteFunc(rows, func(r chat.RetryRow) bool { return r.ID != m.ID }), err
}

// lastMessage is later than every message.
var lastMessage = chat.NewMessageID(1<<52, chat.NoUser, chat.NoClient)

// changes reads the changes of a conversation's messages. A page that ends in the midst of a message's is read again from there.
func (g *gatherer) changes(ctx context.Context, id chat.ConversationID) error {
	from, limit := chat.NoMessage, readPage
	for {
		page, err := g.store.Changes(ctx, g.owner, id, from, lastMessage, limit)
		if err != nil {
			return err
		}
		whole := len(page) < limit
		if !whole {
			last := page[len(page)-1].Target
			page = page[:slices.IndexFunc(page, func(c chat.ChangeRow) bool { return c.Target == last })]
			from = last
			if len(page) == 0 { // one message has more than that
				limit *= 2
				continue
			}
		}
		for _, c := range page {
			if err := g.change(c); err != nil {
				return err
			}
		}
		if whole {
			return nil
		}
	}
}

func (g *gatherer) change(c chat.ChangeRow) error {
	if c.Version < g.since {
		return nil
	}
	row := c
	row.OwnerZone = ""
	return g.add(c.Version, "change", row, func(r *chat.Rows) { r.Changes = append(r.Changes, c) })
}
