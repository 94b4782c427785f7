package replication

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"unicode/utf8"

	"meridian/chat"
)

// Bounds of an op's content.
const (
	// maxBodyBytes bounds the text of a message or an edit, in bytes of UTF-8.
	maxBodyBytes = 64 << 10
	// maxRowsPerOp and maxRowsBytes bound what one op of kind OpRows brings; more is split over several.
	maxRowsPerOp = 512
	maxRowsBytes = 256 << 10
)

// malformed says what is wrong with the shape of an op, from whichever side it comes; "" when nothing is. It knows nothing
// but the op: whether its author may do that is decided elsewhere.
func malformed(op *chat.Op) string {
	switch {
	case len(op.Owners) > chat.MaxOwners:
		return fmt.Sprintf("%d owners; at most %d", len(op.Owners), chat.MaxOwners)
	case len(op.Owners) == 0 && op.Kind != chat.OpClaim && op.Kind != chat.OpRefused:
		return "an op without owners"
	case len(op.To) > chat.MaxRegions:
		return fmt.Sprintf("%d destinations; at most %d", len(op.To), chat.MaxRegions)
	case !hasText(op) && len(op.Body) > 0:
		return fmt.Sprintf("op of kind %d has a text", op.Kind)
	case len(op.Body) > maxBodyBytes || !utf8.Valid(op.Body):
		return fmt.Sprintf("a text of %d bytes, or not of UTF-8; at most %d", len(op.Body), maxBodyBytes)
	}
	check, ok := shapes[op.Kind]
	if !ok {
		return fmt.Sprintf("op of unknown kind %d", op.Kind)
	}
	if detail := check(op); detail != "" {
		return detail
	}
	return unstorable(op)
}

// hasText says whether the op carries a text, hashed in BodyHash.
func hasText(op *chat.Op) bool {
	return op.Kind == chat.OpMessage || op.Kind == chat.OpChange && op.Change != nil && op.Change.Kind == chat.ChangeEdit
}

// hashed says whether the text is the one that was hashed.
func hashed(op *chat.Op) bool { return !hasText(op) || sha256.Sum256(op.Body) == op.BodyHash }

// isAcked says whether the op is acknowledged to its author's client, at each level.
func isAcked(op *chat.Op) bool {
	switch op.Kind {
	case chat.OpMessage, chat.OpChange, chat.OpGroup, chat.OpMember:
		return true
	}
	return false
}

// shapes check each kind's own content.
var shapes = map[chat.OpKind]func(op *chat.Op) string{
	chat.OpMessage: messageShape,
	chat.OpChange:  changeShape,
	chat.OpGroup:   groupShape,
	chat.OpMember:  memberShape,
	chat.OpMark:    markShape,
	chat.OpRows:    rowsShape,
	chat.OpRefused: refusedShape,
	chat.OpContact: func(op *chat.Op) string { return own(op, op.Contact != nil && op.Contact.From.ID == op.Author.ID) },
	chat.OpBlock:   func(op *chat.Op) string { return own(op, op.Block != nil && op.Block.By.ID == op.Author.ID) },
	chat.OpAccount: func(op *chat.Op) string {
		return own(op, op.Account != nil && op.Account.ID == op.Author.ID && op.Account.Zone == op.Author.Zone)
	},
	chat.OpSession: func(op *chat.Op) string {
		return own(op, op.Session != nil && op.Session.User == op.Author.ID && op.Session.Zone == op.Author.Zone)
	},
	chat.OpClaim: func(op *chat.Op) string {
		return own(op, op.Claim != nil && op.Claim.Zone != "" && op.Claim.Zone == op.Author.Zone)
	},
}

// own says what is wrong unless the op has its content, and the content is its author's.
func own(op *chat.Op, ok bool) string {
	if !ok {
		return fmt.Sprintf("op of kind %d lacks its content, or its content is not its author's", op.Kind)
	}
	return ""
}

func messageShape(op *chat.Op) string {
	if op.Client == chat.NoClient {
		return "a message without a client id"
	}
	return mailboxes(op, op.Conversation)
}

