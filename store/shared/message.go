package shared

import (
	"errors"
	"time"

	"meridian/chat"
)

// request is one call of a chat.Store: which one, and its arguments, each call its own of them.
type request struct {
	ID        uint64
	Call      call
	TimeoutMs int64 // 0: none
	Batch     *batch

	Owner        chat.UserID // or the sender, author, user
	Other        chat.UserID
	Conversation chat.ConversationID
	Message, To  chat.MessageID
	Messages     []chat.MessageID
	Client       chat.ClientID
	Session      chat.SessionID
	Stream       chat.StreamID
	From, UpTo   uint64 // sequences, times or the number of a life
	Region       chat.Region
	Zone         chat.Zone
	Bucket       uint16
	Limit        int
	Name         chat.ClaimKey
	Attempt      chat.UUID
	Claim        *chat.Claim
	Key          *chat.KeyRow
	Dir          string
}

// response answers the request of the same ID: an error, or what the call gives.
type response struct {
	ID     uint64
	Failed *failure
	OK     bool // the row is there

	Rows      chat.Rows
	Inbox     []chat.InboxRow
	Ops       [][]byte // encoded by the codec
	Reasons   []chat.Code
	Applied   []chat.AppliedRow
	Dead      []chat.DeadLetterRow
	Refusals  []chat.RefusalRow
	Streams   []chat.StreamEnd
	Owners    []chat.OwnerRow
	Nodes     []chat.NodeRow
	Positions map[chat.Region]uint64
	Zones     []chat.Zone
	Identity  *chat.Identity
	Claim     *chat.Claim
	Claims    []chat.Claim
	Key       *chat.KeyRow
	Number    uint64

	Activities []chat.ActivityRow
}

// batch is chat.Batch with its ops encoded.
type batch struct {
	Rows        chat.Rows
	Log         [][]byte
	Inbox       []chat.InboxRow
	Claims      []chat.Claim
	Applied     []chat.AppliedRow
	Positions   []chat.PositionRow
	DeadLetters []chat.DeadLetterRow
	Refusals    []chat.RefusalRow
	Parked      [][]byte
	Reasons     []chat.Code // of Parked
	Unparked    []place
	HighWater   chat.HLC
}

// place is what an unparked op is found by.
type place struct {
	Stream chat.StreamID
	Seq    uint64
	ID     chat.MessageID
}

func packBatch(b *chat.Batch, codec chat.OpCodec) *batch {
	out := &batch{
		Rows: b.Rows, Inbox: b.Inbox, Claims: b.Claims, Applied: b.Applied, Positions: b.Positions, DeadLetters: b.DeadLetters,
		Refusals: b.Refusals, HighWater: b.HighWater,
	}
	for i := range b.Log {
		out.Log = append(out.Log, codec.Append(nil, &b.Log[i].Op))
	}
	for i := range b.Parked {
		out.Parked = append(out.Parked, codec.Append(nil, &b.Parked[i].Op))
		out.Reasons = append(out.Reasons, b.Parked[i].Reason)
	}
	for i := range b.Unparked {
		op := &b.Unparked[i].Op
		out.Unparked = append(out.Unparked, place{Stream: op.Stream, Seq: op.Seq, ID: op.ID})
	}
	return out
}

func (b *batch) unpack(codec chat.OpCodec) (*chat.Batch, error) {
	out := &chat.Batch{
		Rows: b.Rows, Inbox: b.Inbox, Claims: b.Claims, Applied: b.Applied, Positions: b.Positions, DeadLetters: b.DeadLetters,
		Refusals: b.Refusals, HighWater: b.HighWater,
	}
	ops, err := unpackOps(b.Log, codec)
	if err != nil {
		return nil, err
	}
	for _, op := range ops {
		out.Log = append(out.Log, chat.LogRow{Op: op})
	}
	if out.Parked, err = unpackParked(b.Parked, b.Reasons, codec); err != nil {
		return nil, err
	}
	for _, at := range b.Unparked {
		out.Unparked = append(out.Unparked, chat.ParkedRow{Op: chat.Op{Stream: at.Stream, Seq: at.Seq, ID: at.ID}})
	}
	return out, nil
}

func unpackOps(encoded [][]byte, codec chat.OpCodec) (ops []chat.Op, err error) {
	for _, b := range encoded {
		op, err := codec.Decode(b)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func unpackParked(encoded [][]byte, reasons []chat.Code, codec chat.OpCodec) (rows []chat.ParkedRow, err error) {
	if len(encoded) != len(reasons) {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "shared.unpackParked", Message: "ops and reasons are not of one number"}
	}
	ops, err := unpackOps(encoded, codec)
	for i := range ops {
		rows = append(rows, chat.ParkedRow{Op: ops[i], Reason: reasons[i]})
	}
	return rows, err
}

// rowsSize estimates what rows take on the way.
func rowsSize(rows *chat.Rows) int {
	size := rows.Len() * rowBytes
	for i := range rows.Messages {
		size += len(rows.Messages[i].Body)
	}
	for i := range rows.Changes {
		size += len(rows.Changes[i].Body)
	}
	return size
}

func opsSize(ops [][]byte) (size int) {
	for _, op := range ops {
		size += len(op) + rowBytes
	}
	return size
}

func (b *batch) size() int {
	rest := len(b.Inbox) + len(b.Claims) + len(b.Applied) + len(b.Positions) + len(b.DeadLetters) + len(b.Refusals) + len(b.Unparked)
	return rowsSize(&b.Rows) + opsSize(b.Log) + opsSize(b.Parked) + rest*rowBytes
}

func (a *response) size() int {
	rest := len(a.Inbox) + len(a.Applied) + len(a.Claims) + len(a.Activities) + len(a.Dead) + len(a.Refusals) + len(a.Streams) + len(a.Owners) + len(a.Nodes) + len(a.Positions)
	return rowsSize(&a.Rows) + opsSize(a.Ops) + rest*rowBytes
}

// failure is chat.Error on the way. The cause crosses as text, for the log.
type failure struct {
	Code         chat.Code
	Op           string
	Message      string
	Cause        string
	RetryAfterMs int64
}

func failed(err error) *failure {
	e := chat.AsError(err)
	f := &failure{Code: e.Code, Op: e.Op, Message: e.Message, RetryAfterMs: e.RetryAfter.Milliseconds()}
	if e.Cause != nil {
		f.Cause = e.Cause.Error()
	}
	return f
}

func (f *failure) err() error {
	e := &chat.Error{Code: f.Code, Op: f.Op, Message: f.Message, RetryAfter: time.Duration(f.RetryAfterMs) * time.Millisecond}
	if f.Cause != "" {
		e.Cause = errors.New(f.Cause)
	}
	return e
}
