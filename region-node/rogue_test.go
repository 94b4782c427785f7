package regionnode_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"meridian/chat"
	"meridian/config"
	pb "meridian/proto"
	"meridian/replication"
	"meridian/replication/link"
)

// rogue is region ap-south as somebody who has broken into it plays it: its certificate is good, what it says is the test's. It
// answers pings, so that its link stays.
type rogue struct {
	w      *world
	stream chat.StreamID
	seq    uint64 // of the last op that it brought

	mu      sync.Mutex
	ws      *websocket.Conn
	acked   uint64
	asked   *pb.Relay // the last position that the victim asked from
	replies map[uint64]*pb.Response
	calls   uint64
	closed  int // the close code that ended the link
}

// frameBytes encodes frames as one packet.
func frameBytes(frames ...*pb.Frame) (packet []byte) {
	for _, f := range frames {
		b, err := proto.Marshal(f)
		if err != nil {
			panic(err)
		}
		packet = protowire.AppendBytes(protowire.AppendTag(packet, 1, protowire.BytesType), b)
	}
	return packet
}

func relayFrame(r *pb.Relay) *pb.Frame { return &pb.Frame{Kind: &pb.Frame_Relay{Relay: r}} }

func streamOf(s chat.StreamID) *pb.StreamID {
	return &pb.StreamID{Region: []byte(s.Region), Node: []byte(s.Node), Incarnation: uint64(s.Incarnation)}
}

// helloOf is the hello of the region with these protocol versions.
func helloOf(region chat.Region, lowest, highest uint32) *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{
		Region: []byte(region), Node: []byte("n1"), Incarnation: 1, ProtocolMin: lowest, ProtocolMax: highest,
	}}}
}

// dial opens a connection to eu-west with the rogue's certificate, and says hello. It fails when the machine stands still for longer than
// the victim waits.
func (r *rogue) dial(t *testing.T, hello *pb.Frame) (*websocket.Conn, error) {
	t.Helper()
	dir := r.w.cfg.DataDir
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "backbone-ap-south.crt"), filepath.Join(dir, "backbone-ap-south.key"))
	must(t, err)
	victim, _ := r.w.cfg.Region("eu-west")
	dialer := websocket.Dialer{
		NetDialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			raw, err := r.w.net.Dial(ctx, "ap-south", "eu-west", victim.Backbone)
			if err != nil {
				return nil, err
			}
			return tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}), nil //nolint:gosec // the attacker asks for no proof
		},
		Subprotocols: []string{"meridian.backbone.v1"},
	}
	ws, _, err := dialer.Dial("wss://eu-west/v1/backbone", http.Header{})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws, ws.WriteMessage(websocket.BinaryMessage, frameBytes(hello))
}

// connect opens the rogue's link, and its stream where the victim says it stands.
func (r *rogue) connect(t *testing.T) {
	t.Helper()
	r.w.eventually("a link with the victim's position", func() bool {
		ws, err := r.dial(t, helloOf("ap-south", 1, link.ProtocolMax))
		if err != nil {
			return false
		}
		r.mu.Lock()
		r.ws, r.asked, r.closed = ws, nil, 0
		r.mu.Unlock()
		go r.read(ws)
		r.send(relayFrame(&pb.Relay{Kind: uint32(replication.FrameOpen), Stream: streamOf(r.stream)}))
		r.w.eventually("the victim's position, or its refusal", func() bool { return r.asks() != nil || r.closeCode() != 0 })
		return r.asks() != nil
	})
}

// read takes what the victim says until the link ends.
func (r *rogue) read(ws *websocket.Conn) {
	for {
		_, packet, err := ws.ReadMessage()
		r.mu.Lock()
		if err != nil {
			var closed *websocket.CloseError
			r.closed = -1
			if errors.As(err, &closed) {
				r.closed = closed.Code
			}
			r.mu.Unlock()
			return
		}
		for len(packet) > 0 {
			_, _, n := protowire.ConsumeTag(packet)
			b, size := protowire.ConsumeBytes(packet[n:])
			packet = packet[n+size:]
			var f pb.Frame
			if proto.Unmarshal(b, &f) == nil {
				r.take(ws, &f)
			}
		}
		r.mu.Unlock()
	}
}

