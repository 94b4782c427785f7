package embedded

import (
	"encoding/json"

	"meridian/chat"
)

// The values of the rows. Where the larger of two rows of one key wins, what decides stands first in the value, so that
// the larger value, compared as bytes, is the winner; merge.go says which tables have other rules.

func packMessage(m *chat.MessageRow) []byte {
	w := newValue(4*16 + len(m.OwnerZone) + len(m.SenderName) + len(m.Body) + 8)
	w.id(m.AliasOf)
	w.id(m.Sender)
	w.id(m.Client)
	w.id(m.ReplyTo)
	w.text(string(m.OwnerZone))
	w.text(m.SenderName)
	w.bytes(m.Body)
	return w.b
}

func unpackMessage(owner chat.UserID, conv chat.ConversationID, id chat.MessageID, v []byte) (chat.MessageRow, error) {
	r, err := open("messages", v)
	if err != nil {
		return chat.MessageRow{}, err
	}
	m := chat.MessageRow{
		Owner: owner, Conversation: conv, ID: id,
		AliasOf: r.id(), Sender: r.id(), Client: r.id(), ReplyTo: r.id(),
		OwnerZone: chat.Zone(r.text()), SenderName: r.text(), Body: r.copied(),
	}
	return m, r.end("messages")
}

func packInbox(i *chat.InboxRow) []byte {
	w := newValue(3*16 + 2)
	w.u8(byte(i.Kind))
	w.u8(byte(i.Mark))
	w.id(i.Conversation)
	w.id(i.Actor)
	w.id(i.Ref)
	return w.b
}

func unpackInbox(owner chat.UserID, k, v []byte) (chat.InboxRow, error) {
	r, err := open("inbox", v)
	if err != nil {
		return chat.InboxRow{}, err
	}
	kr := reader{b: k[1+4+16:]}
	row := chat.InboxRow{Owner: owner, Arrival: chat.HLC(kr.u64()), Op: chat.MessageIDFromOrd(kr.id())}
	row.Kind, row.Mark = chat.InboxKind(r.u8()), chat.MarkKind(r.u8())
	row.Conversation, row.Actor, row.Ref = r.id(), r.id(), r.id()
	r.bad = r.bad || kr.bad
	return row, r.end("inbox")
}

func packRetry(t *chat.RetryRow) []byte {
	w := newValue(48)
	w.stream(t.Stream)
	w.u64(t.Seq)
	return w.b
}

func unpackRetry(k, v []byte) (chat.RetryRow, error) {
	r, err := open("retries", v)
	if err != nil {
		return chat.RetryRow{}, err
	}
	kr := reader{b: k[1+4:]}
	row := chat.RetryRow{Sender: kr.id(), Client: kr.id(), Conversation: kr.id()}
	copy(row.BodyHash[:], kr.take(32))
	row.ID = chat.MessageIDFromOrd(kr.id())
	row.Stream, row.Seq = r.stream(), r.u64()
	r.bad = r.bad || kr.bad
	return row, r.end("retries")
}

func packMark(m *chat.MarkRow) []byte {
	w := newValue(17)
	w.u8(flag(m.UpTo != chat.NoMessage)) // the zero id sorts before all others
	w.id(m.UpTo.Ord())
	return w.b
}

func unpackMark(owner chat.UserID, conv chat.ConversationID, k, v []byte) (chat.MarkRow, error) {
	r, err := open("marks", v)
	if err != nil {
		return chat.MarkRow{}, err
	}
	kr := reader{b: k[1+32:]}
	row := chat.MarkRow{Owner: owner, Mark: chat.Mark{Conversation: conv, User: kr.id(), Kind: chat.MarkKind(kr.u8())}}
	some, o := r.u8(), r.id()
	if some == 1 {
		row.UpTo = chat.MessageIDFromOrd(o)
	}
	r.bad = r.bad || kr.bad
	return row, r.end("marks")
}

func packConversation(c *chat.ConversationRow) []byte {
	w := newValue(16 + 1 + 16 + len(c.Peer.Zone) + len(c.Peer.Name) + 4)
	w.id(c.Last)
	w.u8(flag(c.Answered)*conversationAnswered | flag(c.Group)*conversationGroup)
	w.owner(c.Peer)
	return w.b
}

