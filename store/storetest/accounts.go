package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"meridian/chat"
)

// AccountPlace is where one test's account store lives.
type AccountPlace interface {
	// Open opens the store that lives here; no other is open. What was durable before is there.
	Open() (chat.AccountStore, error)
	// Crash ends the store without a word, with all that was not durable.
	Crash()
}

// AccountFactory makes an empty place for one test, which cleans it up when it ends.
type AccountFactory func(t testing.TB) AccountPlace

// RunAccounts runs the part of the suite that an account store passes; Run has it too.
func RunAccounts(t *testing.T, f AccountFactory) {
	tests := []struct {
		name string
		test func(*testing.T, AccountFactory)
	}{
		{"Newest", testNewest},
		{"Ties", testTies},
		{"AnyOrder", testAccountsAnyOrder},
		{"Text", testAccountText},
		{"Pages", testAccountOwners},
		{"ManySavers", testManySavers},
		{"Survive", testAccountsSurvive},
		{"Closed", testAccountsClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, f) })
	}
}

// accountsOf takes the account store that a chat.Store is.
func accountsOf(f Factory) AccountFactory {
	return func(t testing.TB) AccountPlace { return storePlace{f(t, DefaultConfig())} }
}

type storePlace struct{ Place }

func (p storePlace) Open() (chat.AccountStore, error) {
	s, err := p.Place.Open()
	return AccountsOf(s), err
}

// AccountsOf gives the account store that s is too.
func AccountsOf(s chat.Store) chat.AccountStore { return asAccounts{s} }

type asAccounts struct{ chat.Store }

func (s asAccounts) Save(_ context.Context, accounts []chat.Account, sessions []chat.Session) error {
	return Commit(s.Store, &chat.Batch{Rows: chat.Rows{Accounts: accounts, Sessions: sessions}})
}

func (s asAccounts) AccountOwners(ctx context.Context, after chat.UserID, limit int) ([]chat.OwnerRow, error) {
	return s.Owners(ctx, after, limit)
}

