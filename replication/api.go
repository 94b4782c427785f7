// Package replication is the protocol between regions, as pure state machines: op logs, watermarks, relays, cursors and
// the idempotent apply. Core.Step takes the time and one input and gives outputs; it has no goroutine, clock, randomness
// or socket in it, and walks maps sorted, so that package sim replays a seed exactly. Shells around it do the work: package
// link carries frames, region-node's messages service writes batches.
package replication

import (
	"bytes"
	"time"

	"meridian/chat"
)

// Config is what one node's core needs to know. It does not change.
type Config struct {
	Self     chat.Region
	Node     chat.NodeID
	Topology chat.Topology
	// MaxDrift: an op stamped further ahead of this node's clock waits (it is not refused for good).
	MaxDrift time.Duration
	// Watermark: an idle stream tells its watermark this often.
	Watermark time.Duration
	// Resend: what a peer has not acknowledged for so long is sent again from its position.
	Resend time.Duration
	// WindowOps and WindowBytes bound what is sent to a peer and not yet acknowledged.
	WindowOps, WindowBytes int
	// TailOps bounds the recent ops kept in memory for relaying; older ones are read from the log.
	TailOps int
	// BatchOps and BatchBytes bound one frame.
	BatchOps, BatchBytes int
	// InFlight bounds local writes under way; beyond it Submit is refused with CodeBusy.
	InFlight int
	// Lease is how long a renewal lasts that a node holds while it shares its store with others; 0: it has the store alone, and
	// none of what follows applies. The node renews it four times in that time, and is over when it could not.
	Lease time.Duration
	// AdoptWait is how long after the end of its lease another node's life is left alone: the drift between two clocks, and
	// the time that a write may be under way.
	AdoptWait time.Duration
	// ForwardAfter: a region that has not been heard for so long may be lost, and the others are asked for what they have of it;
	// 0: they are not.
	ForwardAfter time.Duration
	// Guarded: the node's clock is judged, and nothing is stamped before the first ClockState with Known.
	Guarded bool
	// Remember is how long stores remember sends and deletions for sure: a message or a change that is older is refused for
	// good, or what was deleted would return; 0: for ever.
	Remember time.Duration
	// OutboxBytes is the budget of what this region's op logs owe another: near it submits that concern that region are slowed,
	// then refused with CodeBusy; 0: there is none.
	OutboxBytes int64
	// OpLogKeep is how long the store keeps what everybody has; what is owed for nearly as long is told; 0: it is not.
	OpLogKeep time.Duration
}

// Restored is what the store knew when the node started.
type Restored struct {
	Identity chat.Identity
	Applied  []chat.AppliedRow
	// Last are the last ops of the life before, some RestoredOps: what a crash cut off after they were written is done for them. Where
	// nodes share the store it is empty: who adopts that life does it.
	Last []chat.Op
	// Lives are the store's nodes, this one's life among them.
	Lives []chat.NodeRow
	// HandedOn are the positions of foreign streams: what this region has handed on of them.
	HandedOn []chat.PositionRow
	// Parked is what the region has parked of foreign streams.
	Parked []chat.ParkedRow
}

// RestoredOps is how many ops of the life before a node gives to its core when it starts.
const RestoredOps = 256

// Input is one thing that happened. The set is closed: Submit, Written, PeerUp, PeerDown, Received, LogRead,
// ParkedRead, Renewed, Adopted, Reviewed, Looked, Proved, ClockState, Probe, Leave, Tick.
type Input interface{ input() }

// Submit asks to originate op here. The core fills ID, Time, Stream, Seq and To; Kind, Author, Owners, Client and the
// kind's own fields are the caller's. It is answered by exactly one Submitted with Token.
type Submit struct {
	Token uint64
	Op    chat.Op
	// After: the op's time must lie after all of these (a reply's parent, the sender's last acknowledged id). One more than
	// MaxDrift ahead of the clock is refused with CodeClockSkew and does not move the clock.
	After []chat.MessageID
	// Previous is the client's previous send that is not yet acknowledged at its level (frame field "after"), or zero: the op
	// is taken only when that one is durable or under way here; PreviousKnown are its stored retry rows.
	Previous      chat.ClientID
	PreviousKnown []chat.RetryRow
	// Known are the stored retry rows of (Author, Client), read after every Written given to Step before.
	Known []chat.RetryRow
}

// Written reports a Write's outcome. CodeUnknownOutcome makes the core give the same Write again.
type Written struct {
	Write uint64
	Err   error
}

