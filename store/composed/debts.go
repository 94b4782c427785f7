package composed

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"meridian/chat"
)

const (
	// rememberedMax bounds the owed rows that are kept in memory; beyond, the main store is searched for them.
	rememberedMax = 4096
	// broughtAtOnce bounds the rows of one Save.
	broughtAtOnce = 128
	// ownersAtOnce is a page of a search, searchPause the pause after each: a search leaves the stores to others.
	ownersAtOnce = 200
	searchPause  = 20 * time.Millisecond
)

// debts remembers what the account store is owed, and brings it. That there is a debt is durable: a position of a stream that has no
// ops says when the node last owed something, another up to when all is brought.
type debts struct {
	s      *Store
	log    *slog.Logger
	stream chat.StreamID
	node   string
	ctx    context.Context
	stop   context.CancelFunc

	mu       sync.Mutex
	accounts map[chat.UserID]chat.Account
	sessions map[chat.SessionID]chat.Session
	search   bool // memory does not hold all
	writing  int  // rows of so many commits may be durable and are not remembered yet
	wake     chan struct{}
}

// The destinations of the positions, before a node's name. No region's name has a slash.
const (
	owedTo    = "owed/"
	settledTo = "settled/"
)

func newDebts(s *Store, o Options) *debts {
	d := &debts{
		s: s, log: o.Log, stream: chat.StreamID{Region: o.Node.Region, Node: "accounts", Incarnation: 1}, node: string(o.Node.Node),
		wake: make(chan struct{}, 1),
	}
	d.clear()
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d
}

func (d *debts) clear() {
	d.accounts, d.sessions = make(map[chat.UserID]chat.Account), make(map[chat.SessionID]chat.Session)
}

// marked adds to positions that this node owes something.
func (d *debts) marked(positions []chat.PositionRow) []chat.PositionRow {
	return append(slices.Clone(positions), d.position(owedTo+d.node, uint64(d.s.now().UnixMicro())))
}

func (d *debts) position(to string, seq uint64) chat.PositionRow {
	return chat.PositionRow{Stream: d.stream, To: chat.Region(to), Seq: seq}
}

// owe has write store rows that the account store is owed, and remembers them.
func (d *debts) owe(write func() error, accounts []chat.Account, sessions []chat.Session) error {
	d.mu.Lock()
	d.writing++
	d.mu.Unlock()
	err := write()
	if err == nil {
		d.add(accounts, sessions)
	}
	d.mu.Lock()
	d.writing--
	d.mu.Unlock()
	return err
}

