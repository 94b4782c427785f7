package meridian

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// SignUp asks for an account. Zone pins it; empty: the deployment's rule decides.
type SignUp struct {
	Username    string `json:"username"`
	Password    string `json:"password"`
	DisplayName string `json:"display_name,omitempty"`
	Zone        string `json:"zone,omitempty"`
	Device      string `json:"device,omitempty"`
}

// Credentials log in.
type Credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Device   string `json:"device,omitempty"`
}

// SignUp makes an account. Errors: CodeUsernameTaken, CodeZoneNotAllowed, CodeInvalid, CodeNoMajority (try again).
func (a *API) SignUp(ctx context.Context, s SignUp) (Account, error) {
	var out Account
	return out, a.do(ctx, http.MethodPost, "/v1/signup", s, &out)
}

// LogIn opens a session. Errors: CodeBadCredentials, CodeRateLimited.
func (a *API) LogIn(ctx context.Context, c Credentials) (Account, error) {
	var out Account
	return out, a.do(ctx, http.MethodPost, "/v1/login", c, &out)
}

// Renew buys new tokens. Errors: CodeUnauthorized when the session has ended.
func (a *API) Renew(ctx context.Context, refresh string) (Account, error) {
	open := *a
	open.Token = nil // an expired access token would be refused here
	var out Account
	return out, open.do(ctx, http.MethodPost, "/v1/token", map[string]string{"refresh_token": refresh}, &out)
}

// LogOut ends the session of the token.
func (a *API) LogOut(ctx context.Context) error {
	return a.do(ctx, http.MethodPost, "/v1/logout", nil, nil)
}

// Me reads the own account.
func (a *API) Me(ctx context.Context) (Me, error) {
	var out Me
	return out, a.do(ctx, http.MethodGet, "/v1/me", nil, &out)
}

// ChangePassword ends all other sessions. Errors: CodeBadCredentials.
func (a *API) ChangePassword(ctx context.Context, old, next string) error {
	in := map[string]string{"old_password": old, "new_password": next}
	return a.do(ctx, http.MethodPost, "/v1/me/password", in, nil)
}

// Sessions lists the log-ins of the account.
func (a *API) Sessions(ctx context.Context) ([]LogInSession, error) {
	var out struct {
		Sessions []LogInSession `json:"sessions"`
	}
	err := a.do(ctx, http.MethodGet, "/v1/me/sessions", nil, &out)
	return out.Sessions, err
}

// EndSession ends one session; with an empty id all but the current one.
func (a *API) EndSession(ctx context.Context, id string) error {
	path := "/v1/me/sessions"
	if id != "" {
		path += "/" + url.PathEscape(id)
	}
	return a.do(ctx, http.MethodDelete, path, nil, nil)
}

// User looks a user up. Errors: CodeUnknownUser.
func (a *API) User(ctx context.Context, username string) (Profile, error) {
	var out Profile
	return out, a.do(ctx, http.MethodGet, "/v1/users/"+url.PathEscape(username), nil, &out)
}

// Contacts gives a page of contacts after the token of the page before; next is empty on the last one.
func (a *API) Contacts(ctx context.Context, after string, limit int) (page []Contact, next string, err error) {
	var out struct {
		Contacts []Contact `json:"contacts"`
		Next     string    `json:"next"`
	}
	err = a.do(ctx, http.MethodGet, withQuery("/v1/contacts", "after", after, "limit", limitText(limit)), nil, &out)
	return out.Contacts, out.Next, err
}

// PutContact asks somebody to be a contact, or accepts what they asked.
func (a *API) PutContact(ctx context.Context, username string) (Contact, error) {
	var out Contact
	return out, a.do(ctx, http.MethodPut, "/v1/contacts/"+url.PathEscape(username), nil, &out)
}

// DeleteContact removes a contact.
func (a *API) DeleteContact(ctx context.Context, username string) error {
	return a.do(ctx, http.MethodDelete, "/v1/contacts/"+url.PathEscape(username), nil, nil)
}

// Blocks lists whom the user blocks.
func (a *API) Blocks(ctx context.Context) ([]Block, error) {
	var out struct {
		Blocks []Block `json:"blocks"`
	}
	err := a.do(ctx, http.MethodGet, "/v1/blocks", nil, &out)
	return out.Blocks, err
}

// Block blocks a user.
func (a *API) Block(ctx context.Context, username string) error {
	return a.do(ctx, http.MethodPut, "/v1/blocks/"+url.PathEscape(username), nil, nil)
}

// Unblock lifts a block.
func (a *API) Unblock(ctx context.Context, username string) error {
	return a.do(ctx, http.MethodDelete, "/v1/blocks/"+url.PathEscape(username), nil, nil)
}

type wireConversation struct {
	ID            string       `json:"id"`
	Kind          string       `json:"kind"`
	Peer          User         `json:"peer"`
	Name          string       `json:"name"`
	MemberCount   int          `json:"member_count"`
	Role          string       `json:"role"`
	State         string       `json:"state"`
	LastMessage   *wireMessage `json:"last_message"`
	Unread        int          `json:"unread"`
	Read          string       `json:"read"`
	PeerRead      string       `json:"peer_read"`
	PeerDelivered string       `json:"peer_delivered"`
	UpdatedAt     time.Time    `json:"updated_at"`
}

// Conversations gives a page of the conversation list, latest first, before the token of the page before.
func (a *API) Conversations(ctx context.Context, before string, limit int) (page []Conversation, next string, err error) {
	var out struct {
		Conversations []wireConversation `json:"conversations"`
		Next          string             `json:"next"`
	}
	err = a.do(ctx, http.MethodGet, withQuery("/v1/conversations", "before", before, "limit", limitText(limit)), nil, &out)
	for i := range out.Conversations {
		page = append(page, out.Conversations[i].conversation())
	}
	return page, out.Next, err
}

func (w *wireConversation) conversation() Conversation {
	c := Conversation{
		ID: w.ID, Kind: w.Kind, Peer: w.Peer, Name: w.Name, MemberCount: w.MemberCount, Role: w.Role, State: w.State,
		Unread: w.Unread, Read: w.Read, PeerRead: w.PeerRead, PeerDelivered: w.PeerDelivered, UpdatedAt: w.UpdatedAt,
	}
	if w.LastMessage != nil {
		m := w.LastMessage.message()
		c.LastMessage = &m
	}
	return c
}

// Messages gives a page of a conversation, newest first, before the token of the page before (or a message id). At most 100.
// Errors: CodeUnknownConversation.
func (a *API) Messages(ctx context.Context, conversation, before string, limit int) (page []Message, next string, err error) {
	var out struct {
		Messages []wireMessage `json:"messages"`
		Next     string        `json:"next"`
	}
	path := "/v1/conversations/" + url.PathEscape(conversation) + "/messages"
	err = a.do(ctx, http.MethodGet, withQuery(path, "before", before, "limit", limitText(limit)), nil, &out)
	for i := range out.Messages {
		page = append(page, out.Messages[i].message())
	}
	return page, out.Next, err
}

// RouteQuery asks where to go. As is a simulated address (a local deployment only); Zone and Name serve before a log-in.
type RouteQuery struct{ As, Zone, Name string }

// Route gives the regions for the caller's address and token, best first.
func (a *API) Route(ctx context.Context, q RouteQuery) (Route, error) {
	var out Route
	return out, a.do(ctx, http.MethodGet, withQuery("/v1/route", "as", q.As, "zone", q.Zone, "name", q.Name), nil, &out)
}
