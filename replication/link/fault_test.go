package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// cutDead is long enough for a busy machine to keep a link that is not cut.
const cutDead = time.Second

// TestCutAndHeal: a cut link is noticed by both sides within the dead time and a bit, nothing is sent over it meanwhile, and
// soon after the heal it is up again.
func TestCutAndHeal(t *testing.T) {
	for name, bothWays := range map[string]bool{"both ways": true, "one way": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			network := newSim(t, 2*time.Millisecond)
			a, b := pair(t, network, func(o *Options) { o.DeadAfter = cutDead })
			began := time.Now()
			network.Cut("us-east", "eu-west", bothWays)
			a.waitUp(t, "us-east", false)
			b.waitUp(t, "eu-west", false)
			if took := time.Since(began); took < cutDead/2 {
				t.Errorf("a cut was noticed after %v: it must be silent", took)
			}
			if a.SendRelay(ref("us-east"), replication.Frame{Kind: replication.FrameAck}) {
				t.Error("SendRelay took a frame over a dead link")
			}
			if _, err := a.Call(t.Context(), "us-east", "x", nil); chat.CodeOf(err) != chat.CodeRegionDegraded {
				t.Errorf("call over a dead link: %v", err)
			}
			if status := a.Peers()[ref("us-east")]; status.LastError == "" || status.Since.Before(began) {
				t.Errorf("status of a dead link: %+v", status)
			}
			network.Heal("us-east", "eu-west")
			a.waitUp(t, "us-east", true)
			b.waitUp(t, "eu-west", true)
			want := []string{"up us-east", "down us-east", "up us-east"}
			eventually(t, "the second up", func() bool { return len(a.seen()) >= len(want) }) // the handler may come after the status
			if got := a.seen(); !slices.Equal(got, want) {
				t.Errorf("events %q, want %q", got, want)
			}
		})
	}
}

// TestShortCut: a cut that is shorter than the dead time loses nothing and does not end the connection.
func TestShortCut(t *testing.T) {
	network := newSim(t, time.Millisecond)
	a, b := pair(t, network, nil)
	network.Cut("us-east", "eu-west", true)
	if !a.SendRelay(ref("us-east"), replication.Frame{Kind: replication.FrameAck, UpTo: 7}) {
		t.Fatal("frame not taken")
	}
	time.Sleep(20 * time.Millisecond) // time in which a frame would have come through
	if b.received() != 0 {
		t.Fatal("a frame came through a cut")
	}
	network.Heal("us-east", "eu-west")
	eventually(t, "the frame", func() bool { return b.received() == 1 })
	if got := a.seen(); len(got) != 1 {
		t.Errorf("events %q, want only the first up", got)
	}
}

// TestKill: a killed node calls no handler any more, its peer notices at once and without a close frame, and a new node
// at the same address is connected again.
func TestKill(t *testing.T) {
	for _, victim := range []string{"eu-west", "us-east"} { // the one that dials, the one that listens
		t.Run(victim, func(t *testing.T) {
			network := newSim(t, 2*time.Millisecond)
			w := newWorld(t, network, "eu-west", "us-east")
			nodes := map[string]*node{}
			for r := range w.listeners {
				nodes[r] = w.start(r, nil)
			}
			survivor := "us-east"
			if victim == survivor {
				survivor = "eu-west"
			}
			nodes[survivor].waitUp(t, victim, true)
			nodes[victim].waitUp(t, survivor, true)
			eventually(t, "the first up", func() bool { return len(nodes[victim].seen()) == 1 }) // the handler may come after the status
			nodes[victim].Kill()
			network.Kill(ref(victim).Region)
			nodes[survivor].waitUp(t, victim, false)
			if status := nodes[survivor].Peers()[ref(victim)]; !strings.HasPrefix(status.LastError, string(EndLost)) && !strings.HasPrefix(status.LastError, "dial") {
				t.Errorf("the survivor says %q, want %q", status.LastError, EndLost)
			}
			nodes[victim].Close() // waits
			if got := nodes[victim].seen(); len(got) != 1 {
				t.Errorf("the killed node saw %q, want only the first up", got)
			}
			w.listen(victim, nodes[victim].addr)
			w.start(victim, func(o *Options) { o.Incarnation = 2 })
			nodes[survivor].waitUp(t, victim, true)
			if got := nodes[survivor].Peers()[ref(victim)].Incarnation; got != 2 {
				t.Errorf("incarnation %d, want 2", got)
			}
		})
	}
}