// PeerUp reports that the link to a node works, of another region or of the own one.
type PeerUp struct{ Peer chat.NodeRef }

// PeerDown reports that it does not work any more.
type PeerDown struct{ Peer chat.NodeRef }

// Received brings a frame from Peer, whose region the link has proved. Known holds, for each message op of the frame
// by its index, the stored retry rows of its (author, client); for an op that brings rows, those of all its messages.
type Received struct {
	Peer  chat.NodeRef
	Frame Frame
	Known map[int][]chat.RetryRow
}

// LogRead answers ReadLog. Ops are those of (After, UpTo], ascending; when Limit cut them off, UpTo is the last op's Seq.
type LogRead struct {
	Stream      chat.StreamID
	To          chat.Region
	After, UpTo uint64
	Count       bool
	Ops         []chat.Op
	Err         error
}

// ParkedRead answers ReadParked: Rows in their order, Known as in Received. High is the largest high-water mark of the store's
// nodes, read after Rows.
type ParkedRead struct {
	Stream chat.StreamID
	Rows   []chat.ParkedRow
	Known  map[int][]chat.RetryRow
	High   chat.HLC
	Err    error
}

// Renewed answers Renew, whose Until it repeats, with what Store.Nodes gave right after it. Err with CodeVersionConflict: the
// life is over.
type Renewed struct {
	Until chat.HLC
	Nodes []chat.NodeRow
	Err   error
}

// Adopted answers Adopt: Row is the life as it stands, Positions what the regions have acknowledged of it, and Tail its ops
// that were logged after Row.Low, ascending; Parked is what the region has parked, which the dead may have looked after. All
// were read after the adoption.
type Adopted struct {
	Life      chat.StreamID
	Row       chat.NodeRow
	Positions map[chat.Region]uint64
	Tail      []chat.Op
	Parked    []chat.ParkedRow
	Err       error
}

// Reviewed answers Review. Sends holds the stored retry rows of each of Review.Sends, by index.
type Reviewed struct {
	Review uint64
	Sends  [][]chat.RetryRow
	Err    error
}

// Leave says that this node is about to end: it stamps nothing more, and gives its lease up once nothing is under way. Left
// tells when that is done.
type Leave struct{}

// Looked answers Look: Groups has an answer for each query, in their order.
type Looked struct {
	ID     uint64
	Groups []GroupState
	Sends  [][]chat.RetryRow // the stored retry rows of each of Look.Sends
	Err    error
}

// GroupState is what the store holds of a group, read after the Look was given. Zones are always told.
type GroupState struct {
	Conversation chat.ConversationID
	Zones        []chat.GroupZoneRow
	// For GroupQuery.Members.
	Names   []chat.GroupRow
	Members []chat.MemberRow
	Marks   []chat.MarkRow
	// For GroupQuery.Since: the newest messages of those asked for, newest first; More: there are older ones. Changes are those
	// that GroupQuery.Targets asks for.
	Messages []chat.MessageRow
	Changes  []chat.ChangeRow
	More     bool
}

// Proved answers Prove: for each of Prove.Of, by index, the op that the op log has in that place (zero: none), and what its
// author was told of refusals already.
type Proved struct {
	ID   uint64
	Ops  []chat.Op
	Told [][]chat.RefusalRow
	Err  error
}

// Tick tells that time passed; give one every 50 ms or so.
type Tick struct{}

func (Submit) input()     {}
func (Written) input()    {}
func (PeerUp) input()     {}
func (PeerDown) input()   {}
func (Received) input()   {}
func (LogRead) input()    {}
func (ParkedRead) input() {}
func (Renewed) input()    {}
func (Adopted) input()    {}
func (Leave) input()      {}
func (Reviewed) input()   {}
func (Looked) input()     {}
func (Proved) input()     {}
func (Tick) input()       {}

// Output is one thing to do. The set is closed: Write, Send, ReadLog, ReadParked, Renew, Adopt, LifeOver, Left, Review, Look,
// Prove, Submitted, Probed, ZoneAcked, Visible, Alarm.
type Output interface{ output() }

// Write asks to make Batch durable; writes may be under way together. Answer with Written.
type Write struct {
	ID    uint64
	Batch *chat.Batch
}

// Send asks to send a frame; if that is not possible drop it: the core sends again.
type Send struct {
	Peer  chat.NodeRef
	Frame Frame
}

// ReadLog asks for ops of Stream for region To ("" for any) with After < Seq <= UpTo, at most Limit. Answer with LogRead.
type ReadLog struct {
	Stream      chat.StreamID
	To          chat.Region
	After, UpTo uint64
	Limit       int
	Count       bool // they are only counted; the answer says so too
}

