// Package history records what clients of a deployment did and saw, and judges it by the promises of docs/GUARANTEES.md:
// what was acknowledged stands exactly once in every mailbox that must have it, nothing was invented or altered, everybody
// has one order, and what a client was shown is what its mailbox holds.
package history

import (
	"bytes"
	"encoding/hex"
	"strings"
	"time"
)

// Outcome is what the sender of a message knows in the end.
type Outcome int

// The outcomes. Unknown: no answer came; the message may exist or not, but alike everywhere.
const (
	Unknown Outcome = iota
	Acked
	Failed
)

// Send is one send of one client.
type Send struct {
	ClientID  string
	Sender    string // user id
	Recipient string // user id; empty for a message to Group
	Group     string // conversation id
	Text      string
	Invoked   time.Duration
	// Seq counts the sends of this sender to this recipient or group, from 1.
	Seq     int
	ReplyTo string // client id of the message that this one answers; empty: none
	Outcome Outcome
	// AckedID is the message id that the sender knows in the end, after aliases.
	AckedID string
}

// Message is one message as a mailbox or a view shows it.
type Message struct {
	ID           string
	Conversation string
	Sender       string // user id
	ClientID     string
	Text         string
	Deleted      bool
	Reactions    map[string][]string // user ids by emoji
}

// Mailbox is what one region answers to one owner for one conversation, oldest first.
type Mailbox struct {
	Owner        string // user id
	Peer         string // user id; empty in a group
	Region       string
	Conversation string
	Messages     []Message
}

// View is what one client was shown of all conversations, live and after resumes, since it began or since its last reset.
type View struct {
	Owner string
	// IDs are the messages it shows in the end.
	IDs []string
	// Repeats are messages that it was shown twice.
	Repeats []string
	// Left are groups that the owner was removed from: what is in them, and what was shown of them, need not be the same.
	Left []string
}

// History is a whole run.
type History struct {
	// Homes gives for each user the regions of the home zone: each must have the user's mailboxes.
	Homes map[string][]string
	// Groups gives for each group the members that it has from the first message to the last.
	Groups   map[string][]string
	Sends    []Send
	Changes  []Change
	Removals []Removal
	Pushes   []Push
	// Mailboxes are read when everything is quiet: each conversation of each user from each region of Homes.
	Mailboxes []Mailbox
	Views     []View
}

// CompareIDs orders message ids as people see them: the 60-bit time first, then the low eight bytes as signed bytes.
// It is written again here, so that a wrong order in a server or client is not judged by itself.
func CompareIDs(a, b string) int {
	x, y := order(a), order(b)
	return bytes.Compare(x, y)
}

func order(id string) []byte {
	u, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(u) != 16 {
		return []byte(id)
	}
	o := []byte{u[6] & 0x0f, u[7], u[4], u[5], u[0], u[1], u[2], u[3]}
	for _, b := range u[8:] {
		o = append(o, b^0x80)
	}
	return o
}
