package storetest

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"meridian/chat"
)

func claim(name, attempt int, zone chat.Zone, pending bool) chat.Claim {
	c := chat.Claim{
		Blinded: uuid("blinded", attempt), Zone: zone, Bucket: uint16(name % 2), Attempt: uuid("attempt", attempt),
		Pending: pending, Version: at(attempt),
	}
	id := uuid("name", name)
	copy(c.Key[:], id[:])
	return c
}

// A name is reserved once; only its own attempt releases it; the smallest confirmed entry stands.
func testDirectory(t *testing.T, f Factory) {
	s := fresh(t, f)
	reserve := got[chat.Claim](t)
	mine, theirs := claim(1, 1, "eu", true), claim(1, 2, "in", true)
	same(t, "the first attempt", reserve(s.Reserve(ctx, mine)), mine)
	same(t, "another attempt", reserve(s.Reserve(ctx, theirs)), mine)
	same(t, "the first attempt again", reserve(s.Reserve(ctx, mine)), mine)
	must(t, s.Release(ctx, mine.Key, theirs.Attempt))
	same(t, "after another's release", reserve(s.Reserve(ctx, theirs)), mine)
	must(t, s.Release(ctx, mine.Key, mine.Attempt))
	if _, ok, err := s.Claim(ctx, mine.Key); ok || err != nil {
		t.Fatalf("a released name: ok %v, error %v", ok, err)
	}
	must(t, s.Release(ctx, mine.Key, mine.Attempt))
	same(t, "the next attempt", reserve(s.Reserve(ctx, theirs)), theirs)

	confirmed := claim(1, 2, "in", false)
	must(t, Commit(s, &chat.Batch{Claims: []chat.Claim{confirmed}}))
	must(t, Commit(s, &chat.Batch{Claims: []chat.Claim{claim(1, 3, "world", false)}}))
	must(t, s.Release(ctx, confirmed.Key, confirmed.Attempt))
	same(t, "a reservation of a confirmed name", reserve(s.Reserve(ctx, mine)), confirmed)
	same(t, "its own attempt's reservation", reserve(s.Reserve(ctx, theirs)), confirmed)
	have, ok, err := s.Claim(ctx, confirmed.Key)
	must(t, err)
	same(t, "the entry", []any{have, ok}, []any{confirmed, true})

	// Of two confirmed ones the smaller (Version, Attempt) stands, in whatever order they come.
	earlier, twin := claim(1, 1, "in", false), claim(1, 1, "in", false)
	twin.Attempt[0] = earlier.Attempt[0] - 1
	if earlier.Attempt[0] == 0 {
		twin, earlier = earlier, twin
	}
	for _, c := range []struct {
		comes  []chat.Claim
		stands chat.Claim
	}{{[]chat.Claim{confirmed, earlier}, earlier}, {[]chat.Claim{confirmed}, earlier}, {[]chat.Claim{twin}, twin}, {[]chat.Claim{earlier}, twin}} {
		must(t, Commit(s, &chat.Batch{Claims: c.comes}))
		have, _, err := s.Claim(ctx, confirmed.Key)
		must(t, err)
		same(t, "of two confirmed entries", have, c.stands)
	}

	// A claim that this region never saw pending, and two of one name in one batch: the smaller stands.
	must(t, Commit(s, &chat.Batch{Claims: []chat.Claim{claim(3, 5, "eu", false), claim(5, 6, "eu", false), claim(5, 7, "zz", false), claim(2, 8, "aa", false)}}))
	must(t, Commit(s, &chat.Batch{Claims: []chat.Claim{claim(3, 5, "eu", false)}}))
	same(t, "the zones of a bucket", got[[]chat.Zone](t)(s.ZonesOfBucket(ctx, 1)), []chat.Zone{"eu", "in"})
	same(t, "the zones of another", got[[]chat.Zone](t)(s.ZonesOfBucket(ctx, 0)), []chat.Zone{"aa"})
	same(t, "the zones of an empty one", got[[]chat.Zone](t)(s.ZonesOfBucket(ctx, 2)), []chat.Zone{})
	wantCode(t, Commit(s, &chat.Batch{Claims: []chat.Claim{claim(9, 9, "eu", true)}}), chat.CodeInvalid)
}