// ReadParked asks what is parked of a foreign stream. Answer with ParkedRead.
type ReadParked struct{ Stream chat.StreamID }

// Renew asks for Store.Renew and, whatever it answers, Store.Nodes. Answer with Renewed.
type Renew struct{ Until, Low chat.HLC }

// Adopt asks for Store.Adopt with Before, then for what Adopted tells. Answer with Adopted.
type Adopt struct {
	Life chat.StreamID
	// Before: only if the life's lease ended before it, AdoptWait ago. It may have been renewed since the core read of it, late and
	// with little left; by its own clock it then still runs.
	Before chat.HLC
}

// LifeOver says that this node's life has ended: another node has adopted it, or may have. The core does nothing any more; the
// store gives a new incarnation (Store.NewIncarnation), and a core is made anew.
type LifeOver struct{ Reason string }

// Left says that the lease is given up: another node may adopt this life at once.
type Left struct{}

// Review asks to read, now that a write is durable, what another writer may have written at the same time: of two that each
// write and then read, at least one sees both. Answer with Reviewed.
type Review struct {
	ID    uint64
	Sends []SendKey
}

// Look asks what the store holds now of groups that have just been written to. Answer with Looked; the answer must be read
// after the Look was given.
type Look struct {
	ID     uint64
	Groups []GroupQuery
	Sends  []SendKey
}

// Prove asks what the store has of ops that another region says it has refused. Answer with Proved.
type Prove struct {
	ID uint64
	Of []chat.Refusal
}

// GroupQuery is a question about one group.
type GroupQuery struct {
	Conversation chat.ConversationID
	// Members asks for all steps of memberships, the group's row and its marks.
	Members bool
	// Since, if not 0, asks for the messages at or after it, of at most Limit, and older than Before unless that is zero.
	Since  chat.HLC
	Before chat.MessageID
	Limit  int
}

// Targets gives the range of messages whose changes belong to an answer with these messages: between them too, since a
// change may be here before its message.
func (q GroupQuery) Targets(messages []chat.MessageRow, more bool) (from, to chat.MessageID) {
	to = q.Before
	if to == chat.NoMessage {
		to = chat.MessageIDFromOrd([16]byte(bytes.Repeat([]byte{0xff}, 16)))
	}
	if more {
		return messages[len(messages)-1].ID, to
	}
	return chat.NewMessageID(q.Since-1, chat.NoUser, chat.NoClient), to
}

// Submitted answers Submit: Op is durable here (ack level region), or Err says why not. Known: a retry; Op.ID is the id that
// stands, nothing was written. ZoneDurable: it is also durable in another region of the author's zone already.
type Submitted struct {
	Token       uint64
	Op          chat.Op
	Known       bool
	ZoneDurable bool
	Err         error
}

// ZoneAcked tells that the submits of these tokens are durable in one more region of their author's zone. Each token of a
// message that was answered without ZoneDurable, in a zone of several regions, comes once, or never if the node dies.
type ZoneAcked struct{ Tokens []uint64 }

// Visible tells that the inbox logs of these owners have new entries, Rows, which Marks().Local covers. An owner's entries
// are told in the order of their arrivals, each once. Ops are the ops behind them, as a hint that saves a read.
type Visible struct {
	Owners []chat.UserID
	Rows   []chat.InboxRow
	Ops    []chat.Op
}

// Alarm tells what an operator must hear: a refused op, a frame that breaks the protocol, a stream in trouble.
type Alarm struct {
	Code   chat.Code
	Peer   chat.Region
	Stream chat.StreamID
	Op     chat.MessageID
	Detail string
	// Buried: it is about an op that can never be applied, and is not.
	Buried bool
}

func (Write) output()      {}
func (Send) output()       {}
func (ReadLog) output()    {}
func (ReadParked) output() {}
func (Renew) output()      {}
func (Adopt) output()      {}
func (Left) output()       {}
func (Review) output()     {}
func (Look) output()       {}
func (Prove) output()      {}
func (LifeOver) output()   {}
func (Submitted) output()  {}
func (ZoneAcked) output()  {}
func (Visible) output()    {}
func (Alarm) output()      {}

// Marks are the two positions of a resume cursor.
type Marks struct {
	// Local: every inbox entry of this region, whichever of its nodes made it, with Arrival at or before it is durable and
	// readable, and none will be added.
	Local chat.HLC
	// Global: every op that concerns this region and was originated anywhere at or before it is visible here by Local.
	Global chat.HLC
}
