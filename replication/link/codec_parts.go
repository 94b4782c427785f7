package link

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"meridian/chat"
	pb "meridian/proto"
)

// hasParts says whether op has what only some kinds of op have.
func hasParts(op *chat.Op) bool {
	return op.Mark != nil || op.Contact != nil || op.Block != nil || op.Account != nil || op.Session != nil || op.Claim != nil ||
		op.Change != nil || op.Group != nil || op.Member != nil || op.Rows != nil || op.Refused != nil
}

// appendParts encodes what only some kinds of op have.
func appendParts(dst []byte, op *chat.Op) []byte {
	if !hasParts(op) {
		return dst
	}
	m := &pb.Op{Rows: rowsMessage(op.Rows)}
	if p := op.Mark; p != nil {
		m.Mark = markMessage(p)
	}
	if p := op.Contact; p != nil {
		m.Contact = &pb.ContactChange{From: ownerMessage(&p.From), To: ownerMessage(&p.To), Want: p.Want}
	}
	if p := op.Block; p != nil {
		m.Block = &pb.BlockChange{By: ownerMessage(&p.By), User: ownerMessage(&p.User), On: p.On}
	}
	if p := op.Account; p != nil {
		m.Account = accountMessage(p)
	}
	if p := op.Session; p != nil {
		m.Session = sessionMessage(p)
	}
	if p := op.Claim; p != nil {
		m.Claim = &pb.Claim{
			Key: hashBytes(&p.Key), Blinded: idBytes(&p.Blinded), Zone: []byte(p.Zone), Bucket: uint32(p.Bucket),
			Attempt: idBytes(&p.Attempt), Pending: p.Pending, Version: uint64(p.Version),
		}
	}
	if p := op.Change; p != nil {
		m.Change = &pb.Change{Kind: uint32(p.Kind), Target: idBytes(&p.Target), Emoji: []byte(p.Emoji), On: p.On}
	}
	if p := op.Group; p != nil {
		m.Group = &pb.GroupChange{Name: []byte(p.Name), Make: p.Make}
		for i := range p.Invited {
			m.Group.Invited = append(m.Group.Invited, someOwner(&p.Invited[i]))
		}
	}
	if p := op.Member; p != nil {
		m.Member = &pb.MemberChange{User: ownerMessage(&p.User), Role: uint32(p.Role)}
	}
	if p := op.Refused; p != nil {
		m.Refused = &pb.Refusal{
			Region: []byte(p.Region), Stream: streamMessage(p.Stream), Seq: p.Seq, Op: idBytes(&p.Op), Author: ownerMessage(&p.Author),
			Client: idBytes(&p.Client), Conversation: idBytes(&p.Conversation), Code: []byte(p.Code), Detail: []byte(p.Detail),
		}
	}
	dst, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil {
		// The message has no required field and no string, which are all that Marshal can refuse.
		panic(fmt.Sprintf("link: encode an op: %v", err))
	}
	return dst
}

func markMessage(p *chat.Mark) *pb.Mark {
	return &pb.Mark{Conversation: idBytes(&p.Conversation), User: idBytes(&p.User), Kind: uint32(p.Kind), UpTo: idBytes(&p.UpTo)}
}

func accountMessage(p *chat.Account) *pb.Account {
	return &pb.Account{
		Id: idBytes(&p.ID), Username: []byte(p.Username), DisplayName: []byte(p.DisplayName), PasswordHash: []byte(p.PasswordHash),
		Zone: []byte(p.Zone), Pinned: p.Pinned, CreatedAt: uint64(p.CreatedAt), Version: uint64(p.Version),
		SessionsNotBefore: uint64(p.SessionsNotBefore), SessionKept: idBytes(&p.SessionKept),
	}
}

func sessionMessage(p *chat.Session) *pb.Session {
	return &pb.Session{
		Id: idBytes(&p.ID), User: idBytes(&p.User), Zone: []byte(p.Zone), Device: []byte(p.Device), Region: []byte(p.Region),
		CreatedAt: uint64(p.CreatedAt), Version: uint64(p.Version), Revoked: p.Revoked,
	}
}

