package main

import (
	"context"
	"net/url"

	"meridian/chat"
	"meridian/config"
	"meridian/observe"
	regionnode "meridian/region-node"
	"meridian/store/events"
)

// pumps gives what starts the publishing of what happens in the node's op logs, until the node ends.
func (d *deployment) pumps(ref chat.NodeRef, node *regionnode.Node, store chat.Store, m *observe.Metrics) (start func(), err error) {
	r, _ := d.cfg.Region(ref.Region)
	if r.Events == nil {
		return func() {}, nil
	}
	sinks, err := eventSinks(d.cfg, r.Events)
	if err != nil {
		return nil, err
	}
	log := d.log.With("region", ref.Region, "node", ref.Node)
	return func() {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-node.Done()
			cancel()
		}()
		for _, s := range sinks {
			pump := events.NewPump(events.PumpOptions{
				Store: store, Sink: s.name, Open: s.open, Settled: node.Settled, Now: d.clock.now, Keep: d.cfg.Retention.OpLog, Log: log, Metrics: m,
			})
			go pump.Run(ctx)
		}
	}, nil
}

// sink is one broker.
type sink struct {
	name string
	open func(context.Context) (chat.Events, error)
}

func eventSinks(cfg *config.Config, e *config.Events) (sinks []sink, err error) {
	if e.Redis != nil {
		o, err := redisStreamOptions(cfg, e.Redis.WithDefaults())
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, sink{"redis", func(ctx context.Context) (chat.Events, error) { return opened(events.OpenRedis(ctx, o)) }})
	}
	if e.RabbitMQ != nil {
		o, err := rabbitOptions(cfg, e.RabbitMQ.WithDefaults())
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, sink{"rabbitmq", func(ctx context.Context) (chat.Events, error) { return opened(events.OpenRabbit(ctx, o)) }})
	}
	return sinks, nil
}

// opened keeps a nil of a concrete type from looking like something.
func opened[E chat.Events](e E, err error) (chat.Events, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}

func redisStreamOptions(cfg *config.Config, r config.RedisStream) (o events.RedisOptions, err error) {
	o = events.RedisOptions{Address: r.Address, User: r.User, Name: r.Stream, MaxLen: r.MaxLen}
	if o.Password, err = password(cfg, r.PasswordFile); err != nil {
		return o, err
	}
	o.TLS, err = serverTLS(cfg, trusted{ca: r.CAFile, name: r.ServerName})
	return o, err
}

func rabbitOptions(cfg *config.Config, r config.RabbitMQ) (o events.RabbitOptions, err error) {
	o = events.RabbitOptions{User: r.User, Name: r.Name}
	if o.Password, err = password(cfg, r.PasswordFile); err != nil {
		return o, err
	}
	if o.TLS, err = serverTLS(cfg, trusted{ca: r.CAFile, name: r.ServerName}); err != nil {
		return o, err
	}
	scheme := "amqp"
	if o.TLS != nil {
		scheme = "amqps"
	}
	o.URL = scheme + "://" + r.Address + "/" + url.PathEscape(r.VHost)
	return o, nil
}
