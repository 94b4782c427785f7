package groups

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"meridian/chat"
	"meridian/replication"
	"meridian/residency"
)

// Make makes a group of me, its owner, and of those named. The same client id again gives the same group. Errors: CodeInvalid,
// CodeTooLarge, CodeUnknownUser, CodeDenied when the zones of two of them may not write to each other, and the submit's.
func (s *Service) Make(ctx context.Context, me chat.Owner, client chat.ClientID, name string, usernames []string) (*Group, error) {
	const op = "groups.Make"
	if err := s.checkName(op, name); err != nil {
		return nil, err
	}
	if len(usernames) > min(chat.MaxInvited, s.opt.Limits.GroupMembers-1) {
		return nil, invalid(op, "members: %d people; at most %d may be named here", len(usernames), min(chat.MaxInvited, s.opt.Limits.GroupMembers-1))
	}
	id := chat.GroupConversation(me, client)
	if known, err := s.Group(ctx, id); err == nil {
		return known, nil
	} else if chat.CodeOf(err) != chat.CodeUnknownConversation {
		return nil, err
	}
	if err := s.roomFor(ctx, op, me, "you are"); err != nil {
		return nil, err
	}
	invited, err := s.invited(ctx, op, me, usernames)
	if err != nil {
		return nil, err
	}
	zones := zonesOf(append([]chat.Owner{me}, invited...))
	if err := s.mayMeet(op, zones); err != nil {
		return nil, err
	}
	var owners []chat.Owner
	for _, zone := range zones {
		owners = append(owners, chat.GroupOwner(id, zone))
	}
	owners = append(append(owners, me), invited...)
	_, err = s.submit(ctx, chat.Op{
		Kind: chat.OpGroup, Author: me, Owners: owners, Client: client, Conversation: id,
		Group: &chat.GroupChange{Name: name, Make: true, Invited: invited},
	})
	if err != nil {
		return nil, err
	}
	return s.Group(ctx, id)
}

// invited resolves the names of those whom a new group begins with, each once, without its maker.
func (s *Service) invited(ctx context.Context, op string, me chat.Owner, usernames []string) ([]chat.Owner, error) {
	var list []chat.Owner
	for _, name := range usernames {
		who, err := s.opt.Directory.Resolve(ctx, name)
		if err != nil {
			return nil, err
		}
		if who.ID == me.ID || slices.ContainsFunc(list, func(o chat.Owner) bool { return o.ID == who.ID }) {
			continue
		}
		if err := s.roomFor(ctx, op, who, name+" is"); err != nil {
			return nil, err
		}
		list = append(list, who)
	}
	return list, nil
}

func zonesOf(people []chat.Owner) []chat.Zone {
	var zones []chat.Zone
	for _, p := range people {
		if !slices.Contains(zones, p.Zone) {
			zones = append(zones, p.Zone)
		}
	}
	slices.Sort(zones)
	return zones
}

// mayMeet refuses a group of people of these zones when what one of them writes may not be kept for another.
func (s *Service) mayMeet(op string, zones []chat.Zone) error {
	if len(zones) > chat.MaxGroupZones {
		return invalid(op, "people of %d zones; at most %d zones share a group", len(zones), chat.MaxGroupZones)
	}
	for _, from := range zones {
		for _, to := range zones {
			if err := residency.Write(s.opt.Topology, from, to).Err(op); err != nil {
				return err
			}
		}
	}
	return nil
}

// roomFor refuses somebody who is in too many groups, as far as this region knows.
func (s *Service) roomFor(ctx context.Context, op string, who chat.Owner, is string) error {
	if !s.opt.Topology.InZone(s.opt.Self, who.Zone) {
		return nil
	}
	limit, n := s.opt.Limits.GroupsPerUser, 0
	rows, err := Rows(ctx, s.opt.Store, who.ID)
	if err != nil || len(rows) < limit {
		return err
	}
	for i := range rows {
		g, err := s.Group(ctx, rows[i].ID)
		if err != nil && chat.CodeOf(err) != chat.CodeUnknownConversation {
			return err
		}
		if err == nil && g.Members.Role(who.ID) != chat.RoleNone {
			n++
		}
	}
	if n >= limit {
		return invalid(op, "%s in %d groups; at most %d are allowed", is, n, limit)
	}
	return nil
}

// Rename gives a group another name. Errors: CodeInvalid, CodeTooLarge, CodeUnknownConversation, CodeNotMember, CodeDenied for
// who is neither owner nor admin, and the submit's.
func (s *Service) Rename(ctx context.Context, me chat.Owner, id chat.ConversationID, client chat.ClientID, name string) error {
	const op = "groups.Rename"
	if err := s.checkName(op, name); err != nil {
		return err
	}
	g, role, err := s.Mine(ctx, op, me.ID, id)
	if err != nil {
		return err
	}
	if role < chat.RoleAdmin {
		return denied(op, "only the owner and admins rename a group")
	}
	if g.Name == name {
		return nil
	}
	_, err = s.submit(ctx, chat.Op{
		Kind: chat.OpGroup, Author: me, Owners: g.Owners(), Client: client, Conversation: id, Group: &chat.GroupChange{Name: name},
	}, g.Members.Newest())
	return err
}