func (r *reader) parts(op *chat.Op, m *pb.Op) {
	if p := m.Mark; p != nil {
		mark := r.mark(p)
		op.Mark = &mark
	}
	if p := m.Contact; p != nil {
		op.Contact = &chat.ContactChange{From: r.owner(p.From), To: r.owner(p.To), Want: p.Want}
	}
	if p := m.Block; p != nil {
		op.Block = &chat.BlockChange{By: r.owner(p.By), User: r.owner(p.User), On: p.On}
	}
	if p := m.Account; p != nil {
		account := r.account(p)
		op.Account = &account
	}
	if p := m.Session; p != nil {
		session := r.session(p)
		op.Session = &session
	}
	if p := m.Claim; p != nil {
		if p.Bucket > 0xffff {
			r.bad = "bucket too large"
		}
		op.Claim = &chat.Claim{Zone: chat.Zone(p.Zone), Bucket: uint16(p.Bucket), Pending: p.Pending, Version: chat.HLC(p.Version)}
		readHash(r, &op.Claim.Key, p.Key)
		readID(r, &op.Claim.Blinded, p.Blinded)
		readID(r, &op.Claim.Attempt, p.Attempt)
	}
	r.groupParts(op, m)
}

// groupParts reads the parts that protocol version 1 began without.
func (r *reader) groupParts(op *chat.Op, m *pb.Op) {
	if p := m.Change; p != nil {
		op.Change = &chat.Change{Kind: chat.ChangeKind(r.small(p.Kind)), Emoji: string(p.Emoji), On: p.On}
		readID(r, &op.Change.Target, p.Target)
	}
	if p := m.Group; p != nil {
		op.Group = &chat.GroupChange{Name: string(p.Name), Make: p.Make}
		for _, o := range p.Invited {
			op.Group.Invited = append(op.Group.Invited, r.owner(o))
		}
	}
	if p := m.Member; p != nil {
		op.Member = &chat.MemberChange{User: r.owner(p.User), Role: chat.Role(r.small(p.Role))}
	}
	if p := m.Rows; p != nil {
		op.Rows = r.rows(p)
	}
	if p := m.Refused; p != nil {
		op.Refused = &chat.Refusal{
			Region: chat.Region(p.Region), Stream: readStream(p.Stream), Seq: p.Seq, Author: r.owner(p.Author),
			Code: chat.Code(p.Code), Detail: string(p.Detail),
		}
		readID(r, &op.Refused.Op, p.Op)
		readID(r, &op.Refused.Client, p.Client)
		readID(r, &op.Refused.Conversation, p.Conversation)
	}
}

func (r *reader) mark(p *pb.Mark) chat.Mark {
	mark := chat.Mark{Kind: chat.MarkKind(r.small(p.GetKind()))}
	readID(r, &mark.Conversation, p.GetConversation())
	readID(r, &mark.User, p.GetUser())
	readID(r, &mark.UpTo, p.GetUpTo())
	return mark
}

func (r *reader) account(p *pb.Account) chat.Account {
	account := chat.Account{
		Username: string(p.Username), DisplayName: string(p.DisplayName), PasswordHash: string(p.PasswordHash),
		Zone: chat.Zone(p.Zone), Pinned: p.Pinned, CreatedAt: chat.HLC(p.CreatedAt), Version: chat.HLC(p.Version),
		SessionsNotBefore: chat.HLC(p.SessionsNotBefore),
	}
	readID(r, &account.ID, p.Id)
	readID(r, &account.SessionKept, p.SessionKept)
	return account
}

func (r *reader) session(p *pb.Session) chat.Session {
	session := chat.Session{
		Zone: chat.Zone(p.Zone), Device: string(p.Device), Region: chat.Region(p.Region),
		CreatedAt: chat.HLC(p.CreatedAt), Version: chat.HLC(p.Version), Revoked: p.Revoked,
	}
	readID(r, &session.ID, p.Id)
	readID(r, &session.User, p.User)
	return session
}

// unknownFields gathers what m and its parts hold and this version does not know, such that appended to m's encoding it
// is merged into the same places: a second occurrence of a message field adds to the first.
func unknownFields(m *pb.Op) []byte {
	out := append([]byte(nil), m.ProtoReflect().GetUnknown()...)
	out = appendNested(out, m.Mark, 14)
	if p := m.Contact; p != nil {
		out = appendNested(out, p, 16)
		out = appendNested(out, p.From, 16, 1)
		out = appendNested(out, p.To, 16, 2)
	}
	if p := m.Block; p != nil {
		out = appendNested(out, p, 17)
		out = appendNested(out, p.By, 17, 1)
		out = appendNested(out, p.User, 17, 2)
	}
	out = appendNested(out, m.Account, 18)
	out = appendNested(out, m.Session, 19)
	out = appendNested(out, m.Claim, 20)
	out = appendNested(out, m.Change, 22)
	out = appendNested(out, m.Group, 23)
	if p := m.Member; p != nil {
		out = appendNested(out, p, 24)
		out = appendNested(out, p.User, 24, 1)
	}
	out = appendNested(out, m.Rows, 25)
	if p := m.Refused; p != nil {
		out = appendNested(out, p, 26)
		out = appendNested(out, p.Stream, 26, 2)
		out = appendNested(out, p.Author, 26, 5)
	}
	return out
}
