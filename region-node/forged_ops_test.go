package regionnode_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"meridian/chat"
)

// forgery is an op that eu-west must not take from ap-south.
type forgery struct {
	forge func(op *chat.Op) // makes it of an honest message; it is stamped anew afterwards
	alter func(op *chat.Op) // changes what was stamped
	code  chat.Code         // says why
}

func forgedOps() map[string]forgery {
	all := forgedSends()
	maps.Copy(all, forgedKinds())
	maps.Copy(all, forgedRows())
	return all
}

// ofKind makes an op of another kind, for these owners, of a message.
func ofKind(k chat.OpKind, owners []chat.Owner, f func(op *chat.Op)) func(op *chat.Op) {
	return func(op *chat.Op) {
		op.Kind, op.Body, op.Owners = k, nil, owners
		f(op)
	}
}

// forgedID is the id of somebody's op of just now.
func forgedID(o chat.Owner) chat.MessageID {
	return chat.NewMessageID(chat.HLCFromTime(time.Now()), o.ID, forgedClient)
}

// forgedSends are messages.
func forgedSends() map[string]forgery {
	author := func(o chat.Owner) func(op *chat.Op) {
		return func(op *chat.Op) {
			op.Author, op.Owners = o, []chat.Owner{o, grace}
			op.Conversation = chat.DirectConversation(o.ID, grace.ID)
		}
	}
	return map[string]forgery{
		"a message between others": {func(op *chat.Op) {
			op.Author, op.Owners = emmy, []chat.Owner{emmy}
			op.Conversation = chat.DirectConversation(emmy.ID, emmy.ID)
		}, nil, chat.CodeDenied},
		"an author of no zone":               {author(chat.Owner{ID: ada.ID}), nil, chat.CodeDenied},
		"an author of a zone nobody knows":   {author(chat.Owner{ID: ada.ID, Zone: "mars"}), nil, chat.CodeDenied},
		"a text that may not leave its zone": {author(indu), nil, chat.CodeDenied},
		"a receiver who is not served here": {func(op *chat.Op) {
			op.Owners = []chat.Owner{indu}
			op.Author = indu
			op.Conversation = chat.DirectConversation(indu.ID, indu.ID)
		}, nil, chat.CodeDenied},
		"a mailbox beside the conversation":     {func(op *chat.Op) { op.Owners = []chat.Owner{ada, emmy} }, nil, chat.CodeInvalid},
		"three people in a direct conversation": {func(op *chat.Op) { op.Owners = []chat.Owner{ada, grace, emmy} }, nil, chat.CodeInvalid},
		"a mailbox of somebody else first":      {func(op *chat.Op) { op.Owners = []chat.Owner{grace, ada} }, nil, chat.CodeInvalid},
		"nobody's mailbox":                      {func(op *chat.Op) { op.Owners = nil }, nil, chat.CodeInvalid},
		"more mailboxes than an op may have":    {func(op *chat.Op) { op.Owners = slices.Repeat([]chat.Owner{ada}, chat.MaxOwners) }, nil, chat.CodeInvalid},
		"a text that was altered":               {nil, func(op *chat.Op) { op.Body = []byte("altered") }, chat.CodeInvalid},
		"a text that is not UTF-8":              {func(op *chat.Op) { op.Body = []byte{0xff, 0xfe} }, nil, chat.CodeInvalid},
		"a text that is too long":               {func(op *chat.Op) { op.Body = bytes.Repeat([]byte("x"), 64<<10+1) }, nil, chat.CodeInvalid},
		"an id of somebody else's op":           {nil, func(op *chat.Op) { op.ID = chat.NewMessageID(op.Time, grace.ID, op.Client) }, chat.CodeInvalid},
		"a time that is not the id's":           {nil, func(op *chat.Op) { op.Time++ }, chat.CodeInvalid},
		"no time":                               {nil, func(op *chat.Op) { op.Time, op.ID = 0, chat.MessageID{1} }, chat.CodeInvalid},
		"logged before it was made":             {nil, func(op *chat.Op) { op.Logged = op.Time - 1 }, chat.CodeInvalid},
		"a sequence out of the range":           {nil, func(op *chat.Op) { op.Seq += 7 }, chat.CodeBadFrame},
		"another region's stream":               {nil, func(op *chat.Op) { op.Stream.Region = "us-east" }, chat.CodeBadFrame},
		"a message without a client id":         {func(op *chat.Op) { op.Client = chat.NoClient }, nil, chat.CodeInvalid},
	}
}

