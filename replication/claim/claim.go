// Package claim decides whose a username is: a pure state machine that every region runs, as a shell's core or in the
// simulation. A sign-up holds the name at the region that owns its slot, then at a majority of regions; then it is confirmed by
// an op that goes to every region, and answered when a majority of regions has it as confirmed. Two majorities share a region,
// so no two sign-ups of one name are ever answered with success.
//
// A Core starts nothing and reads no clock: Step takes what happened and gives what is to be done, in order.
package claim

import (
	"time"

	"meridian/chat"
)

// The times of directory work.
const (
	// PendingTTL: a reservation that nobody has confirmed for so long may make way for another sign-up, once every region has
	// said that the sign-up behind it has ended without success.
	PendingTTL = 24 * time.Hour
	// LookupTimeout bounds finding a name that is not known here.
	LookupTimeout = time.Second
	// AliveTimeout bounds asking a region whether a sign-up has ended.
	AliveTimeout = time.Second
	// ReleaseTimeout is how long a failed sign-up waits until what it held is given back; what is not goes on in the background,
	// tried every ReleaseRetry for ReleaseFor.
	ReleaseTimeout = time.Second
	ReleaseRetry   = 5 * time.Second
	ReleaseFor     = 10 * time.Minute
	// MaxReleases bounds what is given back in the background; more is free again after PendingTTL.
	MaxReleases = 4096
	// RetryAfter is what a caller waits where regions are missing.
	RetryAfter = time.Second
)

// Config is what a Core is told once.
type Config struct {
	Self     chat.Region
	Topology chat.Topology
	// Timeout bounds holding a name, and confirming it.
	Timeout time.Duration
}

// Kind says what is asked of a region's directory.
type Kind uint8

// The questions.
const (
	AskReserve Kind = iota + 1 // reserve Claim; the answer is the entry that stands
	AskRelease                 // remove Claim if it is pending; the answer is empty
	AskLookup                  // the entry of Claim.Key
	AskAlive                   // may Claim.Attempt be confirmed here yet, or is the name? the entry that says so, or empty: never
	AskConfirm                 // store Claim as confirmed; the answer is the entry that stands
)

// Ask is a question to a region's directory. Of AskLookup only Claim.Key counts.
type Ask struct {
	Kind  Kind
	Claim chat.Claim
}

// Result is what came of store work, a call or a request: an entry, no entry, or an error of type *chat.Error.
type Result struct {
	Claim   chat.Claim
	Found   bool
	Brought int // of Mend: the regions that have the entry now, and had not
	Err     error
}

func (r Result) confirmed() bool { return r.Err == nil && r.Found && !r.Claim.Pending }

// Input is something that happened.
type Input interface{ input() }

// The inputs. Tokens and request ids are the shell's; ids of work are the core's.
type (
	// Claim: a sign-up in this region wants a name. An Answer says that it is held; then the shell makes the account and the op
	// that confirms the name durable, and says what came of it by Settle, however long that takes: while nobody knows, the name
	// stays held.
	Claim struct {
		Token uint64
		Claim chat.Claim
	}
	// Settle: the op that confirms a held name is durable, or, with Err, is not and will never be. Another Answer follows.
	Settle struct {
		Token uint64
		Claim chat.Claim // as the op confirms it
		Err   error      // what the Answer shall say, once the name is given back
	}
	// Cancel: nobody waits for the name any more. It is given back if it is not held yet; an Answer follows.
	Cancel struct{ Token uint64 }
	// Lookup: whose is the name? An Answer follows.
	Lookup struct {
		Token uint64
		Key   chat.ClaimKey
	}
	// Mend: give the entry that is confirmed here, or by a majority, to the regions that lack it. An Answer follows: without an
	// entry, when there is none such; CodeDenied, when this region may not speak for its zone; CodeVersionConflict, when others have another.
	Mend struct {
		Token uint64
		Key   chat.ClaimKey
	}
	// Done: store work or a call has ended; each does, once.
	Done struct {
		ID     uint64
		Result Result
	}
	// Request: another region asks. A Reply follows.
	Request struct {
		ID   uint64
		From chat.Region
		Ask  Ask
	}
	// Tick: time has passed. See Core.Wake.
	Tick struct{}
)

func (Claim) input()   {}
func (Settle) input()  {}
func (Cancel) input()  {}
func (Lookup) input()  {}
func (Mend) input()    {}
func (Done) input()    {}
func (Request) input() {}
func (Tick) input()    {}

// Output is something to be done.
type Output interface{ output() }

// The outputs. All work with an ID is answered by Done, in any order.
type (
	// StoreReserve is chat.Directory.Reserve.
	StoreReserve struct {
		ID    uint64
		Claim chat.Claim
	}
	// StoreRelease is chat.Directory.Release.
	StoreRelease struct {
		ID      uint64
		Key     chat.ClaimKey
		Attempt chat.UUID
	}
	// StoreClaim is chat.Directory.Claim.
	StoreClaim struct {
		ID  uint64
		Key chat.ClaimKey
	}
	// StoreConfirm commits a batch with this confirmed claim.
	StoreConfirm struct {
		ID    uint64
		Claim chat.Claim
	}
	// Call asks another region; it fails after Timeout.
	Call struct {
		ID      uint64
		Region  chat.Region
		Ask     Ask
		Timeout time.Duration
	}
	// Answer is for who gave the token.
	Answer struct {
		Token  uint64
		Result Result
	}
	// Reply answers a Request.
	Reply struct {
		ID     uint64
		Result Result
	}
)

func (StoreReserve) output() {}
func (StoreRelease) output() {}
func (StoreClaim) output()   {}
func (StoreConfirm) output() {}
func (Call) output()         {}
func (Answer) output()       {}
func (Reply) output()        {}
