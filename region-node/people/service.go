package people

import (
	"context"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/groups"
)

// Submitter makes an op durable in this region and gives it as stamped. Errors are of type *chat.Error.
type Submitter interface {
	Submit(ctx context.Context, op chat.Op) (chat.Op, error)
}

// Directory finds people by name. The error has CodeUnknownUser when there is none.
type Directory interface {
	Resolve(ctx context.Context, username string) (chat.Owner, error)
}

// Store is what is read here of a region's memory.
type Store interface {
	chat.Mailboxes
	// Refusals is chat.Log's.
	Refusals(ctx context.Context, ops []chat.MessageID) ([]chat.RefusalRow, error)
}

// Options make a Service. All are needed.
type Options struct {
	Config   *config.Config
	Topology chat.Topology
	// Store gives bodies in the clear.
	Store     Store
	Submitter Submitter
	Directory Directory
	Groups    *groups.Service
}

// Service serves the people whose home zone this region is in. It is safe for concurrent use.
type Service struct{ opt Options }

// New makes a Service.
func New(opt Options) *Service { return &Service{opt: opt} }

// BlocksOf gives whom user blocks. Errors are the store's.
func (s *Service) BlocksOf(ctx context.Context, user chat.UserID) (*Blocks, error) {
	rows, err := s.opt.Store.Blocks(ctx, user)
	if err != nil {
		return nil, err
	}
	return NewBlocks(rows), nil
}

// blockSteps bounds the steps of blocking and unblocking that a person may leave behind, per contact allowed.
const blockSteps = 4

// PutBlock hides what username does from now on; who is blocked already stays so. Errors: CodeUnknownUser, CodeInvalid for
// oneself or one too many, and those of the submit.
func (s *Service) PutBlock(ctx context.Context, me chat.Owner, username string) error {
	return s.setBlock(ctx, "people.Service.PutBlock", me, username, true)
}

// DeleteBlock ends a block; none is no error. What was hidden stays hidden. Errors as PutBlock.
func (s *Service) DeleteBlock(ctx context.Context, me chat.Owner, username string) error {
	return s.setBlock(ctx, "people.Service.DeleteBlock", me, username, false)
}

func (s *Service) setBlock(ctx context.Context, op string, me chat.Owner, username string, on bool) error {
	other, err := s.other(ctx, op, me, username)
	if err != nil {
		return err
	}
	blocks, err := s.BlocksOf(ctx, me.ID)
	if err != nil || blocks.Now(other.ID) == on {
		return err
	}
	if limit := s.opt.Config.Limits.ContactsPerUser; on && (len(blocks.List()) >= limit || blocks.count() >= blockSteps*limit) {
		return tooMany(op, "blocks", limit)
	}
	// The other is never told, so the op concerns no other zone.
	_, err = s.opt.Submitter.Submit(ctx, chat.Op{
		Kind: chat.OpBlock, Author: me, Owners: []chat.Owner{me}, Client: chat.ClientID(uuid.New()),
		Block: &chat.BlockChange{By: me, User: other, On: on},
	})
	return err
}
