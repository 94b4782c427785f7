package link

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	"meridian/deploy/local"
	pb "meridian/proto"
	"meridian/replication"
)

// within is more time than anything here takes.
const within = time.Minute

// unwritten gives a session on which neither the reading nor the writing goroutine runs, and the other end of its connection.
func unwritten(t *testing.T) (*session, *websocket.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", local.ListenAddress())
	must(t, err)
	upgraded := make(chan *websocket.Conn, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		upgraded <- ws
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // ends by the close below
	far, _, err := websocket.DefaultDialer.Dial("ws://"+l.Addr().String(), nil)
	must(t, err)
	near := <-upgraded
	m := &Mesh{}
	m.o.setDefaults()
	m.ctx, m.cancel = context.WithCancel(t.Context())
	s := newSession(m, newPeer(ref("us-east"), "", time.Now()), &silenceConn{Conn: near.NetConn()}, near, &pb.Hello{}, ProtocolMax, true)
	t.Cleanup(func() {
		s.fail(&endError{end: EndLost})
		_ = far.Close() // the other end is closed
		_ = server.Close()
		serving.Wait()
	})
	must(t, far.SetReadDeadline(time.Now().Add(within)))
	return s, far
}

// packetOf reads the frames of the next packet, those with messages of streams as "id:message".
func packetOf(t *testing.T, ws *websocket.Conn) (frames []string) {
	t.Helper()
	_, packet, err := ws.ReadMessage()
	must(t, err)
	must(t, eachFrame(packet, func(f *pb.Frame) error {
		if d := f.GetStreamData(); d != nil {
			frames = append(frames, fmt.Sprintf("%d:%s", d.Id, d.Message))
		} else {
			frames = append(frames, fmt.Sprintf("%T", f.Kind))
		}
		return nil
	}))
	return frames
}

// TestWhoIsAloneWritesItself: what a stream writes while nobody else writes is under way when Write returns, with what waited before
// it, all in one packet; the link's writing goroutine has no part in it.
func TestWhoIsAloneWritesItself(t *testing.T) {
	s, far := unwritten(t)
	st, err := s.openStream(t.Context(), "x", nil)
	must(t, err)
	must(t, st.Write(t.Context(), []byte("a"), nil, []byte("b")))
	if got := packetOf(t, far); !slices.Equal(got, []string{"*pb.Frame_StreamOpen", "1:a", "1:", "1:b"}) {
		t.Errorf("the first packet holds %q", got)
	}
	must(t, st.Write(t.Context(), []byte("c")))
	if got := packetOf(t, far); !slices.Equal(got, []string{"1:c"}) {
		t.Errorf("the second packet holds %q", got)
	}
}

// TestWhoWaitsHasWritten: a Write of more than there is room for, in the stream's window or in the link's queue, sends what it has
// queued before it waits.
func TestWhoWaitsHasWritten(t *testing.T) {
	for _, queue := range []int{8 << 20, 1000} {
		s, far := unwritten(t)
		s.m.o.Limits.ControlQueueBytes = queue
		st, err := s.openStream(t.Context(), "x", nil)
		must(t, err)
		must(t, st.Write(t.Context())) // the opening
		packetOf(t, far)
		<-s.out.wake
		var running sync.WaitGroup
		running.Go(func() { // the writer
			for {
				select {
				case <-s.out.wake:
					s.writePacket()
				case <-s.ctx.Done():
					return
				}
			}
		})
		const size, count = 100_000, 4
		running.Go(func() {
			if err := st.Write(t.Context(), slices.Repeat([][]byte{make([]byte, size)}, count)...); err != nil {
				t.Error(err)
			}
		})
		for got := 0; got < count; {
			got += len(packetOf(t, far))
			must(t, s.streams.credit(&pb.StreamCredit{Id: 1, Bytes: size + streamMessageCost}))
		}
		s.cancel(nil)
		running.Wait()
	}
}

// TestOneWrites: one at a time has the connection; who queues meanwhile leaves it to that one, after whom the writer is woken when
// something is left.
func TestOneWrites(t *testing.T) {
	o := newOutbox()
	put := func(text string) {
		t.Helper()
		if ok, _ := o.put([]byte(text), 1<<20); !ok {
			t.Fatal("no room")
		}
	}
	expect := func(what string, lead bool, woken int) {
		t.Helper()
		if got, _ := o.lead(); got != lead {
			t.Errorf("%s: may write: %v, want %v", what, got, lead)
		}
		if got := len(o.wake); got != woken {
			t.Errorf("%s: the writer was woken %d times, want %d", what, got, woken)
		}
	}
	expect("nothing waits", false, 0)
	put("a")
	expect("alone", true, 0)
	put("b")
	expect("another will take it", false, 0)
	if got := o.take(); string(got) != "ab" {
		t.Errorf("took %q", got)
	}
	put("c")
	expect("another writes", false, 0)
	if ok, _ := o.putControl([]byte("d"), 1<<20); !ok || len(o.wake) > 0 {
		t.Errorf("taken: %v; woken though another writes: %d", ok, len(o.wake))
	}
	o.written()
	if len(o.wake) != 1 {
		t.Error("something is left, and nobody was woken")
	}
	if got := o.take(); string(got) != "cd" {
		t.Errorf("took %q", got)
	}
	<-o.wake
	o.written()
	expect("all is written", false, 0)
	o.putRelay([][]byte{[]byte("r")}, 1<<20)
	put("e")
	expect("relay frames wait, which are the writer's", false, 1)
}

// TestOthersAreAwaitedWhereThereAreOthers: who may write lets others add to the packet unless many packets in a row held one frame.
func TestOthersAreAwaitedWhereThereAreOthers(t *testing.T) {
	o := newOutbox()
	packet := func(frames int) (shared bool) {
		for range frames {
			o.put([]byte("x"), 1<<20)
		}
		_, shared = o.lead()
		o.take()
		o.written()
		return shared
	}
	packet(2)
	for i := range manySingle {
		if !packet(1) {
			t.Fatalf("not awaited after %d packets with one frame", i)
		}
	}
	if packet(1) {
		t.Error("awaited though nobody ever comes")
	}
	packet(2)
	if !packet(1) {
		t.Error("not awaited though another has come")
	}
}

// TestNothingIsLeftBehind: whatever streams write at once is written, beside relay frames and with more than a window in one call,
// though nothing that comes later (no ping, in this test) would take along what was forgotten.
func TestNothingIsLeftBehind(t *testing.T) {
	a, b := streamPair(t, nil, echo, func(o *Options) { o.DeadAfter = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			s, err := a.OpenStream(ctx, "us-east", "echo", nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.CloseWithCode(1000, "")
			messages := [][]byte{[]byte("small"), bytes.Repeat([]byte{byte(i)}, 150_000), nil, bytes.Repeat([]byte{byte(i + 1)}, 150_000), []byte("end")}
			const rounds = 10
			all.Go(func() {
				for range rounds {
					if err := s.Write(ctx, messages...); err != nil {
						t.Error(err)
						return
					}
				}
			})
			for n := range rounds * len(messages) {
				got, err := s.Read(ctx)
				if want := messages[n%len(messages)]; err != nil || !bytes.Equal(got, want) {
					t.Errorf("message %d of stream %d: %d bytes, want %d (%v)", n, i, len(got), len(want), err)
					return
				}
			}
		})
	}
	sent := 0
	for range 100 {
		if a.SendRelay(ref("us-east"), replication.Frame{Kind: replication.FrameBatch}) {
			sent++
		}
	}
	all.Wait()
	eventually(t, "the relay frames", func() bool { return b.received() == sent })
}

// TestStreamDataByHand: a message of a stream is written as the generated code writes it, and read as it reads it; what is written in
// another way is left to that.
func TestStreamDataByHand(t *testing.T) {
	for _, id := range []uint64{1, 127, 128, 1 << 40} {
		for _, size := range []int{0, 1, 100, 127, 128, 16_383, 16_384, MaxStreamMessageBytes} {
			message := bytes.Repeat([]byte("m"), size)
			packet := encodeStreamData(id, message)
			if want := encodeFrame(&pb.Frame{Kind: &pb.Frame_StreamData{StreamData: &pb.StreamData{Id: id, Message: message}}}); !bytes.Equal(packet, want) {
				t.Fatalf("id %d, %d bytes: written %x…, want %x…", id, size, packet[:min(len(packet), 20)], want[:min(len(want), 20)])
			}
			must(t, eachPart(packet, func(part []byte) error {
				if gotID, got, ok := readStreamData(part); !ok || gotID != id || !bytes.Equal(got, message) {
					t.Errorf("id %d, %d bytes: read id %d, %d bytes, %v", id, size, gotID, len(got), ok)
				}
				return nil
			}))
		}
	}
	for name, part := range map[string][]byte{
		"another frame":          {0x12, 0x02, 0x08, 0x01},
		"the message first":      {0x52, 0x05, 0x12, 0x01, 'm', 0x08, 0x01},
		"no id":                  {0x52, 0x03, 0x12, 0x01, 'm'},
		"a field more":           {0x52, 0x07, 0x08, 0x01, 0x12, 0x01, 'm', 0x18, 0x01},
		"a second frame in one":  {0x52, 0x02, 0x08, 0x01, 0x52, 0x02, 0x08, 0x01},
		"cut off in the id":      {0x52, 0x02, 0x08, 0x81},
		"cut off in the message": {0x52, 0x04, 0x08, 0x01, 0x12, 0x02},
		"nothing":                {},
	} {
		if id, message, ok := readStreamData(part); ok {
			t.Errorf("%s: read as id %d, message %q", name, id, message)
		}
	}
}

// sameByHand checks that a part that is read by hand is read alike by the generated code.
func sameByHand(t *testing.T, part []byte) {
	t.Helper()
	id, message, ok := readStreamData(part)
	if !ok {
		return
	}
	var f pb.Frame
	if err := proto.Unmarshal(part, &f); err != nil || f.GetStreamData().GetId() != id || !bytes.Equal(f.GetStreamData().GetMessage(), message) {
		t.Fatalf("read id %d, message %q; the generated code reads %v (%v)", id, message, &f, err)
	}
}