func openAccounts(t testing.TB, p AccountPlace) chat.AccountStore {
	t.Helper()
	s, err := p.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func account(n, version int) chat.Account {
	return chat.Account{
		ID: user(n), Username: "Ann", DisplayName: fmt.Sprint("Ann ", version), PasswordHash: "$argon2id$x", Zone: "eu", Pinned: true,
		CreatedAt: at(1), Version: at(version), SessionsNotBefore: at(version), SessionKept: chat.SessionID(uuid("session", 1)),
	}
}

func session(n, version int, revoked bool) chat.Session {
	return chat.Session{
		ID: chat.SessionID(uuid("session", n)), User: user(1), Zone: "eu", Device: fmt.Sprint("device ", version),
		Region: "eu-west", CreatedAt: at(n), Version: at(version), Revoked: revoked,
	}
}

func saveAccounts(t testing.TB, s chat.AccountStore, rows ...chat.Account) {
	t.Helper()
	must(t, s.Save(ctx, rows, nil))
}

func saveSessions(t testing.TB, s chat.AccountStore, rows ...chat.Session) {
	t.Helper()
	must(t, s.Save(ctx, nil, rows))
}

func wantAccount(t testing.TB, s chat.AccountStore, want chat.Account) {
	t.Helper()
	a, ok, err := s.Account(ctx, want.ID)
	must(t, err)
	same(t, "the account", []any{a, ok}, []any{want, true})
}

func wantSession(t testing.TB, s chat.AccountStore, want chat.Session) {
	t.Helper()
	row, ok, err := s.Session(ctx, want.User, want.ID)
	must(t, err)
	same(t, "the session", []any{row, ok}, []any{want, true})
}

// The newest version of an account and of a session stands as a whole; a revoked session never comes back.
func testNewest(t *testing.T, f AccountFactory) {
	s := openAccounts(t, f(t))
	for _, v := range []int{5, 9, 7} {
		saveAccounts(t, s, account(1, v))
	}
	wantAccount(t, s, account(1, 9))
	if _, ok, err := s.Account(ctx, user(2)); ok || err != nil {
		t.Fatalf("an account that is not there: ok %v, error %v", ok, err)
	}
	if _, ok, err := s.Session(ctx, user(1), chat.SessionID(uuid("session", 1))); ok || err != nil {
		t.Fatalf("a session that is not there: ok %v, error %v", ok, err)
	}
	for _, row := range []chat.Session{session(1, 1, false), session(2, 5, true), session(2, 9, false), session(3, 9, false), session(3, 2, false), session(4, 9, false), session(4, 3, true)} {
		saveSessions(t, s, row)
	}
	same(t, "the sessions", got[[]chat.Session](t)(s.Sessions(ctx, user(1))), []chat.Session{session(3, 9, false), session(1, 1, false)})
	wantSession(t, s, session(2, 9, true))
	wantSession(t, s, session(4, 9, true))
	same(t, "nobody's sessions", got[[]chat.Session](t)(s.Sessions(ctx, user(2))), []chat.Session{})
	must(t, s.Save(ctx, nil, nil))
}

// Of two rows of one version the one with the larger encoding stands, in whatever order they come: every store, in every region,
// decides alike.
func testTies(t *testing.T, f AccountFactory) {
	s := openAccounts(t, f(t))
	for n, names := range [][2]string{{"Ann", "Bea"}, {"Ann", "Ann B"}, {"Zoé", "Zoë"}, {"a", "ä"}, {"", "a"}} {
		one, two := account(n, 5), account(n, 5)
		one.DisplayName, two.DisplayName = names[0], names[1]
		stands := one
		if bytes.Compare(one.Encoded(), two.Encoded()) < 0 {
			stands = two
		}
		for _, row := range []chat.Account{one, two, one} {
			saveAccounts(t, s, row)
		}
		wantAccount(t, s, stands)
		x, y := session(n, 5, n%2 == 0), session(n, 5, false)
		x.Device, y.Device = names[0], names[1]
		want := x.Merge(&y)
		for _, row := range []chat.Session{y, x, y} {
			saveSessions(t, s, row)
		}
		wantSession(t, s, want)
	}
}

// The same rows in any order, each any number of times, in any batches, end in the same state.
func testAccountsAnyOrder(t *testing.T, f AccountFactory) {
	s := openAccounts(t, f(t))
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 2))
		n := 100 + int(seed)
		var accounts []chat.Account
		var sessions []chat.Session
		var lastAccount chat.Account
		var lastSession chat.Session
		for i := range 8 {
			a, x := account(n, 1+rng.IntN(4)), session(n, 1+rng.IntN(4), rng.IntN(6) == 0)
			a.DisplayName, x.Device = fmt.Sprint("name ", rng.IntN(3)), fmt.Sprint("device ", rng.IntN(3))
			if i == 0 || lastAccount.Compare(&a) < 0 {
				lastAccount = a
			}
			if i == 0 {
				lastSession = x
			}
			lastSession = lastSession.Merge(&x)
			accounts, sessions = append(accounts, a), append(sessions, x)
		}
		for range 2 {
			rng.Shuffle(len(accounts), func(i, j int) { accounts[i], accounts[j] = accounts[j], accounts[i] })
			rng.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
			cut := rng.IntN(len(accounts))
			must(t, s.Save(ctx, accounts[:cut], sessions[cut:]))
			must(t, s.Save(ctx, accounts[cut:], sessions[:cut]))
		}
		wantAccount(t, s, lastAccount)
		wantSession(t, s, lastSession)
	}
}

