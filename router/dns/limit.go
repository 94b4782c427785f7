package dns

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"meridian/config"
)

// verdict is what becomes of an answer over UDP.
type verdict uint8

const (
	send     verdict = iota
	truncate         // send the question back with TC set: who really asked comes again over TCP
	drop
)

const (
	// limitCells is the size of the limiter's memory, 8 bytes each; a power of two.
	limitCells = 1 << 17
	// limitBurst is how much of its rate a network may use at once after it was quiet.
	limitBurst = time.Second
	// limitBits4 and limitBits6 are the networks that are counted as one asker.
	limitBits4 = 24
	limitBits6 = 56
)

// limiter bounds the answers that go to one network over UDP, where anybody may ask in another's name. It has a fixed memory
// and two cells for each network, chosen by a secret hash: a network is over the limit when both are, so that one that shares
// a cell with a flooded one does not suffer. Nil limits nothing.
type limiter struct {
	k0, k1  uint64
	gap     int64 // nanoseconds of the rate that one answer costs
	slip    uint64
	exempt  []netip.Prefix
	limited atomic.Uint64
	// cells hold until when, in nanoseconds of the clock that judge is given, the rate is used up.
	cells [limitCells]atomic.Int64
}

// newLimiter gives nil for a limit of 0.
func newLimiter(c config.RateLimit) (*limiter, error) {
	if c.ResponsesPerSecond <= 0 {
		return nil, nil
	}
	var secret [16]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, err
	}
	l := &limiter{
		k0: binary.LittleEndian.Uint64(secret[:]), k1: binary.LittleEndian.Uint64(secret[8:]),
		gap: int64(time.Second) / int64(c.ResponsesPerSecond), slip: uint64(max(c.Slip, 0)),
	}
	for _, text := range c.Exempt {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, invalid("router.name_server.rate_limit.exempt: %q is not a network", text)
		}
		l.exempt = append(l.exempt, prefix)
	}
	return l, nil
}

// judge counts one answer to an address and says what becomes of it. It does not allocate, and never waits; now is in
// nanoseconds of any clock that does not go back. Answers over TCP and to a valid cookie need no judgement: their asker is
// where it says that it is.
func (l *limiter) judge(to netip.Addr, now int64) verdict {
	if l == nil {
		return send
	}
	for _, p := range l.exempt {
		if p.Contains(to) {
			return send
		}
	}
	hash := l.hash(to)
	a, b := &l.cells[hash%limitCells], &l.cells[(hash>>32)%limitCells]
	untilA, untilB := a.Load(), b.Load()
	if full := now + int64(limitBurst); min(untilA, untilB) > full-l.gap {
		return l.over()
	}
	// Of two answers at one moment one may go uncounted: that costs less than to make them wait for each other.
	a.CompareAndSwap(untilA, max(untilA, now)+l.gap)
	if a != b {
		b.CompareAndSwap(untilB, max(untilB, now)+l.gap)
	}
	return send
}

// over gives every slip-th answer over the limit a way out.
func (l *limiter) over() verdict {
	if l.slip == 0 || l.limited.Add(1)%l.slip != 0 {
		return drop
	}
	return truncate
}

// hash gives a secret hash of the network of an address.
func (l *limiter) hash(a netip.Addr) uint64 {
	var b [8]byte
	if a = a.Unmap(); a.Is4() {
		full := a.As4()
		copy(b[:], full[:limitBits4/8])
	} else {
		full := a.As16()
		copy(b[:], full[:limitBits6/8])
		b[7] = 6
	}
	return sipHash(l.k0, l.k1, b[:])
}
