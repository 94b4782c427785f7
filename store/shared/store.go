package shared

import (
	"context"

	"meridian/chat"
)

// The calls of chat.Store, each a request of its own.

// first gives the row of an answer that has one or none.
func first[T any](a *response, rows []T, err error) (row T, ok bool, _ error) {
	if err != nil || !a.OK || len(rows) == 0 {
		return row, false, err
	}
	return rows[0], true, nil
}

// rowsOf gives the answer's rows, none with an error.
func rowsOf(a *response, err error) (*chat.Rows, error) {
	if err != nil {
		return &chat.Rows{}, err
	}
	return &a.Rows, nil
}

// whole gives an answer, an empty one with an error.
func whole(a *response, err error) (*response, error) {
	if err != nil {
		return &response{}, err
	}
	return a, nil
}

// odd is the error of an answer without what was asked for.
func odd(op string) error {
	return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: "the store's answer lacks what was asked for"}
}

func (c *Client) identity(ctx context.Context, op string, q request) (chat.Identity, error) {
	a, err := whole(c.ask(ctx, op, &q))
	if err == nil && a.Identity == nil {
		err = odd(op)
	}
	if err != nil {
		return chat.Identity{}, err
	}
	c.lives(a.Identity.Incarnation)
	return *a.Identity, nil
}

// Identity implements chat.Store.
func (c *Client) Identity(ctx context.Context) (chat.Identity, error) {
	return c.identity(ctx, "shared.Identity", request{Call: callIdentity})
}

// NewIncarnation implements chat.Store.
func (c *Client) NewIncarnation(ctx context.Context, least chat.Incarnation) (chat.Identity, error) {
	return c.identity(ctx, "shared.NewIncarnation", request{Call: callNewIncarnation, From: uint64(least)})
}

// Sweep implements chat.Store.
func (c *Client) Sweep(ctx context.Context, now chat.HLC) (int, error) {
	a, err := whole(c.ask(ctx, "shared.Sweep", &request{Call: callSweep, UpTo: uint64(now)}))
	return int(a.Number), err
}

// Checkpoint implements chat.Store. dir is a directory of the server's machine.
func (c *Client) Checkpoint(ctx context.Context, dir string) error {
	_, err := c.ask(ctx, "shared.Checkpoint", &request{Call: callCheckpoint, Dir: dir})
	return err
}

// Renew implements chat.Nodes.
func (c *Client) Renew(ctx context.Context, until, low chat.HLC) error {
	_, err := c.ask(ctx, "shared.Renew", &request{Call: callRenew, UpTo: uint64(until), From: uint64(low)})
	return err
}

// Nodes implements chat.Nodes.
func (c *Client) Nodes(ctx context.Context) ([]chat.NodeRow, error) {
	a, err := whole(c.ask(ctx, "shared.Nodes", &request{Call: callNodes}))
	return a.Nodes, err
}

// Adopt implements chat.Nodes.
func (c *Client) Adopt(ctx context.Context, life chat.StreamID, now chat.HLC) (chat.NodeRow, error) {
	const op = "shared.Adopt"
	a, err := whole(c.ask(ctx, op, &request{Call: callAdopt, Stream: life, UpTo: uint64(now)}))
	if err == nil && len(a.Nodes) != 1 {
		err = odd(op)
	}
	if err != nil {
		return chat.NodeRow{}, err
	}
	return a.Nodes[0], nil
}

// ReadLog implements chat.Log.
func (c *Client) ReadLog(ctx context.Context, stream chat.StreamID, after, upTo uint64, to chat.Region, limit int) ([]chat.Op, error) {
	a, err := c.ask(ctx, "shared.ReadLog", &request{Call: callReadLog, Stream: stream, From: after, UpTo: upTo, Region: to, Limit: limit})
	if err != nil {
		return nil, err
	}
	return unpackOps(a.Ops, c.opts.Codec)
}

// Positions implements chat.Log.
func (c *Client) Positions(ctx context.Context, stream chat.StreamID) (map[chat.Region]uint64, error) {
	a, err := c.ask(ctx, "shared.Positions", &request{Call: callPositions, Stream: stream})
	if err != nil {
		return nil, err
	}
	if a.Positions == nil {
		a.Positions = map[chat.Region]uint64{}
	}
	return a.Positions, nil
}

// Applied implements chat.Log.
func (c *Client) Applied(ctx context.Context) ([]chat.AppliedRow, error) {
	a, err := whole(c.ask(ctx, "shared.Applied", &request{Call: callApplied}))
	return a.Applied, err
}

// DeadLetters implements chat.Log.
func (c *Client) DeadLetters(ctx context.Context, limit int) ([]chat.DeadLetterRow, error) {
	a, err := whole(c.ask(ctx, "shared.DeadLetters", &request{Call: callDeadLetters, Limit: limit}))
	return a.Dead, err
}