// The flags of a conversation. Stores of layout 1 have no groups, and 0 or 1 for Answered in the same byte.
const (
	conversationAnswered = 1 << 0
	conversationGroup    = 1 << 1
)

func unpackConversation(owner chat.UserID, id chat.ConversationID, v []byte) (chat.ConversationRow, error) {
	r, err := open("conversations", v)
	if err != nil {
		return chat.ConversationRow{}, err
	}
	c := chat.ConversationRow{Owner: owner, ID: id, Last: r.id()}
	flags := r.u8()
	c.Answered, c.Group, c.Peer = flags&conversationAnswered != 0, flags&conversationGroup != 0, r.owner()
	return c, r.end("conversations")
}

// conversationHead gives what a list of conversations goes by, without the rest.
func conversationHead(v []byte) (last chat.MessageID, group bool, err error) {
	r, err := open("conversations", v)
	if err != nil {
		return chat.NoMessage, false, err
	}
	last, group = r.id(), r.u8()&conversationGroup != 0
	if r.bad {
		err = r.end("conversations")
	}
	return last, group, err
}

func packContact(c *chat.ContactRow) []byte {
	w := newValue(8 + 1 + len(c.Other.Zone) + len(c.Other.Name) + 4)
	w.u64(uint64(c.Version))
	w.u8(flag(c.Want))
	w.text(string(c.Other.Zone))
	w.text(c.Other.Name)
	return w.b
}

func unpackContact(k, v []byte) (chat.ContactRow, error) {
	r, err := open("contacts", v)
	if err != nil {
		return chat.ContactRow{}, err
	}
	kr := reader{b: k[1:]}
	c := chat.ContactRow{Owner: kr.id(), Other: chat.Owner{ID: kr.id()}, Theirs: kr.u8() == 1}
	c.Version, c.Want = chat.HLC(r.u64()), r.u8() == 1
	c.Other.Zone, c.Other.Name = chat.Zone(r.text()), r.text()
	r.bad = r.bad || kr.bad
	return c, r.end("contacts")
}

func packBlock(b *chat.BlockRow) []byte {
	w := newValue(1 + len(b.Other.Zone) + len(b.Other.Name) + 4)
	w.u8(flag(b.On))
	w.text(string(b.Other.Zone))
	w.text(b.Other.Name)
	return w.b
}

func unpackBlock(k, v []byte) (chat.BlockRow, error) {
	r, err := open("blocks", v)
	if err != nil {
		return chat.BlockRow{}, err
	}
	kr := reader{b: k[1:]}
	b := chat.BlockRow{Owner: kr.id(), Other: chat.Owner{ID: kr.id()}, Time: chat.HLC(kr.u64()), On: r.u8() == 1}
	b.Other.Zone, b.Other.Name = chat.Zone(r.text()), r.text()
	r.bad = r.bad || kr.bad
	return b, r.end("blocks")
}

// packLog puts the time of entry and destinations before the encoded op, so that reading for one region and sweeping decode no op.
func packLog(op *chat.Op, codec chat.OpCodec) []byte {
	w := newValue(128 + len(op.Body))
	w.u64(uint64(max(op.Time, op.Logged)))
	w.regions(op.To)
	w.b = codec.Append(w.b, op)
	return w.b
}

// logHead reads what stands before the encoded op; r is left at the op.
func logHead(v []byte) (r *reader, to []chat.Region, err error) {
	r, err = open("oplog", v)
	if err != nil {
		return nil, nil, err
	}
	r.u64()
	to = r.regions()
	if r.bad {
		return nil, nil, r.end("oplog")
	}
	return r, to, nil
}

func (w *writer) regions(to []chat.Region) {
	w.u8(byte(len(to)))
	for _, region := range to {
		w.b = appendName(w.b, string(region))
	}
}

func (r *reader) regions() []chat.Region {
	n := int(r.u8())
	to := make([]chat.Region, 0, n)
	for range n {
		to = append(to, chat.Region(r.name()))
	}
	return to
}

