package events

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"meridian/chat"
)

const (
	// pageOps is how many ops are read, and told, at once. A group's op is at most chat.MaxInvited+2 events.
	pageOps = 256
	// idle is the pause after a look that found nothing; publishWithin bounds one Publish.
	idle          = 250 * time.Millisecond
	publishWithin = 10 * time.Second
	// The pauses after failures, doubled from the first to the longest.
	firstPause, longestPause = 250 * time.Millisecond, 15 * time.Second
	// alarmAt is the share of the op log's retention from which on waiting events are an alarm: beyond it they are swept.
	alarmAt = 0.8
)

// PumpOptions make a Pump. All but Log, Metrics and Pause are needed.
type PumpOptions struct {
	Store chat.Store
	// Sink is the name of the broker in positions, metrics and logs: redis, rabbitmq.
	Sink string
	Open func(context.Context) (chat.Events, error)
	// Settled gives the time up to which nothing is under way in the region: what this node's op log has up to then is final.
	Settled func() chat.HLC
	Now     func() time.Time
	// Keep is how long the op log is kept.
	Keep    time.Duration
	Log     *slog.Logger
	Metrics PumpMetrics
}

// PumpMetrics counts by the names of the project's list.
type PumpMetrics interface {
	Add(name string, value float64, labels ...string)
	Set(name string, value float64, labels ...string)
}

// Pump publishes what the op logs of one node have, and those that it has adopted.
type Pump struct {
	o         PumpOptions
	to        chat.Region // whom the positions are kept for: no region's name has a slash
	events    chat.Events
	positions map[chat.StreamID]uint64
	failing   bool
	alarmed   bool
}

// NewPump makes a pump; Run runs it.
func NewPump(o PumpOptions) *Pump {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Pump{o: o, to: chat.Region("events/" + o.Sink), positions: make(map[chat.StreamID]uint64)}
}

// Run publishes until ctx ends.
func (p *Pump) Run(ctx context.Context) {
	defer func() {
		if p.events != nil {
			_ = p.events.Close() // what was not confirmed is published again
		}
	}()
	pause := firstPause
	for ctx.Err() == nil {
		more, err := p.round(ctx)
		p.tell(ctx, err)
		switch {
		case err != nil:
			wait(ctx, pause/2+rand.N(pause/2))
			pause = min(2*pause, longestPause)
			continue
		case !more:
			wait(ctx, idle)
		}
		pause = firstPause
	}
}

func wait(ctx context.Context, pause time.Duration) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// tell notes how the sink does.
func (p *Pump) tell(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if failing := err != nil; failing != p.failing {
		p.failing = failing
		if failing {
			p.o.Log.Warn("events wait: they cannot be published now", "sink", p.o.Sink, "err", err)
		} else {
			p.o.Log.Info("events are published again", "sink", p.o.Sink)
		}
	}
	p.set("events_up", map[bool]float64{true: 1}[err == nil])
}

func (p *Pump) set(name string, value float64) {
	if p.o.Metrics != nil {
		p.o.Metrics.Set(name, value, p.o.Sink)
	}
}

// round goes once through the op logs; more says that one of them has more than a page.
func (p *Pump) round(ctx context.Context) (more bool, err error) {
	logs, err := p.logs(ctx)
	if err != nil {
		return false, err
	}
	for _, l := range logs {
		full, first, err := p.page(ctx, l)
		if err != nil {
			if first != 0 {
				p.age(first)
			}
			return false, err
		}
		more = more || full
	}
	p.age(0)
	return more, nil
}

// opLog is one that this node is answerable for.
type opLog struct {
	stream chat.StreamID
	// upTo is the time up to which its ops are final.
	upTo chat.HLC
}

// logs gives those of lives that this node has adopted, which get nothing new, and then its own.
func (p *Pump) logs(ctx context.Context) ([]opLog, error) {
	settled := p.o.Settled() // before anything is read
	id, err := p.o.Store.Identity(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := p.o.Store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	own := chat.StreamID{Region: id.Region, Node: id.Node, Incarnation: id.Incarnation}
	var all []opLog
	for i := range nodes {
		if n := &nodes[i]; n.AdoptedBy == id.Node && n.Stream != own {
			all = append(all, opLog{stream: n.Stream, upTo: ^chat.HLC(0)})
		}
	}
	return append(all, opLog{stream: own, upTo: settled}), nil
}

// page publishes the next ops of an op log; first is the time of the first one that waits.
func (p *Pump) page(ctx context.Context, l opLog) (full bool, first chat.HLC, err error) {
	after, err := p.position(ctx, l.stream)
	if err != nil {
		return false, 0, err
	}
	ops, err := p.o.Store.ReadLog(ctx, l.stream, after, ^uint64(0), "", pageOps)
	if err != nil {
		return false, 0, err
	}
	ops, events := final(ops, l.upTo)
	if len(ops) == 0 {
		return false, 0, nil
	}
	first = entered(&ops[0])
	if err := p.publish(ctx, events); err != nil {
		return false, first, err
	}
	last := ops[len(ops)-1].Seq
	if err := p.move(ctx, l.stream, last); err != nil {
		return false, first, err
	}
	p.positions[l.stream] = last
	if p.o.Metrics != nil {
		p.o.Metrics.Add("events_published_total", float64(len(events)), p.o.Sink)
	}
	return len(ops) == pageOps, first, nil
}

// final gives the ops up to a time, which go in the order of their log, and their events; no more than one Publish takes.
func final(ops []chat.Op, upTo chat.HLC) ([]chat.Op, []chat.Event) {
	var events []chat.Event
	for i := range ops {
		more := Of(&ops[i])
		if entered(&ops[i]) > upTo || len(events)+len(more) > chat.MaxEventsAtOnce {
			return ops[:i], events
		}
		events = append(events, more...)
	}
	return ops, events
}

func entered(op *chat.Op) chat.HLC { return max(op.Time, op.Logged) }

func (p *Pump) position(ctx context.Context, stream chat.StreamID) (uint64, error) {
	if seq, ok := p.positions[stream]; ok {
		return seq, nil
	}
	all, err := p.o.Store.Positions(ctx, stream)
	if err != nil {
		return 0, err
	}
	p.positions[stream] = all[p.to]
	return all[p.to], nil
}

func (p *Pump) publish(ctx context.Context, events []chat.Event) (err error) {
	if len(events) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	if p.events == nil {
		if p.events, err = p.o.Open(ctx); err != nil {
			p.events = nil
			return err
		}
	}
	return p.events.Publish(ctx, events)
}

// move makes the position durable. When that fails the same events are published again.
func (p *Pump) move(ctx context.Context, stream chat.StreamID, seq uint64) error {
	done := make(chan error, 1)
	p.o.Store.Commit(&chat.Batch{Positions: []chat.PositionRow{{Stream: stream, To: p.to, Seq: seq}}}, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// age tells how old the oldest event is that waits, 0 for none, and raises an alarm before the op log may be swept.
func (p *Pump) age(oldest chat.HLC) {
	old := time.Duration(0)
	if oldest != 0 {
		old = max(0, p.o.Now().Sub(oldest.Time()))
	}
	p.set("events_oldest_seconds", old.Seconds())
	alarm := p.o.Keep > 0 && old > time.Duration(alarmAt*float64(p.o.Keep))
	if alarm && !p.alarmed {
		p.o.Log.Error("alarm: events wait nearly as long as the op log is kept, and will be lost after that", "sink", p.o.Sink, "age", old, "kept", p.o.Keep)
	}
	p.alarmed = alarm
}
