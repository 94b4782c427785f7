package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"meridian/chat"
	pb "meridian/proto"
	"meridian/replication"
)

// pool is the authority as what an identity believes.
func (a *Authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// rogue connects to region us-east with a good certificate of eu-west, and leaves the rest to the test.
func rogue(t *testing.T, w *world) (*websocket.Conn, *tls.Conn) {
	t.Helper()
	identity, err := w.authority.IssueRegion("eu-west")
	must(t, err)
	raw, err := net.Dial("tcp", w.peers["us-east"])
	must(t, err)
	secured := tls.Client(raw, identity.tlsConfig(func(_ chat.Region, err error) error { return err }))
	dialer := websocket.Dialer{
		NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { return secured, nil },
		Subprotocols:      []string{subprotocol},
	}
	ws, _, err := dialer.Dial("wss://us-east"+backbonePath, http.Header{})
	must(t, err)
	t.Cleanup(func() { _ = ws.Close() }) // the other side has closed it already, mostly
	must(t, ws.SetReadDeadline(time.Now().Add(time.Minute)))
	return ws, secured
}

func helloFrame(name string, lowest, highest uint32) []byte {
	return encodeFrame(&pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{
		Region: []byte(ref(name).Region), Node: []byte(ref(name).Node), Incarnation: 1, ProtocolMin: lowest, ProtocolMax: highest,
	}}})
}

func send(t *testing.T, ws *websocket.Conn, b []byte) {
	t.Helper()
	must(t, ws.WriteMessage(websocket.BinaryMessage, b))
}

// expectClose reads until the other side closes, and checks the code.
func expectClose(t *testing.T, ws *websocket.Conn, code int) {
	t.Helper()
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			var closed *websocket.CloseError
			if !errors.As(err, &closed) || closed.Code != code {
				t.Errorf("ended with %v, want close code %d", err, code)
			}
			return
		}
	}
}

// TestForgedHelloIsRefused: the region is what the certificate proves; a hello that claims another, or that has no version in
// common, or that is none, ends the connection with its reason and is counted.
func TestForgedHelloIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		hello  []byte
		end    End
		metric string
	}{
		"another region":    {helloFrame("ap-south", 2, 2), EndIdentity, "hello"},
		"an unknown node":   {helloFrame("eu-west/n9", 2, 2), EndIdentity, "hello"},
		"who must not dial": {helloFrame("us-east/n1", 2, 2), EndIdentity, "hello"},
		"a version to come": {helloFrame("eu-west", ProtocolMax+1, ProtocolMax+5), EndVersion, "version"},
		"an old version":    {helloFrame("eu-west", 0, ProtocolMin-1), EndVersion, "version"},
		"versions crossed":  {helloFrame("eu-west", 9, 1), EndVersion, "version"},
		"not a hello":       {encodeFrame(&pb.Frame{Kind: &pb.Frame_Ping{Ping: &pb.Ping{}}}), EndMalformed, ""},
		"nothing":           {nil, EndMalformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, "eu-west", "us-east")
			b := w.start("us-east", nil)
			ws, _ := rogue(t, w)
			send(t, ws, c.hello)
			expectClose(t, ws, c.end.closeCode())
			eventually(t, "counted", func() bool { return strings.Contains(b.metrics.String(), c.metric) })
			if len(b.seen()) > 0 {
				t.Errorf("let in: %q", b.seen())
			}
		})
	}
}

