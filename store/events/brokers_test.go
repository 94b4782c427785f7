package events_test

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/rueidis"

	"meridian/chat"
	"meridian/deploy/local"
	"meridian/store/events"
	"meridian/store/storetest"
)

// The real brokers of these tests; each test has a stream or a queue of its own.
var (
	rabbit *local.RabbitMQ
	redis  *local.Redis
	// How clients make sure of them.
	rabbitTLS, redisTLS *tls.Config
	queues, streams     atomic.Int64
)

// Real brokers run as long as the tests.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(withBrokers(m))
}

func withBrokers(m *testing.M) int {
	if testing.Short() {
		return m.Run() // what needs a broker is left out
	}
	dir, remove, err := local.Scratch("brokers")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer remove()
	if err := startBrokers(dir); err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _, _ = rabbit.Kill(), redis.Kill() }()
	return m.Run()
}

func startBrokers(dir string) (err error) {
	if rabbit, err = local.NewRabbitMQ(dir+"/rabbitmq", nil); err != nil {
		return err
	}
	if redis, err = local.NewRedis(local.RedisOptions{Dir: dir + "/redis", Synced: true}); err != nil {
		return err
	}
	if rabbitTLS, err = local.Trust(rabbit.CAFile); err != nil {
		return err
	}
	if redisTLS, err = redis.Access().TLS(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := redis.Start(ctx); err != nil {
		return err
	}
	if err := rabbit.Start(ctx); err != nil {
		return err
	}
	return makeQueues(ctx)
}

// queuesMade is how many queues there are for tests that ask RabbitMQ for one.
const queuesMade = 8

// patience bounds what a broker takes that has just been started, on a busy machine.
const patience = 2 * time.Minute

// again does something until it succeeds, for a while.
func again(do func() error) (err error) {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if err = do(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// makeQueues makes the tests' queues and ends the broker in good order: RabbitMQ writes down only then, or minutes later, that it
// has a new quorum queue, and after a kill has it without a leader.
func makeQueues(ctx context.Context) error {
	for n := range queuesMade {
		if err := makeQueue(ctx, queueName(n+1)); err != nil {
			return err
		}
	}
	return rabbit.Restart(ctx)
}

func makeQueue(ctx context.Context, name string) error {
	var e *events.Rabbit
	err := again(func() (err error) {
		e, err = events.OpenRabbit(ctx, events.RabbitOptions{URL: rabbit.URL(), TLS: rabbitTLS, Name: name})
		return err
	})
	if err != nil {
		return err
	}
	return e.Close()
}

func queueName(n int) string { return fmt.Sprintf("queue%d", n) }

// server is a broker's process.
type server interface {
	Start(ctx context.Context) error
	Kill() error
}

// place is what both brokers' places have.
type place struct {
	t      testing.TB
	name   string
	server server
}

func (p *place) Kill() {
	p.t.Helper()
	if err := p.server.Kill(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) Start() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if err := p.server.Start(ctx); err != nil {
		p.t.Fatal(err)
	}
}

func needsBroker(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a broker")
	}
}

type rabbitPlace struct {
	place
	ids, bodies []string // taken from the queue
}

func newRabbit(t testing.TB) storetest.EventsPlace {
	needsBroker(t)
	n := int(queues.Add(1))
	p := &rabbitPlace{place: place{t, queueName(n), rabbit}}
	if n > queuesMade {
		if err := makeQueue(t.Context(), p.name); err != nil {
			t.Fatal(err)
		}
		p.restart("so that it keeps one more queue through a kill")
	}
	return p
}

// restart ends the broker in good order and starts it: RabbitMQ 3.10 writes the name of a new quorum queue down only minutes later, or when it
// ends so. Killed before, it may bring the queue back without a leader.
func (p *rabbitPlace) restart(why string) {
	p.t.Helper()
	p.t.Log("the broker is restarted in good order: " + why)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if err := rabbit.Restart(ctx); err != nil {
		p.t.Fatal(err)
	}
}

func (p *rabbitPlace) Open(ctx context.Context) (chat.Events, error) {
	return events.OpenRabbit(ctx, events.RabbitOptions{URL: rabbit.URL(), TLS: rabbitTLS, Name: p.name})
}

// Read takes messages until the queue is empty, and gives them with those taken before.
func (p *rabbitPlace) Read() (ids, bodies []string) {
	p.t.Helper()
	if err := again(p.readOn); err != nil {
		p.t.Fatal(err)
	}
	return p.ids, p.bodies
}

// readOn takes what is left: a queue may have no leader for a moment after a start.
func (p *rabbitPlace) readOn() error {
	conn, err := amqp.DialTLS(rabbit.URL(), rabbitTLS)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	for {
		m, ok, err := ch.Get(p.name, true)
		if err != nil || !ok {
			return err
		}
		p.ids, p.bodies = append(p.ids, m.MessageId), append(p.bodies, string(m.Body))
	}
}

type redisPlace struct{ place }

func newRedis(t testing.TB) storetest.EventsPlace {
	needsBroker(t)
	return &redisPlace{place{t, fmt.Sprintf("stream%d", streams.Add(1)), redis}}
}

func redisOptions(t testing.TB) (address, password string) {
	a := redis.Access()
	password, err := a.Password()
	if err != nil {
		t.Fatal(err)
	}
	return a.Address, password
}

func (p *redisPlace) Open(ctx context.Context) (chat.Events, error) {
	address, password := redisOptions(p.t)
	return events.OpenRedis(ctx, events.RedisOptions{Address: address, Password: password, TLS: redisTLS, Name: p.name})
}

func (p *redisPlace) client() rueidis.Client {
	p.t.Helper()
	address, password := redisOptions(p.t)
	var client rueidis.Client
	err := again(func() (err error) {
		client, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, Password: password, TLSConfig: redisTLS, DisableCache: true})
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return client
}

func (p *redisPlace) Read() (ids, bodies []string) {
	p.t.Helper()
	client := p.client()
	defer client.Close()
	entries, err := client.Do(context.Background(), client.B().Xrange().Key(p.name).Start("-").End("+").Build()).AsXRange()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		ids, bodies = append(ids, e.FieldValues["id"]), append(bodies, e.FieldValues["event"])
	}
	return ids, bodies
}

// RabbitMQ keeps the contract of chat.Events.
func TestRabbitConformance(t *testing.T) { storetest.RunEvents(t, newRabbit) }

// A Redis stream keeps the contract of chat.Events.
func TestRedisConformance(t *testing.T) { storetest.RunEvents(t, newRedis) }

// A Redis that confirms what is not on its disk is refused, and the error says what to set.
func TestUnsyncedRedisIsRefused(t *testing.T) {
	p := newRedis(t).(*redisPlace)
	client := p.client()
	defer client.Close()
	set := func(key, value string) {
		t.Helper()
		if err := client.Do(t.Context(), client.B().ConfigSet().ParameterValue().ParameterValue(key, value).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range [][3]string{{"appendfsync", "everysec", "always"}, {"appendonly", "no", "yes"}} {
		set(c[0], c[1])
		_, err := p.Open(t.Context())
		set(c[0], c[2])
		if chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), c[0]+" "+c[2]) {
			t.Errorf("%s %s: %v", c[0], c[1], err)
		}
	}
	// Asked for an append-only file again, it writes one first: what it confirms meanwhile would not survive the kill of another test.
	err := again(func() error {
		info, err := client.Do(t.Context(), client.B().Info().Section("persistence").Build()).ToString()
		for _, want := range []string{"aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0", "aof_last_bgrewrite_status:ok"} {
			if err == nil && !strings.Contains(info, want) {
				err = fmt.Errorf("Redis says not yet %s", want)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A wrong password or address is refused, with a time to try again.
func TestWrongBroker(t *testing.T) {
	needsBroker(t)
	address, _ := redisOptions(t)
	_, err := events.OpenRedis(t.Context(), events.RedisOptions{Address: address, Password: "wrong", TLS: redisTLS})
	wantDown(t, "Redis with a wrong password", err)
	_, err = events.OpenRabbit(t.Context(), events.RabbitOptions{URL: rabbit.URL(), TLS: rabbitTLS, User: "meridian", Password: "wrong"})
	wantDown(t, "RabbitMQ with a wrong password", err)
	_, err = events.OpenRabbit(t.Context(), events.RabbitOptions{URL: "amqp://127.0.0.1:1/"})
	wantDown(t, "RabbitMQ at a wrong port", err)
	for _, o := range []events.RabbitOptions{{URL: "http://x"}, {URL: "amqp://127.0.0.1:1/", TLS: rabbitTLS}} {
		if _, err = events.OpenRabbit(t.Context(), o); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("a URL of something else, or that encrypts nothing: %v", err)
		}
	}
}

// A broker that is trusted is worked with, over TLS, and no other.
func TestTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("needs brokers")
	}
	publish := func(e chat.Events, err error, text string) error {
		if err != nil {
			return err
		}
		defer e.Close()
		return e.Publish(t.Context(), []chat.Event{{ID: text, Type: chat.EventMessageSent}})
	}
	t.Run("redis", func(t *testing.T) {
		address, password := redisOptions(t)
		use := func(address string, secure *tls.Config, text string) error {
			e, err := events.OpenRedis(t.Context(), events.RedisOptions{Address: address, Password: password, TLS: secure, Name: "tls"})
			return publish(e, err, text)
		}
		storetest.RunTLS(t, storetest.TLSPlace{Server: address, Roots: redisTLS.RootCAs, Secrets: []string{password}, Use: use})
	})
	t.Run("rabbitmq", func(t *testing.T) {
		u, err := url.Parse(rabbit.URL())
		if err != nil {
			t.Fatal(err)
		}
		use := func(address string, secure *tls.Config, text string) error {
			at := *u
			at.Host = address
			if secure == nil {
				at.Scheme = "amqp"
			}
			e, err := events.OpenRabbit(t.Context(), events.RabbitOptions{URL: at.String(), TLS: secure, Name: "tls"})
			return publish(e, err, text)
		}
		storetest.RunTLS(t, storetest.TLSPlace{Server: u.Host, Roots: rabbitTLS.RootCAs, Secrets: []string{rabbit.Password}, Use: use})
	})
}

func wantDown(t *testing.T, what string, err error) {
	t.Helper()
	if e := chat.AsError(err); e == nil || e.Code != chat.CodeRegionDegraded || e.RetryAfter == 0 {
		t.Errorf("%s: %v", what, err)
	}
}