// take handles one frame; called with mu held.
func (r *rogue) take(ws *websocket.Conn, f *pb.Frame) {
	switch k := f.Kind.(type) {
	case *pb.Frame_Ping:
		_ = ws.WriteMessage(websocket.BinaryMessage, frameBytes(&pb.Frame{Kind: &pb.Frame_Pong{Pong: &pb.Pong{Id: k.Ping.Id}}}))
	case *pb.Frame_Response:
		r.replies[k.Response.Id] = k.Response
	case *pb.Frame_Relay:
		if string(k.Relay.Stream.GetRegion()) != string(r.stream.Region) {
			return
		}
		switch replication.FrameKind(k.Relay.Kind) {
		case replication.FrameAck:
			r.acked = max(r.acked, k.Relay.UpTo)
		case replication.FramePosition:
			r.asked, r.acked = k.Relay, max(r.acked, k.Relay.UpTo)
		}
	}
}

func (r *rogue) asks() *pb.Relay {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *rogue) closeCode() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (r *rogue) write(kind int, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.ws.WriteMessage(kind, b) // the victim may have closed it
}

func (r *rogue) send(frames ...*pb.Frame) { r.write(websocket.BinaryMessage, frameBytes(frames...)) }

// batch is a frame of the rogue's stream with these ops, after its last one.
func (r *rogue) batch(ops ...chat.Op) *pb.Relay {
	b := &pb.Relay{Kind: uint32(replication.FrameBatch), Stream: streamOf(r.stream), After: r.seq, UpTo: r.seq + uint64(len(ops))}
	for i := range ops {
		b.Ops = append(b.Ops, link.OpCodec{}.Append(nil, &ops[i]))
	}
	return b
}

// bring sends ops and waits until the victim has dealt with them.
func (r *rogue) bring(ops ...chat.Op) {
	r.send(relayFrame(r.batch(ops...)))
	r.seq += uint64(len(ops))
	r.settled()
}

func (r *rogue) settled() {
	r.w.eventually("the victim's ack", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.acked >= r.seq
	})
}

// call makes a request and gives the answer.
func (r *rogue) call(method string, payload []byte) (reply *pb.Response) {
	r.mu.Lock()
	r.calls++
	id := r.calls
	r.mu.Unlock()
	r.send(&pb.Frame{Kind: &pb.Frame_Request{Request: &pb.Request{Id: id, Method: []byte(method), Payload: payload, TimeoutMs: 5000}}})
	r.w.eventually("an answer to "+method, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		reply = r.replies[id]
		return reply != nil
	})
	return reply
}

// newRogue starts eu-west alone, and the rogue beside it.
func newRogue(t *testing.T) *rogue {
	t.Helper()
	// A machine that stands still for a while ends no link of these tests, which say what does.
	w, listeners := prepare(t, func(c *config.Config) { c.Timing.LinkDead = time.Minute })
	for region, ls := range listeners {
		if region == "eu-west" {
			w.start(region, ls, 1<<20)
			w.serves(region)
			continue
		}
		for _, l := range ls {
			must(t, l.Close())
		}
	}
	w.eventually("eu-west to believe its clock, with nobody there to ask", func() bool { return w.nodes["eu-west"].Ready(t.Context()) == nil })
	r := &rogue{w: w, stream: chat.StreamID{Region: "ap-south", Node: "n1", Incarnation: 1}, replies: map[uint64]*pb.Response{}}
	r.connect(t)
	return r
}

// now is a time that the victim takes.
func (r *rogue) now() chat.HLC { return chat.HLCFromTime(time.Now()) }
