package sim

import (
	"fmt"

	"meridian/chat"
)

// opNames are the words for what ops do.
var opNames = map[chat.OpKind]string{
	chat.OpMessage: "message", chat.OpMark: "mark", chat.OpContact: "contact", chat.OpBlock: "block", chat.OpAccount: "account",
	chat.OpSession: "session", chat.OpClaim: "claim", chat.OpGroup: "group", chat.OpMember: "member", chat.OpRows: "rows",
	chat.OpRefused: "refused",
}

var changeNames = map[chat.ChangeKind]string{
	chat.ChangeEdit: "edit", chat.ChangeDelete: "delete", chat.ChangeReaction: "reaction", chat.ChangeAlias: "alias",
}

// did counts an op that a node has acknowledged.
func (w *world) did(op chat.Op) {
	name, ok := opNames[op.Kind]
	if op.Kind == chat.OpChange && op.Change != nil {
		name, ok = changeNames[op.Change.Kind]
	}
	switch {
	case op.Kind == chat.OpGroup && op.Group.Make:
		name = "group made"
	case op.Kind == chat.OpGroup:
		name = "group renamed"
	case op.Kind == chat.OpMember && op.Member.User.ID == op.Author.ID:
		name = "member left"
	case op.Kind == chat.OpMember && op.Member.Role == chat.RoleNone:
		name = "member removed"
	case op.Kind == chat.OpMember:
		name = "member invited, or given a role"
	case op.Kind == chat.OpMessage && isGroupMessage(&op):
		name = "group message"
	}
	if !ok {
		name = fmt.Sprintf("kind %d", op.Kind)
	}
	w.ops[name]++
}

func isGroupMessage(op *chat.Op) bool { return op.Owners[0].ID == chat.UserID(op.Conversation) }

// checked counts a check of a promise, whatever it finds.
func (w *world) checked(promise string) { w.checks[promise]++ }
