package link

import (
	"meridian/chat"
	pb "meridian/proto"
)

// convert gives the list of what f makes of each row.
func convert[T, M any](list []T, f func(*T) *M) []*M {
	if len(list) == 0 {
		return nil
	}
	out := make([]*M, len(list))
	for i := range list {
		out[i] = f(&list[i])
	}
	return out
}

// gather undoes convert.
func gather[T, M any](list []*M, f func(*M) T) []T {
	if len(list) == 0 {
		return nil
	}
	out := make([]T, len(list))
	for i := range list {
		out[i] = f(list[i])
	}
	return out
}

// someOwner is ownerMessage for lists, which have no place for nothing.
func someOwner(o *chat.Owner) *pb.Owner {
	return &pb.Owner{Id: idBytes(&o.ID), Zone: []byte(o.Zone), Name: []byte(o.Name)}
}

func rowsMessage(rows *chat.Rows) *pb.Rows {
	if rows == nil {
		return nil
	}
	return &pb.Rows{
		Messages: convert(rows.Messages, messageMessage), Retries: convert(rows.Retries, retryMessage),
		Marks: convert(rows.Marks, func(row *chat.MarkRow) *pb.MarkRow {
			return &pb.MarkRow{Owner: idBytes(&row.Owner), Mark: markMessage(&row.Mark)}
		}),
		Changes: convert(rows.Changes, changeMessage), Groups: convert(rows.Groups, groupMessage),
		Members: convert(rows.Members, func(row *chat.MemberRow) *pb.MemberRow {
			return &pb.MemberRow{
				Owner: idBytes(&row.Owner), Conversation: idBytes(&row.Conversation), User: ownerMessage(&row.User), Op: idBytes(&row.Op),
				Role: uint32(row.Role), By: idBytes(&row.By), Made: row.Made, ByZone: []byte(row.ByZone), Client: idBytes(&row.Client),
			}
		}),
		GroupZones: convert(rows.GroupZones, func(row *chat.GroupZoneRow) *pb.GroupZoneRow {
			return &pb.GroupZoneRow{Conversation: idBytes(&row.Conversation), Zone: []byte(row.Zone), Since: uint64(row.Since)}
		}),
		Conversations: convert(rows.Conversations, func(row *chat.ConversationRow) *pb.ConversationRow {
			return &pb.ConversationRow{
				Owner: idBytes(&row.Owner), Id: idBytes(&row.ID), Peer: ownerMessage(&row.Peer), Last: idBytes(&row.Last),
				Answered: row.Answered, Group: row.Group,
			}
		}),
		Contacts: convert(rows.Contacts, func(row *chat.ContactRow) *pb.ContactRow {
			return &pb.ContactRow{
				Owner: idBytes(&row.Owner), Other: ownerMessage(&row.Other), Theirs: row.Theirs, Want: row.Want, Version: uint64(row.Version),
			}
		}),
		Blocks: convert(rows.Blocks, func(row *chat.BlockRow) *pb.BlockRow {
			return &pb.BlockRow{Owner: idBytes(&row.Owner), Other: ownerMessage(&row.Other), Time: uint64(row.Time), On: row.On}
		}),
		Accounts: convert(rows.Accounts, accountMessage), Sessions: convert(rows.Sessions, sessionMessage),
	}
}

func messageMessage(row *chat.MessageRow) *pb.MessageRow {
	return &pb.MessageRow{
		Owner: idBytes(&row.Owner), OwnerZone: []byte(row.OwnerZone), Conversation: idBytes(&row.Conversation), Id: idBytes(&row.ID),
		Sender: idBytes(&row.Sender), SenderName: []byte(row.SenderName), Client: idBytes(&row.Client), ReplyTo: idBytes(&row.ReplyTo),
		Body: row.Body, AliasOf: idBytes(&row.AliasOf),
	}
}

func retryMessage(row *chat.RetryRow) *pb.RetryRow {
	return &pb.RetryRow{
		Sender: idBytes(&row.Sender), Client: idBytes(&row.Client), Conversation: idBytes(&row.Conversation),
		BodyHash: hashBytes(&row.BodyHash), Id: idBytes(&row.ID), Stream: streamMessage(row.Stream), Seq: row.Seq,
	}
}

func changeMessage(row *chat.ChangeRow) *pb.ChangeRow {
	return &pb.ChangeRow{
		Owner: idBytes(&row.Owner), OwnerZone: []byte(row.OwnerZone), Conversation: idBytes(&row.Conversation), Target: idBytes(&row.Target),
		Kind: uint32(row.Kind), User: idBytes(&row.User), Emoji: []byte(row.Emoji), On: row.On, Op: idBytes(&row.Op),
		Client: idBytes(&row.Client), Version: uint64(row.Version), Body: row.Body,
	}
}

