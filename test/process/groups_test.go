package process

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/cluster"
)

const (
	groupRounds = 40 // of each of the five
	groupPause  = 150 * time.Millisecond
)

// shownMessage is a message as somebody ends up seeing it.
type shownMessage struct {
	Sender, Text string
	Deleted      bool
	Reactions    []string // emoji and user id, sorted
}

// groupMember is one of the five: a client, and what it makes of the events alone.
type groupMember struct {
	name, id string
	account  meridian.Account
	client   *meridian.Client

	mu      sync.Mutex
	written map[string]string // texts of own sends, by client id
	own     []string          // ids of own messages
	view    map[string]*liveMessage
	events  map[string]int // by kind
	refused []error
	online  bool
}

// liveMessage is a message with when its parts last changed.
type liveMessage struct {
	shownMessage
	edited  time.Time
	reacted map[string]time.Time // by emoji and user
	set     map[string]bool
}

func (m *groupMember) message(id string) *liveMessage {
	live := m.view[id]
	if live == nil {
		live = &liveMessage{reacted: map[string]time.Time{}, set: map[string]bool{}}
		m.view[id] = live
	}
	return live
}

func (m *groupMember) handle(e meridian.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events[fmt.Sprintf("%T", e)]++
	switch e := e.(type) {
	case meridian.Connected:
		m.online = true
	case meridian.Disconnected:
		m.online = false
	case meridian.Received:
		live := m.message(e.Message.ID)
		live.Sender, live.Text, live.Deleted, live.edited = e.Message.Sender.ID, e.Message.Text, e.Message.Deleted, e.Message.EditedAt
		for _, r := range e.Message.Reactions {
			for _, user := range r.Users {
				live.set[r.Emoji+" "+user] = true
			}
		}
		if e.Message.Sender.ID == m.id && !slices.Contains(m.own, e.Message.ID) {
			m.own = append(m.own, e.Message.ID)
		}
	case meridian.Acked:
		if text, ok := m.written[e.ClientID]; ok && m.view[e.MessageID] == nil {
			live := m.message(e.MessageID)
			live.Sender, live.Text = m.id, text
			m.own = append(m.own, e.MessageID)
		}
	case meridian.Aliased:
		if from := m.view[e.From]; from != nil {
			delete(m.view, e.From)
			m.own = slices.DeleteFunc(m.own, func(id string) bool { return id == e.From })
			if m.view[e.To] == nil {
				m.view[e.To] = from
			}
		}
	case meridian.Edited:
		if live := m.view[e.MessageID]; live != nil && !e.At.Before(live.edited) {
			live.Text, live.edited = e.Text, e.At
		}
	case meridian.Deleted:
		if live := m.view[e.MessageID]; live != nil {
			live.Deleted = true
		}
	case meridian.Reacted:
		key := e.Emoji + " " + e.User
		if live := m.view[e.MessageID]; live != nil && !e.At.Before(live.reacted[key]) {
			live.reacted[key], live.set[key] = e.At, e.On
		}
	case meridian.Reset:
		m.view = map[string]*liveMessage{}
	case meridian.Failed:
		m.refused = append(m.refused, e.Err)
	case meridian.Refused:
		m.refused = append(m.refused, e.Err)
	}
}

// seen gives the view as it stands.
func (m *groupMember) seen() map[string]shownMessage {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]shownMessage{}
	for id, live := range m.view {
		s := live.shownMessage
		for key, on := range live.set {
			if on {
				s.Reactions = append(s.Reactions, key)
			}
		}
		slices.Sort(s.Reactions)
		all[id] = finally(s)
	}
	return all
}

// finally takes from a deleted message what nobody is shown any more.
func finally(s shownMessage) shownMessage {
	if s.Deleted {
		s.Text, s.Reactions = "", nil
	}
	return s
}

