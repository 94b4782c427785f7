package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/history"
)

// Person is one user with one client, and what it did and was shown.
type Person struct {
	Name string
	ID   string
	Zone chat.Zone
	Near chat.Region

	fleet *Fleet
	peers []*Person
	// writing is held while something is handed to the client, and while one client takes over from another.
	writing sync.Mutex

	mu       sync.Mutex
	client   *meridian.Client
	tokens   meridian.Tokens
	stop     context.CancelFunc
	ended    chan struct{}    // closed when client has ended
	gone     bool             // for good
	told     map[string]bool  // what client has shown: it must not show it twice
	sends    map[string]*Send // by client id
	seq      map[string]int   // by recipient or group
	own      []*Send
	seen     []meridian.Message // of others; the newest few
	changes  map[string]*change // by their client ids
	groups   []*group
	removed  []string          // groups that one is no member of any more
	view     map[string]string // what is shown, by message id: its conversation
	pushes   []history.Push    // of groups in removed
	repeats  []string
	newest   map[string]meridian.Message // from each sender
	marks    map[markKey]shownMark       // the furthest that was shown
	url      string                      // that serves now; empty: none
	since    time.Duration               // when it began to
	Resets   int
	Connects int
	Refusals []error
	// Told counts the acks that came, by level.
	Told map[meridian.AckLevel]int
	// Early counts read marks that came to a region before the message did.
	Early int
	// Missed counts what was refused since the person had been removed from the group, or the message deleted.
	Missed int
}

// Send is one send with its times, counted from the fleet's beginning; 0: it did not happen.
type Send struct {
	history.Send
	AtRegion, AtLast, Shown time.Duration
	// From and To are where its sender and its recipient are at home in the world; To is empty for a group.
	From, To chat.Region

	conversation string // once it is acknowledged
}

// join signs a person up near a region and starts the client. The links between the regions may be new: a sign-up that finds
// no majority is tried again.
func (f *Fleet) join(ctx context.Context, name string, zone chat.Zone, near chat.Region) (*Person, error) {
	p := &Person{
		Name: name, Zone: zone, Near: near, fleet: f, sends: map[string]*Send{}, seq: map[string]int{}, changes: map[string]*change{},
		view: map[string]string{}, newest: map[string]meridian.Message{}, marks: map[markKey]shownMark{}, Told: map[meridian.AckLevel]int{},
	}
	account, err := f.signUp(ctx, meridian.SignUp{Username: name, Password: Password, Zone: string(zone)}, near)
	if err != nil {
		return nil, fmt.Errorf("sign up %s: %w", name, err)
	}
	p.ID, p.tokens = account.UserID, account.Tokens
	p.start(meridian.Options{})
	return p, nil
}

// start runs a client that goes on where o says.
func (p *Person) start(o meridian.Options) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.Tokens, o.Handle = p.tokens, p.handle
	client, ended := p.fleet.Client(o, p.Near), make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	p.client, p.stop, p.ended, p.told = client, stop, ended, map[string]bool{}
	go func() {
		defer close(ended)
		if err := client.Run(ctx); err != nil && ctx.Err() == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.Refusals = append(p.Refusals, fmt.Errorf("the client ended after %v, when it was served by %s: %w", time.Since(p.fleet.began).Round(time.Millisecond), p.url, err))
		}
	}()
}

