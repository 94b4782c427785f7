package process

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/cluster"
	"meridian/test/history"
)

// reader reads people's mailboxes from the regions' own REST, logged in once for each person and region.
type reader struct {
	t      *testing.T
	c      *cluster.Cluster
	logins map[readerKey]*meridian.API
}

type readerKey struct {
	user   string
	region chat.Region
}

func newReader(t *testing.T, c *cluster.Cluster) *reader {
	return &reader{t: t, c: c, logins: map[readerKey]*meridian.API{}}
}

func (r *reader) api(m *member, region chat.Region) *meridian.API {
	r.t.Helper()
	key := readerKey{m.id, region}
	if api := r.logins[key]; api != nil {
		return api
	}
	api := &meridian.API{BaseURL: r.c.URL(region), Header: http.Header{"X-Forwarded-For": {addresses[region]}}}
	var account meridian.Account
	err := patiently(r.t.Context(), func() (err error) {
		account, err = api.LogIn(r.t.Context(), meridian.Credentials{Username: m.name, Password: password, Device: "reader"})
		return err
	})
	if err != nil {
		r.t.Fatalf("log %s in at %s: %v", m.name, region, err)
	}
	api.Token = func(context.Context) (string, error) { return account.Access, nil }
	r.logins[key] = api
	return api
}

// mailboxes reads all conversations of a person in one region, each oldest first.
func (r *reader) mailboxes(m *member, region chat.Region) []history.Mailbox {
	r.t.Helper()
	api := r.api(m, region)
	var out []history.Mailbox
	for before := ""; ; {
		var page []meridian.Conversation
		var next string
		err := patiently(r.t.Context(), func() (err error) {
			page, next, err = api.Conversations(r.t.Context(), before, 100)
			return err
		})
		if err != nil {
			r.t.Fatalf("conversations of %s at %s: %v", m.name, region, err)
		}
		for _, conversation := range page {
			out = append(out, history.Mailbox{
				Owner: m.id, Peer: conversation.Peer.ID, Region: string(region), Conversation: conversation.ID,
				Messages: r.messages(api, conversation.ID),
			})
		}
		if next == "" {
			return out
		}
		before = next
	}
}

func (r *reader) messages(api *meridian.API, conversation string) []history.Message {
	r.t.Helper()
	var out []history.Message
	for before := ""; ; {
		var page []meridian.Message
		var next string
		err := patiently(r.t.Context(), func() (err error) {
			page, next, err = api.Messages(r.t.Context(), conversation, before, 100)
			return err
		})
		if err != nil {
			r.t.Fatalf("messages of %s at %s: %v", conversation, api.BaseURL, err)
		}
		for _, msg := range page {
			out = append(out, history.Message{ID: msg.ID, Conversation: msg.ConversationID, Sender: msg.Sender.ID, ClientID: msg.ClientID, Text: msg.Text})
		}
		if next == "" {
			slices.Reverse(out)
			return out
		}
		before = next
	}
}