func groupMessage(row *chat.GroupRow) *pb.GroupRow {
	return &pb.GroupRow{
		Owner: idBytes(&row.Owner), Conversation: idBytes(&row.Conversation), Made: row.Made, Name: []byte(row.Name),
		By: idBytes(&row.By), ByZone: []byte(row.ByZone), Op: idBytes(&row.Op), Client: idBytes(&row.Client),
	}
}

func (r *reader) rows(m *pb.Rows) *chat.Rows {
	return &chat.Rows{
		Messages: gather(m.Messages, r.messageRow), Retries: gather(m.Retries, r.retryRow), Changes: gather(m.Changes, r.changeRow),
		Marks: gather(m.Marks, func(p *pb.MarkRow) chat.MarkRow {
			row := chat.MarkRow{Mark: r.mark(p.Mark)}
			readID(r, &row.Owner, p.Owner)
			return row
		}),
		Groups: gather(m.Groups, r.groupRow), Members: gather(m.Members, r.memberRow),
		GroupZones: gather(m.GroupZones, func(p *pb.GroupZoneRow) chat.GroupZoneRow {
			row := chat.GroupZoneRow{Zone: chat.Zone(p.Zone), Since: chat.HLC(p.Since)}
			readID(r, &row.Conversation, p.Conversation)
			return row
		}),
		Conversations: gather(m.Conversations, func(p *pb.ConversationRow) chat.ConversationRow {
			row := chat.ConversationRow{Peer: r.owner(p.Peer), Answered: p.Answered, Group: p.Group}
			readID(r, &row.Owner, p.Owner)
			readID(r, &row.ID, p.Id)
			readID(r, &row.Last, p.Last)
			return row
		}),
		Contacts: gather(m.Contacts, func(p *pb.ContactRow) chat.ContactRow {
			row := chat.ContactRow{Other: r.owner(p.Other), Theirs: p.Theirs, Want: p.Want, Version: chat.HLC(p.Version)}
			readID(r, &row.Owner, p.Owner)
			return row
		}),
		Blocks: gather(m.Blocks, func(p *pb.BlockRow) chat.BlockRow {
			row := chat.BlockRow{Other: r.owner(p.Other), Time: chat.HLC(p.Time), On: p.On}
			readID(r, &row.Owner, p.Owner)
			return row
		}),
		Accounts: gather(m.Accounts, r.account), Sessions: gather(m.Sessions, r.session),
	}
}

func (r *reader) messageRow(p *pb.MessageRow) chat.MessageRow {
	row := chat.MessageRow{OwnerZone: chat.Zone(p.OwnerZone), SenderName: string(p.SenderName), Body: p.Body}
	readID(r, &row.Owner, p.Owner)
	readID(r, &row.Conversation, p.Conversation)
	readID(r, &row.ID, p.Id)
	readID(r, &row.Sender, p.Sender)
	readID(r, &row.Client, p.Client)
	readID(r, &row.ReplyTo, p.ReplyTo)
	readID(r, &row.AliasOf, p.AliasOf)
	return row
}

func (r *reader) retryRow(p *pb.RetryRow) chat.RetryRow {
	row := chat.RetryRow{Stream: readStream(p.Stream), Seq: p.Seq}
	readID(r, &row.Sender, p.Sender)
	readID(r, &row.Client, p.Client)
	readID(r, &row.Conversation, p.Conversation)
	readHash(r, &row.BodyHash, p.BodyHash)
	readID(r, &row.ID, p.Id)
	return row
}

func (r *reader) changeRow(p *pb.ChangeRow) chat.ChangeRow {
	row := chat.ChangeRow{
		OwnerZone: chat.Zone(p.OwnerZone), Kind: chat.ChangeKind(r.small(p.Kind)), Emoji: string(p.Emoji), On: p.On,
		Version: chat.HLC(p.Version), Body: p.Body,
	}
	readID(r, &row.Owner, p.Owner)
	readID(r, &row.Conversation, p.Conversation)
	readID(r, &row.Target, p.Target)
	readID(r, &row.User, p.User)
	readID(r, &row.Op, p.Op)
	readID(r, &row.Client, p.Client)
	return row
}

func (r *reader) groupRow(p *pb.GroupRow) chat.GroupRow {
	row := chat.GroupRow{Made: p.Made, Name: string(p.Name), ByZone: chat.Zone(p.ByZone)}
	readID(r, &row.Owner, p.Owner)
	readID(r, &row.Conversation, p.Conversation)
	readID(r, &row.By, p.By)
	readID(r, &row.Op, p.Op)
	readID(r, &row.Client, p.Client)
	return row
}

func (r *reader) memberRow(p *pb.MemberRow) chat.MemberRow {
	row := chat.MemberRow{User: r.owner(p.User), Role: chat.Role(r.small(p.Role)), Made: p.Made, ByZone: chat.Zone(p.ByZone)}
	readID(r, &row.Owner, p.Owner)
	readID(r, &row.Conversation, p.Conversation)
	readID(r, &row.Op, p.Op)
	readID(r, &row.By, p.By)
	readID(r, &row.Client, p.Client)
	return row
}