// Text comes back as it was, whatever it holds.
func testAccountText(t *testing.T, f AccountFactory) {
	s := openAccounts(t, f(t))
	for n, text := range []string{"", "\x00", "a\x00b", `"quoted" \ 'and' ; DROP TABLE accounts; --`, "Zoë 👩‍🚀 مرحبا", "line\nline\ttab", string(bytes.Repeat([]byte("x"), 100_000))} {
		a, x := account(n, 1), session(n, 1, false)
		a.Username, a.DisplayName, a.PasswordHash, x.Device = text, text, text, text
		must(t, s.Save(ctx, []chat.Account{a}, []chat.Session{x}))
		wantAccount(t, s, a)
		wantSession(t, s, x)
	}
}

// Whoever has an account is listed once, in the order of ids, page by page, also the id of zeros.
func testAccountOwners(t *testing.T, f AccountFactory) {
	s := openAccounts(t, f(t))
	read := got[[]chat.OwnerRow](t)
	same(t, "nobody", read(s.AccountOwners(ctx, chat.NoUser, 10)), []chat.OwnerRow{})
	var want []chat.OwnerRow
	for n := range 30 {
		a := account(n, 1)
		a.Zone = chat.Zone([]string{"eu", "world"}[n%2])
		saveAccounts(t, s, a)
		want = append(want, chat.OwnerRow{ID: a.ID, Zone: a.Zone})
	}
	slices.SortFunc(want, func(a, b chat.OwnerRow) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	var paged []chat.OwnerRow
	for from := chat.NoUser; ; {
		page := read(s.AccountOwners(ctx, from, 7))
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		from = page[len(page)-1].ID
	}
	same(t, "the pages together", paged, want)
	for _, limit := range []int{0, -1} {
		_, err := s.AccountOwners(ctx, chat.NoUser, limit)
		wantCode(t, err, chat.CodeInvalid)
	}
}

// Many who save the same rows at once all succeed, and the newest stands.
func testManySavers(t *testing.T, f AccountFactory) {
	s := openAccounts(t, f(t))
	const savers, rounds, people = 12, 6, 5
	errs := make([]error, savers)
	var all sync.WaitGroup
	for w := range savers {
		all.Go(func() {
			for round := range rounds {
				var accounts []chat.Account
				var sessions []chat.Session
				for n := range people {
					p := (n + w) % people // each in another order
					accounts = append(accounts, account(p, 1+round*savers+w))
					sessions = append(sessions, session(p, 1+round*savers+w, false))
				}
				if err := s.Save(ctx, accounts, sessions); err != nil {
					errs[w] = err
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		must(t, err)
	}
	for p := range people {
		wantAccount(t, s, account(p, savers*rounds))
		wantSession(t, s, session(p, savers*rounds, false))
	}
}

// What was saved is there after the store has crashed, and after it was closed.
func testAccountsSurvive(t *testing.T, f AccountFactory) {
	p := f(t)
	s := openAccounts(t, p)
	for n := range 20 {
		must(t, s.Save(ctx, []chat.Account{account(n, 3)}, []chat.Session{session(n, 3, n == 4)}))
	}
	for _, end := range []func(){p.Crash, func() { must(t, s.Close()) }} {
		end()
		s = openAccounts(t, p)
		for n := range 20 {
			wantAccount(t, s, account(n, 3))
			wantSession(t, s, session(n, 3, n == 4))
		}
	}
}

// A closed store refuses with CodeRegionDegraded.
func testAccountsClosed(t *testing.T, f AccountFactory) {
	s := openAccounts(t, f(t))
	saveAccounts(t, s, account(1, 1))
	must(t, s.Close())
	must(t, s.Close())
	_, _, err := s.Account(ctx, user(1))
	wantCode(t, err, chat.CodeRegionDegraded)
	_, _, err = s.Session(ctx, user(1), session(1, 1, false).ID)
	wantCode(t, err, chat.CodeRegionDegraded)
	wantCode(t, s.Save(ctx, []chat.Account{account(1, 2)}, nil), chat.CodeRegionDegraded)
}
