package cassandra

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// decodeJSON reads a row that is kept as JSON. The error has CodeRegionDegraded: what is stored is damaged.
func decodeJSON(table, state string, into any) error {
	if err := json.Unmarshal([]byte(state), into); err != nil {
		return degraded("cassandra."+table, "a row of table "+table+" cannot be read", err)
	}
	return nil
}

// Changes implements chat.Mailboxes.
func (s *Store) Changes(ctx context.Context, owner chat.UserID, conv chat.ConversationID, from, to chat.MessageID, limit int) ([]chat.ChangeRow, error) {
	const op = "cassandra.Changes"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	if to == chat.NoMessage || from.Compare(to) > 0 {
		return nil, s.ready(op)
	}
	lower := from
	if from == chat.NoMessage {
		lower = chat.MessageIDFromOrd([16]byte{})
	}
	buckets, err := s.buckets(ctx, op, bucketsOfChanges, owner, conv, bucketOf(from.Time(), mailboxBucket), bucketOf(to.Time(), mailboxBucket))
	if err != nil {
		return nil, err
	}
	var rows []chat.ChangeRow
	for _, bucket := range slices.Backward(buckets) {
		if len(rows) == limit {
			break
		}
		page, err := list(ctx, s, op, 0, scanChange(owner, conv), selectChanges, uid(owner), uid(conv), bucket, uid(lower), uid(to), limit-len(rows))
		if err != nil {
			return nil, err
		}
		rows = append(rows, page...)
	}
	return rows, nil
}

func scanChange(owner chat.UserID, conv chat.ConversationID) func(*gocql.Iter) (chat.ChangeRow, bool, error) {
	return func(it *gocql.Iter) (chat.ChangeRow, bool, error) {
		row := chat.ChangeRow{Owner: owner, Conversation: conv}
		var target, client gocql.UUID
		var kind int8
		var member, each, opOrd []byte
		var zone string
		var version int64
		if !it.Scan(&target, &kind, &member, &row.Emoji, &each, &opOrd, &row.On, &client, &zone, &row.Body, &version) {
			return row, false, nil
		}
		copy(row.User[:], member)
		row.Target, row.Kind, row.Op, row.Client = chat.MessageID(target), chat.ChangeKind(kind), fromOrd(opOrd), chat.ClientID(client)
		row.OwnerZone, row.Version = chat.Zone(zone), chat.HLC(version)
		return row, true, nil
	}
}

// GroupNames implements chat.Mailboxes.
func (s *Store) GroupNames(ctx context.Context, owner chat.UserID, conv chat.ConversationID) ([]chat.GroupRow, error) {
	return list(ctx, s, "cassandra.GroupNames", 0, func(it *gocql.Iter) (chat.GroupRow, bool, error) {
		row := chat.GroupRow{Owner: owner, Conversation: conv}
		var opID, by, client gocql.UUID
		var zone string
		ok := it.Scan(&opID, &row.Name, &by, &zone, &client, &row.Made)
		row.Op, row.By, row.ByZone, row.Client = chat.MessageID(opID), chat.UserID(by), chat.Zone(zone), chat.ClientID(client)
		return row, ok, nil
	}, selectGroupNames, uid(owner), uid(conv))
}

// Members implements chat.Mailboxes. It gives all, however many: who is in a group is never told from a part of the steps.
func (s *Store) Members(ctx context.Context, owner chat.UserID, conv chat.ConversationID, user chat.UserID) ([]chat.MemberRow, error) {
	cql, args := selectMembers, []any{uid(owner), uid(conv)}
	if user != chat.NoUser {
		cql, args = selectMember, append(args, uid(user))
	}
	rows, err := list(ctx, s, "cassandra.Members", 0, func(it *gocql.Iter) (chat.MemberRow, bool, error) {
		row := chat.MemberRow{Owner: owner, Conversation: conv}
		var member, opID, by, client gocql.UUID
		var zone, byZone string
		var role int8
		ok := it.Scan(&member, &opID, &zone, &row.User.Name, &role, &by, &byZone, &client, &row.Made)
		row.User.ID, row.User.Zone, row.Op, row.Role = chat.UserID(member), chat.Zone(zone), chat.MessageID(opID), chat.Role(role)
		row.By, row.ByZone, row.Client = chat.UserID(by), chat.Zone(byZone), chat.ClientID(client)
		return row, ok, nil
	}, cql, args...)
	slices.SortFunc(rows, func(a, b chat.MemberRow) int {
		return cmp.Or(a.Op.Compare(b.Op), bytes.Compare(a.User.ID[:], b.User.ID[:]))
	})
	return rows, err
}

