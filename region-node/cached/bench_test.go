package cached

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
	"meridian/replication/link"
	"meridian/store/embedded"
	"meridian/store/memory"
	"meridian/store/redis"
)

// nothing is a Metrics.
type nothing struct{}

func (nothing) Count(string, ...string)            {}
func (nothing) Set(string, float64, ...string)     {}
func (nothing) Observe(string, float64, ...string) {}

// uncached is a cache that has nothing: every page comes from the store.
type uncached struct{ chat.Cache }

func (uncached) Get(context.Context, chat.CacheKey) chat.Cached { return chat.Cached{} }

// benchLogs knows, as the hub of a node that has its region for itself, or does not, as that of one that shares it.
type benchLogs struct {
	mark  chat.HLC
	knows bool
}

func (l benchLogs) Mark() chat.HLC { return l.mark }

func (l benchLogs) Since(chat.UserID, bool, chat.HLC) ([]chat.InboxRow, bool) { return nil, l.knows }

// What a page of 51 messages costs with its changes, by where it comes from, with the question whether it is right: answered by the
// hub, or by reading the inbox log.
func BenchmarkPage(b *testing.B) {
	store, err := embedded.Open(embedded.Options{
		Dir: b.TempDir(), Region: "us-east", Node: "n1", Codec: link.OpCodec{}, ReserveBytes: 1 << 20,
		Retention: embedded.Retention{Inbox: time.Hour, OpLog: time.Hour, Retries: time.Hour},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	var batch chat.Batch
	start := chat.HLCFromTime(time.Now())
	for i := range 200 {
		at := start + chat.HLC(i)
		id := chat.NewMessageID(at, peer, chat.ClientID{byte(i)})
		batch.Messages = append(batch.Messages, chat.MessageRow{Owner: owner, OwnerZone: "eu", Conversation: rooms[0], ID: id, Sender: peer, SenderName: "Peer", Client: chat.ClientID{byte(i)}, Body: make([]byte, 150)})
		batch.Inbox = append(batch.Inbox, chat.InboxRow{Owner: owner, Arrival: at, Op: id, Kind: chat.InboxMessage, Conversation: rooms[0], Actor: peer, Ref: id})
	}
	done := make(chan error, 1)
	store.Commit(&batch, func(err error) { done <- err })
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	server := localtest.Redis(b, local.RedisOptions{})
	open := func(bytes int) chat.Cache {
		password, err := server.Access().Password()
		if err != nil {
			b.Fatal(err)
		}
		secure, err := server.Access().TLS()
		if err != nil {
			b.Fatal(err)
		}
		c, err := redis.Open(redis.Options{Addresses: []string{server.Access().Address}, Password: password, TLS: secure, Region: "eu-west", Timeout: 5 * time.Second, CacheBytes: bytes, Log: slog.New(slog.DiscardHandler), Metrics: nothing{}})
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
	caches := []struct {
		name  string
		cache chat.Cache
	}{{"L1memory", memory.NewCache(1<<20, nil)}, {"L1redis", open(0)}, {"L2redis", open(1)}, {"L3embedded", uncached{memory.NewCache(1<<20, nil)}}}
	for _, logs := range []benchLogs{{start + 1000, true}, {start + 1000, false}} {
		for _, c := range caches {
			name := c.name + map[bool]string{true: "/hub", false: "/log"}[logs.knows]
			reads := New(c.cache, nothing{}).Reads(store, logs)
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					ctx := Request(context.Background())
					rows, err := reads.Messages(ctx, owner, rooms[0], chat.NoMessage, pageRows)
					if err != nil || len(rows) != pageRows {
						b.Fatal(len(rows), err)
					}
					if _, err := reads.Changes(ctx, owner, rooms[0], rows[pageRows-1].ID, rows[0].ID, 10_000); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
