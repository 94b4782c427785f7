package replication

import "meridian/chat"

// FrameKind says what a frame tells. Kinds cross the wire: add, never renumber.
type FrameKind uint8

// The kinds of frame.
const (
	// FrameBatch, sender → receiver: the ops of Stream that the receiver must have and whose sequence lies in (After, UpTo]
	// are exactly Ops, ascending by Seq; other numbers of that range do not concern it. Every op of Stream for the receiver
	// that was logged at or before Watermark has a sequence at or before UpTo. With no Ops it tells a watermark, and After may
	// equal UpTo.
	FrameBatch FrameKind = 1
	// FramePosition, receiver → sender: this region has durably applied Stream up to UpTo; send what comes after it. It answers
	// FrameOpen, and is also the rewind request: the sender goes back, whatever it sent before.
	FramePosition FrameKind = 2
	// FrameAck, receiver → sender: this region has durably applied Stream up to UpTo. It is cumulative: a lower one than the
	// last is old news.
	FrameAck FrameKind = 3
	// FrameOpen, sender → receiver: I will bring you Stream; state your position.
	FrameOpen FrameKind = 4
	// FrameLives tells which streams of the sender's region count: Lives, those of each of its nodes that are not known to be
	// applied to their end; Applied has the ends of the other op logs that are still there, for who has lost what it had of them. It
	// comes before every watermark that relies on it: what a new life originates lies above every watermark told by those that do
	// not know it.
	FrameLives FrameKind = 5
	// FrameMarks, between nodes of one region: the life Stream stamps nothing at or below Low any more; of other regions'
	// streams it has applied Applied, all of it visible by Low; Positions are what other regions have acknowledged to it.
	FrameMarks FrameKind = 6
	// FrameHave, of a region that does not hear another, whose streams it tells its positions in (Applied; what is not listed
	// stands at 0), to the rest: hand on what you have beyond. Stream names the silent region only. With UpTo = haveHeard it
	// does hear it, and tells only what it need not be given.
	FrameHave FrameKind = 7
)

// haveHeard in the UpTo of a FrameHave asks for nothing.
const haveHeard = 1

// Frame is one message of the protocol between two nodes. Frames of one link arrive in the order in which they were
// sent, each at most once; any number of them is lost when the link goes down. Who sent a frame is told by the link, which
// proved the region, and never by the frame.
type Frame struct {
	Kind   FrameKind
	Stream chat.StreamID // the op log that the frame speaks of
	// After and UpTo are sequences of Stream; After is used by FrameBatch only. After <= UpTo.
	After, UpTo uint64
	Watermark   chat.HLC  // FrameBatch; 0 tells nothing
	Ops         []chat.Op // FrameBatch
	// Reason says in a FramePosition why the receiver asks to go back; "" on a new link.
	Reason    chat.Code
	Lives     []chat.StreamID    // FrameLives
	Low       chat.HLC           // FrameMarks
	Applied   []chat.AppliedRow  // FrameMarks, FrameHave, FrameLives
	Positions []chat.PositionRow // FrameMarks
}
