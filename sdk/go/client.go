package meridian

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Client keeps one person's socket to the deployment. Its methods are safe for several goroutines.
type Client struct {
	opt     Options
	http    *http.Client
	running atomic.Bool
	wake    chan struct{} // something waits to be written, or the activity changed
	rereads chan reread

	// Only the goroutine of Run uses these.
	eps          *endpoints
	unauthorized int // refusals of the log-in in a row
	renew        bool
	rereading    bool
	heldCursor   string // of events since a reset that is still being read

	mu      sync.Mutex // guards what follows
	out     outbox
	known   *known
	reads   map[string]*readMark
	typing  []string // conversations
	visible bool
	tokens  Tokens
	cursor  string
	url     string // of the region that serves now; empty: none
	self    User
	limits  Limits
}

type readMark struct {
	messageID string
	onWire    bool
	notBefore time.Time
	refusals  int
}

// typingMax bounds the typing signs that wait for the writer.
const typingMax = 16

// New makes a Client; Run starts it.
func New(opt Options) *Client {
	opt = opt.withDefaults()
	c := &Client{
		opt: opt, wake: make(chan struct{}, 1), rereads: make(chan reread),
		eps: newEndpoints(opt.Endpoints), known: newKnown(), reads: map[string]*readMark{},
		visible: true, tokens: opt.Tokens, cursor: opt.Resume,
	}
	c.http = &http.Client{Transport: &http.Transport{DialContext: opt.Dial, MaxIdleConnsPerHost: 2, IdleConnTimeout: idlePing}}
	for _, o := range opt.Outbox {
		if o.Created.IsZero() {
			o.Created = opt.Clock.Now()
		}
		c.out.list = append(c.out.list, &pending{Outgoing: o})
	}
	return c
}

// Send queues a message and gives its client id. The Client sends it, now or when there is a link again, until it is durable;
// Acked or Failed tell. Errors: CodeInvalid, CodeEmptyText, CodeTooLarge, CodeOutboxFull.
func (c *Client) Send(o Outgoing) (clientID string, err error) {
	if o.Change != "" || (o.ToUser == "") == (o.Conversation == "") {
		return "", &Error{Code: CodeInvalid, Message: "one of ToUser and Conversation must be set, and no Change"}
	}
	if err := checkText(o.Text); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.Seen == "" {
		conversation := o.Conversation
		if conversation == "" {
			conversation = c.known.direct[o.ToUser]
		}
		o.Seen = c.known.newest[conversation]
	}
	return c.queue(o)
}

// Edit gives an own message another text. It is sent, acknowledged and repeated as a message is. Errors: as Send.
func (c *Client) Edit(conversation, messageID, text string) (clientID string, err error) {
	if err := checkText(text); err != nil {
		return "", err
	}
	return c.change(Outgoing{Change: ChangeEdit, Conversation: conversation, MessageID: messageID, Text: text})
}

// Delete deletes an own message; in a group owner and admins delete any. It is sent as Edit.
func (c *Client) Delete(conversation, messageID string) (clientID string, err error) {
	return c.change(Outgoing{Change: ChangeDelete, Conversation: conversation, MessageID: messageID})
}

// React sets a reaction on a message, or takes it back. It is sent as Edit.
func (c *Client) React(conversation, messageID, emoji string, on bool) (clientID string, err error) {
	return c.change(Outgoing{Change: ChangeReact, Conversation: conversation, MessageID: messageID, Emoji: emoji, On: on})
}

func checkText(text string) error {
	switch {
	case !utf8.ValidString(text):
		return &Error{Code: CodeInvalidUTF8, Message: "text is not UTF-8"}
	case text == "":
		return &Error{Code: CodeEmptyText, Message: "a message needs text"}
	}
	return nil
}

func (c *Client) change(o Outgoing) (clientID string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue(o)
}

// queue puts o into the outbox; called with mu held.
func (c *Client) queue(o Outgoing) (clientID string, err error) {
	if c.limits.TextBytes > 0 && len(o.Text) > c.limits.TextBytes {
		return "", &Error{Code: CodeTooLarge, Message: "text is over the limit"}
	}
	if len(c.out.list) >= c.opt.OutboxMax {
		return "", &Error{Code: CodeOutboxFull, Retryable: true, Message: "too many sends wait"}
	}
	if o.ClientID == "" {
		o.ClientID = NewClientID()
	}
	if o.Created.IsZero() {
		o.Created = c.opt.Clock.Now()
	}
	c.out.list = append(c.out.list, &pending{Outgoing: o})
	c.poke()
	return o.ClientID, nil
}

