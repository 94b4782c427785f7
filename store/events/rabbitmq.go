package events

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"meridian/chat"
)

// RabbitOptions say where a RabbitMQ is.
type RabbitOptions struct {
	// URL is amqp://host:port/vhost, or amqps, which TLS needs; User and Password stand before what it says.
	URL            string
	User, Password string
	TLS            *tls.Config
	// Name is the exchange (topic, by type of event) and the quorum queue bound to all of it; "": DefaultName.
	Name string
}

// Rabbit is a chat.Events. It connects when it must, again after each loss.
type Rabbit struct {
	o RabbitOptions

	mu      sync.Mutex // one Publish at a time: the order of events is that of one channel
	conn    *amqp.Connection
	channel *amqp.Channel
	returns chan amqp.Return
	closed  bool
}

// OpenRabbit connects, and declares exchange and queue if they are not there. Errors: CodeRegionDegraded with RetryAfter when the
// broker does not answer, refuses or is not trusted.
func OpenRabbit(ctx context.Context, o RabbitOptions) (*Rabbit, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	u, err := amqp.ParseURI(o.URL)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "events.OpenRabbit", Message: "the URL is not one of RabbitMQ: amqp://host:port/vhost"}
	}
	if o.TLS != nil && u.Scheme != "amqps" {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "events.OpenRabbit", Message: "the URL says amqp, which encrypts nothing: with a CA it must be amqps"}
	}
	r := &Rabbit{o: o}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.connect(ctx); err != nil {
		return nil, unavailable("events.OpenRabbit", "the broker cannot be worked with", err)
	}
	return r, nil
}

// connect makes a connection and a channel that confirms.
func (r *Rabbit) connect(ctx context.Context) (err error) {
	c := amqp.Config{
		Heartbeat: heartbeat, TLSClientConfig: r.o.TLS, Properties: amqp.Table{"product": "meridian"},
		Dial: func(network, addr string) (net.Conn, error) {
			d := net.Dialer{Timeout: dialWithin}
			conn, err := d.DialContext(ctx, network, addr)
			if err == nil {
				err = conn.SetDeadline(deadline(ctx)) // for the handshake: the library takes it off
			}
			return conn, err
		},
	}
	if r.o.User != "" {
		c.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: r.o.User, Password: r.o.Password}}
	}
	if r.conn, err = amqp.DialConfig(r.o.URL, c); err != nil {
		r.conn = nil
		return err
	}
	if err = r.prepare(); err != nil {
		r.drop()
	}
	return err
}

// prepare declares where events go. A quorum queue keeps what it has confirmed on the disks of a majority.
func (r *Rabbit) prepare() (err error) {
	if r.channel, err = r.conn.Channel(); err != nil {
		return err
	}
	const durable, autoDelete, internal, exclusive, noWait = true, false, false, false, false
	if err := r.channel.ExchangeDeclare(r.o.Name, amqp.ExchangeTopic, durable, autoDelete, internal, noWait, nil); err != nil {
		return err
	}
	if _, err := r.channel.QueueDeclare(r.o.Name, durable, autoDelete, exclusive, noWait, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}); err != nil {
		return err
	}
	if err := r.channel.QueueBind(r.o.Name, "#", r.o.Name, noWait, nil); err != nil {
		return err
	}
	r.returns = r.channel.NotifyReturn(make(chan amqp.Return, chat.MaxEventsAtOnce))
	return r.channel.Confirm(noWait)
}

// drop gives the connection up; the next Publish makes another.
func (r *Rabbit) drop() {
	if r.conn != nil {
		_ = r.conn.CloseDeadline(deadline(context.Background())) // it may be broken already
	}
	r.conn, r.channel, r.returns = nil, nil, nil
}

// Publish implements chat.Events.
func (r *Rabbit) Publish(ctx context.Context, events []chat.Event) error {
	const op = "events.Rabbit.Publish"
	if err := checkCount(op, events); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return unavailable(op, "the connection is closed", nil)
	}
	if r.conn == nil || r.conn.IsClosed() || r.channel.IsClosed() {
		r.drop()
		if err := r.connect(ctx); err != nil {
			return unavailable(op, "the broker cannot be worked with", err)
		}
	}
	if err := r.publish(ctx, events); err != nil {
		r.drop() // what was sent and not confirmed must not come after what is sent next
		return unavailable(op, "the broker has not confirmed", err)
	}
	return nil
}

// publish sends all, then waits for all: the broker confirms while more is sent.
func (r *Rabbit) publish(ctx context.Context, events []chat.Event) error {
	confirms := make([]*amqp.DeferredConfirmation, len(events))
	for i := range events {
		e := &events[i]
		body, err := Encode(e)
		if err != nil {
			return err
		}
		const mandatory, immediate = true, false
		confirms[i], err = r.channel.PublishWithDeferredConfirmWithContext(ctx, r.o.Name, string(e.Type), mandatory, immediate, amqp.Publishing{
			ContentType: contentType, DeliveryMode: amqp.Persistent, MessageId: e.ID, Type: string(e.Type), Timestamp: e.Time.Time(), AppId: "meridian", Body: body,
		})
		if err != nil {
			return err
		}
	}
	for _, c := range confirms {
		if acked, err := c.WaitContext(ctx); err != nil {
			return err
		} else if !acked {
			return unavailable("events.Rabbit", "the broker refuses an event", nil)
		}
	}
	select { // a return comes before its confirmation
	case back := <-r.returns:
		return unavailable("events.Rabbit", "the broker has no queue for an event: "+back.ReplyText, nil)
	default:
		return nil
	}
}

// Close implements chat.Events.
func (r *Rabbit) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.drop()
	return nil
}
