// Package presence keeps who is online, and passes typing hints. Nothing of it is stored: a state is a lease that its node
// renews, so that what a lost node said expires as one. A person's state goes only to regions that the zone's policy allows.
package presence

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/residency"
)

// The kinds of Tell that this package sends and takes.
const (
	KindPresence = "presence"
	KindTyping   = "typing"
)

const (
	// tellUsers is how many people one Tell names at most.
	tellUsers = 1000
	// maxLastSeen bounds what is remembered of people who went.
	maxLastSeen = 50_000
	// expireEvery is how often leases are looked at.
	expireEvery = time.Second
)

// Teller sends hints to every node of a region, the own one excepted; what cannot be sent is lost.
type Teller interface {
	Tell(region chat.Region, kind string, payload []byte)
}

// Watcher is a socket that follows people. Its methods must not block.
type Watcher interface {
	Presence(user chat.UserID, online bool, lastSeen time.Time)
}

// Typer is a socket that takes typing hints. Typing must not block.
type Typer interface {
	Typing(from chat.UserID, conversation chat.ConversationID)
}

// Options make a Service.
type Options struct {
	Self     chat.NodeRef
	Topology chat.Topology
	Lease    time.Duration
	Tell     Teller
	Hub      *messages.Hub
	// Book is what the region's nodes share of who is online, also over a restart; nil: what they tell each other is all.
	Book chat.Presences
	Now  func() time.Time
}

// Service is one node's view of who is online.
type Service struct {
	opt Options

	mu       sync.Mutex
	local    map[chat.UserID]*localUser
	remote   map[chat.UserID]map[chat.NodeRef]time.Time // lease ends
	lastSeen map[chat.UserID]time.Time
	watchers map[chat.UserID]map[Watcher]struct{}
	// notes wait to be written into the book, writing are being written.
	notes, writing map[chat.UserID]note
	noted          chan struct{}
	book           sync.Mutex // held while notes are written
}

type localUser struct {
	zone    chat.Zone
	sockets int
}

// report is the payload of KindPresence: people of one zone.
type report struct {
	Zone    chat.Zone     `json:"zone"`
	Online  []chat.UserID `json:"online,omitempty"`
	Offline []chat.UserID `json:"offline,omitempty"`
}

// typing is the payload of KindTyping.
type typing struct {
	From         chat.UserID         `json:"from"`
	FromZone     chat.Zone           `json:"from_zone"`
	To           chat.UserID         `json:"to"`
	ToZone       chat.Zone           `json:"to_zone"`
	Conversation chat.ConversationID `json:"conversation"`
}

// New makes a Service.
func New(opt Options) *Service {
	return &Service{
		opt: opt, local: make(map[chat.UserID]*localUser), remote: make(map[chat.UserID]map[chat.NodeRef]time.Time),
		lastSeen: make(map[chat.UserID]time.Time), watchers: make(map[chat.UserID]map[Watcher]struct{}),
		notes: make(map[chat.UserID]note), noted: make(chan struct{}, 1),
	}
}

// Join tells that user opened a socket here.
func (s *Service) Join(user chat.UserID, zone chat.Zone) {
	s.mu.Lock()
	l := s.local[user]
	if l == nil {
		l = &localUser{zone: zone}
		s.local[user] = l
	}
	l.sockets++
	first := l.sockets == 1
	if first {
		s.announce(user)
		s.note(user, zone, true)
	}
	s.mu.Unlock()
	if first {
		s.broadcast(report{Zone: zone, Online: []chat.UserID{user}})
	}
}

// Leave tells that a socket of user closed.
func (s *Service) Leave(user chat.UserID, zone chat.Zone) {
	s.mu.Lock()
	l := s.local[user]
	last := false
	if l != nil {
		l.sockets--
		last = l.sockets == 0
	}
	if last {
		delete(s.local, user)
		s.saw(user)
		s.announce(user)
		s.note(user, zone, false)
	}
	s.mu.Unlock()
	if last {
		s.broadcast(report{Zone: zone, Offline: []chat.UserID{user}})
	}
}

// Here counts the people with a socket here.
func (s *Service) Here() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.local)
}

// State gives whether user is online anywhere, and when they went if that is known.
func (s *Service) State(user chat.UserID) (online bool, lastSeen time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state(user)
}

func (s *Service) state(user chat.UserID) (bool, time.Time) {
	if s.local[user] != nil || len(s.remote[user]) > 0 {
		return true, time.Time{}
	}
	return false, s.lastSeen[user]
}

// Watch makes w follow user; it hears the present state at once when the user is online or was seen.
func (s *Service) Watch(user chat.UserID, w Watcher) {
	s.mu.Lock()
	set := s.watchers[user]
	if set == nil {
		set = make(map[Watcher]struct{}, 1)
		s.watchers[user] = set
	}
	set[w] = struct{}{}
	s.mu.Unlock()
	go s.tellState(user, w) // the caller may hold the watcher's lock
}

// Unwatch ends it.
func (s *Service) Unwatch(user chat.UserID, w Watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers[user], w)
	if len(s.watchers[user]) == 0 {
		delete(s.watchers, user)
	}
}

// announce tells the watchers here; called with mu held.
func (s *Service) announce(user chat.UserID) {
	set := s.watchers[user]
	if len(set) == 0 {
		return
	}
	online, seen := s.state(user)
	watchers := make([]Watcher, 0, len(set))
	for w := range set {
		watchers = append(watchers, w)
	}
	go func() {
		for _, w := range watchers {
			w.Presence(user, online, seen)
		}
	}()
}