// GoHome lets a person whom another region serves begin anew at the near one, as a device does that was switched off: with
// the cursor and the sends that it kept.
func (p *Person) GoHome() {
	p.mu.Lock()
	near := p.fleet.regionOf(p.url) == p.Near
	client, stop, ended := p.client, p.stop, p.ended
	p.mu.Unlock()
	if near || p.Gone() {
		return
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	stop()
	<-ended
	p.mu.Lock()
	p.url = ""
	p.mu.Unlock()
	p.start(meridian.Options{Resume: client.Cursor(), Outbox: client.Pending()})
}

// Client makes a client of somebody near a region, which knows every node, the near ones first.
func (f *Fleet) Client(o meridian.Options, near chat.Region) *meridian.Client {
	var first, then []meridian.Endpoint
	for _, ref := range f.world.Nodes() {
		e := meridian.Endpoint{Region: string(ref.Region), URL: f.world.URL(ref)}
		if ref.Region == near {
			first = append(first, e)
		} else {
			then = append(then, e)
		}
	}
	rand.Shuffle(len(first), func(i, j int) { first[i], first[j] = first[j], first[i] })
	o.Endpoints, o.Header, o.ResetMessages = append(first, then...), header(near), 1<<20
	return meridian.New(o)
}

// addresses stand for where people are: the router's data knows them.
var addresses = map[chat.Region]string{"us-east": "8.8.8.8", "eu-west": "81.2.69.142", "ap-south": "49.36.0.1"}

func header(near chat.Region) http.Header { return http.Header{"X-Forwarded-For": {addresses[near]}} }

func (p *Person) handle(e meridian.Event) {
	now := p.fleet.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := e.(type) {
	case meridian.Connected:
		p.url, p.since = e.URL, now
		p.Connects++
	case meridian.Disconnected:
		p.url = ""
	case meridian.Received:
		p.received(e.Message, now)
	case meridian.Acked:
		p.Told[e.Level]++
		if p.changed(e.ClientID, history.Acked) {
			return
		}
		p.view[e.MessageID], p.told[e.MessageID] = e.ConversationID, true
		if s := p.sends[e.ClientID]; s != nil {
			if s.Outcome != history.Acked {
				s.AtRegion = now
				p.fleet.Acks.Add(1)
			}
			s.Outcome, s.AckedID, s.conversation = history.Acked, e.MessageID, e.ConversationID
			if e.Final {
				s.AtLast = now
			}
		}
	case meridian.Aliased:
		if conversation, ok := p.view[e.From]; ok {
			delete(p.view, e.From)
			p.view[e.To], p.told[e.To] = conversation, true
		}
		if s := p.sends[e.ClientID]; s != nil {
			s.AckedID = e.To
		}
	case meridian.Receipt:
		p.receipt(e, now)
	case meridian.Failed:
		target, what := "", "a send"
		if ch := p.changes[e.ClientID]; ch != nil {
			target, what = ch.Target, fmt.Sprintf("a change (%d) of %s", ch.Kind, ch.Target)
		}
		p.changed(e.ClientID, history.Failed)
		if s := p.sends[e.ClientID]; s != nil {
			s.Outcome, target = history.Failed, s.ReplyTo
			what = fmt.Sprintf("send %d to %s%s", s.Seq, s.Recipient, s.Group)
		}
		p.refused(e.Err, target, what)
	case meridian.Reset:
		p.Resets++
		p.view, p.told = map[string]string{}, map[string]bool{}
	case meridian.TokensChanged:
		p.tokens = e.Tokens
	case meridian.Refused:
		if e.Re == "read" && (e.Err.Code == meridian.CodeUnknownMessage || e.Err.Code == meridian.CodeUnknownConversation) {
			p.Early++ // shown elsewhere, and not here yet: the client tells it again
			return
		}
		p.refused(e.Err, "", "a frame "+e.Re)
	}
}

// refused notes a refusal of what concerned the message with a client id, if any; called with mu held.
func (p *Person) refused(err *meridian.Error, target, what string) {
	switch {
	case err.Code == meridian.CodeUnknownMessage && p.fleet.isDeleted(target): // somebody was faster
		p.Missed++
	case err.Retryable: // of a mark; it is told again
	case err.Code == meridian.CodeNotMember && len(p.removed) > 0:
		p.Missed++
	default:
		p.Refusals = append(p.Refusals, fmt.Errorf("%s at %s, %v: %w", what, p.url, p.fleet.now().Round(time.Millisecond), err))
	}
}

// received notes a message; called with mu held.
func (p *Person) received(m meridian.Message, now time.Duration) {
	if p.told[m.ID] {
		p.repeats = append(p.repeats, m.ID)
	}
	p.view[m.ID], p.told[m.ID] = m.ConversationID, true
	if slices.Contains(p.removed, m.ConversationID) {
		p.pushes = append(p.pushes, history.Push{User: p.ID, Group: m.ConversationID, ClientID: m.ClientID, Node: p.url, At: now})
	}
	if old := p.newest[m.Sender.ID]; !p.fleet.isGroup(m.ConversationID) && meridian.CompareMessageIDs(old.ID, m.ID) < 0 {
		p.newest[m.Sender.ID] = m
	}
	if m.Sender.ID != p.ID {
		p.fleet.shown(m.ClientID, now)
		if p.seen = append(p.seen, m); len(p.seen) > seenMax {
			p.seen = p.seen[1:]
		}
	}
}

// markKey names a mark that the person sees.
type markKey struct {
	conversation string
	kind         history.MarkKind
}

// shownMark is how far a mark has come, and since when.
type shownMark struct {
	upTo string
	at   time.Duration
}

// markSettles is after what time a mark is not only in the region that showed it, where that reaches another of the zone.
const markSettles = 5 * time.Second

// receipt notes how far a mark has come; called with mu held.
func (p *Person) receipt(e meridian.Receipt, now time.Duration) {
	key := markKey{e.ConversationID, history.PeerDelivered}
	switch {
	case e.Kind == "read" && e.User == p.ID:
		key.kind = history.OwnRead
	case e.Kind == "read":
		key.kind = history.PeerRead
	case e.User == p.ID:
		return // the own delivered mark is nobody's business but the peer's
	}
	if meridian.CompareMessageIDs(p.marks[key].upTo, e.MessageID) < 0 {
		p.marks[key] = shownMark{e.MessageID, now}
	}
}

// seenMax is how many messages of others a person may react to.
const seenMax = 50

// write sends one message to somebody or to a group, now and then as an answer to the newest one from there, reads what has
// come, and changes what was written.
func (p *Person) write(random *rand.Rand) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.fleet.alters && random.IntN(4) == 0 && p.change(random) {
		return nil
	}
	p.mu.Lock()
	groups := p.groups
	p.mu.Unlock()
	if len(groups) > 0 && random.IntN(3) == 0 {
		g := groups[random.IntN(len(groups))]
		return p.send(nil, g, fmt.Sprintf("%s → group %s", p.Name, strings.Repeat("д", random.IntN(60))), meridian.Message{})
	}
	to := p.peers[random.IntN(len(p.peers))]
	p.mu.Lock()
	last := p.newest[to.ID]
	number := p.seq[to.ID] + 1
	p.mu.Unlock()
	parent := meridian.Message{}
	if last.ID != "" && random.IntN(10) == 0 {
		parent = last
	}
	if last.ID != "" && random.IntN(4) == 0 {
		p.device().MarkRead(last.ConversationID, last.ID)
	}
	return p.send(to, nil, fmt.Sprintf("%s → %s #%d %s", p.Name, to.Name, number, strings.Repeat("ж", random.IntN(60))), parent)
}

