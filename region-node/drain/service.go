package drain

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"meridian/chat"
	"meridian/region-node/wire"
)

const (
	// lookEvery is how often it is looked who must be asked next.
	lookEvery = 250 * time.Millisecond
	// tellEvery is how often the nodes of all regions are told.
	tellEvery = time.Second
	// moveWithin is how long a client may take its time when it is asked.
	moveWithin = 10 * time.Second
	// againAfter is when somebody who had no other region is looked at again.
	againAfter = 5 * time.Second
	// forgetAfter is how long what a node told of its load counts.
	forgetAfter = 5 * time.Second
	// WithinMax bounds the time of a drain.
	WithinMax = 24 * time.Hour
)

// Kind is the kind of hint by which nodes tell of drains and of their load.
const Kind = "drain"

// Socket is one that ends here, or is served here for another region, and may be asked to move.
type Socket interface {
	// Person gives whose it is; Edge the region where it ends.
	Person() (zone chat.Zone, addr netip.Addr)
	Edge() chat.Region
	// GoAway asks the client to move; End closes it.
	GoAway(wire.GoAway)
	End(code int, reason string)
}

// Options make a Service.
type Options struct {
	Self chat.Region
	// Regions are all of them.
	Regions []chat.Region
	// File keeps the order, and what was forced, across restarts.
	File string
	// Sockets gives the open ones; Load counts those that the node serves.
	Sockets func() []Socket
	Load    func() int
	// Elsewhere gives the regions that serve a person instead of this one, best first; none where there is no other.
	Elsewhere func(zone chat.Zone, addr netip.Addr, edge chat.Region) []chat.Endpoint
	// Tell gives a hint to all nodes of all regions.
	Tell    func(kind string, payload []byte)
	Now     func() time.Time
	Log     *slog.Logger
	Metrics interface {
		Count(name string, labelValues ...string)
		Set(name string, value float64, labelValues ...string)
	}
}

// Word is what a node tells of its region and of itself.
type Word struct {
	Order   Order `json:"order"`
	Sockets int   `json:"sockets"`
	// Forces are what its operator has forced, by region.
	Forces map[chat.Region]chat.Force `json:"forces,omitempty"`
}

// kept is what File holds.
type kept struct {
	Order
	Forces map[chat.Region]chat.Force `json:"forces,omitempty"`
}

// turn is when a socket's turn comes.
type turn struct {
	place float64 // in [0, 1)
	asked bool
	after time.Time // not before
}

// Service knows all regions' orders and carries out this one's. All methods are safe for concurrent use.
type Service struct {
	opt Options

	mu     sync.Mutex
	orders map[chat.Region]Order
	forces chat.Forces
	loads  map[chat.NodeRef]load
	turns  map[Socket]*turn
	peak   int
}

type load struct {
	sockets int
	heard   time.Time
}

// New reads what was ordered before. The error has CodeInternal when the file cannot be read.
func New(opt Options) (*Service, error) {
	s := &Service{opt: opt, orders: make(map[chat.Region]Order), forces: make(chat.Forces), loads: make(map[chat.NodeRef]load), turns: make(map[Socket]*turn)}
	text, err := os.ReadFile(opt.File)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	var before kept
	if err == nil {
		err = json.Unmarshal(text, &before)
	}
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInternal, Op: "drain.New", Message: "the order to drain cannot be read from " + opt.File + "; remove the file to serve as before", Cause: err}
	}
	s.orders[opt.Self] = before.Order
	s.forces[opt.Self] = before.Forces
	return s, nil
}

// Order gives the order about a region.
func (s *Service) Order(region chat.Region) Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.orders[region]
}

// Orders gives all orders that are known.
func (s *Service) Orders() map[chat.Region]Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.orders)
}

// Give takes the operator's word about this region: drain within so long, or, with on false, serve as before. A drain that is under
// way only gets another end.
func (s *Service) Give(on bool, within time.Duration) (Order, error) {
	if on && (within < 0 || within > WithinMax) {
		return Order{}, &chat.Error{Code: chat.CodeInvalid, Op: "drain.Give", Message: "within must be between 0s and " + WithinMax.String()}
	}
	s.mu.Lock()
	now, old := s.opt.Now().UTC(), s.orders[s.opt.Self]
	order := Order{On: on, Given: now}
	if !order.After(old) { // another node's clock is ahead
		order.Given = old.Given.Add(time.Millisecond)
	}
	if on {
		if order.From = now; old.On {
			order.From = old.From
		}
		order.Until = now.Add(within)
	}
	err := s.take(s.opt.Self, order)
	s.mu.Unlock()
	if err == nil {
		s.tell()
	}
	return order, err
}

// Hear takes what another node told.
func (s *Service) Hear(from chat.NodeRef, payload []byte) {
	var w Word
	if json.Unmarshal(payload, &w) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads[from] = load{sockets: w.Sockets, heard: s.opt.Now()}
	if w.Order.After(s.orders[from.Region]) { // nobody speaks for another region
		if err := s.take(from.Region, w.Order); err != nil {
			s.opt.Log.Error("the order to drain is not kept", "err", err)
		}
	}
	s.hearForces(from.Region, w.Forces)
}

// take makes an order the one that counts, and keeps one about this region. The mutex is held.
func (s *Service) take(region chat.Region, order Order) error {
	if region == s.opt.Self {
		if err := s.keep(order); err != nil {
			return err
		}
		if order.On != s.orders[region].On { // else who was asked was
			clear(s.turns)
		}
	}
	s.orders[region] = order
	s.opt.Log.Info("drain", "region", region, "on", order.On, "until", order.Until)
	return nil
}

