package replication

import "meridian/chat"

// FrameKind says what a frame tells. Kinds cross the wire: add, never renumber.
type FrameKind uint8

// The kinds of frame.
const (
	// FrameBatch, sender → receiver: the ops of Stream that the receiver must have and whose sequence lies in (After, UpTo]
	// are exactly Ops, ascending by Seq; other numbers of that range do not concern it. Every op of Stream for the receiver with
	// a time at or before Watermark has a sequence at or before UpTo. With no Ops it tells a watermark, and After may equal UpTo.
	FrameBatch FrameKind = 1
	// FramePosition, receiver → sender: I have durably applied Stream up to UpTo; send what comes after it. It opens every new
	// link, one per known stream, and is also the rewind request: the sender goes back, whatever it sent before.
	FramePosition FrameKind = 2
	// FrameAck, receiver → sender: I have durably applied Stream up to UpTo. It is cumulative: a lower one than the last is old news.
	FrameAck FrameKind = 3
)

// Frame is one message of the protocol between two regions. Frames of one link arrive in the order in which they were
// sent, each at most once; any number of them is lost when the link goes down. Who sent a frame is told by the link, which
// proved it, and never by the frame.
type Frame struct {
	Kind   FrameKind
	Stream chat.StreamID // the op log that the frame speaks of
	// After and UpTo are sequences of Stream; After is used by FrameBatch only. After <= UpTo.
	After, UpTo uint64
	Watermark   chat.HLC  // FrameBatch; 0 tells nothing
	Ops         []chat.Op // FrameBatch
	// Reason says in a FramePosition why the receiver asks to go back; "" on a new link.
	Reason chat.Code
}
