package messages

import (
	"fmt"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// Status is how the streams of this node stand.
type Status struct {
	Stream chat.StreamID                 `json:"stream"`
	Last   uint64                        `json:"last_seq"`
	To     map[chat.Region]RelayStatus   `json:"to"`
	From   map[chat.Region]AppliedStatus `json:"from"`
	// InFlight counts submits that are not answered yet.
	InFlight int `json:"in_flight"`
	// Awaited are the streams that a node which has started waits for before it serves.
	Awaited []string `json:"awaited,omitempty"`
}

// RelayStatus is the relay to one region. Depth counts sequences it has not acknowledged; LagSeconds is how long the oldest
// of them has been waiting, to about a second.
type RelayStatus struct {
	Acked      uint64  `json:"acked_seq"`
	Depth      uint64  `json:"depth"`
	LagSeconds float64 `json:"lag_seconds"`
	// OutboxBytes is what this node's op logs owe the region, OutboxRatio which share of the budget that is; from 0.7 on who
	// writes to it is slowed, from 0.95 on refused. OldestSeconds is how long ago the oldest of it was logged; Expiring: that
	// is nearly as long as op logs are kept.
	OutboxBytes   int64   `json:"outbox_bytes"`
	OutboxRatio   float64 `json:"outbox_ratio"`
	OldestSeconds float64 `json:"oldest_seconds"`
	Expiring      bool    `json:"expiring,omitempty"`
	// Slowed and Refused count submits since the node started.
	Slowed  uint64 `json:"slowed"`
	Refused uint64 `json:"refused"`
}

// AppliedStatus is how far another region's stream is applied here.
type AppliedStatus struct {
	Seq        uint64  `json:"applied_seq"`
	AgeSeconds float64 `json:"watermark_age_seconds"`
	Queued     int     `json:"queued"`
	// Parked ops of the region's streams wait for this node's clock, or for a newer build.
	Parked int `json:"parked"`
}

// statusEvery is how often the status is gathered.
const statusEvery = time.Second

// maxLagSamples bounds what is remembered per peer to tell its lag: ten minutes' worth, then the oldest stay.
const maxLagSamples = 600

// lagMeter remembers when each sequence was the last one, roughly, to tell how long a peer has been behind.
type lagMeter struct {
	samples []lagSample
	// slowed and refused submits are counted in the metrics.
	slowed, refused uint64
}

type lagSample struct {
	seq uint64
	at  time.Time
}

func (m *lagMeter) lag(acked, last uint64, now time.Time) time.Duration {
	for len(m.samples) > 0 && m.samples[0].seq <= acked {
		m.samples = m.samples[1:]
	}
	if last > acked && len(m.samples) < maxLagSamples && (len(m.samples) == 0 || m.samples[len(m.samples)-1].seq < last) {
		m.samples = append(m.samples, lagSample{last, now})
	}
	if len(m.samples) == 0 {
		return 0
	}
	return now.Sub(m.samples[0].at)
}

// Status gives how the streams stood about a second ago.
func (s *Service) Status() Status {
	if st := s.status.Load(); st != nil {
		return *st
	}
	return Status{Stream: s.stream}
}

// publishStatus gathers the status, now and then; the loop's alone.
func (s *Service) publishStatus() {
	s.caughtUp.Store(s.core.CaughtUp())
	now := s.opt.Now()
	if passed := now.Sub(s.gathered); passed >= 0 && passed < statusEvery {
		return
	}
	s.gathered = now
	s.ahead.Store(chat.AsError(s.core.FarAhead(now)))
	s.joined.Store(s.core.Joined(now))
	st := Status{
		Stream: s.stream, Last: s.core.LastSeq(), InFlight: s.core.Submits(),
		To: make(map[chat.Region]RelayStatus), From: make(map[chat.Region]AppliedStatus),
	}
	for _, id := range s.core.Awaited() {
		st.Awaited = append(st.Awaited, fmt.Sprintf("%s/%s life %d", id.Region, id.Node, id.Incarnation))
	}
	for _, p := range s.core.Peers(now) {
		st.To[p.Region] = s.relayStatus(p, now)
	}
	parked := make(map[chat.Region]int)
	for _, o := range s.core.Origins(now) {
		parked[o.Stream.Region] += o.Parked
		st.From[o.Stream.Region] = AppliedStatus{Seq: o.Seq, AgeSeconds: o.Age.Seconds(), Queued: o.Queued, Parked: parked[o.Stream.Region]}
		s.opt.Metrics.Set("stable_time_age_seconds", o.Age.Seconds(), string(o.Stream.Region))
	}
	for region := range st.To {
		s.opt.Metrics.Set("relay_parked", float64(parked[region]), string(region))
	}
	s.opt.Metrics.Set("in_flight_ops", float64(st.InFlight))
	s.status.Store(&st)
}

func (s *Service) relayStatus(p replication.PeerStatus, now time.Time) RelayStatus {
	meter := s.lags[p.Region]
	if meter == nil {
		meter = &lagMeter{}
		s.lags[p.Region] = meter
	}
	lag := meter.lag(p.Acked, p.Last, now).Seconds()
	s.opt.Metrics.Set("relay_depth", float64(p.Backlog), string(s.opt.Core.Self), string(p.Region))
	s.opt.Metrics.Set("relay_lag_seconds", lag, string(s.opt.Core.Self), string(p.Region))
	for ; meter.slowed < p.Slowed; meter.slowed++ {
		s.opt.Metrics.Count("outbox_slowed_total", string(p.Region))
	}
	for ; meter.refused < p.Refused; meter.refused++ {
		s.opt.Metrics.Count("outbox_refused_total", string(p.Region))
	}
	s.opt.Metrics.Set("outbox_bytes", float64(p.OutboxBytes), string(p.Region))
	s.opt.Metrics.Set("outbox_budget_ratio", p.OutboxRatio, string(p.Region))
	s.opt.Metrics.Set("outbox_oldest_seconds", p.Oldest.Seconds(), string(p.Region))
	return RelayStatus{
		Acked: p.Acked, Depth: p.Backlog, LagSeconds: lag, OutboxBytes: p.OutboxBytes, OutboxRatio: p.OutboxRatio,
		OldestSeconds: p.Oldest.Seconds(), Expiring: p.Expiring, Slowed: p.Slowed, Refused: p.Refused,
	}
}