// The directory is read page by page in the order of its keys: each entry once, reserved or confirmed.
func testClaims(t *testing.T, f Factory) {
	s := fresh(t, f)
	read := got[[]chat.Claim](t)
	same(t, "an empty directory", read(s.Claims(ctx, chat.ClaimKey{}, 10)), []chat.Claim{})
	var want []chat.Claim
	for n := range 30 {
		c := claim(n, n, "eu", n%3 == 0)
		if c.Pending {
			_, err := s.Reserve(ctx, c)
			must(t, err)
		} else {
			must(t, Commit(s, &chat.Batch{Claims: []chat.Claim{c}}))
		}
		want = append(want, c)
	}
	slices.SortFunc(want, func(a, b chat.Claim) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	same(t, "the whole directory", read(s.Claims(ctx, chat.ClaimKey{}, 100)), want)
	var paged []chat.Claim
	for from := (chat.ClaimKey{}); ; {
		page := read(s.Claims(ctx, from, 7))
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		from = page[len(page)-1].Key
	}
	same(t, "the pages together", paged, want)
}

// Of 32 that claim one name at once exactly one wins, and all are told the same; so with keys.
func testManyClaimants(t *testing.T, f Factory) {
	s := fresh(t, f)
	const claimants, names = 32, 20
	for name := range names {
		stands, keys := make([]chat.Claim, claimants), make([]chat.KeyRow, claimants)
		errs := make([]error, 2*claimants)
		var all sync.WaitGroup
		for i := range claimants {
			all.Go(func() { stands[i], errs[2*i] = s.Reserve(ctx, claim(name, i, "eu", true)) })
			all.Go(func() {
				keys[i], errs[2*i+1] = s.InsertKey(ctx, chat.KeyRow{Author: user(name), Zone: "eu", Wrapped: []byte{byte(i)}})
			})
		}
		all.Wait()
		for _, err := range errs {
			must(t, err)
		}
		won := 0
		for i := range claimants {
			same(t, "what the claimants are told", stands[i], stands[0])
			same(t, "the key they are told", keys[i], keys[0])
			if stands[i].Attempt == uuid("attempt", i) {
				won++
			}
		}
		if won != 1 {
			t.Fatalf("%d claimants won", won)
		}
	}
}

// A data key is stored once; the first stands.
func testKeys(t *testing.T, f Factory) {
	s := fresh(t, f)
	first := chat.KeyRow{Author: user(1), Zone: "eu", Wrapped: []byte("wrapped")}
	insert := got[chat.KeyRow](t)
	if _, ok, err := s.Key(ctx, user(1), "eu"); ok || err != nil {
		t.Fatalf("a key that is not there: ok %v, error %v", ok, err)
	}
	same(t, "the first", insert(s.InsertKey(ctx, first)), first)
	same(t, "a second", insert(s.InsertKey(ctx, chat.KeyRow{Author: user(1), Zone: "eu", Wrapped: []byte("other")})), first)
	other := chat.KeyRow{Author: user(1), Zone: "in", Wrapped: []byte("in")}
	same(t, "another zone's", insert(s.InsertKey(ctx, other)), other)
	k, ok, err := s.Key(ctx, user(1), "eu")
	must(t, err)
	same(t, "the key", []any{k, ok}, []any{first, true})
}

// A malformed row is refused with CodeInvalid, and nothing of its batch is stored; what stood before it in the queue is.
func testMalformed(t *testing.T, f Factory) {
	s := fresh(t, f)
	noTime := chat.MessageID(uuid("random", 1))
	noTime[6] = 0x40
	bad := []chat.Batch{
		{Rows: chat.Rows{Messages: []chat.MessageRow{{Owner: user(1), ID: noTime}}}},
		{Rows: chat.Rows{Retries: []chat.RetryRow{{ID: chat.NoMessage}}}},
		{Inbox: []chat.InboxRow{{Op: noTime}}},
		{Log: []chat.LogRow{{Op: chat.Op{Seq: 1}}}},
		{Log: []chat.LogRow{{Op: chat.Op{Stream: stream(1)}}}},
		{Applied: []chat.AppliedRow{{Seq: 1}}},
	}
	for i := range bad {
		b := bad[i]
		b.Accounts = []chat.Account{{ID: user(i), Version: 1}}
		wantCode(t, Commit(s, &b), chat.CodeInvalid)
		if _, ok, err := s.Account(ctx, user(i)); ok || err != nil {
			t.Fatalf("batch %d left a row behind (error %v)", i, err)
		}
	}
	must(t, Commit(s, sendBatch(1)))
}

// An empty batch is done like any other, after those before it.
func testEmpty(t *testing.T, f Factory) {
	s := fresh(t, f)
	must(t, Commit(s, &chat.Batch{}))
	if !(&chat.Batch{}).Empty() {
		t.Fatal("an empty batch is not empty")
	}
}

// Callbacks come once each and, for the batches of one caller, in the order of its calls.
func testCallbackOrder(t *testing.T, f Factory) {
	s := fresh(t, f)
	const n = 500
	order := make(chan int, 2*n)
	for i := range n {
		b := sendBatch(i + 1)
		if i%50 == 7 {
			b = &chat.Batch{Log: []chat.LogRow{{}}} // malformed
		}
		s.Commit(b, func(error) { order <- i })
	}
	must(t, Commit(s, &chat.Batch{HighWater: 1}))
	var have []int
	for range n {
		have = append(have, <-order)
	}
	if !slices.IsSorted(have) || len(order) != 0 {
		t.Fatalf("the callbacks came in the order %v, %d too many", have, len(order))
	}
}
