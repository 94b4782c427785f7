package chat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
)

// AccountStore keeps accounts and sessions apart from the rest of a region's store. Every implementation passes
// storetest.RunAccounts. All methods are safe for concurrent use.
//
// Errors: CodeRegionDegraded with RetryAfter when the store does not answer or ctx ends, CodeInvalid for a row that it can never
// take. Reads see what Save has returned for.
type AccountStore interface {
	Accounts

	// Save makes rows durable, all or none, as Batch's of the same names: the newest version stands as a whole (Account.Compare,
	// Session.Compare), but for Session.Revoked, which never goes back. Saved twice, or in another order, they end alike. After
	// an error with CodeUnknownOutcome they may be stored; after another nothing is.
	Save(ctx context.Context, accounts []Account, sessions []Session) error
	// AccountOwners gives who has an account here, ascending by id, those after the given one (NoUser: from the first), at most
	// limit (1 to 1000).
	AccountOwners(ctx context.Context, after UserID, limit int) ([]OwnerRow, error)
	// Close ends the store's connections; what comes later is refused with CodeRegionDegraded.
	Close() error
}

// Compare says which of two rows of one account stands: the larger. Of two of one Version, which no region should write, the
// larger encoding does, as every store decides alike.
func (a *Account) Compare(b *Account) int {
	return cmp.Or(cmp.Compare(a.Version, b.Version), bytes.Compare(a.Encoded(), b.Encoded()))
}

// Encoded gives the row as stores keep and compare it: JSON with the fields in the order of the type.
func (a *Account) Encoded() []byte { return encoded(a) }

// Compare says which of two rows of one session stands, Revoked apart: the larger.
func (s *Session) Compare(b *Session) int {
	return cmp.Or(cmp.Compare(s.Version, b.Version), bytes.Compare(s.Encoded(), b.Encoded()))
}

// Encoded gives the row as stores keep and compare it, without Revoked, which has a rule of its own.
func (s *Session) Encoded() []byte {
	plain := *s
	plain.Revoked = false
	return encoded(&plain)
}

// Merge gives what stands of two rows of one session.
func (s *Session) Merge(b *Session) Session {
	stands := *s
	if s.Compare(b) < 0 {
		stands = *b
	}
	stands.Revoked = s.Revoked || b.Revoked
	return stands
}

func encoded(row any) []byte {
	b, err := json.Marshal(row)
	if err != nil {
		panic(err) // accounts and sessions have only fields that JSON knows
	}
	return b
}