// TestBrokenFramesEndTheLink: whatever an authenticated peer sends that is no frame in its place ends the connection with the
// reason, costs no more than that, and is counted.
func TestBrokenFramesEndTheLink(t *testing.T) {
	relay := func(ops ...[]byte) []byte {
		return encodeFrame(&pb.Frame{Kind: &pb.Frame_Relay{Relay: &pb.Relay{Kind: 1, Ops: ops}}})
	}
	field := func(number protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
	}
	open := encodeFrame(&pb.Frame{Kind: &pb.Frame_StreamOpen{StreamOpen: &pb.StreamOpen{Id: 1}}})
	data := encodeFrame(&pb.Frame{Kind: &pb.Frame_StreamData{StreamData: &pb.StreamData{Id: 1, Message: make([]byte, 200_000)}}})
	for name, c := range map[string]struct {
		packet []byte
		end    End
	}{
		"a relay frame of no kind":   {encodeFrame(&pb.Frame{Kind: &pb.Frame_Relay{Relay: &pb.Relay{Kind: 200}}}), EndUnknownFrame},
		"too many applied":           {encodeFrame(&pb.Frame{Kind: &pb.Frame_Relay{Relay: &pb.Relay{Kind: 1, Applied: make([]*pb.Applied, maxRows+1)}}}), EndMalformed},
		"rubbish":                    {[]byte("rubbish"), EndMalformed},
		"a field that is no frame":   {field(2, nil), EndMalformed},
		"a frame cut off":            {relay([]byte("x"))[:5], EndMalformed},
		"an op that is none":         {relay([]byte("rubbish")), EndMalformed},
		"too many ops":               {relay(make([][]byte, MaxFrameOps+1)...), EndMalformed},
		"millions of empty ops":      {relay(make([][]byte, 2_000_000)...), EndMalformed},
		"a frame of the future":      {field(1, field(99, nil)), EndUnknownFrame},
		"an empty frame":             {field(1, nil), EndUnknownFrame},
		"a second hello":             {helloFrame("eu-west", 2, 2), EndMalformed},
		"a stream of the wrong side": {encodeFrame(&pb.Frame{Kind: &pb.Frame_StreamOpen{StreamOpen: &pb.StreamOpen{Id: 2}}}), EndMalformed},
		"a stream twice":             {append(append([]byte(nil), open...), open...), EndMalformed},
		"more than the window":       {append(append(append([]byte(nil), open...), data...), data...), EndCredit},
		"too much credit": {append(append([]byte(nil), open...), encodeFrame(&pb.Frame{Kind: &pb.Frame_StreamCredit{
			StreamCredit: &pb.StreamCredit{Id: 1, Bytes: 1},
		}})...), EndCredit},
		"too large": {make([]byte, MaxFrameBytes+1), EndTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, "eu-west", "us-east")
			b := w.start("us-east", func(o *Options) {
				o.Handlers.OnStream = func(_ chat.NodeRef, s Stream, _ string, _ []byte) { <-s.Done() }
			})
			ws, _ := rogue(t, w)
			send(t, ws, helloFrame("eu-west", 2, 2))
			b.waitUp(t, "eu-west", true)
			_ = ws.WriteMessage(websocket.BinaryMessage, c.packet) // the other side may close before it has all
			want := MetricClosed + " eu-west/n1 " + string(c.end)
			eventually(t, want, func() bool { return strings.Contains(b.metrics.String(), want) })
			if c.end != EndTooLarge { // there unread bytes may cost the close frame
				expectClose(t, ws, c.end.closeCode())
			}
			if b.received() > 0 {
				t.Error("a broken frame was handed on")
			}
		})
	}
}

// TestCompressedMessagesAreRefused: compression is not agreed on, so a message that says it is compressed is a breach and
// nothing is inflated; neither is a text message taken.
func TestCompressedMessagesAreRefused(t *testing.T) {
	masked := func(first byte, payload []byte) []byte { // one client frame with a mask of zeros
		b := binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(len(payload)))
		return append(append(b, 0, 0, 0, 0), payload...)
	}
	bomb := bytes.Repeat([]byte{0xff}, 1000)
	tell := encodeFrame(&pb.Frame{Kind: &pb.Frame_Tell{Tell: &pb.Tell{Kind: []byte("typing"), Payload: bytes.Repeat([]byte("x"), 200)}}})
	for name, message := range map[string][]byte{"compressed": masked(0x80|0x40|0x02, bomb), "text": masked(0x80|0x01, tell)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, "eu-west", "us-east")
			b := w.start("us-east", nil)
			ws, secured := rogue(t, w)
			send(t, ws, helloFrame("eu-west", 2, 2))
			b.waitUp(t, "eu-west", true)
			_, err := secured.Write(message)
			must(t, err)
			want := MetricClosed + " eu-west/n1 " + string(EndMalformed)
			eventually(t, want, func() bool { return strings.Contains(b.metrics.String(), want) })
		})
	}
}

// TestNewConnectionReplacesOld: when a region connects anew, the old connection ends first, and the handlers hear of both.
func TestNewConnectionReplacesOld(t *testing.T) {
	w := newWorld(t, nil, "eu-west", "us-east")
	b := w.start("us-east", nil)
	first, _ := rogue(t, w)
	send(t, first, helloFrame("eu-west", 2, 2))
	b.waitUp(t, "eu-west", true)
	second, _ := rogue(t, w)
	send(t, second, helloFrame("eu-west", 2, 2))
	expectClose(t, first, EndReplaced.closeCode())
	eventually(t, "up, down, up", func() bool { return strings.Join(b.seen(), " ") == "up eu-west down eu-west up eu-west" })
}

