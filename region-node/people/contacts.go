package people

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/residency"
)

// State is how two people stand to each other, in the words of the client protocol.
type State string

// The states of a contact.
const (
	StateNone     State = "none"
	StateOutgoing State = "outgoing" // the owner asked
	StateIncoming State = "incoming" // the other asked
	StateAccepted State = "accepted" // both did
)

// Contact is a person's contact. Since is the time of the newest wish that made the state.
type Contact struct {
	User  chat.Owner
	State State
	Since chat.HLC
}

// StateOf gives the state that the up to two halves of a contact make.
func StateOf(halves []chat.ContactRow) State { return contactOf(halves).State }

// contactOf joins the halves of one other person's contact. The name is the one the other gave, where he said something.
func contactOf(halves []chat.ContactRow) Contact {
	c := Contact{State: StateNone}
	mine, theirs := false, false
	for _, half := range halves {
		if half.Theirs || c.User.Name == "" {
			c.User = half.Other
		}
		if !half.Want {
			continue
		}
		c.Since = max(c.Since, half.Version)
		mine, theirs = mine || !half.Theirs, theirs || half.Theirs
	}
	switch {
	case mine && theirs:
		c.State = StateAccepted
	case mine:
		c.State = StateOutgoing
	case theirs:
		c.State = StateIncoming
	}
	return c
}

// contactScan is how many others are read at once while looking for the ones that are contacts.
const contactScan = 500

// Contacts gives user's contacts with an id after the given one, ascending by id, at most limit. next, if not zero, is
// where to go on. Errors are the store's.
func (s *Service) Contacts(ctx context.Context, user, after chat.UserID, limit int) (list []Contact, next chat.UserID, err error) {
	for {
		rows, err := s.opt.Store.Contacts(ctx, user, after, contactScan)
		if err != nil || len(rows) == 0 {
			return list, chat.NoUser, err
		}
		for len(rows) > 0 {
			n := 1
			for n < len(rows) && rows[n].Other.ID == rows[0].Other.ID {
				n++
			}
			if c := contactOf(rows[:n]); c.State != StateNone {
				if len(list) == limit {
					return list, list[limit-1].User.ID, nil
				}
				list = append(list, c)
			}
			after = rows[0].Other.ID
			rows = rows[n:]
		}
	}
}

// contactCount counts user's contacts, up to limit.
func (s *Service) contactCount(ctx context.Context, user chat.UserID, limit int) (int, error) {
	list, _, err := s.Contacts(ctx, user, chat.NoUser, limit)
	return len(list), err
}

// Contact gives how me stands to other.
func (s *Service) Contact(ctx context.Context, me chat.UserID, other chat.Owner) (Contact, error) {
	halves, err := s.opt.Store.Contact(ctx, me, other.ID)
	if err != nil {
		return Contact{}, err
	}
	c := contactOf(halves)
	if len(halves) == 0 {
		c.User = other
	}
	return c, nil
}

// PutContact asks username to be a contact of me, or accepts what he asked. Errors: CodeUnknownUser, CodeInvalid for
// oneself or one too many, CodeBlocked, CodeDenied when a zone's policy is against it, and those of the submit.
func (s *Service) PutContact(ctx context.Context, me chat.Owner, username string) (Contact, error) {
	const op = "people.Service.PutContact"
	other, err := s.other(ctx, op, me, username)
	if err != nil {
		return Contact{}, err
	}
	now, err := s.Contact(ctx, me.ID, other)
	if err != nil || now.State == StateOutgoing || now.State == StateAccepted {
		return now, err
	}
	if err := residency.Write(s.opt.Topology, me.Zone, other.Zone).Err(op); err != nil {
		return Contact{}, err
	}
	blocks, err := s.BlocksOf(ctx, me.ID)
	if err != nil {
		return Contact{}, err
	}
	if blocks.Now(other.ID) {
		return Contact{}, &chat.Error{Code: chat.CodeBlocked, Op: op, Message: "you blocked this user: unblock first"}
	}
	if now.State == StateNone {
		limit := s.opt.Config.Limits.ContactsPerUser
		if n, err := s.contactCount(ctx, me.ID, limit); err != nil {
			return Contact{}, err
		} else if n >= limit {
			return Contact{}, tooMany(op, "contacts", limit)
		}
	}
	if err := s.wish(ctx, me, other, true); err != nil {
		return Contact{}, err
	}
	return s.Contact(ctx, me.ID, other)
}

// DeleteContact ends the contact, or refuses what the other asked; none is no error. Errors: CodeUnknownUser, CodeInvalid
// for oneself, and those of the submit.
func (s *Service) DeleteContact(ctx context.Context, me chat.Owner, username string) error {
	other, err := s.other(ctx, "people.Service.DeleteContact", me, username)
	if err != nil {
		return err
	}
	now, err := s.Contact(ctx, me.ID, other)
	if err != nil || now.State == StateNone {
		return err
	}
	return s.wish(ctx, me, other, false)
}

// wish makes a change of me's half durable. The other's zone is told where the policy of me's lets it; where it does not,
// which only an end can meet, it ends on me's side alone.
func (s *Service) wish(ctx context.Context, me, other chat.Owner, want bool) error {
	owners := []chat.Owner{me}
	if residency.Write(s.opt.Topology, me.Zone, other.Zone).Allowed() {
		owners = append(owners, other)
	}
	_, err := s.opt.Submitter.Submit(ctx, chat.Op{
		Kind: chat.OpContact, Author: me, Owners: owners, Client: chat.ClientID(uuid.New()),
		Contact: &chat.ContactChange{From: me, To: other, Want: want},
	})
	return err
}

// other resolves a name to somebody else.
func (s *Service) other(ctx context.Context, op string, me chat.Owner, username string) (chat.Owner, error) {
	other, err := s.opt.Directory.Resolve(ctx, username)
	if err == nil && other.ID == me.ID {
		err = &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "username is your own"}
	}
	return other, err
}

func tooMany(op, what string, limit int) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: fmt.Sprintf("at most %d %s are allowed", limit, what)}
}
