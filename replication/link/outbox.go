package link

import "sync"

// outbox holds the encoded frames that wait to be written, in two queues that take turns: a backlog of relay frames does
// not hold up pings, answers and streams, nor the other way round. Who took a packet has the connection until it says that it
// is written. It is safe for concurrent use.
type outbox struct {
	mu      sync.Mutex
	control queue
	relay   queue
	// busy: a packet was taken and may not be written yet; writing is what of it comes from the control queue, in bytes.
	busy    bool
	writing int
	packet  []byte
	// led: somebody who queued a frame without waking the writer will take it.
	led bool
	// single counts the last packets of the control queue that held one frame only.
	single int
	// relayNext says whose turn it is.
	relayNext bool
	wake      chan struct{} // holds a token when there may be something to write
	room      chan struct{} // nil until somebody waits; closed when the control queue has shrunk
}

// manySingle packets in a row with one frame each: whoever waited for others to add theirs would wait in vain.
const manySingle = 16

type queue struct {
	frames [][]byte
	bytes  int
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1)}
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
	ok, room := o.put(frame, limit)
	if ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.wakeUp()
	}
	return ok, room
}

// put is putControl of a caller that calls lead next: it wakes nobody.
func (o *outbox) put(frame []byte, limit int) (bool, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.control.bytes > 0 && o.control.bytes+len(frame) > limit {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		return false, o.room
	}
	o.control.frames = append(o.control.frames, frame)
	o.control.bytes += len(frame)
	return true, nil
}

// lead says whether the caller is to take what waits and write it: nobody else writes or is about to. shared: others are likely to
// add to the packet if they are let. Relay frames are the writer's.
func (o *outbox) lead() (ok, shared bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy || o.led || len(o.control.frames) == 0 || len(o.relay.frames) > 0 {
		return false, false
	}
	o.led = true
	return true, o.single < manySingle
}

// wakeUp is called with mu held. Who writes looks again when it is done.
func (o *outbox) wakeUp() {
	if o.busy {
		return
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take gives the next packet, which the caller writes before it calls written; nothing when nothing waits or somebody else writes.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.led = false; o.busy {
		return nil
	}
	q := &o.control
	if len(o.control.frames) == 0 || o.relayNext && len(o.relay.frames) > 0 {
		q = &o.relay
	}
	o.relayNext = q == &o.control
	packet, taken := o.packet[:0], 0
	for taken < len(q.frames) && (taken == 0 || len(packet)+len(q.frames[taken]) <= packetBytes) {
		packet = append(packet, q.frames[taken]...)
		q.bytes -= len(q.frames[taken])
		q.frames[taken] = nil
		taken++
	}
	if q.frames = q.frames[taken:]; len(q.frames) == 0 {
		q.frames = nil
	}
	o.packet, o.busy = packet, taken > 0
	if q == &o.control && taken > 0 {
		o.writing = len(packet)
		if o.single++; taken > 1 {
			o.single = 0
		}
		if o.room != nil {
			close(o.room)
			o.room = nil
		}
	}
	return packet
}

// written ends what take began.
func (o *outbox) written() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy, o.writing = false, 0
	if cap(o.packet) > 4*packetBytes {
		o.packet = nil
	}
	if len(o.control.frames) > 0 || len(o.relay.frames) > 0 {
		o.wakeUp()
	}
}

// waiting gives the bytes in both queues, with what is being written of the control queue.
func (o *outbox) waiting() (control, relay int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.control.bytes + o.writing, o.relay.bytes
}
