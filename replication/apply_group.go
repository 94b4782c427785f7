package replication

import (
	"slices"

	"meridian/chat"
)

// change writes what somebody did to a message, whether the message is here or not: a deletion that overtakes its message
// must find it deleted when it comes. Which changes count is decided when they are read (View).
func (a *applier) change(op *chat.Op, owner chat.Owner, arrival chat.HLC) {
	c := op.Change
	a.batch.Changes = append(a.batch.Changes, chat.ChangeRow{
		Owner: owner.ID, OwnerZone: owner.Zone, Conversation: op.Conversation, Target: c.Target, Kind: c.Kind, User: op.Author.ID,
		Emoji: c.Emoji, On: c.On, Op: op.ID, Client: op.Client, Version: op.Time, Body: op.Body,
	})
	a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxChange, Conversation: op.Conversation, Ref: c.Target})
}

// group writes what a group is called; of one that is made also its first members, and for each of these that the person is
// in it.
func (a *applier) group(op *chat.Op, owner chat.Owner, arrival chat.HLC) {
	g := op.Group
	if !isGroupOwner(owner, op.Conversation) {
		a.entered(op, owner)
		a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxGroup, Conversation: op.Conversation})
		return
	}
	a.batch.Groups = append(a.batch.Groups, chat.GroupRow{
		Owner: owner.ID, Conversation: op.Conversation, Name: g.Name, Op: op.ID, By: op.Author.ID, ByZone: op.Author.Zone,
		Client: op.Client, Made: g.Make,
	})
	if g.Make {
		a.step(op, owner, op.Author, chat.RoleOwner)
		for _, user := range g.Invited {
			a.step(op, owner, user, chat.RoleMember)
		}
	}
	a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxGroup, Conversation: op.Conversation})
}

// member writes a step of a membership into the group's mailbox, and tells the person.
func (a *applier) member(op *chat.Op, owner chat.Owner, arrival chat.HLC) {
	m := op.Member
	if isGroupOwner(owner, op.Conversation) {
		a.step(op, owner, m.User, m.Role)
	} else if m.Role != chat.RoleNone {
		a.entered(op, owner)
	}
	a.inbox(owner, arrival, op, chat.InboxRow{Kind: chat.InboxMember, Conversation: op.Conversation})
}

// step writes that user has role from the op on, and that the group has a copy in the user's zone.
func (a *applier) step(op *chat.Op, group, user chat.Owner, role chat.Role) {
	a.batch.Members = append(a.batch.Members, chat.MemberRow{
		Owner: group.ID, Conversation: op.Conversation, User: user, Op: op.ID, Role: role, By: op.Author.ID,
		ByZone: op.Author.Zone, Client: op.Client, Made: op.Kind == chat.OpGroup,
	})
	if role != chat.RoleNone {
		a.batch.GroupZones = append(a.batch.GroupZones, chat.GroupZoneRow{Conversation: op.Conversation, Zone: user.Zone, Since: op.Time})
	}
}

// entered writes into the person's own mailbox that the person was brought into the group by op.
func (a *applier) entered(op *chat.Op, person chat.Owner) {
	a.batch.Conversations = append(a.batch.Conversations, chat.ConversationRow{Owner: person.ID, ID: op.Conversation, Last: op.ID, Group: true})
}

// rows writes what another region holds, as far as this one serves the owners; each row that people see is a new entry of
// the inbox log, also where it is known: a client may have passed the place where it first came. Of a send that is known
// here under another id too, the smallest stands, as ever.
func (a *applier) rows(op *chat.Op, known []chat.RetryRow) {
	mine := map[chat.UserID]chat.Owner{}
	for _, o := range a.owners(op) {
		mine[o.ID] = o
	}
	r := op.Rows
	a.batch.Retries = append(a.batch.Retries, r.Retries...)
	a.messageRows(r, known, mine)
	for _, row := range r.Changes {
		if o, ok := mine[row.Owner]; ok {
			row.OwnerZone = o.Zone
			a.batch.Changes = append(a.batch.Changes, row)
			if row.Kind != chat.ChangeAlias {
				a.entry(o, chat.InboxRow{Op: row.Op, Kind: chat.InboxChange, Conversation: row.Conversation, Actor: row.User, Ref: row.Target})
			}
		}
	}
	for _, row := range r.Marks {
		if o, ok := mine[row.Owner]; ok {
			a.batch.Marks = append(a.batch.Marks, row)
			a.entry(o, chat.InboxRow{Op: op.ID, Kind: chat.InboxMark, Conversation: row.Conversation, Actor: row.User, Ref: row.UpTo, Mark: row.Kind})
		}
	}
	a.groupRows(op, mine)
	a.peopleRows(op, mine)
}

