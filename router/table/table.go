// Package table holds the router's live decision in the form that every query needs: address → ranking → regions. The
// addresses and rankings are compiled once per configuration and data; a change of health swaps one small array. Readers
// never wait and see either the old state or the new one whole. Decision 0021 says why the tables are as they are.
package table

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"meridian/chat"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/geo/ranges"
	"meridian/router/learned"
)

// Live is the current table. Make it with New; all methods are safe for concurrent use.
type Live struct {
	write sync.Mutex // serialises those that make a new snapshot
	now   atomic.Pointer[snapshot]
}

// snapshot is one state of everything; it never changes.
type snapshot struct {
	model   *decide.Model
	data    *geo.Data
	learned *learned.Set
	hosts   []chat.ZoneSpec // host number h is hosts[h-1]; 0 is the general name

	v4       *tree       // IPv4 address → number of the ranking
	v6       *ranges.Set // the same for IPv6
	rankings []ranking

	states decide.States
	board  decide.Board
	// answers holds, for each host and ranking, a count and then the regions to answer, best first: stride bytes each.
	answers []uint8
	stride  int
	// uniform[h] says that all clients get the same answer for host h.
	uniform []bool
	// unsettled[h] says that a region of host h is down or draining.
	unsettled []bool
	gen       decide.Generations
}

// ranking is an order of regions, with what Decide needs to come to the same.
type ranking struct {
	order []uint8
	// held is the decision before this build, where it keeps another region first than the scores do; else zero.
	held decide.Held
	// builds is for how many builds another region has been better.
	builds int
}

// General is the host number of the deployment's own name, under which all regions are answered.
const General = 0

// New compiles a table. hosts are the zones that have a host name of their own; host number i+1 means hosts[i]. The error is
// Replace's.
func New(model *decide.Model, data *geo.Data, hosts []chat.ZoneSpec) (*Live, error) {
	return NewLearned(model, data, nil, hosts)
}

// NewLearned is New with what was learned.
func NewLearned(model *decide.Model, data *geo.Data, set *learned.Set, hosts []chat.ZoneSpec) (*Live, error) {
	l := &Live{}
	return l, l.ReplaceLearned(model, data, set, hosts)
}

// Replace is ReplaceLearned with what is learned already.
func (l *Live) Replace(model *decide.Model, data *geo.Data, hosts []chat.ZoneSpec) error {
	return l.ReplaceLearned(model, data, l.Learned(), hosts)
}

// ReplaceLearned compiles a new table, while the old one serves, and swaps it in. States stay. Where the operator's rules are as they
// were, an address whose place is as it was goes to another region only when that is clearly better, and has been for some
// builds (decide.Ranking.Hold). The error has CodeInvalid: there are more orders of regions than a table can tell apart; then the
// old table stays.
func (l *Live) ReplaceLearned(model *decide.Model, data *geo.Data, set *learned.Set, hosts []chat.ZoneSpec) error {
	l.write.Lock()
	defer l.write.Unlock()
	old := l.now.Load()
	s, err := compile(model, data, set, hosts, old, maxRankings)
	if err != nil {
		return err
	}
	s.gen = decide.Generations{Data: data.Edition(), Learned: set.Edition(), Config: 1, Health: 1}
	if old != nil {
		s.states = old.states
		s.gen.Config, s.gen.Health = old.gen.Config+1, old.gen.Health
	}
	s.answer()
	l.now.Store(s)
	return nil
}

// Next is ReplaceLearned on a copy: it gives a table that goes on from this one, which stays as it is.
func (l *Live) Next(model *decide.Model, data *geo.Data, set *learned.Set, hosts []chat.ZoneSpec) (*Live, error) {
	next := &Live{}
	next.now.Store(l.now.Load())
	return next, next.ReplaceLearned(model, data, set, hosts)
}

// SetStates takes new region states and swaps the answers; it gives false, and does nothing, when they are as before.
func (l *Live) SetStates(states decide.States) bool {
	l.write.Lock()
	defer l.write.Unlock()
	old := l.now.Load()
	if maps.Equal(old.states, states) {
		return false
	}
	s := *old
	s.states = maps.Clone(states)
	s.gen.Health++
	s.answer()
	l.now.Store(&s)
	return true
}

// States gives a copy of the region states.
func (l *Live) States() decide.States { return maps.Clone(l.now.Load().states) }

// Model gives the current model.
func (l *Live) Model() *decide.Model { return l.now.Load().model }

// Data gives the current address data.
func (l *Live) Data() *geo.Data { return l.now.Load().data }