// maxRefusals is what chat.Log allows.
const maxRefusals = 1000

// Refusals implements chat.Log.
func (c *Client) Refusals(ctx context.Context, ops []chat.MessageID) ([]chat.RefusalRow, error) {
	a, err := whole(c.ask(ctx, "shared.Refusals", &request{Call: callRefusals, Messages: ops}))
	if chat.CodeOf(err) == chat.CodeInvalid && len(ops) <= maxRefusals {
		return nil, nil // a store of an older version, which keeps none
	}
	return a.Refusals, err
}

// Parked implements chat.Log.
func (c *Client) Parked(ctx context.Context) ([]chat.ParkedRow, error) {
	a, err := c.ask(ctx, "shared.Parked", &request{Call: callParked})
	if err != nil {
		return nil, err
	}
	return unpackParked(a.Ops, a.Reasons, c.opts.Codec)
}

// Streams implements chat.Log.
func (c *Client) Streams(ctx context.Context) ([]chat.StreamEnd, error) {
	a, err := whole(c.ask(ctx, "shared.Streams", &request{Call: callStreams}))
	return a.Streams, err
}

// Messages implements chat.Mailboxes.
func (c *Client) Messages(ctx context.Context, owner chat.UserID, conv chat.ConversationID, before chat.MessageID, limit int) ([]chat.MessageRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Messages", &request{Call: callMessages, Owner: owner, Conversation: conv, Message: before, Limit: limit}))
	return rows.Messages, err
}

// Message implements chat.Mailboxes.
func (c *Client) Message(ctx context.Context, owner chat.UserID, conv chat.ConversationID, id chat.MessageID) (chat.MessageRow, bool, error) {
	a, err := whole(c.ask(ctx, "shared.Message", &request{Call: callMessage, Owner: owner, Conversation: conv, Message: id}))
	return first(a, a.Rows.Messages, err)
}

// Inbox implements chat.Mailboxes.
func (c *Client) Inbox(ctx context.Context, owner chat.UserID, after, upTo chat.HLC, limit int) ([]chat.InboxRow, error) {
	a, err := whole(c.ask(ctx, "shared.Inbox", &request{Call: callInbox, Owner: owner, From: uint64(after), UpTo: uint64(upTo), Limit: limit}))
	return a.Inbox, err
}

// InboxFloor implements chat.Mailboxes.
func (c *Client) InboxFloor(ctx context.Context) (chat.HLC, error) {
	a, err := whole(c.ask(ctx, "shared.InboxFloor", &request{Call: callInboxFloor}))
	return chat.HLC(a.Number), err
}

// Retries implements chat.Mailboxes.
func (c *Client) Retries(ctx context.Context, sender chat.UserID, client chat.ClientID) ([]chat.RetryRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Retries", &request{Call: callRetries, Owner: sender, Client: client}))
	return rows.Retries, err
}

// Marks implements chat.Mailboxes.
func (c *Client) Marks(ctx context.Context, owner chat.UserID, conv chat.ConversationID) ([]chat.MarkRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Marks", &request{Call: callMarks, Owner: owner, Conversation: conv}))
	return rows.Marks, err
}

// Conversations implements chat.Mailboxes.
func (c *Client) Conversations(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ConversationRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Conversations", &request{Call: callConversations, Owner: owner, Message: before, Limit: limit}))
	return rows.Conversations, err
}

// Conversation implements chat.Mailboxes.
func (c *Client) Conversation(ctx context.Context, owner chat.UserID, id chat.ConversationID) (chat.ConversationRow, bool, error) {
	a, err := whole(c.ask(ctx, "shared.Conversation", &request{Call: callConversation, Owner: owner, Conversation: id}))
	return first(a, a.Rows.Conversations, err)
}

// Changes implements chat.Mailboxes.
func (c *Client) Changes(ctx context.Context, owner chat.UserID, conv chat.ConversationID, from, to chat.MessageID, limit int) ([]chat.ChangeRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Changes", &request{Call: callChanges, Owner: owner, Conversation: conv, Message: from, To: to, Limit: limit}))
	return rows.Changes, err
}

// GroupNames implements chat.Mailboxes.
func (c *Client) GroupNames(ctx context.Context, owner chat.UserID, conv chat.ConversationID) ([]chat.GroupRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.GroupNames", &request{Call: callGroupNames, Owner: owner, Conversation: conv}))
	return rows.Groups, err
}

// Members implements chat.Mailboxes.
func (c *Client) Members(ctx context.Context, owner chat.UserID, conv chat.ConversationID, user chat.UserID) ([]chat.MemberRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Members", &request{Call: callMembers, Owner: owner, Conversation: conv, Other: user}))
	return rows.Members, err
}

// GroupZones implements chat.Mailboxes.
func (c *Client) GroupZones(ctx context.Context, conv chat.ConversationID) ([]chat.GroupZoneRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.GroupZones", &request{Call: callGroupZones, Conversation: conv}))
	return rows.GroupZones, err
}

