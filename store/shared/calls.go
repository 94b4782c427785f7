package shared

import (
	"context"

	"meridian/chat"
)

// call says which method of chat.Store is asked for. Calls cross the wire: add, never renumber.
type call uint8

const (
	callPing           call = 0 // no method: a sign of life
	callCommit         call = 1
	callIdentity       call = 2
	callNewIncarnation call = 3
	callSweep          call = 4
	callCheckpoint     call = 5
	callRenew          call = 6
	callNodes          call = 7
	callAdopt          call = 8
	callReadLog        call = 9
	callPositions      call = 10
	callApplied        call = 11
	callDeadLetters    call = 12
	callParked         call = 13
	callStreams        call = 14
	callMessages       call = 15
	callMessage        call = 16
	callInbox          call = 17
	callInboxFloor     call = 18
	callRetries        call = 19
	callMarks          call = 20
	callConversations  call = 21
	callConversation   call = 22
	callChanges        call = 23
	callGroupNames     call = 24
	callMembers        call = 25
	callGroupZones     call = 26
	callOwners         call = 27
	callContacts       call = 28
	callContact        call = 29
	callBlocks         call = 30
	callAccount        call = 31
	callSession        call = 32
	callSessions       call = 33
	callClaim          call = 34
	callReserve        call = 35
	callRelease        call = 36
	callZonesOfBucket  call = 37
	callKey            call = 38
	callInsertKey      call = 39
	callRefusals       call = 40
	callClaims         call = 41
	callActivities     call = 42
)

// writes says that a call changes the store: when its answer is lost, its outcome is unknown.
func (c call) writes() bool {
	switch c {
	case callCommit, callNewIncarnation, callSweep, callCheckpoint, callRenew, callAdopt, callReserve, callRelease, callInsertKey:
		return true
	default:
		return false
	}
}

// serve answers q from s; ping and commit are handled by the connection.
func serve(ctx context.Context, s chat.Store, codec chat.OpCodec, q *request, a *response) (err error) {
	switch q.Call {
	case callReadLog:
		var ops []chat.Op
		ops, err = s.ReadLog(ctx, q.Stream, q.From, q.UpTo, q.Region, q.Limit)
		for i := range ops {
			a.Ops = append(a.Ops, codec.Append(nil, &ops[i]))
		}
	case callPositions:
		a.Positions, err = s.Positions(ctx, q.Stream)
	case callApplied:
		a.Applied, err = s.Applied(ctx)
	case callDeadLetters:
		a.Dead, err = s.DeadLetters(ctx, q.Limit)
	case callRefusals:
		a.Refusals, err = s.Refusals(ctx, q.Messages)
	case callParked:
		var rows []chat.ParkedRow
		rows, err = s.Parked(ctx)
		for i := range rows {
			a.Ops, a.Reasons = append(a.Ops, codec.Append(nil, &rows[i].Op)), append(a.Reasons, rows[i].Reason)
		}
	case callStreams:
		a.Streams, err = s.Streams(ctx)
	case callClaim, callClaims, callReserve, callRelease, callZonesOfBucket, callKey, callInsertKey, callAccount, callSession, callSessions:
		return servePeople(ctx, s, q, a)
	case callIdentity, callNewIncarnation, callSweep, callCheckpoint, callRenew, callNodes, callAdopt:
		return serveNode(ctx, s, q, a)
	default:
		return serveMailbox(ctx, s, q, a)
	}
	return err
}

func serveNode(ctx context.Context, s chat.Store, q *request, a *response) (err error) {
	var id chat.Identity
	var dropped int
	switch q.Call {
	case callIdentity:
		id, err = s.Identity(ctx)
		a.Identity = &id
	case callNewIncarnation:
		id, err = s.NewIncarnation(ctx, chat.Incarnation(q.From))
		a.Identity = &id
	case callSweep:
		dropped, err = s.Sweep(ctx, chat.HLC(q.UpTo))
		a.Number = uint64(max(dropped, 0))
	case callCheckpoint:
		err = s.Checkpoint(ctx, q.Dir)
	case callRenew:
		err = s.Renew(ctx, chat.HLC(q.UpTo), chat.HLC(q.From))
	case callNodes:
		a.Nodes, err = s.Nodes(ctx)
	default:
		var row chat.NodeRow
		row, err = s.Adopt(ctx, q.Stream, chat.HLC(q.UpTo))
		a.Nodes = []chat.NodeRow{row}
	}
	return err
}

