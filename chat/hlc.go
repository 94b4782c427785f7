package chat

import "time"

// HLC is hybrid-logical-clock time (Kulkarni et al., 2014) in one number: microseconds since 1970, where the logical
// part lives in the low bits, since a clock that has to tick twice in one microsecond simply runs ahead. It fits
// Cassandra's write timestamps as it is.
type HLC uint64

// HLCFromTime gives t in HLC units.
func HLCFromTime(t time.Time) HLC { return HLC(t.UnixMicro()) }

// Time gives the wall-clock reading of h, in UTC.
func (h HLC) Time() time.Time { return time.UnixMicro(int64(h)).UTC() }

// Add moves h by d, which may be negative; it does not go below 0.
func (h HLC) Add(d time.Duration) HLC {
	moved := int64(h) + d.Microseconds()
	if moved < 0 {
		return 0
	}
	return HLC(moved)
}

// HLCClock makes HLC times. It has no machine clock of its own: the caller passes now. It is not safe for concurrent use.
type HLCClock struct {
	last HLC
	// MaxDrift bounds how far ahead of now an observed time may lie.
	MaxDrift time.Duration
}

// Next gives a time after every time given or observed before.
func (c *HLCClock) Next(now time.Time) HLC {
	c.last = max(c.last+1, HLCFromTime(now))
	return c.last
}

// Observe pushes the clock past t, so that what is stamped next comes after it. A time more than MaxDrift ahead of now
// is refused with CodeClockSkew and does not move the clock.
func (c *HLCClock) Observe(now time.Time, t HLC) error {
	if t > HLCFromTime(now.Add(c.MaxDrift)) {
		return &Error{Code: CodeClockSkew, Op: "chat.HLCClock.Observe", Message: "time is too far ahead: " + t.Time().Format(time.RFC3339Nano)}
	}
	c.last = max(c.last, t)
	return nil
}

// Restore starts the clock above a persisted high-water mark.
func (c *HLCClock) Restore(highWater HLC) { c.last = max(c.last, highWater) }

// Last is the largest time given or observed.
func (c *HLCClock) Last() HLC { return c.last }
