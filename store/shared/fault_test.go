package shared_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/replication/link"
	"meridian/store/embedded"
	"meridian/store/shared"
	"meridian/store/storetest"
)

func wantCode(t testing.TB, err error, code chat.Code) {
	t.Helper()
	if chat.CodeOf(err) != code {
		t.Fatalf("error is %v, want code %q", err, code)
	}
}

func user(n int) (id chat.UserID) {
	binary.BigEndian.PutUint32(id[:], uint32(n))
	return id
}

// message is a batch of one message, the n-th of its sender.
func message(sender, n int) *chat.Batch {
	id := chat.NewMessageID(chat.HLC(1_790_000_000_000_000+n), user(sender), chat.ClientID{1})
	return &chat.Batch{Rows: chat.Rows{Messages: []chat.MessageRow{{
		Owner: user(sender), OwnerZone: "world", ID: id, Sender: user(sender), Body: fmt.Appendf(nil, "text %d", n),
	}}}}
}

func stored(s chat.Store, sender, n int) (bool, error) {
	m := message(sender, n).Messages[0]
	_, ok, err := s.Message(ctx, m.Owner, m.Conversation, m.ID)
	return ok, err
}

// started opens a house and one client, n1.
func started(t *testing.T) (*house, *shared.Client) {
	t.Helper()
	h := newHouse(storetest.DefaultConfig())
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h, clientOf(t, h, "n1")
}

func clientOf(t *testing.T, h *house, node chat.NodeID) *shared.Client {
	t.Helper()
	c, err := h.client(node)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abandon)
	return c
}

// childDir is set in the process that TestKilledServer starts.
const childDir, childAddr = "MERIDIAN_TEST_STORE_DIR", "MERIDIAN_TEST_STORE_ADDR"

// lendUntilKilled is the store's process: SIGTERM ends it cleanly.
func lendUntilKilled(dir, addr string) error {
	cfg := storetest.DefaultConfig()
	store, err := embedded.Open(embedded.Options{Dir: dir, Region: cfg.Region, Codec: cfg.Codec, CacheBytes: 1 << 20, MemTableBytes: 4 << 20})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server, err := shared.Serve(listener, shared.ServerOptions{Region: cfg.Region, Secret: secret, Codec: cfg.Codec, Node: lender(store)})
	if err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Println("ready", listener.Addr())
	<-term
	return errors.Join(server.Close(), store.Close())
}

// startChild starts the store's process and gives where it listens.
func startChild(t *testing.T, dir, addr string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childAddr+"="+addr)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var at string
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "ready %s", &at); err == nil {
			return cmd, at
		}
	}
	t.Fatalf("the store's process did not start: %v", cmd.Wait())
	return nil, ""
}

// writer commits messages of one sender until told to stop: each again until it is acknowledged, as a node does.
type writer struct {
	sender           int
	acked            int // messages 0 … acked-1 are acknowledged
	unknown, refused int
	slow             int // refused commits that took longer than refusedWithin to be refused
	err              error
}

func (w *writer) run(c chat.Store, stop *atomic.Bool) {
	for !stop.Load() {
		began := time.Now()
		err := storetest.Commit(c, message(w.sender, w.acked))
		switch chat.CodeOf(err) {
		case "":
			w.acked++
		case chat.CodeUnknownOutcome:
			w.unknown++
		case chat.CodeRegionDegraded:
			w.refused++
			if time.Since(began) > refusedWithin {
				w.slow++
			}
			time.Sleep(time.Millisecond)
		default:
			w.err = err
			return
		}
	}
}

// connected waits until a client has found the store again.
func connected(t *testing.T, c *shared.Client) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		_, err := c.InboxFloor(ctx)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a client does not connect again: %v", err)
		}
	}
}

// refusedWithin is how long it may take to refuse what waits for nothing; a machine that stands still may take longer a few times.
const refusedWithin = time.Second

// While the store's process is killed and started again, its clients are refused at once, connect again by themselves, and
// what any of them was told is durable is there in the end.
func TestKilledServer(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := lendUntilKilled(dir, os.Getenv(childAddr)); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "store")
	child, addr := startChild(t, dir, local.ListenAddress())
	h := &house{cfg: storetest.DefaultConfig(), addr: addr}
	const nodes, each, rounds = 2, 8, 4
	var stop atomic.Bool
	var all sync.WaitGroup
	writers := make([]*writer, 0, nodes*each)
	var clients []*shared.Client
	for n := range nodes {
		c := clientOf(t, h, chat.NodeID(fmt.Sprint("n", n)))
		clients = append(clients, c)
		for i := range each {
			w := &writer{sender: n*each + i}
			writers = append(writers, w)
			all.Go(func() { w.run(c, &stop) })
		}
	}
	for round := range rounds {
		time.Sleep(300 * time.Millisecond) // of work
		sig := syscall.SIGKILL
		if round == rounds-1 {
			sig = syscall.SIGTERM
		}
		if err := child.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); (err == nil) != (sig == syscall.SIGTERM) {
			t.Fatalf("signal %v: the process ended with %v", sig, err)
		}
		child, _ = startChild(t, dir, addr)
	}
	for _, c := range clients {
		connected(t, c)
	}
	stop.Store(true)
	all.Wait()
	acked, unknown, refused, slow := 0, 0, 0, 0
	for _, w := range writers {
		if w.err != nil {
			t.Fatalf("writer %d: %v", w.sender, w.err)
		}
		for n := range w.acked {
			ok, err := stored(clients[(w.sender/each+1)%nodes], w.sender, n) // read by the other node
			if err != nil || !ok {
				t.Fatalf("writer %d: message %d was acknowledged; ok %v, error %v", w.sender, n, ok, err)
			}
		}
		acked, unknown, refused, slow = acked+w.acked, unknown+w.unknown, refused+w.refused, slow+w.slow
	}
	if acked == 0 || unknown == 0 || refused == 0 {
		t.Fatalf("%d acknowledged, %d of unknown outcome, %d refused: not all of it happened", acked, unknown, refused)
	}
	if slow > refused/4 {
		t.Errorf("%d of %d were refused after more than %v", slow, refused, refusedWithin)
	}
	t.Logf("%d acknowledged, %d of unknown outcome, %d refused at once", acked, unknown, refused)
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
}

