package shared_test

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"meridian/chat"
	"meridian/store/shared"
	"meridian/store/storetest"
)

// slow is a store whose reads and commits wait to be let go.
type slow struct {
	chat.Store
	reads, commits chan struct{}
	mu             sync.Mutex
	order          []chat.HLC
}

func (s *slow) Identity(context.Context) (chat.Identity, error) {
	return chat.Identity{Region: "eu-west", Node: "n1", Incarnation: 1}, nil
}

func (s *slow) Messages(ctx context.Context, _ chat.UserID, _ chat.ConversationID, _ chat.MessageID, limit int) ([]chat.MessageRow, error) {
	if limit == 1 {
		return nil, &chat.Error{Code: chat.CodeStoreFull, Op: "slow.Messages", Message: "why", RetryAfter: 7 * time.Second, Cause: io.ErrShortWrite}
	}
	select {
	case <-s.reads:
	case <-ctx.Done():
		return nil, &chat.Error{Code: chat.CodeUnknownOutcome, Cause: ctx.Err()}
	}
	rows := make([]chat.MessageRow, limit)
	for i := range rows {
		rows[i].Body = make([]byte, 1<<20)
	}
	return rows, nil
}

func (s *slow) InboxFloor(context.Context) (chat.HLC, error) { return 7, nil }

func (s *slow) Commit(b *chat.Batch, done func(error)) {
	s.mu.Lock()
	s.order = append(s.order, b.HighWater)
	s.mu.Unlock()
	go func() {
		<-s.commits
		done(nil)
	}()
}

func (s *slow) Close() error { return nil }

// lendSlow serves a slow store and opens a client of it.
func lendSlow(t *testing.T) (*slow, *shared.Server, *shared.Client) {
	t.Helper()
	s := &slow{reads: make(chan struct{}), commits: make(chan struct{})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	wantCode(t, err, "")
	server, err := shared.Serve(listener, shared.ServerOptions{
		Region: "eu-west", Secret: secret, Codec: storetest.JSONCodec{},
		Node: func(context.Context, chat.NodeID, chat.Incarnation) (chat.Store, error) { return s, nil },
	})
	wantCode(t, err, "")
	h := &house{cfg: storetest.DefaultConfig(), addr: listener.Addr().String()}
	c := clientOf(t, h, "n1")
	t.Cleanup(func() { _ = server.Close() })
	return s, server, c
}

// A call that takes long holds up no other; commits reach the store in the order of the calls, whatever else goes on.
func TestPipeline(t *testing.T) {
	s, _, c := lendSlow(t)
	var all sync.WaitGroup
	all.Go(func() {
		rows, err := c.Messages(ctx, user(1), chat.NoConversation, chat.NoMessage, 2)
		if err != nil || len(rows) != 2 {
			t.Errorf("%d rows, error %v", len(rows), err)
		}
	})
	const n = 2000
	var want []chat.HLC
	for i := range n {
		want = append(want, chat.HLC(i+1))
		all.Add(1)
		c.Commit(&chat.Batch{HighWater: want[i]}, func(error) { all.Done() })
		if i%100 == 0 {
			if floor, err := c.InboxFloor(ctx); err != nil || floor != 7 {
				t.Fatalf("floor %d, error %v", floor, err)
			}
		}
	}
	close(s.commits)
	s.reads <- struct{}{}
	all.Wait()
	if !slices.Equal(s.order, want) {
		t.Fatal("the commits came in another order")
	}
}

// Errors cross with code, words, pause and cause. A call that is not waited for any more, and an answer that is too large, do
// no harm to the connection.
func TestErrors(t *testing.T) {
	s, _, c := lendSlow(t)
	_, err := c.Messages(ctx, user(1), chat.NoConversation, chat.NoMessage, 1)
	wantCode(t, err, chat.CodeStoreFull)
	if e := chat.AsError(err); e.Message != "why" || e.RetryAfter != 7*time.Second || e.Cause.Error() != io.ErrShortWrite.Error() || e.Op != "slow.Messages" {
		t.Fatalf("the error came as %+v", e)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	_, err = c.Messages(short, user(1), chat.NoConversation, chat.NoMessage, 2)
	wantCode(t, err, chat.CodeUnknownOutcome)
	_, err = c.Messages(short, user(1), chat.NoConversation, chat.NoMessage, 2)
	wantCode(t, err, chat.CodeUnknownOutcome)
	close(s.reads)
	_, err = c.Messages(ctx, user(1), chat.NoConversation, chat.NoMessage, 80)
	wantCode(t, err, chat.CodeTooLarge)
	big := &chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{{Body: make([]byte, 65<<20)}}}}
	wantCode(t, storetest.Commit(c, big), chat.CodeTooLarge)
	if _, err := c.InboxFloor(ctx); err != nil {
		t.Fatal(err)
	}
}