// Learned gives what was learned; nil for nothing.
func (l *Live) Learned() *learned.Set {
	if s := l.now.Load(); s != nil {
		return s.learned
	}
	return nil
}

// Rankings gives the number of distinct orders of regions.
func (l *Live) Rankings() int { return len(l.now.Load().rankings) }

// answer fills in what depends on the states.
func (s *snapshot) answer() {
	s.board = s.model.NamesBoard(s.states)
	stride := len(s.model.Regions()) + 1
	s.stride = stride
	hosts := len(s.hosts) + 1
	s.answers = make([]uint8, hosts*len(s.rankings)*stride)
	s.uniform, s.unsettled = make([]bool, hosts), make([]bool, hosts)
	for h := range hosts {
		s.unsettled[h] = s.board.Unsettled(s.allowed(h))
		all := s.answers[h*len(s.rankings)*stride:][:len(s.rankings)*stride]
		s.uniform[h] = true
		for r := range s.rankings {
			one := all[r*stride:][:stride]
			picked := s.board.Pick(one[1:1], s.rankings[r].order, s.allowed(h), 1) // 1: nobody is moved for load
			one[0] = uint8(len(picked))
			s.uniform[h] = s.uniform[h] && slices.Equal(one, all[:stride]) && (len(picked) < 2 || !s.board.Shedding())
		}
	}
}

func (s *snapshot) allowed(host int) decide.Set {
	if host == General {
		return decide.All
	}
	return s.model.Set(s.hosts[host-1].Regions)
}

// Answer appends to dst the numbers of the regions that serve a client at a, best first, under a host number, and gives
// the length of the widest prefix of a for which that holds whatever the regions' states are: the truthful scope of a DNS
// answer, 0 where the client's address does not matter now. It does not allocate when dst has room. The regions are those
// of Decide's usable ones, in the same order.
func (l *Live) Answer(dst []uint8, host int, a netip.Addr) (regions []uint8, scopeBits int) {
	s := l.now.Load()
	plain, shift := geo.Normalise(a)
	ranking, bits := s.lookup(plain)
	if s.board.Shedding() {
		least := 24
		if plain.Is6() {
			least = 48
		}
		bits = max(bits, least)
		dst = s.board.Pick(dst, s.rankings[ranking].order, s.allowed(host), decide.ShedHash(plain))
	} else {
		one := s.answers[(host*len(s.rankings)+int(ranking))*s.stride:]
		dst = append(dst, one[1:1+one[0]]...)
	}
	if s.uniform[host] {
		return dst, 0
	}
	return dst, bits + shift
}

// Unsettled says that a region of a host number is down or draining, so that its answers may change again soon.
func (l *Live) Unsettled(host int) bool { return l.now.Load().unsettled[host] }

// lookup gives the number of the ranking for a normalised address, and the length of the widest prefix that has the same.
func (s *snapshot) lookup(a netip.Addr) (ranking uint32, prefixBits int) {
	if !a.Is4() {
		return s.v6.Lookup(a)
	}
	b := a.As4()
	return s.v4.lookup(binary.BigEndian.Uint32(b[:]))
}

// Query asks for a decision with its reasons.
type Query struct {
	Address   netip.Addr
	Zone      *chat.ZoneSpec // the home zone of the token; nil without one
	Host      int            // the host number asked for; General for none
	Simulated bool
}

// Decide decides with all reasons. Its errors are decide.Model.Decide's.
func (l *Live) Decide(q Query) (decide.Decision, error) {
	s := l.now.Load()
	plain, _ := geo.Normalise(q.Address)
	in := decide.Input{
		Address: q.Address, Zone: q.Zone, Simulated: q.Simulated, States: s.states, Generations: s.gen, ShedHash: decide.ShedHash(plain),
	}
	if s.learned != nil {
		in.Now = time.Now()
	}
	s.tell(&in, plain)
	if q.Host != General {
		in.Host = &s.hosts[q.Host-1]
	}
	return s.model.Decide(in)
}

// Tell puts into the input of a decision what the table knows of its address: where it is, what was learned of it and what is held on to.
func (l *Live) Tell(in *decide.Input) {
	plain, _ := geo.Normalise(in.Address)
	l.now.Load().tell(in, plain)
}

// tell is Tell; plain is the address in its normal form.
func (s *snapshot) tell(in *decide.Input, plain netip.Addr) {
	in.Place, in.Prefix = s.data.Lookup(in.Address)
	ranking, _ := s.lookup(plain)
	in.Held = s.rankings[ranking].held
	s.learned.Tell(in)
}