// MarkRead tells that everything up to the message has been read.
func (c *Client) MarkRead(conversation, messageID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.reads[conversation]; old == nil || CompareMessageIDs(old.messageID, messageID) < 0 {
		c.reads[conversation] = &readMark{messageID: messageID}
		c.poke()
	}
}

// Typing tells that the user is typing; without a link it is dropped.
func (c *Client) Typing(conversation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.url != "" && len(c.typing) < typingMax {
		c.typing = append(c.typing, conversation)
		c.poke()
	}
}

// SetVisible says whether somebody looks. A client that nobody looks at and that has nothing to send notices a dead link
// later, and costs less. It starts visible.
func (c *Client) SetVisible(visible bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.visible = visible
	c.poke()
}

// Cursor gives where to resume.
func (c *Client) Cursor() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursor
}

// Pending gives the sends that are not yet acknowledged for good, oldest first.
func (c *Client) Pending() []Outgoing {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Outgoing, 0, len(c.out.list))
	for _, p := range c.out.list {
		list = append(list, p.Outgoing)
	}
	return list
}

// API makes REST calls as this user, to the region that serves now. Errors: CodeUnreachable while none does.
func (c *Client) API() (*API, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.url == "" {
		return nil, &Error{Code: CodeUnreachable, Retryable: true, Message: "no region serves now"}
	}
	return c.api(c.url), nil
}

func (c *Client) api(base string) *API {
	return &API{BaseURL: base, HTTP: c.http, Header: c.opt.Header, Token: func(context.Context) (string, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.tokens.Access, nil
	}}
}

// poke wakes the goroutine of Run.
func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// active says whether a dead link must be noticed soon.
func (c *Client) active() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.visible || len(c.out.list) > 0
}

// errRunning: Run was called twice.
var errRunning = errors.New("meridian: this Client runs already")

// Run keeps the link until ctx ends, and gives ctx's error then. It ends earlier with an *Error that has CodeUnauthorized when
// every region refuses the log-in: the user must log in anew.
func (c *Client) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer c.running.Store(false)
	defer c.http.CloseIdleConnections()
	for {
		c.discover(ctx)
		ep, ok := c.eps.pick(c.opt.Clock.Now())
		end := linkEnd{err: &Error{Code: CodeUnreachable, Retryable: true, Message: "no endpoint is known"}}
		if ok {
			end = c.serve(ctx, ep)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause, fatal := c.judge(ep, end)
		if fatal != nil {
			return fatal
		}
		c.opt.Handle(Disconnected{Region: ep.Region, Err: end.err, Retry: pause})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.opt.Clock.After(pause):
		}
	}
}

// discover asks the router when no endpoint is known or all have failed. Its silence is no error: the list stays.
func (c *Client) discover(ctx context.Context) {
	if c.opt.Router == "" || !c.eps.exhausted(c.opt.Clock.Now()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	api := c.api(c.opt.Router)
	route, err := api.Route(ctx, RouteQuery{As: c.opt.As})
	if CodeOf(err) == CodeUnauthorized {
		api.Token = nil // an expired token is no reason not to know the way
		route, err = api.Route(ctx, RouteQuery{As: c.opt.As})
	}
	if err == nil {
		c.eps.prefer(route.Endpoints)
	}
}

// judge decides what an ended link means: how long to wait, or that the log-in is over.
func (c *Client) judge(ep Endpoint, end linkEnd) (pause time.Duration, fatal error) {
	now := c.opt.Clock.Now()
	var e *Error
	isError := errors.As(end.err, &e)
	if isError && e.Code == CodeUnauthorized {
		c.unauthorized++
		c.renew = true
		if c.unauthorized > 1+len(c.eps.list) {
			return 0, e
		}
	}
	failed := ep.URL
	if end.stay {
		failed = ""
	}
	pause = c.eps.fail(failed, now, c.opt.Random())
	if end.silent {
		c.eps.silent[ep.Region] = now
	}
	if isError && (e == errDead || e == errHard) {
		c.eps.avoidRegion(ep.Region, now)
	}
	if isError {
		if e.Code == CodeWrongRegion {
			c.eps.replace(e.Endpoints)
		} else {
			c.eps.prefer(e.Endpoints)
		}
		pause = max(pause, e.RetryAfter)
	}
	return pause, nil
}
