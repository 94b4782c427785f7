package meridian

import (
	"context"
	"net/http"
	"net/url"
)

// NewGroup makes a group.
type NewGroup struct {
	// ClientID is the idempotency key: the same again gives the same group. Empty: a new one.
	ClientID string   `json:"client_id"`
	Name     string   `json:"name"`
	Members  []string `json:"members"` // usernames; 32 at most here
}

// MakeGroup makes a group that the caller owns. Errors: CodeInvalid, CodeUnknownUser, CodeDenied when the zones of two of the
// people may not write to each other.
func (a *API) MakeGroup(ctx context.Context, g NewGroup) (Conversation, error) {
	if g.ClientID == "" {
		g.ClientID = NewClientID()
	}
	var out wireConversation
	err := a.do(ctx, http.MethodPost, "/v1/groups", g, &out)
	return out.conversation(), err
}

func groupPath(id string) string { return "/v1/groups/" + url.PathEscape(id) }

func memberPath(id, username string) string {
	return groupPath(id) + "/members/" + url.PathEscape(username)
}

// Group reads a group and a page of its members, after the token of the page before. Errors: CodeUnknownConversation,
// CodeNotMember for who has left.
func (a *API) Group(ctx context.Context, id, after string, limit int) (Group, error) {
	var out Group
	return out, a.do(ctx, http.MethodGet, withQuery(groupPath(id), "after", after, "limit", limitText(limit)), nil, &out)
}

// RenameGroup needs an owner or admin. Errors: CodeDenied, CodeNotMember, CodeInvalid.
func (a *API) RenameGroup(ctx context.Context, id, name string) (Conversation, error) {
	var out wireConversation
	err := a.do(ctx, http.MethodPatch, groupPath(id), map[string]string{"client_id": NewClientID(), "name": name}, &out)
	return out.conversation(), err
}

// PutMember brings somebody into a group, or changes a role: member or admin. Errors: CodeDenied, CodeNotMember,
// CodeUnknownUser.
func (a *API) PutMember(ctx context.Context, id, username, role string) (Member, error) {
	var out Member
	err := a.do(ctx, http.MethodPut, memberPath(id, username), map[string]string{"client_id": NewClientID(), "role": role}, &out)
	return out, err
}

// DeleteMember removes somebody from a group; with the own name one leaves it. Errors: CodeDenied, CodeNotMember,
// CodeUnknownUser.
func (a *API) DeleteMember(ctx context.Context, id, username string) error {
	return a.do(ctx, http.MethodDelete, memberPath(id, username), nil, nil)
}
