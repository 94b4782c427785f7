package composed_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"meridian/chat"
	"meridian/store/composed"
	"meridian/store/embedded"
	"meridian/store/storetest"
)

var ctx = context.Background()

// Nothing that a store starts outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(dir string, cfg storetest.Config) embedded.Options {
	return embedded.Options{
		Dir: dir, Region: cfg.Region, Node: cfg.Node, Codec: cfg.Codec, CacheBytes: 1 << 20, MemTableBytes: 4 << 20,
		Retention: embedded.Retention(cfg.Retention),
	}
}

// disk is a place of two embedded stores: the second one keeps the accounts. (store/postgres runs the suite on embedded and PostgreSQL.)
type disk struct {
	cfg            storetest.Config
	dir            string
	main, accounts *embedded.Store
	open           *composed.Store
}

func newDisk(t testing.TB, cfg storetest.Config) storetest.Place {
	d := &disk{cfg: cfg, dir: t.TempDir()}
	t.Cleanup(d.Crash)
	return d
}

func (d *disk) Open() (chat.Store, error) { return d.openIn("store") }

func (d *disk) openIn(name string) (_ chat.Store, err error) {
	if d.main, err = embedded.Open(options(filepath.Join(d.dir, name), d.cfg)); err != nil {
		return nil, err
	}
	if d.accounts, err = embedded.Open(options(filepath.Join(d.dir, "accounts"), d.cfg)); err != nil {
		return nil, errors.Join(err, d.main.Close())
	}
	d.open = compose(d.main, storetest.AccountsOf(d.accounts), d.cfg.Node)
	return d.open, nil
}

func compose(main chat.Store, accounts chat.AccountStore, node chat.NodeID) *composed.Store {
	return composed.New(composed.Options{Main: main, Accounts: accounts, Node: chat.NodeRef{Region: "eu-west", Node: node}})
}

// shared keeps a handle's Close from ending the account store of all.
type shared struct{ chat.AccountStore }

func (shared) Close() error { return nil }

func (d *disk) OpenNode(node chat.NodeID) (chat.Store, error) {
	s, err := d.main.Node(ctx, node)
	if err != nil {
		return nil, err
	}
	return compose(s, shared{storetest.AccountsOf(d.accounts)}, node), nil
}

func (d *disk) Crash() {
	if d.open != nil {
		d.accounts.Abandon()
		d.open.Abandon()
	}
}

func (d *disk) CopyDir() string               { return filepath.Join(d.dir, "copy") }
func (d *disk) OpenCopy() (chat.Store, error) { return embedded.Open(options(d.CopyDir(), d.cfg)) }

// A composition keeps the contract of chat.Store.
func TestConformance(t *testing.T) { storetest.Run(t, newDisk) }

// faults stands before an account store: it may be down, and it notes the order of things.
type faults struct {
	chat.AccountStore
	mu    sync.Mutex
	down  error
	notes []string
}

func (f *faults) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *faults) note(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		what += " refused"
	}
	f.notes = append(f.notes, what)
	return f.down
}

func (f *faults) Save(ctx context.Context, a []chat.Account, s []chat.Session) error {
	if err := f.note("save"); err != nil {
		return err
	}
	return f.AccountStore.Save(ctx, a, s)
}

func (f *faults) Account(ctx context.Context, id chat.UserID) (chat.Account, bool, error) {
	if err := f.note("read"); err != nil {
		return chat.Account{}, false, err
	}
	return f.AccountStore.Account(ctx, id)
}

// noting stands before a main store, and notes commits.
type noting struct {
	chat.Store
	f    *faults
	fail func(*chat.Batch) error
}

func (n *noting) Commit(b *chat.Batch, done func(error)) {
	if n.fail != nil {
		if err := n.fail(b); err != nil {
			go done(err)
			return
		}
	}
	n.Store.Commit(b, func(err error) {
		what := "rest"
		if len(b.Log) > 0 {
			what = "log"
		}
		if len(b.Accounts)+len(b.Sessions) > 0 {
			what += " with accounts"
		}
		n.f.mu.Lock()
		n.f.notes = append(n.f.notes, what)
		n.f.mu.Unlock()
		done(err)
	})
}

type world struct {
	t     *testing.T
	dir   string
	f     *faults
	main  *noting
	store *composed.Store
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.open()
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	main, err := embedded.Open(options(filepath.Join(w.dir, "main"), storetest.DefaultConfig()))
	if err != nil {
		w.t.Fatal(err)
	}
	accounts, err := embedded.Open(options(filepath.Join(w.dir, "accounts"), storetest.DefaultConfig()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.f = &faults{AccountStore: storetest.AccountsOf(accounts)}
	w.main = &noting{Store: main, f: w.f}
	w.store = compose(w.main, w.f, "n1")
}

var down = &chat.Error{Code: chat.CodeRegionDegraded, Message: "the account store does not answer", RetryAfter: 2 * time.Second}

func person(version int) chat.Account {
	return chat.Account{ID: chat.UserID{1}, Username: "ann", Zone: "eu", Version: chat.HLC(version)}
}

func device(n, version int, revoked bool) chat.Session {
	return chat.Session{ID: chat.SessionID{byte(n)}, User: chat.UserID{1}, Zone: "eu", CreatedAt: chat.HLC(n), Version: chat.HLC(version), Revoked: revoked}
}

func logged() []chat.LogRow {
	id := chat.NewMessageID(5, chat.UserID{1}, chat.ClientID{1})
	return []chat.LogRow{{Op: chat.Op{ID: id, Kind: chat.OpSession, Time: 5, Logged: 5, Stream: chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 1}, Seq: 1}}}
}

func (w *world) commit(b *chat.Batch) error { return storetest.Commit(w.store, b) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) noted(want ...string) {
	w.t.Helper()
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if !slices.Equal(w.f.notes, want) {
		w.t.Fatalf("the steps were %q, want %q", w.f.notes, want)
	}
	w.f.notes = nil
}

func mark() []chat.AppliedRow {
	return []chat.AppliedRow{{Stream: chat.StreamID{Region: "us-east", Node: "n1", Incarnation: 1}, Seq: 3}}
}

// The op log is durable before the account store is asked, and that before the rest says that it is done; batches without accounts
// are written at once.
func TestOrderOfSteps(t *testing.T) {
	w := newWorld(t)
	w.must(w.commit(&chat.Batch{Log: logged(), Applied: mark(), Rows: chat.Rows{Accounts: []chat.Account{person(1)}}}))
	w.noted("log", "save", "rest")
	w.must(w.commit(&chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{person(2)}}}))
	w.noted("save")
	w.must(w.commit(&chat.Batch{Log: logged(), Applied: mark()}))
	w.noted("log")
}

