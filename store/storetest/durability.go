package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"meridian/chat"
)

// What is committed is there after closing and opening again.
func testReopen(t *testing.T, f Factory) {
	p := f(t, DefaultConfig())
	s := openStore(t, p)
	for n := 1; n <= 50; n++ {
		must(t, Commit(s, sendBatch(n)))
	}
	reserved := got[chat.Claim](t)(s.Reserve(ctx, claim(1, 1, "eu", true)))
	must(t, s.Close())
	s = openStore(t, p)
	for n := 1; n <= 50; n++ {
		same(t, "the rows of a send", got[int](t)(sendStored(s, n)), sendRows)
	}
	have, ok, err := s.Claim(ctx, reserved.Key)
	must(t, err)
	same(t, "the reservation", []any{have, ok}, []any{reserved, true})
}

// CheckCrash commits from several writers, takes the power away while they write, opens again, and says what was
// acknowledged and is not whole, or stored in part, or could be read before and is gone. nil: all is well.
func CheckCrash(p Place, rounds int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	next := 1
	acked, seen := map[int]bool{}, map[int]bool{} // of all rounds
	for round := range rounds {
		s, err := p.Open()
		if err != nil {
			return fmt.Errorf("round %d: open: %w", round, err)
		}
		end, err := crashRound(s, p, next, rng, acked, seen)
		if err != nil {
			return fmt.Errorf("round %d: a write before the crash: %w", round, err)
		}
		if s, err = p.Open(); err != nil {
			return fmt.Errorf("round %d: open after the crash: %w", round, err)
		}
		for n := 1; n < end; n++ {
			rows, err := sendStored(s, n)
			switch {
			case err != nil:
				return fmt.Errorf("round %d: send %d: %w", round, n, err)
			case rows != 0 && rows != sendRows:
				return fmt.Errorf("round %d: send %d has %d rows of %d", round, n, rows, sendRows)
			case rows == 0 && acked[n]:
				return fmt.Errorf("round %d: send %d was acknowledged and is gone", round, n)
			case rows == 0 && seen[n]:
				return fmt.Errorf("round %d: send %d was readable and is gone", round, n)
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
		next = end
	}
	return nil
}

// crashRound writes until the power goes, and adds what was acknowledged and what a reader saw before. A write that fails before is an error.
func crashRound(s chat.Store, p Place, first int, rng *rand.Rand, acked, seen map[int]bool) (end int, failed error) {
	const writers, each = 8, 20
	var mu sync.Mutex
	count, dead := 0, false
	stop := 1 + rng.IntN(writers*each-1)
	reached := make(chan struct{})
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				n := first + w*each + i
				err := commitSurely(s, n)
				mu.Lock()
				if err != nil {
					if !dead && failed == nil {
						failed = err
						close(reached)
					}
					mu.Unlock()
					return
				}
				if !dead {
					acked[n] = true
				}
				if count++; count == stop && failed == nil {
					close(reached)
				}
				mu.Unlock()
			}
		})
	}
	all.Go(func() {
		for {
			rows, err := s.Messages(ctx, user(1), conversation(1), chat.NoMessage, 10)
			mu.Lock()
			if err != nil || dead {
				mu.Unlock()
				return
			}
			for _, row := range rows {
				seen[int(row.ID.Time()-epoch)] = true
			}
			mu.Unlock()
		}
	})
	<-reached
	mu.Lock() // what is acknowledged from here on may be lost: the power goes somewhere in Crash
	dead = true
	mu.Unlock()
	p.Crash()
	all.Wait()
	return first + writers*each, failed
}

// commitSurely commits the n-th send; what a busy server does not know to be written is written again, as a node does.
func commitSurely(s chat.Store, n int) error {
	const tries = 5
	err := Commit(s, sendBatch(n))
	for again := 0; chat.CodeOf(err) == chat.CodeUnknownOutcome && again < tries; again++ {
		err = Commit(s, sendBatch(n))
	}
	return err
}

