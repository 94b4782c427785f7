package replication

import (
	"time"

	"meridian/chat"
)

// Probe asks for a write that goes the way of a send and leaves nothing behind: it is stamped, made durable and shown, to Owner
// alone, and all that it stores is this node's high-water mark, which an idle node moves every second anyway. It is answered by
// exactly one Probed with Token, and, when that has no error, by one Visible with a row that no inbox log has.
type Probe struct {
	Token uint64
	Owner chat.UserID
}

// Probed answers Probe: what was stamped At is durable here, or Err says why not.
type Probed struct {
	Token uint64
	At    chat.HLC
	Err   error
}

func (Probe) input()   {}
func (Probed) output() {}

// probe stamps and writes a probe, refuses it, or leaves it waiting as a send would wait.
func (c *Core) probe(now time.Time, in Probe) {
	err := c.FarAhead(now)
	if c.clocked.refusal != nil {
		err = c.clocked.refusal
	}
	if err != nil {
		c.emit(Probed{Token: in.Token, Err: err})
		return
	}
	if c.clocked.unknown || c.ahead(now) || !c.mayStamp(now) {
		c.probes = append(c.probes, in)
		return
	}
	at := c.clock.Next(now)
	c.issue(now, &write{
		batch: &chat.Batch{HighWater: max(at, chat.HLCFromTime(now.Add(reserveAhead)))},
		low:   at,
		settle: func(_ time.Time, err error) {
			c.emit(Probed{Token: in.Token, At: at, Err: err})
		},
		passed: func(time.Time) {
			c.emit(Visible{Owners: []chat.UserID{in.Owner}, Rows: []chat.InboxRow{{Owner: in.Owner, Arrival: at}}})
		},
	})
}

// readyProbes looks again at probes that wait.
func (c *Core) readyProbes(now time.Time) {
	waiting := c.probes
	c.probes = nil
	for _, in := range waiting {
		c.probe(now, in)
	}
}