// keep writes an order about this region, with what is forced. The mutex is held.
func (s *Service) keep(order Order) error {
	if err := write(s.opt.File, kept{Order: order, Forces: s.forces[s.opt.Self]}); err != nil {
		return &chat.Error{Code: chat.CodeInternal, Op: "drain.keep", Message: "the order cannot be kept in " + s.opt.File, Cause: err}
	}
	return nil
}

// write writes a file so that a crash leaves the old one or the new one.
func write(file string, what kept) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// Loads gives how many sockets the other nodes serve, by region, as they told of late; self is this region's, with this node's own.
func (s *Service) Loads() map[chat.Region]int {
	own := s.opt.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[chat.Region]int{s.opt.Self: own}
	for ref, l := range s.loads {
		if s.opt.Now().Sub(l.heard) < forgetAfter {
			out[ref.Region] += l.sockets
		}
	}
	return out
}

// Peak gives the greatest load that this node has had since it started, as it was looked at every second.
func (s *Service) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

func (s *Service) tell() {
	word := Word{Sockets: s.opt.Load()}
	s.mu.Lock()
	word.Order, s.peak = s.orders[s.opt.Self], max(s.peak, word.Sockets)
	word.Forces = maps.Clone(s.forces[s.opt.Self])
	s.mu.Unlock()
	if payload, err := json.Marshal(word); err == nil { // it always encodes
		s.opt.Tell(Kind, payload)
	}
}

// Run tells the other nodes and moves people until ctx ends.
func (s *Service) Run(ctx context.Context) {
	look, tell := time.NewTicker(lookEvery), time.NewTicker(tellEvery)
	defer look.Stop()
	defer tell.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			s.Look()
		case <-tell.C:
			s.tell()
		}
	}
}

// Look asks those to move whose turn has come, and ends, when the time is over, those that were asked and have not moved. Run calls it.
func (s *Service) Look() {
	order, now := s.Order(s.opt.Self), s.opt.Now()
	if !order.On {
		s.opt.Metrics.Set("draining", 0)
		return
	}
	s.opt.Metrics.Set("draining", 1)
	for _, one := range s.due(s.opt.Sockets(), order, now) {
		zone, addr := one.Person()
		endpoints := s.opt.Elsewhere(zone, addr, one.Edge())
		again, ok := s.look(one, len(endpoints) > 0, now)
		switch {
		case !ok || len(endpoints) == 0:
		case again:
			s.opt.Metrics.Count("drain_ended_total")
			one.End(1012, "drain")
		default:
			s.opt.Metrics.Count("drain_asked_total")
			one.GoAway(wire.GoAway{T: "goaway", Reason: "drain", Endpoints: endpoints, WithinMs: clamp(order.Until.Sub(now)).Milliseconds()})
		}
	}
}

// look notes whether a socket whose turn has come is asked. Again says that it was before; ok is false when another order came
// meanwhile.
func (s *Service) look(one Socket, asked bool, now time.Time) (again, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.turns[one]
	if t == nil {
		return false, false
	}
	again = t.asked
	t.asked, t.after = asked, now.Add(againAfter)
	return again, true
}

// due gives the sockets whose turn has come, and forgets those that are gone.
func (s *Service) due(open []Socket, order Order, now time.Time) []Socket {
	share, over := order.Asked(now), order.Over(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.turns
	s.turns = make(map[Socket]*turn, len(open))
	var due []Socket
	for _, one := range open {
		t := old[one]
		if t == nil {
			t = &turn{place: rand.Float64()}
		}
		s.turns[one] = t
		if now.Before(t.after) || t.place >= share && share < 1 {
			continue
		}
		if !t.asked || over {
			due = append(due, one)
		}
	}
	return due
}

// clamp bounds how long a client that is asked may take.
func clamp(left time.Duration) time.Duration { return max(0, min(left, moveWithin)) }

// Progress says how far a drain is.
type Progress struct {
	Order
	// Left are the sockets that are still here; Asked of them are on their way.
	Left  int `json:"left"`
	Asked int `json:"asked"`
	// Stay of them have no other region that could serve them.
	Stay int `json:"stay"`
}

// Progress gives how far this region's drain is on this node; nil: it does not drain.
func (s *Service) Progress() *Progress {
	order := s.Order(s.opt.Self)
	if !order.On {
		return nil
	}
	p := &Progress{Order: order}
	open := s.opt.Sockets()
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Left = len(open)
	for _, one := range open {
		switch t := s.turns[one]; {
		case t == nil:
		case t.asked:
			p.Asked++
		case !t.after.IsZero():
			p.Stay++
		}
	}
	return p
}

// Leave gives where a person who opens a socket here should go instead, best first; none: serve them.
func (s *Service) Leave(zone chat.Zone, addr netip.Addr) []chat.Endpoint {
	if !s.Order(s.opt.Self).On {
		return nil
	}
	return s.opt.Elsewhere(zone, addr, s.opt.Self)
}

// Moves counts the sockets of this node by where they would go if the region were drained, and those that have nowhere to go by zone.
func (s *Service) Moves() (moves map[chat.Region]int, stay map[chat.Zone]int) {
	moves, stay = make(map[chat.Region]int), make(map[chat.Zone]int)
	for _, one := range s.opt.Sockets() {
		zone, addr := one.Person()
		if endpoints := s.opt.Elsewhere(zone, addr, one.Edge()); len(endpoints) > 0 {
			moves[endpoints[0].Region]++
		} else {
			stay[zone]++
		}
	}
	return moves, stay
}