// After a power cut everything acknowledged is whole, the rest whole or not there, and nothing that could be read is gone.
func testCrash(t *testing.T, f Factory) {
	for seed := range uint64(2) {
		p, rounds := f(t, DefaultConfig()), 4
		if isSlow(p) {
			rounds = 1
		}
		if err := CheckCrash(p, rounds, seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// isSlow says that a place takes long to open.
func isSlow(p Place) bool {
	_, slow := p.(interface{ Slow() })
	return slow
}

// A checkpoint that is taken while others write holds all that was acknowledged before, and opens as a store.
func testCheckpoint(t *testing.T, f Factory) {
	p := f(t, DefaultConfig())
	s := openStore(t, p)
	const before = 300
	failed := make(chan int, before)
	for n := 1; n < before; n++ {
		s.Commit(sendBatch(n), func(err error) {
			if err != nil {
				failed <- n
			}
		})
	}
	must(t, commitSurely(s, before)) // called back after all before it
	for len(failed) > 0 {
		must(t, commitSurely(s, <-failed))
	}
	stop, writing := make(chan struct{}), sync.WaitGroup{}
	writing.Go(func() {
		for n := before + 1; ; n++ {
			select {
			case <-stop:
				return
			default:
				_ = Commit(s, sendBatch(n))
			}
		}
	})
	err := s.Checkpoint(ctx, p.CopyDir())
	close(stop)
	writing.Wait()
	must(t, err)
	if s.Checkpoint(ctx, p.CopyDir()) == nil {
		t.Fatal("a checkpoint was written over another")
	}
	c, err := p.OpenCopy()
	must(t, err)
	defer c.Close()
	for n := 1; n <= before; n++ {
		same(t, "the rows of a send in the copy", got[int](t)(sendStored(c, n)), sendRows)
	}
	id := got[chat.Identity](t)(c.NewIncarnation(ctx, 0))
	same(t, "the copy's new life", []any{id.Incarnation, id.LastSeq}, []any{chat.Incarnation(2), uint64(0)})
	must(t, Commit(s, sendBatch(100_000)))
	same(t, "a later send in the copy", got[int](t)(sendStored(c, 100_000)), 0)
}

// A closed store refuses with CodeRegionDegraded and calls back all the same; closing twice is harmless.
func testClosed(t *testing.T, f Factory) {
	for _, end := range []func(chat.Store){func(s chat.Store) { must(t, s.Close()) }, chat.Store.Abandon} {
		s := fresh(t, f)
		must(t, Commit(s, sendBatch(1)))
		end(s)
		end(s)
		wantCode(t, Commit(s, sendBatch(2)), chat.CodeRegionDegraded)
		_, err := s.Messages(ctx, user(1), conversation(1), chat.NoMessage, 1)
		wantCode(t, err, chat.CodeRegionDegraded)
		_, err = s.Reserve(ctx, claim(1, 1, "eu", true))
		wantCode(t, err, chat.CodeRegionDegraded)
	}
}

// The same rows in any order, each any number of times, in any batches, end in the same state.
func testOrderIndependence(t *testing.T, f Factory) {
	round, rounds := 0, 25 // each opens two stores
	if testing.Short() || isSlow(f(t, DefaultConfig())) {
		rounds = 5
	}
	rapid.Check(t, func(r *rapid.T) {
		if round++; round > rounds {
			return
		}
		rows := rapid.SliceOfN(rapid.Custom(anyRow), 1, 30).Draw(r, "rows")
		other := rapid.Permutation(append(rows, rapid.SliceOf(rapid.SampledFrom(rows)).Draw(r, "repeated")...)).Draw(r, "order")
		a, b := state(t, f, rows, 1), state(t, f, other, rapid.IntRange(1, 5).Draw(r, "a batch"))
		same(t, "the state", b, a)
	})
}

// state commits rows, so many to a batch, and reads everything back.
func state(t *testing.T, f Factory, rows []chat.Batch, each int) []any {
	s := openStore(t, f(t, DefaultConfig()))
	defer s.Close()
	for i := 0; i < len(rows); i += each {
		all := chat.Batch{}
		for _, row := range rows[i:min(i+each, len(rows))] {
			addRows(&all.Rows, &row.Rows)
			all.Applied = append(all.Applied, row.Applied...)
			all.Positions = append(all.Positions, row.Positions...)
			all.HighWater = max(all.HighWater, row.HighWater)
		}
		must(t, Commit(s, &all))
	}
	return contents(t, s)
}

// addRows appends the rows of more to those of all.
func addRows(all, more *chat.Rows) {
	all.Messages = append(all.Messages, more.Messages...)
	all.Marks = append(all.Marks, more.Marks...)
	all.Conversations = append(all.Conversations, more.Conversations...)
	all.Contacts = append(all.Contacts, more.Contacts...)
	all.Blocks = append(all.Blocks, more.Blocks...)
	all.Accounts = append(all.Accounts, more.Accounts...)
	all.Sessions = append(all.Sessions, more.Sessions...)
	all.Changes = append(all.Changes, more.Changes...)
	all.Groups = append(all.Groups, more.Groups...)
	all.Members = append(all.Members, more.Members...)
	all.GroupZones = append(all.GroupZones, more.GroupZones...)
}

// contents reads what anyRow writes.
func contents(t *testing.T, s chat.Store) []any {
	var out []any
	for n := range 2 {
		add := func(v any, err error) { must(t, err); out = append(out, v) }
		add(s.Messages(ctx, user(n), conversation(1), chat.NoMessage, 1000))
		add(s.Marks(ctx, user(n), conversation(1)))
		add(s.Conversations(ctx, user(n), chat.NoMessage, 1000))
		add(s.Contacts(ctx, user(n), chat.NoUser, 1000))
		add(s.Blocks(ctx, user(n)))
		add(s.Changes(ctx, user(n), conversation(1), chat.NoMessage, message(99), 1000))
		add(s.Members(ctx, user(n), conversation(1), chat.NoUser))
		add(s.GroupNames(ctx, user(n), conversation(1)))
		add(s.GroupZones(ctx, conversation(n)))
		for i := range 2 {
			row, _, err := s.Session(ctx, user(n), chat.SessionID(uuid("session", i)))
			add(row, err)
		}
		row, _, err := s.Account(ctx, user(n))
		add(row, err)
		add(s.Positions(ctx, stream(chat.Incarnation(n))))
	}
	applied, err := s.Applied(ctx)
	must(t, err)
	id, err := s.Identity(ctx)
	must(t, err)
	return append(out, applied, id)
}

// anyRow draws a batch of one row out of few keys and values, so that rows meet.
func anyRow(r *rapid.T) chat.Batch {
	few := func(name string) int { return rapid.IntRange(0, 3).Draw(r, name) }
	owner, n, on := user(few("owner")%2), few("n"), rapid.Bool().Draw(r, "on")
	switch rapid.IntRange(0, 13).Draw(r, "table") {
	case 0:
		row := messageRow(0, 1, n)
		row.Owner, row.SenderName = owner, fmt.Sprint(few("name"))
		if on {
			row.AliasOf = message(few("alias"))
		}
		return chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{row}}}
	case 1:
		return chat.Batch{Rows: chat.Rows{Marks: []chat.MarkRow{{Owner: owner, Mark: chat.Mark{Conversation: conversation(1), User: user(1), Kind: chat.MarkRead, UpTo: message(n)}}}}}
	case 2:
		row := chat.ConversationRow{Owner: owner, ID: conversation(few("conversation")), Last: message(n), Answered: on, Group: few("group") == 0}
		if on {
			row.Peer = peer(few("peer"))
		}
		return chat.Batch{Rows: chat.Rows{Conversations: []chat.ConversationRow{row}}}
	case 3:
		return chat.Batch{Rows: chat.Rows{Contacts: []chat.ContactRow{{Owner: owner, Other: peer(1), Theirs: on, Want: few("want") > 1, Version: at(n)}}}}
	case 4:
		return chat.Batch{Rows: chat.Rows{Accounts: []chat.Account{{ID: owner, DisplayName: fmt.Sprint(few("name")), Pinned: on, Version: at(n)}}}}
	case 5:
		return chat.Batch{Rows: chat.Rows{Sessions: []chat.Session{{User: owner, ID: chat.SessionID(uuid("session", few("id")%2)), Device: fmt.Sprint(few("device")), Version: at(n), Revoked: on}}}}
	case 6:
		return chat.Batch{Applied: []chat.AppliedRow{{Stream: stream(1), Seq: uint64(n), Watermark: at(few("watermark"))}}}
	case 7:
		return chat.Batch{Positions: []chat.PositionRow{{Stream: stream(chat.Incarnation(few("life") % 2)), To: "us-east", Seq: uint64(n)}}}
	case 8:
		return chat.Batch{HighWater: at(n)}
	default:
		return chat.Batch{Rows: anyGroupRow(r, owner, few, on)}
	}
}

// anyGroupRow draws a row of the tables of groups and changes.
func anyGroupRow(r *rapid.T, owner chat.UserID, few func(string) int, on bool) chat.Rows {
	n, op := few("of"), few("op")
	switch rapid.IntRange(0, 4).Draw(r, "kind") {
	case 0:
		row := changeRow(n, chat.ChangeKind(1+few("change")), few("who")%2, "", on, op)
		row.Owner, row.Version = owner, at(few("version"))
		if row.Kind == chat.ChangeReaction {
			row.Emoji = []string{"+1", "heart"}[n%2]
		}
		if row.Kind == chat.ChangeEdit {
			row.Body = []byte(fmt.Sprint("edit", op))
		}
		return chat.Rows{Changes: []chat.ChangeRow{row}}
	case 1:
		row := groupRow(1, fmt.Sprint("name", n), op)
		row.Owner = owner
		return chat.Rows{Groups: []chat.GroupRow{row}}
	case 2:
		return chat.Rows{Members: []chat.MemberRow{{Owner: owner, Conversation: conversation(1), User: peer(n), Op: message(op), Role: chat.RoleMember, By: user(1), Client: client(op)}}}
	case 3:
		return chat.Rows{GroupZones: []chat.GroupZoneRow{{Conversation: conversation(n % 2), Zone: "eu", Since: at(op)}}}
	default:
		return chat.Rows{Blocks: []chat.BlockRow{{Owner: owner, Other: peer(n), Time: at(op), On: on}}}
	}
}