// A server that stops answers what is under way; what it has not answered when the connection breaks has an unknown outcome
// if it writes, and is a failed read else; every callback comes, in order.
func TestBroken(t *testing.T) {
	s, server, c := lendSlow(t)
	var mu sync.Mutex
	var codes []chat.Code
	var all sync.WaitGroup
	commit := func() {
		all.Add(1)
		c.Commit(&chat.Batch{HighWater: 1}, func(err error) {
			defer all.Done()
			mu.Lock()
			defer mu.Unlock()
			codes = append(codes, chat.CodeOf(err))
		})
	}
	err := func() error {
		_, err := c.InboxFloor(ctx)
		return err
	}
	commit()
	wantCode(t, err(), "") // the commit is there
	closed := make(chan error)
	go func() { closed <- server.Close() }()
	select {
	case <-closed:
		t.Fatal("the server did not wait for the commit under way")
	case <-time.After(50 * time.Millisecond):
	}
	s.commits <- struct{}{}
	wantCode(t, <-closed, "")
	all.Wait()
	for chat.CodeOf(err()) == "" { // until the client has seen it
		time.Sleep(time.Millisecond)
	}
	wantCode(t, err(), chat.CodeRegionDegraded)
	commit() // nobody is there
	all.Wait()
	if !slices.Equal(codes, []chat.Code{"", chat.CodeRegionDegraded}) {
		t.Fatalf("the commits ended with %q", codes)
	}
}

// Abandon ends commits under way with an unknown outcome and reads as failed, each once.
func TestAbandon(t *testing.T) {
	s, _, c := lendSlow(t)
	codes := make(chan chat.Code, 10)
	for range 5 {
		c.Commit(&chat.Batch{HighWater: 1}, func(err error) { codes <- chat.CodeOf(err) })
	}
	read := make(chan error)
	go func() {
		_, err := c.Messages(ctx, user(1), chat.NoConversation, chat.NoMessage, 2)
		read <- err
	}()
	if _, err := c.InboxFloor(ctx); err != nil {
		t.Fatal(err)
	}
	c.Abandon()
	wantCode(t, <-read, chat.CodeRegionDegraded)
	for range 5 {
		if code := <-codes; code != chat.CodeUnknownOutcome {
			t.Fatalf("a commit ended with %q", code)
		}
	}
	close(s.commits)
	c.Commit(&chat.Batch{}, func(err error) { codes <- chat.CodeOf(err) })
	if code := <-codes; code != chat.CodeRegionDegraded {
		t.Fatalf("a commit after the end: %q", code)
	}
}

// A node that has begun a later life elsewhere keeps its old one over a new connection, and cannot prolong it.
func TestOldLife(t *testing.T) {
	h, old := started(t)
	wantCode(t, old.Renew(ctx, 100, 50), "")
	again := clientOf(t, h, "n1")
	id, err := again.NewIncarnation(ctx, 0)
	wantCode(t, err, "")
	wantCode(t, old.Renew(ctx, 200, 150), chat.CodeVersionConflict)
	h.close()
	wantCode(t, h.open(), "")
	for _, c := range []*shared.Client{old, again} {
		for until := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if _, err := c.InboxFloor(ctx); err == nil || time.Now().After(until) {
				break
			}
		}
	}
	wantCode(t, old.Renew(ctx, 200, 150), chat.CodeVersionConflict)
	wantCode(t, again.Renew(ctx, 200, 150), "")
	same, err := again.Identity(ctx)
	wantCode(t, err, "")
	mine, err := old.Identity(ctx)
	wantCode(t, err, "")
	if id.Incarnation != 2 || same.Incarnation != 2 || mine.Incarnation != 1 {
		t.Fatalf("lives %d, %d and %d", id.Incarnation, same.Incarnation, mine.Incarnation)
	}
}

// A store that accepts words and says nothing is given up.
func TestSilence(t *testing.T) {
	t.Parallel()
	_, server, _ := lendSlow(t)
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	wantCode(t, err, "")
	defer mute.Close()
	var stop sync.WaitGroup
	defer stop.Wait()
	quiet := make(chan struct{})
	stop.Go(func() { forwardUntil(mute, server.Addr().String(), quiet) })
	h := &house{cfg: storetest.DefaultConfig(), addr: mute.Addr().String()}
	c := clientOf(t, h, "n1")
	if _, err := c.InboxFloor(ctx); err != nil {
		t.Fatal(err)
	}
	close(quiet)
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = c.InboxFloor(within)
	wantCode(t, err, chat.CodeRegionDegraded)
	_ = mute.Close()
}

// forwardUntil carries one connection to addr; once quiet is closed nothing comes back any more.
func forwardUntil(l net.Listener, addr string, quiet chan struct{}) {
	in, err := l.Accept()
	if err != nil {
		return
	}
	defer in.Close()
	out, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer out.Close()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(out, in)
		_ = out.Close()
	})
	b := make([]byte, 1024)
	for {
		n, err := out.Read(b)
		if err != nil {
			break
		}
		select {
		case <-quiet:
		default:
			_, _ = in.Write(b[:n])
		}
	}
	both.Wait()
}