// Owners implements chat.Mailboxes.
func (c *Client) Owners(ctx context.Context, after chat.UserID, limit int) ([]chat.OwnerRow, error) {
	a, err := whole(c.ask(ctx, "shared.Owners", &request{Call: callOwners, Owner: after, Limit: limit}))
	return a.Owners, err
}

// Contacts implements chat.Mailboxes.
func (c *Client) Contacts(ctx context.Context, owner, after chat.UserID, limit int) ([]chat.ContactRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Contacts", &request{Call: callContacts, Owner: owner, Other: after, Limit: limit}))
	return rows.Contacts, err
}

// Contact implements chat.Mailboxes.
func (c *Client) Contact(ctx context.Context, owner, other chat.UserID) ([]chat.ContactRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Contact", &request{Call: callContact, Owner: owner, Other: other}))
	return rows.Contacts, err
}

// Blocks implements chat.Mailboxes.
func (c *Client) Blocks(ctx context.Context, owner chat.UserID) ([]chat.BlockRow, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Blocks", &request{Call: callBlocks, Owner: owner}))
	return rows.Blocks, err
}

// Account implements chat.Accounts.
func (c *Client) Account(ctx context.Context, id chat.UserID) (chat.Account, bool, error) {
	a, err := whole(c.ask(ctx, "shared.Account", &request{Call: callAccount, Owner: id}))
	return first(a, a.Rows.Accounts, err)
}

// Session implements chat.Accounts.
func (c *Client) Session(ctx context.Context, user chat.UserID, id chat.SessionID) (chat.Session, bool, error) {
	a, err := whole(c.ask(ctx, "shared.Session", &request{Call: callSession, Owner: user, Session: id}))
	return first(a, a.Rows.Sessions, err)
}

// Sessions implements chat.Accounts.
func (c *Client) Sessions(ctx context.Context, user chat.UserID) ([]chat.Session, error) {
	rows, err := rowsOf(c.ask(ctx, "shared.Sessions", &request{Call: callSessions, Owner: user}))
	return rows.Sessions, err
}

// Claim implements chat.Directory.
func (c *Client) Claim(ctx context.Context, key chat.ClaimKey) (chat.Claim, bool, error) {
	a, err := whole(c.ask(ctx, "shared.Claim", &request{Call: callClaim, Name: key}))
	if err != nil || !a.OK || a.Claim == nil {
		return chat.Claim{}, false, err
	}
	return *a.Claim, true, nil
}

// Claims implements chat.Directory.
func (c *Client) Claims(ctx context.Context, after chat.ClaimKey, limit int) ([]chat.Claim, error) {
	a, err := whole(c.ask(ctx, "shared.Claims", &request{Call: callClaims, Name: after, Limit: limit}))
	return a.Claims, err
}

// Reserve implements chat.Directory.
func (c *Client) Reserve(ctx context.Context, claim chat.Claim) (chat.Claim, error) {
	const op = "shared.Reserve"
	a, err := whole(c.ask(ctx, op, &request{Call: callReserve, Claim: &claim}))
	if err == nil && a.Claim == nil {
		err = odd(op)
	}
	if err != nil {
		return chat.Claim{}, err
	}
	return *a.Claim, nil
}

// Release implements chat.Directory.
func (c *Client) Release(ctx context.Context, key chat.ClaimKey, attempt chat.UUID) error {
	_, err := c.ask(ctx, "shared.Release", &request{Call: callRelease, Name: key, Attempt: attempt})
	return err
}

// ZonesOfBucket implements chat.Directory.
func (c *Client) ZonesOfBucket(ctx context.Context, bucket uint16) ([]chat.Zone, error) {
	a, err := whole(c.ask(ctx, "shared.ZonesOfBucket", &request{Call: callZonesOfBucket, Bucket: bucket}))
	return a.Zones, err
}

// Key implements chat.Keys.
func (c *Client) Key(ctx context.Context, author chat.UserID, zone chat.Zone) (chat.KeyRow, bool, error) {
	a, err := whole(c.ask(ctx, "shared.Key", &request{Call: callKey, Owner: author, Zone: zone}))
	if err != nil || !a.OK || a.Key == nil {
		return chat.KeyRow{}, false, err
	}
	return *a.Key, true, nil
}

// InsertKey implements chat.Keys.
func (c *Client) InsertKey(ctx context.Context, k chat.KeyRow) (chat.KeyRow, error) {
	const op = "shared.InsertKey"
	a, err := whole(c.ask(ctx, op, &request{Call: callInsertKey, Key: &k}))
	if err == nil && a.Key == nil {
		err = odd(op)
	}
	if err != nil {
		return chat.KeyRow{}, err
	}
	return *a.Key, nil
}
