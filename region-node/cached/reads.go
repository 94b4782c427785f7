package cached

import (
	"context"
	"encoding/json"
	"time"

	"meridian/chat"
)

// Logs tells what a page needs to know of inbox logs.
type Logs interface {
	// Mark: every entry with an arrival at or before it can be read, and none will be added.
	Mark() chat.HLC
	// Since gives the entries of a log after the given arrival, if they are known without reading; group says that it is a group's.
	Since(owner chat.UserID, group bool, after chat.HLC) (entries []chat.InboxRow, ok bool)
}

const (
	// pageRows is how many messages a page holds: what one page of the client protocol reads by default.
	pageRows = 51
	// pageChanges bounds the changes of a page's messages; a page with more is not kept.
	pageChanges = 1000
	// logRows bounds the entries that are read to see whether a page is right; where there are more it is read anew.
	logRows = 256
	// pageAge is how old a page may be by the log, far above its TTL; arrivals lie less than logAhead after it.
	pageAge  = chat.HLC(30 * time.Minute / time.Microsecond)
	logAhead = 2 * pageAge
	// contactOthers is the one limit of a contact list that is kept: what people asks for.
	contactOthers = 500
)

// Reads gives store, whose bodies are sealed, so that requests read from the cache where it is right.
func (l *Layer) Reads(store chat.Store, logs Logs) chat.Store {
	return &reads{Store: store, layer: l, logs: logs}
}

type reads struct {
	chat.Store
	layer *Layer
	logs  Logs
}

// requestKey finds a request's memo in its context.
type requestKey struct{}

// memo is what one request has found out: it sees a page and a log once.
type memo struct {
	pages map[chat.CacheKey]*page
	logs  map[chat.UserID]*logRead
}

// Request says that what is read with the context may come from the cache. One goroutine uses it.
func Request(ctx context.Context) context.Context {
	return context.WithValue(ctx, requestKey{}, &memo{pages: make(map[chat.CacheKey]*page), logs: make(map[chat.UserID]*logRead)})
}

func memoOf(ctx context.Context) *memo {
	m, _ := ctx.Value(requestKey{}).(*memo)
	return m
}

// contactList is a cached contact list: the rows of the first contactOthers others.
type contactList struct {
	Rows []chat.ContactRow
}

// Contacts implements chat.Mailboxes.
func (r *reads) Contacts(ctx context.Context, owner, after chat.UserID, limit int) ([]chat.ContactRow, error) {
	if memoOf(ctx) == nil || after != chat.NoUser || limit != contactOthers {
		return r.Store.Contacts(ctx, owner, after, limit)
	}
	started, key := time.Now(), contactsKey(owner)
	got := r.layer.cache.Get(ctx, key)
	var list contactList
	if got.Level != chat.CacheMiss && json.Unmarshal(got.Value, &list) == nil {
		r.layer.read(key.Class, levelOf(got.Level), started)
		return list.Rows, nil
	}
	rows, err := r.Store.Contacts(ctx, owner, after, limit)
	if err != nil {
		return nil, err
	}
	if value, err := json.Marshal(contactList{rows}); err == nil {
		r.layer.cache.Set(ctx, key, got.Lease, value)
	}
	r.layer.read(key.Class, levelStore, started)
	return rows, nil
}

// Messages implements chat.Mailboxes.
func (r *reads) Messages(ctx context.Context, owner chat.UserID, id chat.ConversationID, before chat.MessageID, limit int) ([]chat.MessageRow, error) {
	m := memoOf(ctx)
	if m == nil || before != chat.NoMessage || limit > pageRows {
		return r.Store.Messages(ctx, owner, id, before, limit)
	}
	p, err := r.page(ctx, m, owner, id)
	if err != nil {
		return nil, err
	}
	return append([]chat.MessageRow(nil), p.rows[:min(limit, len(p.rows))]...), nil // opened in place by who asks
}

