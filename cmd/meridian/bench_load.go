package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The phases of a load.
const (
	phaseWarm int32 = iota
	phaseMeasure
	phaseStop
)

// load drives the connections of one measurement. Every message names its sender, its number and when it was due, in its
// client id, so that each is checked: once, and in order.
type load struct {
	server benchServer
	text   string
	keep   bool // closed loop: each delivery makes the receiver send one
	phase  atomic.Int32
	start  time.Time
	conns  []*loadPeer
}

// loadPeer is one connection and what it saw. Its reader owns all but what mu guards.
type loadPeer struct {
	l     *load
	index int
	conn  *loadConn

	mu        sync.Mutex // sends come from the reader and from the pacer
	sent      int64
	lastID    string // of the latest send
	lastAcked int64  // its number, once acknowledged

	received   int64
	measured   int64
	repeated   int64
	disordered int64
	errors     int64
	firstError string
	delivered  []time.Duration
	acked      []time.Duration
	ended      chan struct{}
}

// newLoad opens n connections; the readers run until close.
func newLoad(server benchServer, n, textBytes int) (*load, error) {
	l := &load{server: server, text: strings.Repeat("x", textBytes), start: time.Now()}
	for i := range n {
		conn, err := server.dial(i)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		p := &loadPeer{l: l, index: i, conn: conn, ended: make(chan struct{})}
		l.conns = append(l.conns, p)
		go p.read()
	}
	return l, nil
}

func (l *load) close() {
	for _, p := range l.conns {
		_ = p.conn.Close()
	}
	for _, p := range l.conns {
		if p.ended != nil {
			<-p.ended
		}
	}
}

// begin puts so many messages of each connection under way.
func (l *load) begin(inFlight int) {
	for _, p := range l.conns {
		for range inFlight {
			p.send(time.Since(l.start), true)
		}
	}
}

// lateMax is how late a send of the open loop may be and still count from when it was really sent; a later one counts from
// when it was due, so that a stall is not hidden by the load waiting for it.
const lateMax = 3 * time.Millisecond

// pace sends rate messages a second, round robin, until the phase is stop.
func (l *load) pace(ctx context.Context, rate int) {
	every := time.Second / time.Duration(rate)
	began := time.Since(l.start)
	for n := 0; l.phase.Load() != phaseStop && ctx.Err() == nil; n++ {
		due := began + time.Duration(n)*every
		now := time.Since(l.start)
		if due > now {
			time.Sleep(due - now)
			now = time.Since(l.start)
		}
		if now-due <= lateMax {
			due = now
		}
		l.conns[n%len(l.conns)].send(due, true)
	}
}

// drain waits for what is on its way.
func (l *load) drain(ctx context.Context) {
	for end := time.Now().Add(benchDrain); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		var sent, received int64
		for _, p := range l.conns {
			p.mu.Lock()
			sent += p.sent
			received += p.received
			p.mu.Unlock()
		}
		if received >= sent {
			return
		}
	}
}

// loadResult is a benchRun with what is not printed.
type loadResult struct {
	benchRun
	measured int64
}

func (l *load) result() loadResult {
	var r loadResult
	var delivered, acked []time.Duration
	var received int64
	for _, p := range l.conns {
		p.mu.Lock()
		r.Sent += p.sent
		received += p.received
		r.measured += p.measured
		r.Repeated += p.repeated
		r.Disordered += p.disordered
		r.Errors += p.errors
		if r.FirstError == "" {
			r.FirstError = p.firstError
		}
		delivered = append(delivered, p.delivered...)
		acked = append(acked, p.acked...)
		p.mu.Unlock()
	}
	r.Lost = r.Sent - received
	r.Delivered, r.Acked = latenciesOf(delivered), latenciesOf(acked)
	return r
}

// send writes one message that was due at the given time since the start.
func (p *loadPeer) send(due time.Duration, flush bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	after := p.lastID
	if p.lastAcked == p.sent {
		after = ""
	}
	p.sent++
	p.lastID = loadID(due, p.index, p.sent)
	if err := p.conn.write(p.l.server.frame(p.index, p.lastID, after, p.l.text), flush); err != nil {
		p.fail(err.Error())
	}
}

func (p *loadPeer) fail(why string) {
	p.errors++
	if p.firstError == "" {
		p.firstError = why
	}
}

// loadID writes a due time (ns), a sender and a number as a UUID.
func loadID(due time.Duration, sender int, number int64) string {
	s := fmt.Sprintf("%016x", int64(due))
	return s[0:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + fmt.Sprintf("%04x-%012x", sender, number)
}

func parseLoadID(s []byte) (due time.Duration, sender int, number int64, ok bool) {
	if len(s) < 36 {
		return 0, 0, 0, false
	}
	stamp, err1 := strconv.ParseInt(string(s[0:8])+string(s[9:13])+string(s[14:18]), 16, 64)
	from, err2 := strconv.ParseInt(string(s[19:23]), 16, 64)
	n, err3 := strconv.ParseInt(string(s[24:36]), 16, 64)
	return time.Duration(stamp), int(from), n, err1 == nil && err2 == nil && err3 == nil
}

var (
	markMessage  = []byte(`{"t":"message"`)
	markAck      = []byte(`{"t":"ack"`)
	markError    = []byte(`{"t":"error"`)
	markClientID = []byte(`"client_id":"`)
)

// read takes frames until the connection ends. Replies leave together when no frame waits to be read.
func (p *loadPeer) read() {
	defer close(p.ended)
	last := int64(0) // the peer's latest number
	for {
		frame, err := p.conn.next()
		if err != nil {
			if p.l.phase.Load() != phaseStop {
				p.mu.Lock()
				p.fail("the connection ended: " + err.Error())
				p.mu.Unlock()
			}
			return
		}
		switch {
		case bytes.HasPrefix(frame, markMessage):
			last = p.onMessage(frame, last)
		case bytes.HasPrefix(frame, markAck):
			p.onAck(frame)
		case bytes.HasPrefix(frame, markError):
			p.mu.Lock()
			p.fail(string(frame[:min(len(frame), 200)]))
			p.mu.Unlock()
		}
		if p.conn.idle() {
			p.mu.Lock()
			err := p.conn.flush()
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}
}

func (p *loadPeer) onMessage(frame []byte, last int64) int64 {
	_, rest, found := bytes.Cut(frame, markClientID)
	if !found {
		return last
	}
	now := time.Since(p.l.start)
	due, _, number, ok := parseLoadID(rest)
	phase := p.l.phase.Load()
	p.mu.Lock()
	switch {
	case !ok:
		p.fail("a message has a client id that nobody sent")
	case number == last:
		p.repeated++
	case number != last+1:
		p.disordered++
	}
	p.received++
	if phase == phaseMeasure {
		p.measured++
		p.delivered = append(p.delivered, now-due)
	}
	p.mu.Unlock()
	if p.l.keep && phase != phaseStop {
		p.send(now, false)
	}
	return max(last, number)
}

func (p *loadPeer) onAck(frame []byte) {
	_, rest, found := bytes.Cut(frame, markClientID)
	if !found {
		return
	}
	due, _, number, ok := parseLoadID(rest)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastAcked = max(p.lastAcked, number)
	if p.l.phase.Load() == phaseMeasure {
		p.acked = append(p.acked, time.Since(p.l.start)-due)
	}
}