// What fails in the first step is stored in no part; what fails later has an unknown outcome, and done again it is whole.
func TestFailureBetweenSteps(t *testing.T) {
	w := newWorld(t)
	full := &chat.Error{Code: chat.CodeStoreFull}
	b := &chat.Batch{Log: logged(), Applied: mark(), Rows: chat.Rows{Accounts: []chat.Account{person(1)}}}
	w.main.fail = func(*chat.Batch) error { return full }
	if err := w.commit(b); chat.CodeOf(err) != chat.CodeStoreFull {
		t.Fatalf("the first step fails with %v", err)
	}
	w.noted()
	w.main.fail = func(b *chat.Batch) error {
		if len(b.Applied) > 0 {
			return full
		}
		return nil
	}
	if err := w.commit(b); chat.CodeOf(err) != chat.CodeUnknownOutcome {
		t.Fatalf("the last step fails with %v", err)
	}
	w.main.fail = nil
	w.must(w.commit(b))
	applied, err := w.store.Applied(ctx)
	if err != nil || len(applied) != 1 {
		t.Fatalf("applied: %v, %v", applied, err)
	}
}

// While the account store does not answer, commits go on and reads of accounts are refused with a hint when to try again. What was
// owed counts as soon as it answers again, and is brought to it.
func TestOutage(t *testing.T) {
	w := newWorld(t)
	w.must(w.commit(&chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{person(1)}, Sessions: []chat.Session{device(1, 1, false), device(2, 1, false)}}}))
	w.f.set(down)
	w.must(w.commit(&chat.Batch{Log: logged(), Applied: mark(), Rows: chat.Rows{Accounts: []chat.Account{person(2)}, Sessions: []chat.Session{device(1, 2, true), device(3, 2, false)}}}))
	_, _, err := w.store.Account(ctx, person(1).ID)
	if e := chat.AsError(err); e == nil || e.Code != chat.CodeRegionDegraded || e.RetryAfter == 0 {
		t.Fatalf("a read gives %v", err)
	}
	if _, err := w.store.Owners(ctx, chat.NoUser, 10); chat.CodeOf(err) != chat.CodeRegionDegraded {
		t.Fatalf("owners: %v", err)
	}
	w.f.set(nil)
	w.answered(person(2), device(3, 2, false), device(2, 1, false))
	w.brought(person(2), device(3, 2, false), device(2, 1, false))
}

// answered waits until reads are let through again: the first one must be right.
func (w *world) answered(want chat.Account, sessions ...chat.Session) {
	w.t.Helper()
	within(w.t, func() bool {
		a, ok, err := w.store.Account(ctx, want.ID)
		if err == nil && (!ok || a != want) {
			w.t.Fatalf("the account is %+v", a)
		}
		return err == nil
	})
	have, err := w.store.Sessions(ctx, want.ID)
	if err != nil || !slices.Equal(have, sessions) {
		w.t.Fatalf("the sessions are %+v, %v", have, err)
	}
}

// brought waits until the account store itself has it.
func (w *world) brought(want chat.Account, sessions ...chat.Session) {
	w.t.Helper()
	within(w.t, func() bool {
		a, _, err := w.f.AccountStore.Account(ctx, want.ID)
		w.must(err)
		have, err := w.f.AccountStore.Sessions(ctx, want.ID)
		w.must(err)
		return a == want && slices.Equal(have, sessions)
	})
}

func within(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within a minute")
		}
	}
}

// What is owed when the node dies is brought by the next life, whose memory is empty; also a revocation.
func TestDebtsSurvive(t *testing.T) {
	w := newWorld(t)
	w.must(w.commit(&chat.Batch{Rows: chat.Rows{Sessions: []chat.Session{device(1, 1, false), device(2, 1, false)}}}))
	w.f.set(down)
	w.must(w.commit(&chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{person(2)}, Sessions: []chat.Session{device(1, 2, true)}}}))
	w.must(w.store.Close())
	w.open()
	w.brought(person(2), device(2, 1, false))
	settled := func() bool {
		positions, err := w.main.Store.Positions(ctx, chat.StreamID{Region: "eu-west", Node: "accounts", Incarnation: 1})
		w.must(err)
		return positions["owed/n1"] > 0 && positions["owed/n1"] == positions["settled/n1"]
	}
	within(t, settled)
}

// A row that the account store can never take stays in the main store, where it is found; others are brought.
func TestRefusedForGood(t *testing.T) {
	w := newWorld(t)
	w.f.set(&chat.Error{Code: chat.CodeInvalid, Message: "no such zone"})
	w.must(w.commit(&chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{person(2)}}}))
	w.f.set(nil)
	w.answered(person(2))
}