// Changes implements chat.Mailboxes.
func (r *reads) Changes(ctx context.Context, owner chat.UserID, id chat.ConversationID, from, to chat.MessageID, limit int) ([]chat.ChangeRow, error) {
	if m := memoOf(ctx); m != nil {
		if p := m.pages[pageKey(owner, id)]; p != nil && p.covers(from, to) {
			if rows := p.changesIn(from, to); len(rows) <= limit {
				return rows, nil
			}
		}
	}
	return r.Store.Changes(ctx, owner, id, from, to, limit)
}

// page gives the newest messages of a conversation with their changes: from the cache if they are right, else from the store.
func (r *reads) page(ctx context.Context, m *memo, owner chat.UserID, id chat.ConversationID) (*page, error) {
	started, key := time.Now(), pageKey(owner, id)
	if p := m.pages[key]; p != nil {
		return p, nil
	}
	got := r.layer.cache.Get(ctx, key)
	level := levelStore
	if got.Level != chat.CacheMiss {
		p, ok := decodePage(got.Value)
		if ok {
			changed, err := r.changed(ctx, m, owner, id, p.asOf)
			if err != nil {
				return nil, err
			}
			if !changed {
				m.pages[key] = p
				r.layer.read(key.Class, levelOf(got.Level), started)
				return p, nil
			}
		}
		level = levelStale
		_ = r.layer.cache.Delete(ctx, key) // it would be found out again
		got = r.layer.cache.Get(ctx, key)
	}
	p, err := r.readPage(ctx, owner, id)
	if err != nil {
		return nil, err
	}
	if p.whole {
		if value := p.encode(); len(value) <= chat.MaxCacheValue {
			r.layer.cache.Set(ctx, key, got.Lease, value)
		}
	}
	m.pages[key] = p
	r.layer.read(key.Class, level, started)
	return p, nil
}

// readPage reads a page from the store. What arrives while it is read is perhaps in it, and counts as a change of it.
func (r *reads) readPage(ctx context.Context, owner chat.UserID, id chat.ConversationID) (*page, error) {
	p := &page{asOf: r.logs.Mark()}
	var err error
	if p.rows, err = r.Store.Messages(ctx, owner, id, chat.NoMessage, pageRows); err != nil {
		return nil, err
	}
	if len(p.rows) > 0 {
		newest, oldest := p.rows[0].ID, p.rows[len(p.rows)-1].ID
		if p.changes, err = r.Store.Changes(ctx, owner, id, oldest, newest, pageChanges); err != nil {
			return nil, err
		}
	}
	p.whole = len(p.changes) < pageChanges
	return p, nil
}

// logRead is what a log has after an arrival: which conversation's messages changed, and when last.
type logRead struct {
	after   chat.HLC
	over    bool // more than was read
	changed map[chat.ConversationID]chat.HLC
}

// changed says whether the messages of a conversation may have changed after an arrival.
func (r *reads) changed(ctx context.Context, m *memo, owner chat.UserID, id chat.ConversationID, after chat.HLC) (bool, error) {
	if r.logs.Mark() > after+pageAge {
		return true, nil
	}
	seen := m.logs[owner]
	if seen == nil || seen.after > after {
		rows, ok := r.logs.Since(owner, owner == chat.UserID(id), after)
		if !ok {
			var err error
			if rows, err = r.Store.Inbox(ctx, owner, after, after+logAhead, logRows); err != nil {
				return false, err
			}
		}
		seen = &logRead{after: after, over: !ok && len(rows) == logRows, changed: make(map[chat.ConversationID]chat.HLC)}
		for i := range rows {
			switch row := &rows[i]; row.Kind {
			case chat.InboxMessage, chat.InboxAlias, chat.InboxChange:
				seen.changed[row.Conversation] = max(seen.changed[row.Conversation], row.Arrival)
			}
		}
		m.logs[owner] = seen
	}
	return seen.over || seen.changed[id] > after, nil
}