// saw remembers when user went; called with mu held.
func (s *Service) saw(user chat.UserID) {
	if len(s.lastSeen) >= maxLastSeen {
		clear(s.lastSeen)
	}
	s.lastSeen[user] = s.opt.Now()
}

// audience gives the regions that may know of people of zone; the own one has other nodes.
func (s *Service) audience(zone chat.Zone) []chat.Region {
	spec, ok := s.opt.Topology.Zone(zone)
	if !ok {
		return nil
	}
	var to []chat.Region
	for _, r := range s.opt.Topology.Regions {
		if r == s.opt.Self.Region || spec.Policy == chat.PolicyCopy || spec.Has(r) {
			to = append(to, r)
		}
	}
	return to
}

func (s *Service) broadcast(r report) {
	payload := encode(r)
	for _, region := range s.audience(r.Zone) {
		s.opt.Tell.Tell(region, KindPresence, payload)
	}
}

// Sync tells peer's region who is online here: the link to peer has just come up.
func (s *Service) Sync(peer chat.NodeRef) {
	for _, r := range s.reports() {
		if slices.Contains(s.audience(r.Zone), peer.Region) {
			s.opt.Tell.Tell(peer.Region, KindPresence, encode(r))
		}
	}
}

// reports gives everybody online here, by zone, in pieces.
func (s *Service) reports() []report {
	s.mu.Lock()
	byZone := make(map[chat.Zone][]chat.UserID)
	for u, l := range s.local {
		byZone[l.zone] = append(byZone[l.zone], u)
	}
	s.mu.Unlock()
	var out []report
	for zone, users := range byZone {
		for piece := range slices.Chunk(users, tellUsers) {
			out = append(out, report{Zone: zone, Online: piece})
		}
	}
	return out
}

// Typing passes a hint to the sockets of others, or of a group by its mailboxes, wherever their zones serve them: to each
// region once.
func (s *Service) Typing(self chat.Owner, conversation chat.ConversationID, to ...chat.Owner) {
	var told []chat.Region
	for _, other := range to {
		if !residency.Write(s.opt.Topology, self.Zone, other.Zone).Allowed() {
			continue
		}
		spec, _ := s.opt.Topology.Zone(other.Zone)
		hint := typing{From: self.ID, FromZone: self.Zone, To: other.ID, ToZone: other.Zone, Conversation: conversation}
		for _, r := range spec.Regions {
			if slices.Contains(told, r) {
				continue
			}
			told = append(told, r)
			if r == s.opt.Self.Region {
				s.showTyping(hint)
			}
			s.opt.Tell.Tell(r, KindTyping, encode(hint))
		}
	}
}

func (s *Service) showTyping(hint typing) {
	s.opt.Hub.Each(hint.To, func(sub messages.Subscriber) {
		if t, ok := sub.(Typer); ok {
			t.Typing(hint.From, hint.Conversation)
		}
	})
}

// OnTell takes a hint from peer; what peer may not say is ignored.
func (s *Service) OnTell(peer chat.NodeRef, kind string, payload []byte) {
	switch kind {
	case KindPresence:
		var r report
		if json.Unmarshal(payload, &r) == nil && s.maySpeak(peer, r.Zone) {
			s.apply(peer, r)
		}
	case KindTyping:
		var hint typing
		if json.Unmarshal(payload, &hint) == nil && s.maySpeak(peer, hint.FromZone) &&
			residency.Store(s.opt.Topology, hint.FromZone, hint.ToZone, s.opt.Self.Region).Allowed() {
			s.showTyping(hint)
		}
	}
}

// maySpeak says whether peer may tell of people of zone.
func (s *Service) maySpeak(peer chat.NodeRef, zone chat.Zone) bool {
	return residency.Speak(s.opt.Topology, zone, peer.Region).Allowed()
}

func (s *Service) apply(peer chat.NodeRef, r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := s.opt.Now().Add(s.opt.Lease)
	for _, u := range r.Online {
		was, _ := s.state(u)
		if s.remote[u] == nil {
			s.remote[u] = make(map[chat.NodeRef]time.Time, 1)
		}
		s.remote[u][peer] = ends
		if !was {
			s.announce(u)
		}
	}
	for _, u := range r.Offline {
		s.drop(u, peer)
		if s.local[u] == nil && peer.Region != s.opt.Self.Region { // who is in this region says so itself
			s.note(u, r.Zone, false)
		}
	}
}

// drop ends what peer said of u; called with mu held.
func (s *Service) drop(u chat.UserID, peer chat.NodeRef) {
	if _, ok := s.remote[u][peer]; !ok {
		return
	}
	delete(s.remote[u], peer)
	if len(s.remote[u]) == 0 {
		delete(s.remote, u)
	}
	if online, _ := s.state(u); !online {
		s.saw(u)
		s.announce(u)
	}
}

// Run renews this node's leases and ends those of others; until ctx ends.
func (s *Service) Run(ctx context.Context) {
	if s.opt.Book != nil {
		var book sync.WaitGroup
		defer book.Wait()
		book.Go(func() { s.keepBook(ctx) })
	}
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	renewed := s.opt.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.expire()
		if now := s.opt.Now(); now.Sub(renewed) >= s.opt.Lease/3 {
			renewed = now
			for _, r := range s.reports() {
				s.broadcast(r)
			}
		}
	}
}

func (s *Service) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	for u, leases := range s.remote {
		for node, ends := range leases {
			if now.After(ends) {
				s.drop(u, node)
			}
		}
	}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("presence: a hint does not encode: " + err.Error())
	}
	return b
}