// GroupZones implements chat.Mailboxes.
func (s *Store) GroupZones(ctx context.Context, conv chat.ConversationID) ([]chat.GroupZoneRow, error) {
	rows, err := list(ctx, s, "cassandra.GroupZones", 0, func(it *gocql.Iter) (chat.GroupZoneRow, bool, error) {
		var zone string
		var since int64
		ok := it.Scan(&zone, &since)
		return chat.GroupZoneRow{Conversation: conv, Zone: chat.Zone(zone), Since: chat.HLC(since)}, ok, nil
	}, selectGroupZones, uid(conv))
	return slices.CompactFunc(rows, func(a, b chat.GroupZoneRow) bool { return a.Zone == b.Zone }), err
}

func scanConversation(owner chat.UserID) func(*gocql.Iter) (chat.ConversationRow, bool, error) {
	return func(it *gocql.Iter) (chat.ConversationRow, bool, error) {
		row := chat.ConversationRow{Owner: owner}
		var id, peer gocql.UUID
		var zone string
		var last []byte
		ok := it.Scan(&id, &last, &row.Answered, &row.Group, &peer, &zone, &row.Peer.Name)
		row.ID, row.Last, row.Peer.ID, row.Peer.Zone = chat.ConversationID(id), fromOrd(last), chat.UserID(peer), chat.Zone(zone)
		return row, ok, nil
	}
}

// Conversation implements chat.Mailboxes.
func (s *Store) Conversation(ctx context.Context, owner chat.UserID, id chat.ConversationID) (chat.ConversationRow, bool, error) {
	return one(list(ctx, s, "cassandra.Conversation", 1, scanConversation(owner), selectConversation, uid(owner), uid(id)))
}

// Conversations implements chat.Mailboxes. It reads all of owner's, which are one partition.
func (s *Store) Conversations(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ConversationRow, error) {
	const op = "cassandra.Conversations"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	all, err := list(ctx, s, op, 0, scanConversation(owner), selectConversations, uid(owner))
	if err != nil {
		return nil, err
	}
	rows := latest(all, before, limit, func(r *chat.ConversationRow) chat.MessageID { return r.Last })
	return rows, nil
}

// latest gives the limit latest before one.
func latest[T any](all []T, before chat.MessageID, limit int, at func(*T) chat.MessageID) []T {
	all = slices.DeleteFunc(all, func(r T) bool { return before != chat.NoMessage && at(&r).Compare(before) >= 0 })
	slices.SortStableFunc(all, func(a, b T) int { return at(&b).Compare(at(&a)) })
	return all[:min(limit, len(all))]
}

// groupsAtOnce is how many groups of a list are looked up at once.
const groupsAtOnce = 16

// Activities implements chat.Mailboxes. It asks twice for each of owner's groups: what is new there, and whether owner left.
func (s *Store) Activities(ctx context.Context, owner chat.UserID, before chat.MessageID, limit int) ([]chat.ActivityRow, error) {
	const op = "cassandra.Activities"
	if err := checkLimit(op, limit, maxRows); err != nil {
		return nil, err
	}
	all, err := list(ctx, s, op, 0, scanConversation(owner), selectConversations, uid(owner))
	if err != nil {
		return nil, err
	}
	rows := make([]chat.ActivityRow, len(all))
	slots, errs := make(chan struct{}, groupsAtOnce), make(chan error, len(all))
	for i, row := range all {
		rows[i] = chat.ActivityRow{ConversationRow: row, Newest: row.Last}
		if !row.Group || chat.UserID(row.ID) == owner {
			errs <- nil
			continue
		}
		slots <- struct{}{}
		go func() {
			var err error
			rows[i].Newest, err = s.newestOf(ctx, owner, row)
			<-slots
			errs <- err
		}()
	}
	for range all {
		err = cmp.Or(err, <-errs)
	}
	if err != nil {
		return nil, err
	}
	return latest(rows, before, limit, func(r *chat.ActivityRow) chat.MessageID { return r.Newest }), nil
}

// newestOf gives owner's leaving of a group if that is the last step, else the newest message there or, if that is later, the entering.
func (s *Store) newestOf(ctx context.Context, owner chat.UserID, row chat.ConversationRow) (chat.MessageID, error) {
	const op = "cassandra.Activities"
	group := chat.UserID(row.ID)
	step, ok, err := one(list(ctx, s, op, 1, func(it *gocql.Iter) (chat.MemberRow, bool, error) {
		var opID gocql.UUID
		var role int8
		ok := it.Scan(&opID, &role)
		return chat.MemberRow{Op: chat.MessageID(opID), Role: chat.Role(role)}, ok, nil
	}, selectLastStep, uid(group), uid(row.ID), uid(owner)))
	if err != nil {
		return chat.NoMessage, err
	}
	if ok && step.Role == chat.RoleNone {
		return step.Op, nil
	}
	own, ok, err := s.Conversation(ctx, group, row.ID)
	if err == nil && ok && own.Last.Compare(row.Last) > 0 {
		return own.Last, nil
	}
	return row.Last, err
}
