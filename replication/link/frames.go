package link

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"meridian/chat"
	pb "meridian/proto"
	"meridian/replication"
)

// The protocol versions that this build speaks; proto/backbone.proto tells what each step brought.
const (
	ProtocolMin = 2
	ProtocolMax = 3
)

// protocolEnds brought the ends of op logs to FrameLives.
const protocolEnds = 3

// relayKinds is the last kind of relay frame that each protocol version has.
var relayKinds = [ProtocolMax + 1]replication.FrameKind{2: replication.FrameHave, 3: replication.FrameHave}

// Limits of the wire. They are part of every protocol version: both sides count on them.
const (
	// MaxFrameBytes bounds one frame, and one WebSocket message.
	MaxFrameBytes = 4 << 20
	// MaxPayloadBytes bounds a tell, a request, an answer and a stream's header.
	MaxPayloadBytes = MaxFrameBytes - 4096
	// MaxFrameOps bounds the ops of one relay frame on the wire; SendRelay splits what is larger.
	MaxFrameOps = 8192
	// MaxStreamMessageBytes bounds one message of a stream.
	MaxStreamMessageBytes = 256 << 10
	// StreamWindowBytes is what one side of a stream may send before the other has read it; each message costs its length
	// plus 64.
	StreamWindowBytes = MaxStreamMessageBytes + 64<<10
	// MaxNameBytes bounds a method, a kind and the reason of a close.
	MaxNameBytes = 256
)

const (
	streamMessageCost = 64
	// packetBytes is what the writer gathers into one WebSocket message; a larger frame goes alone.
	packetBytes = 64 << 10
	// maxRows bounds each list of streams in one relay frame: those of all nodes of all regions.
	maxRows = 1024
	// relaySplitBytes: a relay frame with more than this is sent as several, so that nothing waits long behind it.
	relaySplitBytes = 1 << 20
)

// encodeFrame gives f as it stands in a packet.
func encodeFrame(f *pb.Frame) []byte {
	size := proto.Size(f)
	b := make([]byte, 0, size+protowire.SizeVarint(uint64(size))+1)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, f)
	if err != nil {
		panic(fmt.Sprintf("link: encode a frame: %v", err)) // no required field, no string: nothing that Marshal refuses
	}
	return b
}

// eachFrame gives the frames of a packet, one at a time, so that a packet of many empty ones costs no memory.
func eachFrame(packet []byte, handle func(*pb.Frame) error) error {
	return eachPart(packet, func(part []byte) error {
		f, err := decodeFrame(part)
		if err != nil {
			return err
		}
		return handle(f)
	})
}

// eachPart gives the frames of a packet as they are encoded.
func eachPart(packet []byte, handle func([]byte) error) error {
	for len(packet) > 0 {
		part, rest, ok := cutBytes(packet, fieldFrame)
		if !ok {
			return malformed("packet")
		}
		if err := handle(part); err != nil {
			return err
		}
		packet = rest
	}
	return nil
}

func decodeFrame(b []byte) (*pb.Frame, error) {
	if tooManyFields(b) {
		return nil, malformed("frame")
	}
	var f pb.Frame
	if err := proto.Unmarshal(b, &f); err != nil {
		return nil, malformed("frame")
	}
	if f.Kind == nil {
		return nil, &endError{end: EndUnknownFrame, err: fmt.Errorf("a frame that version %d does not have", ProtocolMax)}
	}
	return &f, nil
}

// tooManyFields says whether a frame holds more parts than any has, before decoding it makes room for each.
func tooManyFields(frame []byte) bool {
	count := 0
	for len(frame) > 0 && count <= MaxFrameOps+16 {
		number, kind, n := protowire.ConsumeTag(frame)
		if n < 0 {
			return true
		}
		size := protowire.ConsumeFieldValue(number, kind, frame[n:])
		if size < 0 {
			return true
		}
		count++
		if inner, _ := protowire.ConsumeBytes(frame[n:]); kind == protowire.BytesType {
			parts := countFields(inner, MaxFrameOps+16)
			if parts < 0 {
				return true
			}
			count += parts
		}
		frame = frame[n+size:]
	}
	return count > MaxFrameOps+16
}

