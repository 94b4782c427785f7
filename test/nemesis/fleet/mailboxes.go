package fleet

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/history"
)

// Reader reads people's mailboxes from the regions' own REST, logged in once for each person and region.
type Reader struct {
	fleet  *Fleet
	logins map[readerKey]*meridian.API
	marks  []history.Mark // of the last reading
}

type readerKey struct {
	user   string
	region chat.Region
}

// readTimeout bounds one call of a reader.
const readTimeout = 20 * time.Second

// NewReader makes a reader.
func (f *Fleet) NewReader() *Reader { return &Reader{fleet: f, logins: map[readerKey]*meridian.API{}} }

// History gathers what everybody did and was shown, and what the mailboxes hold in all regions but those that are lost for
// ever.
func (r *Reader) History(ctx context.Context, lost ...chat.Region) (*history.History, error) {
	f := r.fleet
	h := &history.History{Homes: map[string][]string{}, Groups: map[string][]string{}, Removals: f.removed()}
	for _, g := range f.groups {
		for _, p := range g.members {
			h.Groups[g.id] = append(h.Groups[g.id], p.ID)
		}
	}
	r.marks = nil
	for _, p := range f.People {
		for _, region := range f.zones[p.Zone] {
			if slices.Contains(lost, region) {
				continue
			}
			boxes, err := r.mailboxes(ctx, p, region)
			if err != nil {
				return nil, err
			}
			h.Homes[p.ID] = append(h.Homes[p.ID], string(region))
			h.Mailboxes = append(h.Mailboxes, boxes...)
		}
	}
	for _, p := range f.People { // after the mailboxes: a client may be ahead of what was read, never behind for long
		if !p.Gone() {
			h.Views = append(h.Views, p.viewed())
		}
		p.mu.Lock()
		for _, s := range p.sends {
			h.Sends = append(h.Sends, s.Send)
		}
		h.Pushes = append(h.Pushes, p.pushes...)
		for _, ch := range p.changes {
			h.Changes = append(h.Changes, ch.Change)
		}
		for key, m := range p.marks {
			if f.isGroup(key.conversation) && key.kind != history.OwnRead {
				continue // a group has many peers, and no one mark of theirs
			}
			r.marks = append(r.marks, history.Mark{Owner: p.ID, Conversation: key.conversation, Kind: key.kind, UpTo: m.upTo})
		}
		p.mu.Unlock()
	}
	return h, nil
}

func (f *Fleet) isGroup(conversation string) bool {
	return slices.ContainsFunc(f.groups, func(g *group) bool { return g.id == conversation })
}

// Marks are the read and delivered marks of the last History: what the regions say, and what people were shown.
func (r *Reader) Marks() []history.Mark { return r.marks }

func (r *Reader) api(ctx context.Context, p *Person, region chat.Region) (*meridian.API, error) {
	key := readerKey{p.ID, region}
	if api := r.logins[key]; api != nil {
		return api, nil
	}
	api := r.fleet.api(region)
	api.HTTP = &http.Client{Timeout: readTimeout}
	account, err := api.LogIn(ctx, meridian.Credentials{Username: p.Name, Password: Password, Device: "reader"})
	if err != nil {
		return nil, fmt.Errorf("log %s in at %s: %w", p.Name, region, err)
	}
	api.Token = func(context.Context) (string, error) { return account.Access, nil }
	r.logins[key] = api
	return api, nil
}

// mailboxes reads all conversations of a person in one region, each oldest first.
func (r *Reader) mailboxes(ctx context.Context, p *Person, region chat.Region) ([]history.Mailbox, error) {
	api, err := r.api(ctx, p, region)
	if err != nil {
		return nil, err
	}
	var out []history.Mailbox
	for before := ""; ; {
		page, next, err := api.Conversations(ctx, before, 100)
		if err != nil {
			return nil, fmt.Errorf("conversations of %s at %s: %w", p.Name, region, err)
		}
		for _, conversation := range page {
			box := history.Mailbox{Owner: p.ID, Peer: conversation.Peer.ID, Region: string(region), Conversation: conversation.ID}
			if box.Messages, err = messages(ctx, api, conversation.ID); err != nil {
				return nil, fmt.Errorf("messages of %s at %s: %w", p.Name, region, err)
			}
			out = append(out, box)
			for kind, upTo := range map[history.MarkKind]string{
				history.OwnRead: conversation.Read, history.PeerRead: conversation.PeerRead, history.PeerDelivered: conversation.PeerDelivered,
			} {
				r.marks = append(r.marks, history.Mark{Owner: p.ID, Conversation: conversation.ID, Kind: kind, Region: string(region), UpTo: upTo})
			}
		}
		if next == "" {
			return out, nil
		}
		before = next
	}
}

func messages(ctx context.Context, api *meridian.API, conversation string) ([]history.Message, error) {
	var out []history.Message
	for before := ""; ; {
		page, next, err := api.Messages(ctx, conversation, before, 100)
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			msg := history.Message{ID: m.ID, Conversation: m.ConversationID, Sender: m.Sender.ID, ClientID: m.ClientID, Text: m.Text, Deleted: m.Deleted}
			for _, r := range m.Reactions {
				if msg.Reactions == nil {
					msg.Reactions = map[string][]string{}
				}
				msg.Reactions[r.Emoji] = r.Users
			}
			out = append(out, msg)
		}
		if next == "" {
			slices.Reverse(out)
			return out, nil
		}
		before = next
	}
}
