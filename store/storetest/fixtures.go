package storetest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"meridian/chat"
)

// epoch is when the tests' times start.
var epoch = chat.HLCFromTime(time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC))

// uuid gives the n-th id of a kind.
func uuid(kind string, n int) (id chat.UUID) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(kind), uint64(n)))
	copy(id[:], sum[:])
	return id
}

func user(n int) chat.UserID                 { return chat.UserID(uuid("user", n)) }
func conversation(n int) chat.ConversationID { return chat.ConversationID(uuid("conversation", n)) }
func client(n int) chat.ClientID             { return chat.ClientID(uuid("client", n)) }

func at(n int) chat.HLC { return epoch + chat.HLC(n) }

// message gives the id of the n-th message.
func message(n int) chat.MessageID { return chat.NewMessageID(at(n), user(n%3), client(n)) }

func stream(inc chat.Incarnation) chat.StreamID {
	return chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: inc}
}

func peer(n int) chat.Owner {
	return chat.Owner{ID: user(n), Zone: "world", Name: fmt.Sprintf("user%d", n)}
}

func messageRow(owner, conv, n int) chat.MessageRow {
	return chat.MessageRow{
		Owner: user(owner), OwnerZone: "world", Conversation: conversation(conv), ID: message(n), Sender: user(n % 3),
		SenderName: "ann", Client: client(n), Body: fmt.Appendf(nil, "text %d", n),
	}
}

func logRow(n int, seq uint64, to ...chat.Region) chat.LogRow {
	return chat.LogRow{Op: chat.Op{
		ID: message(n), Kind: chat.OpMessage, Time: at(n), Logged: at(n), Stream: stream(1), Seq: seq, Author: peer(n % 3),
		Owners: []chat.Owner{peer(n % 3), peer(7)}, To: to, Client: client(n), Conversation: conversation(1),
		Body: fmt.Appendf(nil, "text %d", n), BodyHash: sha256.Sum256(fmt.Appendf(nil, "text %d", n)),
	}}
}

// sendBatch is what the n-th send writes, n from 1: rows in several tables that must all be there, or none.
func sendBatch(n int) *chat.Batch {
	id := message(n)
	b := &chat.Batch{
		Log: []chat.LogRow{logRow(n, uint64(n), "us-east")},
		Rows: chat.Rows{
			Messages: []chat.MessageRow{messageRow(1, 1, n), messageRow(2, 1, n)},
			Retries: []chat.RetryRow{{
				Sender: user(n % 3), Client: client(n), Conversation: conversation(1),
				BodyHash: sha256.Sum256(fmt.Appendf(nil, "text %d", n)), ID: id, Stream: stream(1), Seq: uint64(n),
			}},
			Marks: []chat.MarkRow{{Owner: user(1), Mark: chat.Mark{Conversation: conversation(1), User: user(1), Kind: chat.MarkRead, UpTo: id}}},
		},
	}
	for owner := 1; owner <= 2; owner++ {
		b.Inbox = append(b.Inbox, chat.InboxRow{
			Owner: user(owner), Arrival: at(n), Op: id, Kind: chat.InboxMessage, Conversation: conversation(1), Actor: user(n % 3), Ref: id,
		})
		b.Conversations = append(b.Conversations, chat.ConversationRow{Owner: user(owner), ID: conversation(1), Peer: peer(3 - owner), Last: id})
	}
	return b
}

// sendStored counts how many of the rows that only the n-th send writes are there, of sendRows.
func sendStored(s chat.Store, n int) (rows int, err error) {
	for owner := 1; owner <= 2; owner++ {
		want := messageRow(owner, 1, n)
		m, ok, err := s.Message(ctx, want.Owner, want.Conversation, want.ID)
		if err != nil {
			return rows, err
		}
		if ok {
			if string(m.Body) != string(want.Body) {
				return rows, fmt.Errorf("send %d: the body is %q", n, m.Body)
			}
			rows++
		}
		in, err := s.Inbox(ctx, user(owner), at(n)-1, at(n), 10)
		if err != nil {
			return rows, err
		}
		rows += len(in)
	}
	ops, err := s.ReadLog(ctx, stream(1), uint64(n)-1, uint64(n), "", 10)
	if err != nil {
		return rows, err
	}
	retries, err := s.Retries(ctx, user(n%3), client(n))
	return rows + len(ops) + len(retries), err
}

const sendRows = 6
