package cassandra_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
	"meridian/region-node/cached"
	"meridian/store/redis"
	"meridian/store/storetest"
)

// nothing is a Metrics, and of inbox logs it tells what a node knows that has its region for itself, or one that shares it.
type nothing struct {
	mark  chat.HLC
	knows bool
}

func (nothing) Count(string, ...string)            {}
func (nothing) Set(string, float64, ...string)     {}
func (nothing) Observe(string, float64, ...string) {}
func (n nothing) Mark() chat.HLC                   { return n.mark }

func (n nothing) Since(chat.UserID, bool, chat.HLC) ([]chat.InboxRow, bool) { return nil, n.knows }

// none is a cache that has nothing.
type none struct{ chat.Cache }

func (none) Get(context.Context, chat.CacheKey) chat.Cached { return chat.Cached{} }

func (none) Set(context.Context, chat.CacheKey, chat.CacheLease, []byte) {}

const (
	benchMessages = 200
	benchPage     = 51
)

// What a page of 51 messages with its changes costs out of a node's memory (L1), its region's Redis (L2) and Cassandra (L3), with
// the question whether it is right: answered by the hub, or by reading the inbox log in Cassandra.
func BenchmarkPage(b *testing.B) {
	store, err := newPlace(b, storetest.DefaultConfig()).Open()
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	owner, peer, room, start := chat.UserID{1}, chat.UserID{2}, chat.ConversationID{3}, chat.HLCFromTime(time.Now())
	var batch chat.Batch
	for i := range benchMessages {
		at := start + chat.HLC(i)
		id := chat.NewMessageID(at, peer, chat.ClientID{byte(i)})
		batch.Messages = append(batch.Messages, chat.MessageRow{Owner: owner, OwnerZone: "eu", Conversation: room, ID: id, Sender: peer, SenderName: "Peer", Client: chat.ClientID{byte(i)}, Body: make([]byte, 150)})
		batch.Inbox = append(batch.Inbox, chat.InboxRow{Owner: owner, Arrival: at, Op: id, Kind: chat.InboxMessage, Conversation: room, Actor: peer, Ref: id})
	}
	done := make(chan error, 1)
	store.Commit(&batch, func(err error) { done <- err })
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	server := localtest.Redis(b, local.RedisOptions{})
	caches := map[string]chat.Cache{"L1": redisCache(b, server, 0), "L2": redisCache(b, server, 1), "L3": none{}} // of 1 byte: nothing fits
	for _, level := range []string{"L1", "L2", "L3"} {
		for _, knows := range []bool{true, false} {
			logs := nothing{start + 1000, knows}
			reads := cached.New(caches[level], logs).Reads(store, logs)
			b.Run(level+map[bool]string{true: "/hub", false: "/log"}[knows], func(b *testing.B) {
				for b.Loop() {
					readPage(b, reads, owner, room)
				}
			})
		}
	}
}

func readPage(b *testing.B, reads chat.Store, owner chat.UserID, room chat.ConversationID) {
	ctx := cached.Request(context.Background())
	rows, err := reads.Messages(ctx, owner, room, chat.NoMessage, benchPage)
	if err != nil || len(rows) != benchPage {
		b.Fatal(len(rows), err)
	}
	if _, err := reads.Changes(ctx, owner, room, rows[benchPage-1].ID, rows[0].ID, 10_000); err != nil {
		b.Fatal(err)
	}
}

// redisCache gives a cache with so many bytes of memory before it.
func redisCache(b *testing.B, server *local.Redis, bytes int) chat.Cache {
	password, err := server.Access().Password()
	if err != nil {
		b.Fatal(err)
	}
	secure, err := server.Access().TLS()
	if err != nil {
		b.Fatal(err)
	}
	c, err := redis.Open(redis.Options{
		Addresses: []string{server.Access().Address}, Password: password, TLS: secure, Region: "eu-west", Timeout: 5 * time.Second, CacheBytes: bytes,
		Log: slog.New(slog.DiscardHandler), Metrics: nothing{},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	for end := time.Now().Add(10 * time.Second); !c.Status().Up; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatal("Redis is not up within 10 s")
		}
	}
	return c.Cache()
}