// encodeRelay encodes f in the words of a protocol version, a large batch in several pieces: the last alone tells the
// watermark and the marks. The error has CodeTooLarge for an op that is longer than MaxOpBytes, CodeInvalid for a kind that
// the version does not have.
func encodeRelay(f *replication.Frame, version int) ([][]byte, error) {
	if f.Kind > relayKinds[version] {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "link.SendRelay", Message: fmt.Sprintf("protocol version %d has no relay frame of kind %d", version, f.Kind)}
	}
	relay := &pb.Relay{Kind: uint32(f.Kind), Stream: streamMessage(f.Stream), After: f.After, Reason: []byte(f.Reason)}
	var pieces [][]byte
	var all []byte // one piece of memory for many ops
	size := 0
	for i := range f.Ops {
		begin := len(all)
		all = appendOp(all, &f.Ops[i], f.Stream)
		op := all[begin:len(all):len(all)]
		if len(op) > MaxOpBytes {
			return nil, &chat.Error{Code: chat.CodeTooLarge, Op: "link.SendRelay", Message: fmt.Sprintf("op %v has %d bytes", f.Ops[i].ID, len(op))}
		}
		if len(relay.Ops) > 0 && (size+len(op) > relaySplitBytes || len(relay.Ops) == MaxFrameOps) {
			relay.UpTo = f.Ops[i-1].Seq
			pieces = append(pieces, encodeFrame(&pb.Frame{Kind: &pb.Frame_Relay{Relay: relay}}))
			relay.After, relay.Ops, size = relay.UpTo, nil, 0
		}
		relay.Ops = append(relay.Ops, op)
		size += len(op)
	}
	relay.UpTo, relay.Watermark = f.UpTo, uint64(f.Watermark)
	appendMarks(relay, f, version)
	return append(pieces, encodeFrame(&pb.Frame{Kind: &pb.Frame_Relay{Relay: relay}})), nil
}

// appendMarks encodes what nodes tell of the lives and positions of their region.
func appendMarks(relay *pb.Relay, f *replication.Frame, version int) {
	relay.Low = uint64(f.Low)
	for _, life := range f.Lives {
		relay.Lives = append(relay.Lives, streamMessage(life))
	}
	applied := f.Applied
	if f.Kind == replication.FrameLives && version < protocolEnds {
		applied = nil
	}
	for _, a := range applied {
		relay.Applied = append(relay.Applied, &pb.Applied{Stream: streamMessage(a.Stream), Seq: a.Seq, Watermark: uint64(a.Watermark)})
	}
	for _, p := range f.Positions {
		relay.Positions = append(relay.Positions, &pb.Position{Stream: streamMessage(p.Stream), To: []byte(p.To), Seq: p.Seq})
	}
}

// readMarks is the reverse of appendMarks.
func readMarks(f *replication.Frame, m *pb.Relay) {
	f.Low = chat.HLC(m.Low)
	for _, life := range m.Lives {
		f.Lives = append(f.Lives, readStream(life))
	}
	for _, a := range m.Applied {
		f.Applied = append(f.Applied, chat.AppliedRow{Stream: readStream(a.Stream), Seq: a.Seq, Watermark: chat.HLC(a.Watermark)})
	}
	for _, p := range m.Positions {
		f.Positions = append(f.Positions, chat.PositionRow{Stream: readStream(p.Stream), To: chat.Region(p.To), Seq: p.Seq})
	}
}

func decodeRelay(m *pb.Relay, version int) (replication.Frame, error) {
	f := replication.Frame{
		Kind: replication.FrameKind(m.Kind), Stream: readStream(m.Stream), After: m.After, UpTo: m.UpTo,
		Watermark: chat.HLC(m.Watermark), Reason: chat.Code(m.Reason),
	}
	if m.Kind > 0xff || len(m.Ops) > MaxFrameOps || len(m.Reason) > MaxNameBytes ||
		max(len(m.Lives), len(m.Applied), len(m.Positions)) > maxRows {
		return f, malformed("relay frame")
	}
	if f.Kind > relayKinds[version] {
		return f, &endError{end: EndUnknownFrame, err: fmt.Errorf("protocol version %d has no relay frame of kind %d", version, f.Kind)}
	}
	if len(m.Ops) > 0 {
		f.Ops = make([]chat.Op, len(m.Ops))
	}
	readMarks(&f, m)
	for i, b := range m.Ops {
		op, err := decodeOp(b, f.Stream)
		if err != nil {
			return f, &endError{end: EndMalformed, err: err}
		}
		f.Ops[i] = op
	}
	return f, nil
}

// encodeError gives what of err may cross the wire.
func encodeError(err error) *pb.Error {
	e := chat.AsError(err)
	m := &pb.Error{Code: []byte(e.Code), Message: []byte(e.Message)}
	if e.RetryAfter > 0 {
		m.RetryAfterMs = uint64(e.RetryAfter.Milliseconds())
	}
	for _, to := range e.Endpoints {
		m.Endpoints = append(m.Endpoints, &pb.Endpoint{Region: []byte(to.Region), Url: []byte(to.URL), RttMs: to.RTTms})
	}
	return m
}

func decodeError(m *pb.Error, method string) error {
	const longest = 24 * time.Hour
	e := &chat.Error{
		Code: chat.Code(m.Code), Op: "link.Call " + method, Message: string(m.Message),
		RetryAfter: time.Duration(min(m.RetryAfterMs, uint64(longest.Milliseconds()))) * time.Millisecond,
	}
	for _, to := range m.Endpoints {
		e.Endpoints = append(e.Endpoints, chat.Endpoint{Region: chat.Region(to.Region), URL: string(to.Url), RTTms: to.RttMs})
	}
	return e
}

func malformed(what string) error {
	return &endError{end: EndMalformed, err: fmt.Errorf("malformed %s", what)}
}