// add remembers rows that the main store has and the account store has not.
func (d *debts) add(accounts []chat.Account, sessions []chat.Session) {
	d.mu.Lock()
	for i := range accounts {
		if had, ok := d.accounts[accounts[i].ID]; !ok || had.Compare(&accounts[i]) < 0 {
			d.accounts[accounts[i].ID] = accounts[i]
		}
	}
	for i := range sessions {
		row := sessions[i]
		if had, ok := d.sessions[row.ID]; ok && had.User == row.User {
			row = had.Merge(&row)
		}
		d.sessions[row.ID] = row
	}
	if len(d.accounts)+len(d.sessions) > rememberedMax {
		d.clear()
		d.search = true
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// work brings what is owed until the store ends.
func (d *debts) work() {
	for ok := d.owing(); !ok; ok = d.owing() {
		if !d.sleep(rest) {
			return
		}
	}
	for {
		if !d.bring() {
			if !d.sleep(rest) {
				return
			}
			continue
		}
		select {
		case <-d.ctx.Done():
			return
		case <-d.wake:
		}
	}
}

func (d *debts) sleep(pause time.Duration) bool {
	select {
	case <-d.ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// unsettled gives, by node, when what is not known to be brought was last owed.
func (d *debts) unsettled() (map[string]uint64, error) {
	positions, err := d.s.Store.Positions(d.ctx, d.stream)
	if err != nil {
		return nil, err
	}
	open := map[string]uint64{}
	for to, seq := range positions {
		if node, ok := strings.CutPrefix(string(to), owedTo); ok && positions[chat.Region(settledTo+node)] < seq {
			open[node] = seq
		}
	}
	return open, nil
}

// owing has the main store searched when a life before, or a node that is gone, has left debts.
func (d *debts) owing() bool {
	open, err := d.unsettled()
	if err != nil {
		d.log.Warn("what the account store is owed cannot be read", "err", err)
		return false
	}
	d.mu.Lock()
	d.search = d.search || len(open) > 0
	d.mu.Unlock()
	return true
}

// bring saves what is owed; false: try again later.
func (d *debts) bring() bool {
	open, err := d.unsettled() // before anything is read: what is owed later is settled later
	if err != nil {
		return false
	}
	d.mu.Lock()
	search, writing := d.search, d.writing
	d.search = false
	accounts, sessions := slices.Collect(maps.Values(d.accounts)), slices.Collect(maps.Values(d.sessions))
	d.clear()
	d.mu.Unlock()
	if writing > 0 { // open may count what memory did not hold
		delete(open, d.node)
	}
	if !search {
		maps.DeleteFunc(open, func(node string, _ uint64) bool { return node != d.node })
	}
	if err = d.save(accounts, sessions); err == nil && search {
		err = d.searchAll()
	}
	if err != nil {
		d.add(accounts, sessions)
		d.mu.Lock()
		d.search = d.search || search
		d.mu.Unlock()
		return false
	}
	return d.settle(open) && writing == 0
}

// settle notes durably that all that was owed up to then is brought.
func (d *debts) settle(open map[string]uint64) bool {
	if len(open) == 0 {
		return true
	}
	var b chat.Batch
	for _, node := range slices.Sorted(maps.Keys(open)) {
		b.Positions = append(b.Positions, d.position(settledTo+node, open[node]))
	}
	if err := d.s.main(&b); err != nil {
		return false
	}
	d.log.Info("the account store has all that it was owed")
	return true
}

// save brings rows in portions. What the account store can never take stays in the main store, where reads find it.
func (d *debts) save(accounts []chat.Account, sessions []chat.Session) error {
	for part := range slices.Chunk(accounts, broughtAtOnce) {
		if err := d.saveOrSkip(len(part), func(from, to int) error { return d.s.accounts.Save(d.ctx, part[from:to], nil) }); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(sessions, broughtAtOnce) {
		if err := d.saveOrSkip(len(part), func(from, to int) error { return d.s.accounts.Save(d.ctx, nil, part[from:to]) }); err != nil {
			return err
		}
	}
	return nil
}

// saveOrSkip saves n rows together and, when one of them is refused for good, each by itself.
func (d *debts) saveOrSkip(n int, save func(from, to int) error) error {
	err := d.s.guard.ask(d.ctx, func() error { return save(0, n) })
	if chat.CodeOf(err) != chat.CodeInvalid {
		return err
	}
	for i := range n {
		err := d.s.guard.ask(d.ctx, func() error { return save(i, i+1) })
		if chat.CodeOf(err) == chat.CodeInvalid {
			d.log.Error("the account store refuses a row for good; it stays in the main store", "err", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// searchAll goes through everybody who has rows here.
func (d *debts) searchAll() error {
	for after := chat.NoUser; ; {
		owners, err := d.s.Owners(d.ctx, after, ownersAtOnce)
		if err != nil || len(owners) == 0 {
			return err
		}
		for _, o := range owners {
			if err := d.bringOf(o.ID); err != nil {
				return err
			}
		}
		after = owners[len(owners)-1].ID
		if !d.sleep(searchPause) {
			return d.ctx.Err()
		}
	}
}

// bringOf saves what the main store has of a person. A revoked session counts where the account store takes it for standing.
func (d *debts) bringOf(user chat.UserID) error {
	var accounts []chat.Account
	a, ok, err := d.s.Store.Account(d.ctx, user)
	if err != nil {
		return err
	}
	if ok {
		accounts = append(accounts, a)
	}
	sessions, err := d.s.Store.Sessions(d.ctx, user)
	if err != nil {
		return err
	}
	standing, err := d.s.accounts.Sessions(d.ctx, user)
	if err != nil {
		return err
	}
	for _, row := range standing {
		owed, ok, err := d.s.Store.Session(d.ctx, user, row.ID)
		if err != nil {
			return err
		}
		if ok && owed.Revoked {
			sessions = append(sessions, owed)
		}
	}
	return d.save(accounts, sessions)
}