// TestCloseTellsThePeer: an orderly close reaches the other side as such, and calls OnDown on both sides.
func TestCloseTellsThePeer(t *testing.T) {
	a, b := pair(t, newSim(t, 2*time.Millisecond), nil)
	b.Close()
	a.waitUp(t, "us-east", false)
	if status := a.Peers()[ref("us-east")]; !strings.HasPrefix(status.LastError, string(EndPeerClosed)) && !strings.HasPrefix(status.LastError, "dial") {
		t.Errorf("the peer says %q, want %q", status.LastError, EndPeerClosed)
	}
	if got, want := b.seen(), []string{"up eu-west", "down eu-west"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// TestCallEnds: a call ends with its context, with the link and when the other side has too much to do, and the handler's
// context ends too.
func TestCallEnds(t *testing.T) {
	network := newSim(t, time.Millisecond)
	ended := make(chan error, 1000)
	begun := make(chan string, 1000)
	a, _ := pair(t, network, func(o *Options) {
		o.Limits.Calls = 1
		o.Handlers.OnRequest = func(ctx context.Context, _ chat.NodeRef, _ string, name []byte) ([]byte, error) {
			begun <- string(name)
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := a.Call(ctx, "us-east", "wait", nil)
		failed <- err
	}()
	<-begun
	if _, err := a.Call(t.Context(), "us-east", "wait", nil); chat.CodeOf(err) != chat.CodeBusy {
		t.Errorf("a second call: %v, want CodeBusy", err)
	}
	cancel()
	if err := <-failed; chat.CodeOf(err) != chat.CodeUnknownOutcome || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("its handler ended with %v", err)
	}

	eventually(t, "a call that runs out of time at its handler", func() bool { // the other side may not have noticed the first one's end yet
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := a.Call(ctx, "us-east", "wait", []byte("short")); chat.CodeOf(err) != chat.CodeUnknownOutcome {
			return false
		}
		select {
		case <-begun:
			return true
		default: // its time was over before the handler began
			return false
		}
	})
	<-ended

	go func() {
		for { // the other side may not have noticed the last one's end yet
			_, err := a.Call(t.Context(), "us-east", "wait", []byte("long"))
			if chat.CodeOf(err) != chat.CodeBusy {
				failed <- err
				return
			}
		}
	}()
	for <-begun != "long" { // a short one may have begun late
	}
	network.Kill("us-east")
	if err := <-failed; chat.CodeOf(err) != chat.CodeUnknownOutcome {
		t.Errorf("call over a link that ended: %v", err)
	}
}

// TestQueueIsBounded: when the other side reads nothing, SendRelay says so instead of taking more and more, and does not block.
func TestQueueIsBounded(t *testing.T) {
	network := newSim(t, 0)
	a, b := pair(t, network, func(o *Options) { o.Limits.RelayQueueBytes = 1 << 20 })
	network.Cut("eu-west", "us-east", true)
	op := benchOp(1)
	op.Body = make([]byte, 60<<10)
	f := replication.Frame{Kind: replication.FrameBatch, Stream: op.Stream, UpTo: 1, Ops: []chat.Op{op}}
	sent := 0
	for ; a.SendRelay(ref("us-east"), f); sent++ {
		if sent > 1000 {
			t.Fatal("60 MB taken by a queue of 1 MiB")
		}
		time.Sleep(100 * time.Microsecond) // lets the writer fill the network's own buffer
	}
	if !strings.Contains(a.metrics.String(), MetricDropped) {
		t.Errorf("not counted:\n%s", a.metrics)
	}
	network.Heal("eu-west", "us-east")
	eventually(t, "what was taken", func() bool { return b.received() == sent })
}

// TestQueuesTakeTurns: whatever waits in one queue, a frame of the other is in the next packet or the one after it.
func TestQueuesTakeTurns(t *testing.T) {
	o := newOutbox()
	big := bytes.Repeat([]byte("r"), packetBytes-1)
	o.putRelay([][]byte{big, big, big, big}, 1<<30)
	for range 4 {
		o.putControl(bytes.Repeat([]byte("c"), packetBytes-1), 1<<30)
	}
	order := ""
	for packet := o.take(); len(packet) > 0; packet = o.take() {
		order += string(packet[:1])
		o.written()
	}
	if order != "crcrcrcr" {
		t.Errorf("order %q: the queues do not take turns", order)
	}
	if control, relay := o.waiting(); control != 0 || relay != 0 {
		t.Errorf("%d and %d bytes are left", control, relay)
	}
}

// TestWhatIsBeingWrittenWaits: an answer that was taken and may not be written yet still waits, and nobody else takes anything; it does not
// any more when it is written.
func TestWhatIsBeingWrittenWaits(t *testing.T) {
	o := newOutbox()
	o.putControl(make([]byte, 100), 1<<30)
	o.putRelay([][]byte{make([]byte, 10)}, 1<<30)
	o.take()
	if control, _ := o.waiting(); control != 100 {
		t.Errorf("%d bytes of answers wait while 100 are being written", control)
	}
	if packet := o.take(); packet != nil {
		t.Errorf("a second packet of %d bytes while the first is being written", len(packet))
	}
	o.written()
	o.take() // of relay frames, which nobody waits for
	if control, relay := o.waiting(); control != 0 || relay != 0 {
		t.Errorf("%d and %d bytes are left", control, relay)
	}
}

// TestSmallFramesShareAPacket: what waits is written together, up to a packet's size.
func TestSmallFramesShareAPacket(t *testing.T) {
	o := newOutbox()
	o.putRelay(slices.Repeat([][]byte{make([]byte, 100)}, 1000), 1<<30)
	if got := len(o.take()); got != packetBytes/100*100 {
		t.Errorf("first packet of %d bytes", got)
	}
}

// TestLargeBatchIsSplit: a batch that is too large for one frame arrives as several that join without a gap, and only the
// last tells the watermark.
func TestLargeBatchIsSplit(t *testing.T) {
	a, b := pair(t, nil, nil)
	f := replication.Frame{Kind: replication.FrameBatch, Stream: benchOp(1).Stream, After: 10, UpTo: 500, Watermark: 99}
	for i := range uint64(100) {
		op := benchOp(11 + 2*i)
		op.Body = make([]byte, 64<<10)
		f.Ops = append(f.Ops, op)
	}
	if !a.SendRelay(ref("us-east"), f) {
		t.Fatal("not sent")
	}
	after, ops := f.After, 0
	eventually(t, "all of it", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.frames) > 1 && b.frames[len(b.frames)-1].UpTo == f.UpTo
	})
	for i, piece := range b.frames {
		if piece.After != after || (piece.Watermark != 0) != (i == len(b.frames)-1) {
			t.Fatalf("piece %d: after %d, watermark %d", i, piece.After, piece.Watermark)
		}
		for _, op := range piece.Ops {
			if op.Seq <= piece.After || op.Seq > piece.UpTo {
				t.Fatalf("piece %d holds %d, not in (%d, %d]", i, op.Seq, piece.After, piece.UpTo)
			}
		}
		after, ops = piece.UpTo, ops+len(piece.Ops)
	}
	if ops != len(f.Ops) {
		t.Errorf("%d ops, want %d", ops, len(f.Ops))
	}
	tooLong := benchOp(1)
	tooLong.Body = make([]byte, MaxOpBytes)
	if a.SendRelay(ref("us-east"), replication.Frame{Kind: replication.FrameBatch, Ops: []chat.Op{tooLong}}) {
		t.Error("an op above MaxOpBytes was taken")
	}
}

// TestTell: a tell arrives with its sender's region, as the certificate proves it.
func TestTell(t *testing.T) {
	a, b := pair(t, nil, nil)
	a.Tell(ref("us-east"), "typing", []byte("ann"))
	eventually(t, "the tell", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.Equal(b.tells, []string{"eu-west typing ann"})
	})
}

// BenchmarkRelay measures relay frames over loopback TLS, both ends in this process; ops/s is the number to look at.
func BenchmarkRelay(b *testing.B) {
	for _, batch := range []int{1, 32, 256} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			var got int
			done := make(chan struct{}, 1)
			x, _ := pair(b, nil, func(o *Options) {
				o.Handlers.OnRelay = func(_ Remote, f replication.Frame) {
					if got += len(f.Ops); f.UpTo == 1 {
						done <- struct{}{}
					}
				}
			})
			var ops []chat.Op
			for i := range batch {
				ops = append(ops, benchOp(uint64(i)))
			}
			f := replication.Frame{Kind: replication.FrameBatch, Stream: ops[0].Stream, Ops: ops}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				for !x.SendRelay(ref("us-east"), f) {
					time.Sleep(100 * time.Microsecond)
				}
			}
			last := f
			last.UpTo = 1
			for !x.SendRelay(ref("us-east"), last) {
				time.Sleep(100 * time.Microsecond)
			}
			<-done
			b.StopTimer()
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}
