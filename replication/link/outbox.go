package link

import "sync"

// outbox holds the encoded frames that wait for the writer, in two queues that take turns: a backlog of relay frames does
// not hold up pings, answers and streams, nor the other way round. It is safe for concurrent use.
type outbox struct {
	mu      sync.Mutex
	control queue
	relay   queue
	// writing is what was taken of the control queue and may not be written yet, in bytes.
	writing int
	// relayNext says whose turn it is.
	relayNext bool
	wake      chan struct{} // holds a token when there may be something to write
	room      chan struct{} // closed and made anew when the control queue has shrunk
}

type queue struct {
	frames [][]byte
	bytes  int
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), room: make(chan struct{})}
}

// putRelay queues frames, all or none: none when more than limit bytes would wait, unless nothing waits.
func (o *outbox) putRelay(frames [][]byte, limit int) bool {
	size := 0
	for _, f := range frames {
		size += len(f)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.relay.bytes > 0 && o.relay.bytes+size > limit {
		return false
	}
	o.relay.frames = append(o.relay.frames, frames...)
	o.relay.bytes += size
	o.wakeUp()
	return true
}

// putControl queues one frame, or gives false and the channel that tells when to try again when more than limit bytes wait.
func (o *outbox) putControl(frame []byte, limit int) (bool, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.control.bytes > 0 && o.control.bytes+len(frame) > limit {
		return false, o.room
	}
	o.control.frames = append(o.control.frames, frame)
	o.control.bytes += len(frame)
	o.wakeUp()
	return true, nil
}

func (o *outbox) wakeUp() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take appends the next packet to dst; nothing when nothing waits. What it gave before is written.
func (o *outbox) take(dst []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := &o.control
	if len(o.control.frames) == 0 || o.relayNext && len(o.relay.frames) > 0 {
		q = &o.relay
	}
	o.relayNext = q == &o.control
	o.writing = 0
	taken := 0
	for taken < len(q.frames) && (taken == 0 || len(dst)+len(q.frames[taken]) <= packetBytes) {
		dst = append(dst, q.frames[taken]...)
		q.bytes -= len(q.frames[taken])
		q.frames[taken] = nil
		taken++
	}
	if q.frames = q.frames[taken:]; len(q.frames) == 0 {
		q.frames = nil
	}
	if q == &o.control && taken > 0 {
		o.writing = len(dst)
		close(o.room)
		o.room = make(chan struct{})
	}
	return dst
}

// waiting gives the bytes in both queues, with what is being written of the control queue.
func (o *outbox) waiting() (control, relay int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.control.bytes + o.writing, o.relay.bytes
}