func packApplied(a *chat.AppliedRow) []byte {
	w := newValue(16)
	w.u64(a.Seq)
	w.u64(uint64(a.Watermark))
	return w.b
}

func unpackApplied(k, v []byte) (chat.AppliedRow, error) {
	r, err := open("applied", v)
	if err != nil {
		return chat.AppliedRow{}, err
	}
	s, _, ok := parseStream(k)
	a := chat.AppliedRow{Stream: s, Seq: r.u64(), Watermark: chat.HLC(r.u64())}
	r.bad = r.bad || !ok
	return a, r.end("applied")
}

func packNumber(n uint64) []byte {
	w := newValue(8)
	w.u64(n)
	return w.b
}

func unpackNumber(table string, v []byte) (uint64, error) {
	r, err := open(table, v)
	if err != nil {
		return 0, err
	}
	n := r.u64()
	return n, r.end(table)
}

func packDeadLetter(d *chat.DeadLetterRow) []byte {
	w := newValue(64)
	w.u64(uint64(d.At))
	w.id(d.Op)
	w.text(string(d.Reason))
	w.text(d.Detail)
	return w.b
}

func unpackDeadLetter(k, v []byte) (chat.DeadLetterRow, error) {
	r, err := open("deadletters", v)
	if err != nil {
		return chat.DeadLetterRow{}, err
	}
	s, rest, ok := parseStream(k)
	kr := reader{b: rest}
	d := chat.DeadLetterRow{Stream: s, Seq: kr.u64(), At: chat.HLC(r.u64()), Op: r.id(), Reason: chat.Code(r.text()), Detail: r.text()}
	r.bad = r.bad || kr.bad || !ok
	return d, r.end("deadletters")
}

func packRefusal(r *chat.RefusalRow) ([]byte, error) { return packJSON(r.Told.Time(), r) }

func unpackRefusal(_, v []byte) (r chat.RefusalRow, err error) {
	err = unpackJSON("refusals", v, &r)
	return r, err
}

func packAccount(a *chat.Account) ([]byte, error) { return packJSON(a.Version, a) }

// packSession keeps Revoked apart from the rest, which a newer version replaces as a whole.
func packSession(s *chat.Session) ([]byte, error) {
	plain := *s
	plain.Revoked = false
	v, err := packJSON(s.Version, &plain)
	return append(v, flag(s.Revoked)), err
}

func unpackSession(v []byte) (s chat.Session, err error) {
	if len(v) == 0 {
		return s, (&reader{bad: true}).end("sessions")
	}
	last := len(v) - 1
	err = unpackJSON("sessions", v[:last], &s)
	s.Revoked = v[last] == 1
	return s, err
}

// packJSON is for rows that are written rarely: version, then JSON.
func packJSON(version chat.HLC, row any) ([]byte, error) {
	text, err := json.Marshal(row)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "embedded.Commit", Message: "a row cannot be encoded", Cause: err}
	}
	w := newValue(8 + len(text) + 1)
	w.u64(uint64(version))
	w.b = append(w.b, text...)
	return w.b, nil
}

func unpackJSON(table string, v []byte, row any) error {
	r, err := open(table, v)
	if err != nil {
		return err
	}
	r.u64()
	if r.bad || json.Unmarshal(r.b, row) != nil {
		return (&reader{bad: true}).end(table)
	}
	return nil
}

func packClaim(c *chat.Claim) []byte {
	w := newValue(1 + 8 + 2 + 32 + len(c.Zone) + 2)
	w.u8(flag(c.Pending))
	w.u64(uint64(c.Version))
	w.u16(c.Bucket)
	w.id(c.Blinded)
	w.id(c.Attempt)
	w.text(string(c.Zone))
	return w.b
}

func unpackClaim(k chat.ClaimKey, v []byte) (chat.Claim, error) {
	r, err := open("claims", v)
	if err != nil {
		return chat.Claim{}, err
	}
	c := chat.Claim{
		Key: k, Pending: r.u8() == 1, Version: chat.HLC(r.u64()), Bucket: r.u16(),
		Blinded: r.id(), Attempt: r.id(), Zone: chat.Zone(r.text()),
	}
	return c, r.end("claims")
}