// SetRole brings somebody in, or gives a member another role. Errors: as Rename, CodeUnknownUser, CodeInvalid for one too
// many, CodeDenied when the zones of two of the people may not write to each other.
func (s *Service) SetRole(ctx context.Context, me chat.Owner, id chat.ConversationID, client chat.ClientID, username string, role chat.Role) (replication.Member, error) {
	const op = "groups.SetRole"
	g, mine, err := s.Mine(ctx, op, me.ID, id)
	if err != nil {
		return replication.Member{}, err
	}
	who, err := s.opt.Directory.Resolve(ctx, username)
	if err != nil {
		return replication.Member{}, err
	}
	was := g.Members.Role(who.ID)
	switch {
	case was == role:
		return g.Member(who), nil
	case !g.Members.May(me.ID, who.ID, role):
		return replication.Member{}, denied(op, refusal(mine, was, role))
	}
	if was == chat.RoleNone {
		if limit := s.opt.Limits.GroupMembers; g.Members.Count() >= limit {
			return replication.Member{}, invalid(op, "the group has %d members; at most %d are allowed", g.Members.Count(), limit)
		}
		if err := s.roomFor(ctx, op, who, username+" is"); err != nil {
			return replication.Member{}, err
		}
		if err := s.mayMeet(op, zonesOf(append(g.Owners(), who))); err != nil {
			return replication.Member{}, err
		}
	}
	stamped, err := s.step(ctx, me, g, client, who, role)
	if err != nil {
		return replication.Member{}, err
	}
	if was != chat.RoleNone {
		member := g.Member(who)
		member.Role = role
		return member, nil
	}
	return replication.Member{User: who, Role: role, Since: stamped.Time}, nil
}

// refusal says why somebody with role mine may not change another's role.
func refusal(mine, was, role chat.Role) string {
	switch {
	case mine < chat.RoleAdmin:
		return "only the owner and admins change who is in a group"
	case was == chat.RoleOwner:
		return "nobody changes the role of the owner"
	case role == chat.RoleAdmin:
		return "only the owner makes admins"
	}
	return "only the owner changes the role of an admin"
}

// Remove has somebody leave: me, or whom me may remove; who is not in the group stays out. Errors: as Rename, and
// CodeUnknownUser.
func (s *Service) Remove(ctx context.Context, me chat.Owner, id chat.ConversationID, client chat.ClientID, username string) error {
	const op = "groups.Remove"
	g, mine, err := s.Mine(ctx, op, me.ID, id)
	if err != nil {
		return err
	}
	who, err := s.opt.Directory.Resolve(ctx, username)
	if err != nil {
		return err
	}
	was := g.Members.Role(who.ID)
	switch {
	case was == chat.RoleNone:
		return nil
	case !g.Members.May(me.ID, who.ID, chat.RoleNone):
		return denied(op, refusal(mine, was, chat.RoleNone))
	}
	_, err = s.step(ctx, me, g, client, who, chat.RoleNone)
	return err
}

// step makes a step of somebody's membership durable, for every zone of the group, and for the one whom it is about.
func (s *Service) step(ctx context.Context, me chat.Owner, g *Group, client chat.ClientID, who chat.Owner, role chat.Role) (chat.Op, error) {
	owners := g.Owners()
	if zone := chat.GroupOwner(g.ID, who.Zone); !slices.Contains(owners, zone) {
		owners = append(owners, zone)
	}
	return s.submit(ctx, chat.Op{
		Kind: chat.OpMember, Author: me, Owners: append(owners, who), Client: client, Conversation: g.ID,
		Member: &chat.MemberChange{User: who, Role: role},
	}, g.Members.Newest())
}

// submit makes an op of a group durable. What was read of the group before is forgotten at once: the one who asked reads it
// next, perhaps before the marks cover it.
func (s *Service) submit(ctx context.Context, op chat.Op, after ...chat.MessageID) (chat.Op, error) {
	stamped, err := s.opt.Submitter.SubmitAfter(ctx, op, after...)
	s.Heard(op.Conversation, ^chat.HLC(0))
	return stamped, err
}

// Mine gives a group that user is in, and the role there. Errors: CodeUnknownConversation for who never was, CodeNotMember for
// who has left.
func (s *Service) Mine(ctx context.Context, op string, user chat.UserID, id chat.ConversationID) (*Group, chat.Role, error) {
	g, err := s.Group(ctx, id)
	if err != nil {
		return nil, chat.RoleNone, err
	}
	if len(g.Members.Spans(user)) == 0 {
		return nil, chat.RoleNone, unknown(op)
	}
	role := g.Members.Role(user)
	if role == chat.RoleNone {
		return nil, role, &chat.Error{Code: chat.CodeNotMember, Op: op, Message: "you are not in this group any more"}
	}
	return g, role, nil
}

// Member gives how somebody stands in the group now.
func (g *Group) Member(who chat.Owner) replication.Member {
	if named, ok := g.Members.User(who.ID); ok {
		who = named
	}
	return replication.Member{User: who, Role: g.Members.Role(who.ID), Since: g.Members.Since(who.ID)}
}

func (s *Service) checkName(op, name string) error {
	switch limit := s.opt.Limits.GroupNameBytes; {
	case strings.TrimSpace(name) == "":
		return invalid(op, "name is missing")
	case len(name) > limit:
		return &chat.Error{Code: chat.CodeTooLarge, Op: op, Message: fmt.Sprintf("name of %d bytes; at most %d are allowed", len(name), limit)}
	case strings.ContainsFunc(name, unicode.IsControl):
		return invalid(op, "name holds a control character")
	}
	return nil
}

func invalid(op, format string, args ...any) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: fmt.Sprintf(format, args...)}
}

func denied(op, message string) error {
	return &chat.Error{Code: chat.CodeDenied, Op: op, Message: message}
}
