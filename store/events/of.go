package events

import (
	"strconv"

	"meridian/chat"
)

// Of gives what an op tells other systems, in a fixed order; nothing for marks, blocks and the ops of the system itself.
func Of(op *chat.Op) []chat.Event {
	e := chat.Event{
		ID: op.ID.String(), Time: op.Time, Stream: op.Stream, Seq: op.Seq, Actor: op.Author.ID, Zone: op.Author.Zone, Conversation: op.Conversation,
	}
	switch op.Kind {
	case chat.OpMessage:
		return ofMessage(e, chat.EventMessageSent, op.ID)
	case chat.OpChange:
		if op.Change != nil {
			return ofMessage(e, changed(op.Change), op.Change.Target)
		}
	case chat.OpGroup:
		if op.Group != nil {
			return ofGroup(e, op.Group)
		}
	case chat.OpMember:
		if op.Member != nil {
			return []chat.Event{ofMember(e, op.Member.User.ID, op.Member.Role)}
		}
	case chat.OpContact:
		if op.Contact != nil {
			e.User = op.Contact.To.ID
			return one(e, choose(op.Contact.Want, chat.EventContactRequested, chat.EventContactRemoved))
		}
	case chat.OpAccount:
		if op.Account != nil {
			made := op.Account.CreatedAt == 0 || op.Account.CreatedAt == op.Time // the store's row gets the op's time
			e.User = op.Account.ID
			return one(e, choose(made, chat.EventUserCreated, chat.EventUserChanged))
		}
	case chat.OpSession:
		if op.Session != nil {
			e.User = op.Session.User
			return one(e, choose(op.Session.Revoked, chat.EventSessionEnded, chat.EventSessionOpened))
		}
	}
	return nil
}

func one(e chat.Event, t chat.EventType) []chat.Event {
	e.Type = t
	return []chat.Event{e}
}

func choose(first bool, a, b chat.EventType) chat.EventType {
	if first {
		return a
	}
	return b
}

func ofMessage(e chat.Event, t chat.EventType, message chat.MessageID) []chat.Event {
	if t == "" {
		return nil
	}
	e.Message = message
	return one(e, t)
}

// changed gives "" for a kind of change that this build does not know.
func changed(c *chat.Change) chat.EventType {
	switch c.Kind {
	case chat.ChangeEdit:
		return chat.EventMessageEdited
	case chat.ChangeDelete:
		return chat.EventMessageDeleted
	case chat.ChangeReaction:
		return choose(c.On, chat.EventReactionSet, chat.EventReactionRemoved)
	case chat.ChangeAlias: // never in an op
	}
	return ""
}

// ofGroup tells of a new group who is in it, too.
func ofGroup(e chat.Event, g *chat.GroupChange) []chat.Event {
	if !g.Make {
		return one(e, chat.EventGroupRenamed)
	}
	all := append(one(e, chat.EventGroupCreated), ofMember(e, e.Actor, chat.RoleOwner))
	for i := range g.Invited {
		all = append(all, ofMember(e, g.Invited[i].ID, chat.RoleMember))
	}
	for i := range all[1:] {
		all[i+1].ID += "." + strconv.Itoa(i+1)
	}
	return all
}

func ofMember(e chat.Event, user chat.UserID, role chat.Role) chat.Event {
	e.Type, e.User, e.Role = choose(role == chat.RoleNone, chat.EventMemberLeft, chat.EventMemberJoined), user, role
	return e
}
