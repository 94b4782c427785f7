package process

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/cluster"
	"meridian/test/history"
)

const password = "correct horse battery"

// addresses stand for where people are: the router's data knows them.
var addresses = map[chat.Region]string{"us-east": "8.8.8.8", "eu-west": "81.2.69.142", "ap-south": "49.36.0.1"}

// member is one person with one client, and what it did and was shown.
type member struct {
	name   string
	zone   chat.Zone
	near   chat.Region
	id     string
	peers  []*member
	client *meridian.Client

	mu       sync.Mutex
	sends    map[string]*history.Send // by client id
	seq      map[string]int           // by recipient
	view     map[string]bool
	shown    map[string]bool // texts of others
	repeats  []string
	newest   map[string]meridian.Message // from each sender
	region   chat.Region                 // that serves now; empty: none
	since    time.Time                   // when it began to
	resets   int
	connects int
	refusals []error
}

// join signs a person up near a region and starts the client. The links between the regions may be new: a sign-up that finds
// no majority is tried again.
func join(t *testing.T, c *cluster.Cluster, name string, zone chat.Zone, near chat.Region) *member {
	t.Helper()
	return joinAs(t, c, name, "Display "+name, zone, near)
}

func joinAs(t *testing.T, c *cluster.Cluster, name, display string, zone chat.Zone, near chat.Region) *member {
	t.Helper()
	m := &member{
		name: name, zone: zone, near: near, sends: map[string]*history.Send{}, seq: map[string]int{},
		view: map[string]bool{}, shown: map[string]bool{}, newest: map[string]meridian.Message{},
	}
	header := http.Header{"X-Forwarded-For": {addresses[near]}}
	api := &meridian.API{BaseURL: c.URL(near), Header: header}
	account, err := signUp(t.Context(), api, meridian.SignUp{Username: name, Password: password, DisplayName: display, Zone: string(zone)})
	if err != nil {
		t.Fatalf("sign up %s: %v", name, err)
	}
	m.id = account.UserID
	endpoints := []meridian.Endpoint{{Region: string(near), URL: c.URL(near)}}
	for _, r := range c.Config.Regions {
		if r.Name != near {
			endpoints = append(endpoints, meridian.Endpoint{Region: string(r.Name), URL: c.URL(r.Name)})
		}
	}
	m.client = meridian.New(meridian.Options{Endpoints: endpoints, Tokens: account.Tokens, Handle: m.handle, Header: header, ResetMessages: 1 << 20})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.client.Run(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("client of %s ended: %v", name, err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return m
}

// patience bounds waits that promise nothing: a machine that is busy may take long for anything.
const patience = time.Minute

// patiently makes a call again for as long as the refusal is one that may pass.
func patiently(ctx context.Context, call func() error) (err error) {
	for end := time.Now().Add(patience); ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		var e *meridian.Error
		if err = call(); err == nil || !errors.As(err, &e) || !e.Retryable || time.Now().After(end) {
			break
		}
	}
	return err
}

// signUp makes an account, patiently. After an outcome that was not known it may be there: a name that is taken then is the own, or is given
// back in a moment.
func signUp(ctx context.Context, api *meridian.API, s meridian.SignUp) (account meridian.Account, err error) {
	tries := 0
	err = patiently(ctx, func() (err error) {
		account, err = api.SignUp(ctx, s)
		if tries++; tries > 1 && meridian.CodeOf(err) == meridian.CodeUsernameTaken {
			account, err = api.LogIn(ctx, meridian.Credentials{Username: s.Username, Password: s.Password})
			if err != nil {
				err = &meridian.Error{Code: meridian.CodeUsernameTaken, Message: s.Username, Retryable: true, Cause: err}
			}
		}
		return err
	})
	return account, err
}

func (m *member) handle(e meridian.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e := e.(type) {
	case meridian.Connected:
		m.region, m.since = chat.Region(e.Region), time.Now()
		m.connects++
	case meridian.Disconnected:
		m.region = ""
	case meridian.Received:
		if m.view[e.Message.ID] {
			m.repeats = append(m.repeats, e.Message.ID)
		}
		m.view[e.Message.ID] = true
		m.shown[e.Message.Text] = true
		if old := m.newest[e.Message.Sender.ID]; meridian.CompareMessageIDs(old.ID, e.Message.ID) < 0 {
			m.newest[e.Message.Sender.ID] = e.Message
		}
	case meridian.Acked:
		m.view[e.MessageID] = true
		if s := m.sends[e.ClientID]; s != nil {
			s.Outcome, s.AckedID = history.Acked, e.MessageID
		}
	case meridian.Aliased:
		delete(m.view, e.From)
		m.view[e.To] = true
		if s := m.sends[e.ClientID]; s != nil {
			s.AckedID = e.To
		}
	case meridian.Failed:
		if s := m.sends[e.ClientID]; s != nil {
			s.Outcome = history.Failed
		}
		m.refusals = append(m.refusals, e.Err)
	case meridian.Reset:
		m.resets++
		m.view = map[string]bool{}
	case meridian.Refused:
		if !e.Err.Retryable { // a region that has just started takes nobody yet: the client goes on to the next
			m.refusals = append(m.refusals, e.Err)
		}
	}
}

// write sends one message to somebody; now and then it answers the newest one from there.
func (m *member) write(to *member, random *rand.Rand) error {
	var parent meridian.Message
	m.mu.Lock()
	if random.IntN(10) == 0 {
		parent = m.newest[to.id]
	}
	number := m.seq[to.id] + 1
	m.mu.Unlock()
	return m.send(to, fmt.Sprintf("%s → %s #%d %s", m.name, to.name, number, strings.Repeat("ж", random.IntN(60))), parent)
}

// say sends one text.
func (m *member) say(to *member, text string) error { return m.send(to, text, meridian.Message{}) }

// send notes a message, then hands it to the client. One goroutine at a time writes for a member.
func (m *member) send(to *member, text string, parent meridian.Message) error {
	m.mu.Lock()
	m.seq[to.id]++
	s := &history.Send{
		ClientID: meridian.NewClientID(), Sender: m.id, Recipient: to.id, Seq: m.seq[to.id], Text: text, ReplyTo: parent.ClientID,
	}
	m.sends[s.ClientID] = s
	m.mu.Unlock()
	_, err := m.client.Send(meridian.Outgoing{ClientID: s.ClientID, ToUser: to.name, Text: text, ReplyTo: parent.ID})
	return err
}

// served gives which region serves the member, and since when.
func (m *member) served() (chat.Region, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.region, m.since
}

// waitUntil polls a condition; it fails the test after limit.
func waitUntil(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}