// Bytes of a stranger, of somebody who does not know the secret, or of a broken client end that connection only; the store
// goes on for the others.
func TestGarbage(t *testing.T) {
	h, c := started(t)
	wantCode(t, storetest.Commit(c, message(1, 1)), "")
	for size := range 200 {
		conn, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		junk := make([]byte, size*7)
		_, _ = rand.Read(junk)
		if size%3 == 0 {
			junk = append([]byte("MSTORE\x00\x01"), junk...)
		}
		_, _ = conn.Write(junk)
		_ = conn.(*net.TCPConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(conn); len(b) > 40 { // its opening, and nothing else; a reset is as good as an end
			t.Fatalf("the store said %d bytes to a stranger, error %v", len(b), err)
		}
		_ = conn.Close()
	}
	wantCode(t, storetest.Commit(c, message(1, 2)), "")
	for n := 1; n <= 2; n++ {
		if ok, err := stored(c, 1, n); err != nil || !ok {
			t.Fatalf("message %d: ok %v, error %v", n, ok, err)
		}
	}
}

// Who does not know the secret, or is of another region, gets no store, and a server that does not know it gets no request.
func TestSecret(t *testing.T) {
	h, _ := started(t)
	wrong := h.options("n1")
	wrong.Secret = []byte("another secret, of 32 bytes too.")
	refused(t, wrong, "refused: EOF")
	abroad := h.options("n1")
	abroad.Region = "us-east"
	refused(t, abroad, "node us-east/n1 asks the store of region eu-west")
	for _, spoil := range []func(*shared.ClientOptions){
		func(o *shared.ClientOptions) { o.Secret = []byte("short") },
		func(o *shared.ClientOptions) { o.Node = "" },
		func(o *shared.ClientOptions) { o.Codec = nil },
		func(o *shared.ClientOptions) { o.Address = "" },
	} {
		o := h.options("n1")
		spoil(&o)
		_, err := shared.Open(ctx, o)
		wantCode(t, err, chat.CodeInvalid)
	}
	_, err := shared.Serve(nil, shared.ServerOptions{Region: "eu-west", Secret: secret})
	wantCode(t, err, chat.CodeInvalid)
}

// refused opens a client that gets no store, for the given reason.
func refused(t *testing.T, o shared.ClientOptions, why string) {
	t.Helper()
	for patience := 500 * time.Millisecond; ; patience *= 4 { // a busy machine may not get as far as the reason
		ctx, cancel := context.WithTimeout(ctx, patience)
		c, err := shared.Open(ctx, o)
		cancel()
		if err == nil {
			c.Abandon()
		}
		wantCode(t, err, chat.CodeRegionDegraded)
		if strings.Contains(err.Error(), why) {
			return
		}
		if patience > 10*time.Second {
			t.Fatalf("refused for another reason: %v", err)
		}
	}
}

// With certificates of the region nothing is readable on the way, and a client without one is refused.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	authority, err := link.LoadOrCreateAuthority(dir, "test")
	wantCode(t, err, "")
	var configs []*tls.Config
	for _, region := range []chat.Region{"eu-west", "us-east"} {
		_, err := authority.IssueRegion(region)
		wantCode(t, err, "")
		id, err := link.LoadIdentity(dir, region)
		wantCode(t, err, "")
		configs = append(configs, id.WithinRegion())
	}
	h := newHouse(storetest.DefaultConfig())
	wantCode(t, h.open(), "")
	defer h.close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	wantCode(t, err, "")
	server, err := shared.Serve(listener, shared.ServerOptions{Region: "eu-west", Secret: secret, TLS: configs[0], Codec: h.cfg.Codec, Node: lender(h.store)})
	wantCode(t, err, "")
	defer server.Close()
	o := h.options("n1")
	o.Address, o.TLS = listener.Addr().String(), configs[0]
	c, err := shared.Open(ctx, o)
	wantCode(t, err, "")
	defer c.Close()
	wantCode(t, storetest.Commit(c, message(1, 1)), "")
	for i, why := range []string{"peer refused: region", "certificate", ""} { // the last one's words are no TLS
		o.TLS = []*tls.Config{configs[1], {InsecureSkipVerify: true}, nil}[i]
		refused(t, o, why)
	}
}