// list gives a row as a list of one.
func list[T any](row T, ok bool, err error) ([]T, bool, error) { return []T{row}, ok, err }

func servePeople(ctx context.Context, s chat.Store, q *request, a *response) (err error) {
	switch q.Call {
	case callAccount:
		a.Rows.Accounts, a.OK, err = list(s.Account(ctx, q.Owner))
	case callSession:
		a.Rows.Sessions, a.OK, err = list(s.Session(ctx, q.Owner, q.Session))
	case callSessions:
		a.Rows.Sessions, err = s.Sessions(ctx, q.Owner)
	case callClaim:
		var c chat.Claim
		c, a.OK, err = s.Claim(ctx, q.Name)
		a.Claim = &c
	case callClaims:
		a.Claims, err = s.Claims(ctx, q.Name, q.Limit)
	case callReserve:
		if q.Claim == nil {
			return unknownCall(q.Call)
		}
		var c chat.Claim
		c, err = s.Reserve(ctx, *q.Claim)
		a.Claim = &c
	case callRelease:
		err = s.Release(ctx, q.Name, q.Attempt)
	case callZonesOfBucket:
		a.Zones, err = s.ZonesOfBucket(ctx, q.Bucket)
	case callKey:
		var k chat.KeyRow
		k, a.OK, err = s.Key(ctx, q.Owner, q.Zone)
		a.Key = &k
	default:
		if q.Key == nil {
			return unknownCall(q.Call)
		}
		var k chat.KeyRow
		k, err = s.InsertKey(ctx, *q.Key)
		a.Key = &k
	}
	return err
}

func serveMailbox(ctx context.Context, s chat.Store, q *request, a *response) (err error) {
	switch q.Call {
	case callMessages:
		a.Rows.Messages, err = s.Messages(ctx, q.Owner, q.Conversation, q.Message, q.Limit)
	case callMessage:
		a.Rows.Messages, a.OK, err = list(s.Message(ctx, q.Owner, q.Conversation, q.Message))
	case callInbox:
		a.Inbox, err = s.Inbox(ctx, q.Owner, chat.HLC(q.From), chat.HLC(q.UpTo), q.Limit)
	case callInboxFloor:
		var floor chat.HLC
		floor, err = s.InboxFloor(ctx)
		a.Number = uint64(floor)
	case callRetries:
		a.Rows.Retries, err = s.Retries(ctx, q.Owner, q.Client)
	case callMarks:
		a.Rows.Marks, err = s.Marks(ctx, q.Owner, q.Conversation)
	case callConversations:
		a.Rows.Conversations, err = s.Conversations(ctx, q.Owner, q.Message, q.Limit)
	case callActivities:
		a.Activities, err = s.Activities(ctx, q.Owner, q.Message, q.Limit)
	case callConversation:
		a.Rows.Conversations, a.OK, err = list(s.Conversation(ctx, q.Owner, q.Conversation))
	case callChanges:
		a.Rows.Changes, err = s.Changes(ctx, q.Owner, q.Conversation, q.Message, q.To, q.Limit)
	case callGroupNames:
		a.Rows.Groups, err = s.GroupNames(ctx, q.Owner, q.Conversation)
	case callMembers:
		a.Rows.Members, err = s.Members(ctx, q.Owner, q.Conversation, q.Other)
	case callGroupZones:
		a.Rows.GroupZones, err = s.GroupZones(ctx, q.Conversation)
	case callOwners:
		a.Owners, err = s.Owners(ctx, q.Owner, q.Limit)
	case callContacts:
		a.Rows.Contacts, err = s.Contacts(ctx, q.Owner, q.Other, q.Limit)
	case callContact:
		a.Rows.Contacts, err = s.Contact(ctx, q.Owner, q.Other)
	case callBlocks:
		a.Rows.Blocks, err = s.Blocks(ctx, q.Owner)
	default:
		return unknownCall(q.Call)
	}
	return err
}

func unknownCall(call) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "shared.serve", Message: "a call that this version of the store does not know, or without its arguments"}
}
