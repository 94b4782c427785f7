package events

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"sync"

	"github.com/redis/rueidis"

	"meridian/chat"
)

// DefaultMaxLen is how many events a Redis stream keeps: the oldest go, read or not.
const DefaultMaxLen = 1_000_000

// RedisOptions say where a Redis is.
type RedisOptions struct {
	Address        string // host:port
	User, Password string
	TLS            *tls.Config
	// Name is the stream's key; "": DefaultName. MaxLen bounds it, roughly; 0: DefaultMaxLen.
	Name   string
	MaxLen int64
}

// Redis is a chat.Events over a Redis stream. It connects when it must, again after each loss.
type Redis struct {
	o RedisOptions

	mu     sync.Mutex // one Publish at a time
	client rueidis.Client
	closed bool
}

// OpenRedis connects. Errors: CodeRegionDegraded with RetryAfter when the server does not answer or refuses, CodeInvalid for one that
// confirms what is not on its disk.
func OpenRedis(ctx context.Context, o RedisOptions) (*Redis, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.MaxLen == 0 {
		o.MaxLen = DefaultMaxLen
	}
	r := &Redis{o: o}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Redis) connect(ctx context.Context) error {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{r.o.Address}, Username: r.o.User, Password: r.o.Password, TLSConfig: r.o.TLS, ClientName: "meridian-events",
		Dialer: net.Dialer{Timeout: dialWithin, KeepAlive: heartbeat}, ConnWriteTimeout: publishWithin,
		DisableCache: true, DisableRetry: true, ForceSingleClient: true, PipelineMultiplex: -1, // one connection: its order is that of events
	})
	if err == nil {
		if err = refuseUnsynced(ctx, client); err == nil {
			r.client = client
			return nil
		}
		client.Close()
	}
	if chat.CodeOf(err) == chat.CodeInvalid {
		return err
	}
	return unavailable("events.Redis", "the stream's Redis cannot be worked with", err)
}

// refuseUnsynced refuses a server that answers before the write is on its disk: with appendfsync everysec a kill takes what was
// confirmed in the last second or two, and nobody would publish it again.
func refuseUnsynced(ctx context.Context, client rueidis.Client) error {
	have, err := client.Do(ctx, client.B().ConfigGet().Parameter("appendonly", "appendfsync").Build()).AsStrMap()
	if err != nil {
		return err
	}
	if have["appendonly"] != "yes" || have["appendfsync"] != "always" {
		return &chat.Error{
			Code: chat.CodeInvalid, Op: "events.OpenRedis",
			Message: "Redis runs with appendonly " + have["appendonly"] + " and appendfsync " + have["appendfsync"] +
				" and may lose what it has confirmed: set appendonly yes and appendfsync always, or give events a Redis of their own",
		}
	}
	return nil
}

// Publish implements chat.Events.
func (r *Redis) Publish(ctx context.Context, events []chat.Event) error {
	const op = "events.Redis.Publish"
	if err := checkCount(op, events); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return unavailable(op, "the connection is closed", nil)
	}
	if r.client == nil {
		if err := r.connect(ctx); err != nil {
			return err
		}
	}
	commands := make(rueidis.Commands, 0, len(events))
	for i := range events {
		body, err := Encode(&events[i])
		if err != nil {
			return err
		}
		commands = append(commands, r.client.B().Xadd().Key(r.o.Name).Maxlen().Almost().Threshold(strconv.FormatInt(r.o.MaxLen, 10)).
			Id("*").FieldValue().FieldValue("id", events[i].ID).FieldValue("type", string(events[i].Type)).FieldValue("event", string(body)).Build())
	}
	for _, result := range r.client.DoMulti(ctx, commands...) {
		if err := result.Error(); err != nil {
			r.drop() // what is on the way must not come after what is sent next
			return unavailable(op, "Redis has not confirmed", err)
		}
	}
	return nil
}

func (r *Redis) drop() {
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
}

// Close implements chat.Events.
func (r *Redis) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.drop()
	return nil
}