// entry adds an inbox entry with an arrival of its own.
func (a *applier) entry(owner chat.Owner, row chat.InboxRow) {
	row.Owner, row.Arrival = owner.ID, a.next()
	a.batch.Inbox = append(a.batch.Inbox, row)
}

// messageRows writes messages, each with what its send is known by here.
func (a *applier) messageRows(r *chat.Rows, known []chat.RetryRow, mine map[chat.UserID]chat.Owner) {
	all := append(slices.Clip(known), r.Retries...)
	for _, row := range r.Messages {
		o, ok := mine[row.Owner]
		if !ok {
			continue
		}
		row.OwnerZone = o.Zone
		send := sendOf(&row, o, all)
		same := ofKey(all, SendKey{row.Sender, row.Client})
		a.names(&send, o, same)
		winner, losers := stands(&send, same)
		if row.AliasOf != chat.NoMessage && (winner == row.ID || row.AliasOf.Compare(winner) < 0) {
			winner = row.AliasOf
		}
		if winner != row.ID {
			a.alias(&send, []chat.Owner{o}, row.ID, winner, a.next())
			continue
		}
		a.batch.Messages = append(a.batch.Messages, row)
		a.entry(o, chat.InboxRow{Op: row.ID, Kind: chat.InboxMessage, Conversation: row.Conversation, Actor: row.Sender, Ref: row.ID})
		for _, loser := range losers {
			a.alias(&send, []chat.Owner{o}, loser, row.ID, a.next())
		}
	}
}

// sendOf gives the send that a message row is of, without its text. Where no retry row came with it, nothing else is known
// to be the same send.
func sendOf(row *chat.MessageRow, owner chat.Owner, all []chat.RetryRow) chat.Op {
	op := chat.Op{
		Kind: chat.OpMessage, ID: row.ID, Author: chat.Owner{ID: row.Sender}, Owners: []chat.Owner{owner}, Client: row.Client,
		Conversation: row.Conversation,
	}
	for i := range all {
		if all[i].ID == row.ID && all[i].Sender == row.Sender && all[i].Client == row.Client {
			op.BodyHash = all[i].BodyHash
		}
	}
	return op
}

// groupRows writes groups and their members; whoever is in such a group reads it anew.
func (a *applier) groupRows(op *chat.Op, mine map[chat.UserID]chat.Owner) {
	told := map[chat.ConversationID]bool{}
	tell := func(o chat.Owner, conversation chat.ConversationID) {
		if !told[conversation] {
			told[conversation] = true
			a.entry(o, chat.InboxRow{Op: op.ID, Kind: chat.InboxGroup, Conversation: conversation})
		}
	}
	for _, row := range op.Rows.Groups {
		if o, ok := mine[row.Owner]; ok {
			a.batch.Groups = append(a.batch.Groups, row)
			tell(o, row.Conversation)
		}
	}
	for _, row := range op.Rows.Members {
		if o, ok := mine[row.Owner]; ok {
			a.batch.Members = append(a.batch.Members, row)
			tell(o, row.Conversation)
		}
	}
	for _, row := range op.Rows.GroupZones {
		if _, ok := mine[chat.UserID(row.Conversation)]; ok {
			a.batch.GroupZones = append(a.batch.GroupZones, row)
		}
	}
	for _, row := range op.Rows.Conversations {
		if _, ok := mine[row.Owner]; ok {
			a.batch.Conversations = append(a.batch.Conversations, row)
		}
	}
}

// peopleRows writes what is about people.
func (a *applier) peopleRows(op *chat.Op, mine map[chat.UserID]chat.Owner) {
	for _, row := range op.Rows.Contacts {
		if o, ok := mine[row.Owner]; ok {
			a.batch.Contacts = append(a.batch.Contacts, row)
			a.entry(o, chat.InboxRow{Op: op.ID, Kind: chat.InboxContact, Actor: row.Other.ID})
		}
	}
	for _, row := range op.Rows.Blocks {
		if o, ok := mine[row.Owner]; ok {
			a.batch.Blocks = append(a.batch.Blocks, row)
			a.entry(o, chat.InboxRow{Op: op.ID, Kind: chat.InboxBlock, Actor: row.Owner})
		}
	}
	for _, row := range op.Rows.Accounts {
		if o, ok := mine[row.ID]; ok {
			a.batch.Accounts = append(a.batch.Accounts, row)
			a.entry(o, chat.InboxRow{Op: op.ID, Kind: chat.InboxSession, Actor: row.ID})
		}
	}
	for _, row := range op.Rows.Sessions {
		if o, ok := mine[row.User]; ok {
			a.batch.Sessions = append(a.batch.Sessions, row)
			a.entry(o, chat.InboxRow{Op: op.ID, Kind: chat.InboxSession, Actor: row.User})
		}
	}
}
