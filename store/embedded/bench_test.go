package embedded_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"meridian/chat"
	"meridian/store/embedded"
	"meridian/store/storetest"
)

// benchCodec packs what a body of 200 bytes needs, so that the benchmark measures the store and not JSON.
type benchCodec struct{ storetest.JSONCodec }

func (benchCodec) Append(dst []byte, op *chat.Op) []byte {
	return append(append(append(dst, op.ID[:]...), op.BodyHash[:]...), op.Body...)
}

// opBatch is everything that one direct message writes: op log, two mailboxes, two inbox logs, retry key, two
// conversations.
func opBatch(n uint64) *chat.Batch {
	var sender, peer chat.UserID
	binary.BigEndian.PutUint64(sender[:], n%5000)
	binary.BigEndian.PutUint64(peer[8:], n%5000)
	var client chat.ClientID
	binary.BigEndian.PutUint64(client[:], n)
	now := chat.HLC(1_700_000_000_000_000 + n)
	id, conv := chat.NewMessageID(now, sender, client), chat.DirectConversation(sender, peer)
	stream := chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 1}
	body := make([]byte, 200)
	hash := sha256.Sum256(body)
	b := &chat.Batch{
		Log: []chat.LogRow{{Op: chat.Op{
			ID: id, Kind: chat.OpMessage, Time: now, Stream: stream, Seq: n, To: []chat.Region{"ap-south", "us-east"},
			Client: client, Conversation: conv, Body: body, BodyHash: hash,
		}}},
		Rows: chat.Rows{
			Retries: []chat.RetryRow{{Sender: sender, Client: client, Conversation: conv, BodyHash: hash, ID: id, Stream: stream, Seq: n}},
		},
	}
	for _, owner := range []chat.UserID{sender, peer} {
		b.Messages = append(b.Messages, chat.MessageRow{Owner: owner, OwnerZone: "world", Conversation: conv, ID: id, Sender: sender, SenderName: "ann", Client: client, Body: body})
		b.Inbox = append(b.Inbox, chat.InboxRow{Owner: owner, Arrival: now, Op: id, Kind: chat.InboxMessage, Conversation: conv, Actor: sender, Ref: id})
		b.Conversations = append(b.Conversations, chat.ConversationRow{Owner: owner, ID: conv, Peer: chat.Owner{ID: peer, Zone: "world", Name: "bob"}, Last: id})
	}
	return b
}

func benchStore(b *testing.B) *embedded.Store {
	s, err := embedded.Open(embedded.Options{Dir: b.TempDir(), Region: "eu-west", Node: "n1", Codec: benchCodec{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// cpu reports the processor time of this process per million operations, which a busy machine changes little.
func cpu(b *testing.B) (report func()) {
	used := func() float64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	before := used()
	return func() { b.ReportMetric((used()-before)/float64(b.N)*1e6, "cpu-s/1M") }
}

// BenchmarkCommit: so many writers, each waiting for its commit; one commit is one direct message, 8 rows.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(writers, "_writers"), func(b *testing.B) {
			s := benchStore(b)
			var next atomic.Uint64
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			defer cpu(b)()
			for range writers {
				all.Go(func() {
					done := make(chan error, 1)
					for {
						n := next.Add(1)
						if n > uint64(b.N) {
							return
						}
						s.Commit(opBatch(n), func(err error) { done <- err })
						if err := <-done; err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkPage reads the newest 50 messages of a conversation, of 200.
func BenchmarkPage(b *testing.B) {
	s := benchStore(b)
	for n := range 200 {
		if err := storetest.Commit(s, send(n, 200)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		if _, err := s.Messages(ctx, user(1), chat.NoConversation, chat.NoMessage, 50); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRetries looks up a send that is not there among 100,000.
func BenchmarkRetries(b *testing.B) {
	s := benchStore(b)
	for n := uint64(1); n < 100_000; n++ {
		s.Commit(opBatch(n), func(error) {})
		if n%1000 == 0 {
			if err := storetest.Commit(s, opBatch(n)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	defer cpu(b)()
	for b.Loop() {
		if _, err := s.Retries(ctx, user(1), chat.ClientID{9}); err != nil {
			b.Fatal(err)
		}
	}
}