func markShape(op *chat.Op) string {
	if op.Mark == nil || op.Mark.User != op.Author.ID || op.Mark.Kind != chat.MarkDelivered && op.Mark.Kind != chat.MarkRead {
		return own(op, false)
	}
	return mailboxes(op, op.Mark.Conversation)
}

func changeShape(op *chat.Op) string {
	c := op.Change
	switch {
	case c == nil || c.Target == chat.NoMessage || op.Client == chat.NoClient:
		return own(op, false)
	case op.Time != 0 && c.Target.Time() >= op.Time:
		return "a change of a message that is not older"
	case c.Kind == chat.ChangeEdit && len(op.Body) == 0:
		return "an edit without a text"
	case c.Kind == chat.ChangeReaction && (c.Emoji == "" || len(c.Emoji) > chat.MaxEmojiBytes || !utf8.ValidString(c.Emoji)):
		return fmt.Sprintf("a reaction of %d bytes, or not of UTF-8; at most %d", len(c.Emoji), chat.MaxEmojiBytes)
	case c.Kind != chat.ChangeReaction && c.Emoji != "":
		return "an emoji in a change that is no reaction"
	case c.Kind != chat.ChangeEdit && c.Kind != chat.ChangeDelete && c.Kind != chat.ChangeReaction:
		return fmt.Sprintf("a change of unknown kind %d", c.Kind)
	}
	return mailboxes(op, op.Conversation)
}

// mailboxes checks the owners of what concerns a conversation: of a group its mailboxes, of a direct one the author's first,
// then the other's where the author's zone lets it have a copy.
func mailboxes(op *chat.Op, conversation chat.ConversationID) string {
	if isGroupOwner(op.Owners[0], conversation) {
		return groupOwners(op, conversation, nil)
	}
	switch {
	case op.Owners[0].ID != op.Author.ID || op.Owners[0].Zone != op.Author.Zone:
		return "the first mailbox is not the author's"
	case len(op.Owners) > 2:
		return "a direct conversation of more than two"
	case len(op.Owners) == 2 && conversation != chat.DirectConversation(op.Author.ID, op.Owners[1].ID):
		return "the conversation is not that of the two owners"
	}
	return ""
}

// isGroupOwner says whether the owner is a group itself, and not one of its people.
func isGroupOwner(o chat.Owner, conversation chat.ConversationID) bool {
	return o.ID == chat.UserID(conversation) && conversation != chat.NoConversation
}

// groupOwners checks the owners of what concerns a group: its mailbox once in each zone, the author's among them, then the
// people that it is about, whose zones are among them too.
func groupOwners(op *chat.Op, conversation chat.ConversationID, people []chat.Owner) string {
	var zones []chat.Zone
	for len(zones) < len(op.Owners) && isGroupOwner(op.Owners[len(zones)], conversation) {
		zone := op.Owners[len(zones)].Zone
		if slices.Contains(zones, zone) {
			return fmt.Sprintf("the group is twice an owner in zone %q", zone)
		}
		zones = append(zones, zone)
	}
	rest := op.Owners[len(zones):]
	switch {
	case len(zones) == 0 || len(zones) > chat.MaxGroupZones:
		return fmt.Sprintf("a group in %d zones; at least 1, at most %d", len(zones), chat.MaxGroupZones)
	case !slices.Contains(zones, op.Author.Zone):
		return "the author's zone is none of the group's"
	case len(rest) != len(people):
		return fmt.Sprintf("%d people are owners, %d are concerned", len(rest), len(people))
	}
	for i, p := range people {
		if rest[i].ID != p.ID || rest[i].Zone != p.Zone {
			return "the owners are not the people concerned"
		}
		if !slices.Contains(zones, p.Zone) {
			return fmt.Sprintf("the group has no mailbox in zone %q of somebody concerned", p.Zone)
		}
	}
	return ""
}