func joinGroup(t *testing.T, c *cluster.Cluster, name string, near chat.Region) *groupMember {
	t.Helper()
	m := &groupMember{name: name, written: map[string]string{}, view: map[string]*liveMessage{}, events: map[string]int{}}
	header := http.Header{"X-Forwarded-For": {addresses[near]}}
	var err error
	if m.account, err = signUp(t.Context(), &meridian.API{BaseURL: c.URL(near), Header: header}, meridian.SignUp{Username: name, Password: password}); err != nil {
		t.Fatal(err)
	}
	m.id = m.account.UserID
	endpoints := []meridian.Endpoint{{Region: string(near), URL: c.URL(near)}}
	for _, r := range regions {
		if r != near {
			endpoints = append(endpoints, meridian.Endpoint{Region: string(r), URL: c.URL(r)})
		}
	}
	m.client = meridian.New(meridian.Options{Endpoints: endpoints, Tokens: m.account.Tokens, Handle: m.handle, Header: header, ResetMessages: 1 << 20})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.client.Run(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("client of %s ended: %v", name, err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	waitUntil(t, patience, name+" is connected", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.online
	})
	return m
}

// act does one thing in the group: mostly it writes, else it changes a message.
func (m *groupMember) act(group string, round int, random *rand.Rand) error {
	m.mu.Lock()
	ids := slices.Sorted(maps.Keys(m.view))
	own := slices.Clone(m.own)
	m.mu.Unlock()
	var err error
	switch kind := random.IntN(10); {
	case kind < 5 || len(own) == 0 || len(ids) == 0: // after a reset nothing is known for a moment
		text, id := fmt.Sprintf("%s %d", m.name, round), meridian.NewClientID()
		m.mu.Lock()
		m.written[id] = text
		m.mu.Unlock()
		_, err = m.client.Send(meridian.Outgoing{ClientID: id, Conversation: group, Text: text})
	case kind < 7:
		_, err = m.client.Edit(group, own[random.IntN(len(own))], fmt.Sprintf("%s %d, edited", m.name, round))
	case kind < 9:
		_, err = m.client.React(group, ids[random.IntN(len(ids))], []string{"👍", "🎉"}[random.IntN(2)], random.IntN(3) > 0)
	default:
		_, err = m.client.Delete(group, own[random.IntN(len(own))])
	}
	return err
}

// mailbox reads what somebody sees of the group in a region.
func mailbox(ctx context.Context, c *cluster.Cluster, m *groupMember, region chat.Region, group string) (map[string]shownMessage, error) {
	account, err := (&meridian.API{BaseURL: c.URL(region)}).LogIn(ctx, meridian.Credentials{Username: m.name, Password: password})
	if err != nil {
		return nil, err
	}
	api := &meridian.API{BaseURL: c.URL(region), Token: func(context.Context) (string, error) { return account.Access, nil }}
	all := map[string]shownMessage{}
	for before := ""; ; {
		page, next, err := api.Messages(ctx, group, before, 100)
		if err != nil {
			return nil, err
		}
		for _, message := range page {
			s := shownMessage{Sender: message.Sender.ID, Text: message.Text, Deleted: message.Deleted}
			for _, r := range message.Reactions {
				for _, user := range r.Users {
					s.Reactions = append(s.Reactions, r.Emoji+" "+user)
				}
			}
			slices.Sort(s.Reactions)
			all[message.ID] = finally(s)
		}
		if before = next; next == "" {
			return all, nil
		}
	}
}

// Five people over three regions write, edit, delete and react in a group while a region is killed and comes back: all end with
// the same messages, texts and reactions, in every region's mailbox and in what each client made of its events, and nothing
// that was taken is refused later.
func TestGroupOutlivesARegion(t *testing.T) {
	c := start(t, nil)
	near := []chat.Region{"us-east", "eu-west", "ap-south", "eu-west", "us-east"}
	var five []*groupMember
	for i, r := range near {
		five = append(five, joinGroup(t, c, fmt.Sprintf("five.%d", i), r))
	}
	api := &meridian.API{BaseURL: c.URL("us-east"), Token: func(context.Context) (string, error) { return five[0].account.Access, nil }}
	var group meridian.Conversation
	wanted := meridian.NewGroup{ClientID: meridian.NewClientID(), Name: "five", Members: []string{"five.1", "five.2", "five.3", "five.4"}}
	if err := patiently(t.Context(), func() (err error) { group, err = api.MakeGroup(t.Context(), wanted); return err }); err != nil {
		t.Fatal(err)
	}
	for _, m := range five {
		waitUntil(t, patience, m.name+" is told of the group", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.events["meridian.GroupChanged"] > 0
		})
	}
	var writers sync.WaitGroup
	for i, m := range five {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			for round := range groupRounds {
				if err := m.act(group.ID, round, random); err != nil {
					t.Errorf("%s: %v", m.name, err)
				}
				time.Sleep(groupPause)
			}
		})
	}
	time.Sleep(groupRounds * groupPause / 4)
	c.Kill("eu-west")
	time.Sleep(groupRounds * groupPause / 4)
	c.Restart("eu-west")
	writers.Wait()
	for _, m := range five {
		waitUntil(t, time.Minute, m.name+" has nothing left to send", func() bool { return len(m.client.Pending()) == 0 })
	}
	want := agree(t, c, five, group.ID)
	deleted, edited := 0, 0
	for _, s := range want {
		if s.Deleted {
			deleted++
		}
		if len(s.Reactions) > 0 {
			edited++
		}
	}
	fmt.Printf("process: group of five: %d messages, %d deleted, %d with reactions, alike in %d mailboxes and 5 clients\n", len(want), deleted, edited, 5*len(regions))
	if len(want) < groupRounds || deleted == 0 || edited == 0 {
		t.Errorf("too little was done: %d messages, %d deleted, %d with reactions", len(want), deleted, edited)
	}
}

// agree waits until all mailboxes and all clients show the same, and gives it.
func agree(t *testing.T, c *cluster.Cluster, five []*groupMember, group string) map[string]shownMessage {
	t.Helper()
	var want map[string]shownMessage
	var differs string
	for end := time.Now().Add(2 * patience); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		want, differs = nil, ""
		for _, m := range five {
			for _, r := range regions {
				got, err := mailbox(t.Context(), c, m, r, group)
				if want == nil {
					want = got
				}
				if err != nil || !reflect.DeepEqual(got, want) {
					differs = fmt.Sprintf("the mailbox of %s in %s (%v): %s", m.name, r, err, difference(got, want))
				}
			}
			if seen := m.seen(); !reflect.DeepEqual(seen, want) {
				differs = fmt.Sprintf("what %s was told: %s", m.name, difference(seen, want))
			}
			for _, err := range m.refused {
				t.Logf("%s was refused: %v", m.name, err)
			}
		}
		if differs == "" {
			return want
		}
	}
	t.Fatalf("no agreement: %s", differs)
	return nil
}

// difference names what two views do not have in common.
func difference(got, want map[string]shownMessage) string {
	text := fmt.Sprintf("%d messages, not %d;", len(got), len(want))
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if !reflect.DeepEqual(got[id], want[id]) {
			text += fmt.Sprintf(" %s is %+v, not %+v;", id, got[id], want[id])
		}
	}
	return text
}