// TestEndsNeedTheNewProtocol: a peer that speaks version 2 is told which lives count, and nothing that its version does not have; a
// frame of a kind that the version does not have ends the connection.
func TestEndsNeedTheNewProtocol(t *testing.T) {
	stream := chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 7}
	f := replication.Frame{Kind: replication.FrameLives, Stream: stream, Lives: []chat.StreamID{stream}, Applied: []chat.AppliedRow{{Stream: stream, Seq: 3}}}
	for version, ends := range map[int]int{2: 0, 3: 1} {
		pieces, err := encodeRelay(&f, version)
		if err != nil {
			t.Fatal(err)
		}
		err = eachFrame(pieces[0], func(frame *pb.Frame) error {
			got, err := decodeRelay(frame.GetRelay(), version)
			if len(got.Lives) != 1 || len(got.Applied) != ends {
				t.Errorf("version %d: %+v", version, got)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, nil, "eu-west", "us-east")
	b := w.start("us-east", nil)
	ws, _ := rogue(t, w)
	send(t, ws, helloFrame("eu-west", 2, 2))
	b.waitUp(t, "eu-west", true)
	if b.SendRelay(ref("eu-west"), replication.Frame{Kind: replication.FrameHave + 1}) {
		t.Error("a frame that no version has was sent")
	}
	send(t, ws, encodeFrame(&pb.Frame{Kind: &pb.Frame_Relay{Relay: &pb.Relay{Kind: uint32(replication.FrameHave + 1)}}}))
	expectClose(t, ws, EndUnknownFrame.closeCode())
}

// FuzzPacket: no bytes make the reading of a packet panic, every error has its reason, and a relay frame that was read is
// read alike after it was written again.
func FuzzPacket(f *testing.F) {
	for _, packet := range [][]byte{
		helloFrame("eu-west", 2, 2), mustEncode(fullFrame()),
		encodeFrame(&pb.Frame{Kind: &pb.Frame_Relay{Relay: &pb.Relay{Kind: 1, Ops: [][]byte{OpCodec{}.Append(nil, &chat.Op{Seq: 1})}}}}),
		encodeFrame(&pb.Frame{Kind: &pb.Frame_Request{Request: &pb.Request{Id: 1, Method: []byte("m"), TimeoutMs: 5}}}),
		encodeFrame(&pb.Frame{Kind: &pb.Frame_StreamData{StreamData: &pb.StreamData{Id: 1, Message: []byte("x")}}}),
	} {
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = eachPart(b, func(part []byte) error { sameByHand(t, part); return nil }) // the error is the one below
		err := eachFrame(b, func(frame *pb.Frame) error {
			r := frame.GetRelay()
			if r == nil {
				return nil
			}
			read, err := decodeRelay(r, ProtocolMax)
			if err != nil {
				return err
			}
			for _, op := range read.Ops {
				if len(op.Unknown) > 0 { // kept, but where it stood is not
					return nil
				}
			}
			pieces, err := encodeRelay(&read, ProtocolMax)
			if err != nil || len(pieces) > 1 {
				return nil // written anew it may be longer
			}
			return eachFrame(pieces[0], func(again *pb.Frame) error {
				second, err := decodeRelay(again.GetRelay(), ProtocolMax)
				if err != nil || !reflect.DeepEqual(read, second) {
					t.Fatalf("read %+v, then %+v (%v)", read, second, err)
				}
				return nil
			})
		})
		if end := (*endError)(nil); err != nil && (!errors.As(err, &end) || end.end == "") {
			t.Fatalf("error without a reason: %v", err)
		}
	})
}

// fullFrame has something in every field of a relay frame.
func fullFrame() replication.Frame {
	stream := chat.StreamID{Region: "eu-west", Node: "n2", Incarnation: 3}
	return replication.Frame{
		Kind: replication.FrameMarks, Stream: stream, After: 1, UpTo: 2, Watermark: 7, Reason: chat.CodeInvalid, Low: 9,
		Lives: []chat.StreamID{stream}, Applied: []chat.AppliedRow{{Stream: stream, Seq: 4, Watermark: 5}},
		Positions: []chat.PositionRow{{Stream: stream, To: "us-east", Seq: 6}},
	}
}

func mustEncode(f replication.Frame) []byte {
	pieces, err := encodeRelay(&f, ProtocolMax)
	if err != nil {
		panic(err)
	}
	return pieces[0]
}

// TestRelayFrameRoundTrip: what stands in any field of a relay frame arrives.
func TestRelayFrameRoundTrip(t *testing.T) {
	full := fullFrame()
	for i := range reflect.TypeFor[replication.Frame]().NumField() {
		if field := reflect.TypeFor[replication.Frame]().Field(i); field.Name != "Ops" && reflect.ValueOf(full).Field(i).IsZero() {
			t.Errorf("fullFrame has no %s: a field that is not tested", field.Name)
		}
	}
	must(t, eachFrame(mustEncode(full), func(f *pb.Frame) error {
		got, err := decodeRelay(f.GetRelay(), ProtocolMax)
		if diff := cmp.Diff(full, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		return nil
	}))
}