func groupShape(op *chat.Op) string {
	g := op.Group
	switch {
	case g == nil || op.Client == chat.NoClient:
		return own(op, false)
	case g.Name == "" || len(g.Name) > chat.MaxGroupNameBytes || !utf8.ValidString(g.Name):
		return fmt.Sprintf("a group name of %d bytes, or not of UTF-8; at least 1, at most %d", len(g.Name), chat.MaxGroupNameBytes)
	case !g.Make && len(g.Invited) > 0:
		return "a renaming that invites"
	case !g.Make:
		return groupOwners(op, op.Conversation, nil)
	case op.Conversation != chat.GroupConversation(op.Author, op.Client):
		return "the group's id is not that of its maker and the client id"
	case len(g.Invited) > chat.MaxInvited:
		return fmt.Sprintf("%d people invited at once; at most %d", len(g.Invited), chat.MaxInvited)
	}
	people := append([]chat.Owner{op.Author}, g.Invited...)
	for i, p := range people {
		if slices.ContainsFunc(people[:i], func(o chat.Owner) bool { return o.ID == p.ID }) {
			return "somebody is invited twice, or invites himself"
		}
	}
	return groupOwners(op, op.Conversation, people)
}

func memberShape(op *chat.Op) string {
	m := op.Member
	switch {
	case m == nil || op.Client == chat.NoClient || m.User.ID == chat.NoUser:
		return own(op, false)
	case m.Role > chat.RoleAdmin:
		return fmt.Sprintf("role %d is not given away", m.Role)
	}
	return groupOwners(op, op.Conversation, []chat.Owner{m.User})
}

// rowsShape checks that the rows are few enough and each is an owner's of the op. Retry rows, and the zones of a group, have
// no owner: they say nothing that is not in the open between regions.
func rowsShape(op *chat.Op) string {
	if op.Rows == nil || op.Rows.Len() == 0 {
		return own(op, false)
	}
	if n, bytes := op.Rows.Len(), rowsSize(op.Rows); n > maxRowsPerOp || bytes > 2*maxRowsBytes {
		return fmt.Sprintf("%d rows of %d bytes; at most %d of %d", n, bytes, maxRowsPerOp, 2*maxRowsBytes)
	}
	for _, id := range rowOwners(op.Rows) {
		if !slices.ContainsFunc(op.Owners, func(o chat.Owner) bool { return o.ID == id }) {
			return "a row of somebody who is no owner of the op"
		}
	}
	for i := range op.Rows.Groups {
		if g := &op.Rows.Groups[i]; !g.Genuine() || len(g.Name) > chat.MaxGroupNameBytes {
			return "a group's name that whoever it names did not give, or that is too long"
		}
	}
	for i := range op.Rows.Members {
		if !op.Rows.Members[i].Genuine() {
			return "a membership step that whoever it names did not make"
		}
	}
	return ""
}

// rowOwners gives the owners of the rows, each once, in the order in which they stand.
func rowOwners(r *chat.Rows) []chat.UserID {
	var ids []chat.UserID
	add := func(id chat.UserID) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for i := range r.Messages {
		add(r.Messages[i].Owner)
	}
	for i := range r.Marks {
		add(r.Marks[i].Owner)
	}
	for i := range r.Changes {
		add(r.Changes[i].Owner)
	}
	for i := range r.Groups {
		add(r.Groups[i].Owner)
	}
	for i := range r.Members {
		add(r.Members[i].Owner)
	}
	for i := range r.Conversations {
		add(r.Conversations[i].Owner)
	}
	for i := range r.Contacts {
		add(r.Contacts[i].Owner)
	}
	for i := range r.Blocks {
		add(r.Blocks[i].Owner)
	}
	for i := range r.Accounts {
		add(r.Accounts[i].ID)
	}
	for i := range r.Sessions {
		add(r.Sessions[i].User)
	}
	return ids
}

// rowsSize estimates what the rows take in a frame, in bytes.
func rowsSize(r *chat.Rows) int {
	bytes := 160 * r.Len()
	for i := range r.Messages {
		bytes += len(r.Messages[i].Body)
	}
	for i := range r.Changes {
		bytes += len(r.Changes[i].Body)
	}
	for i := range r.Groups {
		bytes += len(r.Groups[i].Name)
	}
	return bytes
}