// forgedKinds are of other kinds, about people.
func forgedKinds() map[string]forgery {
	return map[string]forgery{
		"a block by somebody of another zone": {ofKind(chat.OpBlock, []chat.Owner{emmy}, func(op *chat.Op) { op.Author, op.Block = emmy, &chat.BlockChange{By: emmy, User: ada, On: true} }), nil, chat.CodeDenied},
		"an account of another zone": {ofKind(chat.OpAccount, []chat.Owner{emmy}, func(op *chat.Op) {
			op.Author, op.Account = emmy, &chat.Account{ID: emmy.ID, Zone: "eu", PasswordHash: "x"}
		}), nil, chat.CodeDenied},
		"a session of another zone":      {ofKind(chat.OpSession, []chat.Owner{emmy}, func(op *chat.Op) { op.Author, op.Session = emmy, &chat.Session{User: emmy.ID, Zone: "eu"} }), nil, chat.CodeDenied},
		"a mark in somebody else's name": {ofKind(chat.OpMark, []chat.Owner{ada, grace}, func(op *chat.Op) { op.Mark = &chat.Mark{User: grace.ID, Kind: chat.MarkRead, UpTo: forgedID(ada)} }), nil, chat.CodeInvalid},
		"a mark up to what is no time": {ofKind(chat.OpMark, []chat.Owner{ada, grace}, func(op *chat.Op) {
			op.Mark = &chat.Mark{Conversation: op.Conversation, User: ada.ID, Kind: chat.MarkRead, UpTo: chat.MessageID{1, 6: 0x40}}
		}), nil, chat.CodeInvalid},
		"a change of what comes later": {ofKind(chat.OpChange, []chat.Owner{ada, grace}, func(op *chat.Op) {
			op.Change = &chat.Change{Kind: chat.ChangeDelete, Target: chat.NewMessageID(chat.HLCFromTime(time.Now().Add(time.Hour)), ada.ID, forgedClient)}
		}), nil, chat.CodeInvalid},
		"a reaction without an end": {ofKind(chat.OpChange, []chat.Owner{ada, grace}, func(op *chat.Op) {
			op.Change = &chat.Change{Kind: chat.ChangeReaction, Target: forgedID(ada), Emoji: strings.Repeat("x", 99)}
		}), nil, chat.CodeInvalid},
		"a contact of others":              {ofKind(chat.OpContact, []chat.Owner{ada, grace}, func(op *chat.Op) { op.Contact = &chat.ContactChange{From: grace, To: ada, Want: true} }), nil, chat.CodeInvalid},
		"an account moved to another zone": {ofKind(chat.OpAccount, []chat.Owner{ada}, func(op *chat.Op) { op.Account = &chat.Account{ID: ada.ID, Zone: "eu"} }), nil, chat.CodeInvalid},
		"a claim of a zone that it does not serve": {ofKind(chat.OpClaim, nil, func(op *chat.Op) {
			op.Author, op.Claim = chat.Owner{Zone: "eu"}, &chat.Claim{Key: chat.ClaimKey{1}, Zone: "eu"}
		}), nil, chat.CodeDenied},
		"a claim of one zone for another": {ofKind(chat.OpClaim, nil, func(op *chat.Op) {
			op.Author, op.Claim = chat.Owner{Zone: "world"}, &chat.Claim{Key: chat.ClaimKey{1}, Zone: "eu"}
		}), nil, chat.CodeInvalid},
	}
}

// forgedRows bring rows, or are about groups.
func forgedRows() map[string]forgery {
	group := func(zones ...chat.Zone) (owners []chat.Owner) {
		for _, z := range zones {
			owners = append(owners, chat.GroupOwner(emmysGroup, z))
		}
		return owners
	}
	rows := func(owners []chat.Owner, rows chat.Rows) func(op *chat.Op) {
		return ofKind(chat.OpRows, owners, func(op *chat.Op) { op.Author, op.Rows = chat.Owner{}, &rows })
	}
	step := chat.MemberRow{
		Owner: chat.UserID(emmysGroup), Conversation: emmysGroup, User: indu, Role: chat.RoleMember, Op: forgedID(emmy), By: emmy.ID, ByZone: "eu", Client: forgedClient,
	}
	claimed := step
	claimed.By, claimed.ByZone, claimed.Made = emmy.ID, "world", true
	return map[string]forgery{
		"rows of somebody of another zone":        {rows([]chat.Owner{emmy}, chat.Rows{Messages: []chat.MessageRow{{Owner: emmy.ID, ID: forgedID(ada), Body: []byte("x")}}}), nil, chat.CodeDenied},
		"rows of who is no owner":                 {rows([]chat.Owner{ada}, chat.Rows{Accounts: []chat.Account{{ID: emmy.ID, Zone: "world"}}}), nil, chat.CodeInvalid},
		"an op of rows without any":               {rows([]chat.Owner{ada}, chat.Rows{}), nil, chat.CodeInvalid},
		"a step in the name of another zone":      {rows(group("eu", "world"), chat.Rows{Members: []chat.MemberRow{step}}), nil, chat.CodeDenied},
		"such a step for a zone that both serve":  {rows(group("world"), chat.Rows{Members: []chat.MemberRow{step}}), nil, chat.CodeDenied},
		"a maker who is claimed for another zone": {rows(group("world"), chat.Rows{Members: []chat.MemberRow{claimed}}), nil, chat.CodeInvalid},
		"a name in the name of another zone": {rows(group("world"), chat.Rows{Groups: []chat.GroupRow{{
			Owner: step.Owner, Conversation: emmysGroup, Name: "mine", Op: step.Op, By: emmy.ID, ByZone: "eu", Client: forgedClient,
		}}}), nil, chat.CodeDenied},
		"texts of a group for a zone it does not serve": {rows(group("eu", "world"), chat.Rows{Messages: []chat.MessageRow{{Owner: step.Owner, Conversation: emmysGroup, ID: forgedID(emmy), Body: []byte("x")}}}), nil, chat.CodeDenied},
		"somebody of another zone invites": {ofKind(chat.OpMember, append(group("eu", "world"), ada), func(op *chat.Op) {
			op.Author, op.Conversation, op.Member = emmy, emmysGroup, &chat.MemberChange{User: ada, Role: chat.RoleMember}
		}), nil, chat.CodeDenied},
		"a member made owner": {ofKind(chat.OpMember, append(group("world"), grace), func(op *chat.Op) {
			op.Conversation, op.Member = emmysGroup, &chat.MemberChange{User: grace, Role: chat.RoleOwner}
		}), nil, chat.CodeInvalid},
		"a group of another's id": {ofKind(chat.OpGroup, append(group("world"), ada), func(op *chat.Op) {
			op.Conversation, op.Group = emmysGroup, &chat.GroupChange{Name: "mine", Make: true}
		}), nil, chat.CodeInvalid},
	}
}