// send notes a message, then hands it to the client. One goroutine at a time writes for a person.
func (p *Person) send(to *Person, g *group, text string, parent meridian.Message) error {
	s := &Send{From: p.Near, Send: history.Send{
		ClientID: meridian.NewClientID(), Sender: p.ID, Text: text, ReplyTo: parent.ClientID, Invoked: p.fleet.now(),
	}}
	o := meridian.Outgoing{ClientID: s.ClientID, Text: text, ReplyTo: parent.ID}
	if g != nil {
		s.Group, o.Conversation = g.id, g.id
	} else {
		s.Recipient, s.To, o.ToUser = to.ID, to.Near, to.Name
	}
	p.mu.Lock()
	p.seq[s.Recipient+s.Group]++
	s.Seq = p.seq[s.Recipient+s.Group]
	p.sends[s.ClientID] = s
	p.own = append(p.own, s)
	p.mu.Unlock()
	p.fleet.note(s)
	_, err := p.device().Send(o)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.Outcome = history.Failed
	}
	return err
}

// Served gives the URL that serves the person, "" for none, and since when.
func (p *Person) Served() (url string, since time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.url, p.since
}

func (p *Person) device() *meridian.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client
}

// Pending is how many sends are not acknowledged for good.
func (p *Person) Pending() int { return len(p.device().Pending()) }

// Leave ends the client for good, as a device does that is lost. It can send nothing again, so what it knew to be in one
// region only, and waited for more, is unknown; so is a mark that it was just shown.
func (p *Person) Leave() {
	p.mu.Lock()
	p.gone = true
	stop, ended := p.stop, p.ended
	p.mu.Unlock()
	stop()
	<-ended
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sends {
		if s.Outcome == history.Acked && s.AtLast == 0 {
			s.Outcome = history.Unknown
		}
	}
	for _, ch := range p.changes {
		if ch.Outcome == history.Acked && p.fleet.now()-ch.Invoked < changePause {
			ch.Outcome = history.Unknown // the last level is not noted for changes
		}
	}
	maps.DeleteFunc(p.marks, func(_ markKey, m shownMark) bool { return p.fleet.now()-m.at < markSettles })
}

// Gone says whether the client has ended for good.
func (p *Person) Gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// view gives what the client shows in the end.
func (p *Person) viewed() history.View {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := history.View{Owner: p.ID, Repeats: slices.Clone(p.repeats), Left: slices.Clone(p.removed)}
	for id, conversation := range p.view {
		if !slices.Contains(v.Left, conversation) {
			v.IDs = append(v.IDs, id)
		}
	}
	return v
}

// errRetry says that the same call may succeed later.
func errRetry(err error) bool {
	var e *meridian.Error
	return errors.As(err, &e) && e.Retryable
}
