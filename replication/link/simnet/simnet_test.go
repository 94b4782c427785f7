package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"meridian/chat"
)

// TestMain: nothing that a test starts is left when all have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect gives both ends of a connection from "a" to "b"; dialling and accepting side may have a network each, as in two
// processes.
func connect(t *testing.T, dialling, accepting *Network) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	a, err = dialling.Dial(t.Context(), "a", "b", l.Addr().String())
	must(t, err)
	raw, err := l.Accept()
	must(t, err)
	b = accepting.Accepted("b", raw)
	t.Cleanup(dialling.Close)
	t.Cleanup(accepting.Close)
	return a, b
}

// roundTrip sends a byte each way and tells how long that took.
func roundTrip(t *testing.T, a, b net.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	var p [1]byte
	for _, direction := range [][2]net.Conn{{a, b}, {b, a}} {
		_, err := direction[0].Write([]byte("x"))
		must(t, err)
		_, err = io.ReadFull(direction[1], p[:])
		must(t, err)
	}
	return time.Since(began)
}

func oneWay(from, _ chat.Region) time.Duration {
	if from == "a" {
		return 30 * time.Millisecond
	}
	return 10 * time.Millisecond
}

// TestDelay: a round trip takes both one-way delays, within one process and across two, and so does a dial.
func TestDelay(t *testing.T) {
	shared := New(oneWay)
	for name, accepting := range map[string]*Network{"one process": shared, "two processes": New(oneWay)} {
		t.Run(name, func(t *testing.T) {
			dialling := New(oneWay)
			if accepting == shared {
				dialling = shared
			}
			began := time.Now()
			a, b := connect(t, dialling, accepting)
			if took := time.Since(began); took < 40*time.Millisecond {
				t.Errorf("the dial took %v", took)
			}
			if took := roundTrip(t, a, b); took < 40*time.Millisecond {
				t.Errorf("the round trip took %v", took)
			}
		})
	}
}

// TestOrder: bytes arrive as they were written, also when the delay shrinks meanwhile, more than the network holds at once.
func TestOrder(t *testing.T) {
	network := New(oneWay)
	a, b := connect(t, network, network)
	want := make([]byte, inFlightBytes+inFlightBytes/2)
	for i := range want {
		want[i] = byte(i * 7 / 3)
	}
	go func() {
		for p := want; len(p) > 0; {
			n, err := a.Write(p[:min(len(p), 100_000)])
			if err != nil {
				return // the reader will miss something
			}
			p = p[n:]
			if len(p) < len(want)/2 {
				network.SetDelay(nil)
			}
		}
		_ = a.Close() // what is under way still arrives
	}()
	must(t, b.SetReadDeadline(time.Now().Add(time.Minute)))
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
}

// TestCut: while a direction is cut nothing arrives and nothing fails but by deadline, wherever the cut was ordered; the
// other direction goes on; after the heal everything arrives.
func TestCut(t *testing.T) {
	for name, where := range map[string]string{"shared": "", "at the sender": "a", "at the receiver": "b"} {
		t.Run(name, func(t *testing.T) {
			near, far := New(nil), New(nil)
			cut := far
			switch where {
			case "":
				far, cut = near, near
			case "a":
				cut = near
			}
			a, b := connect(t, near, far)
			roundTrip(t, a, b)
			cut.Cut("a", "b", false)
			_, err := a.Write([]byte("hello"))
			must(t, err)
			p := make([]byte, 5)
			must(t, b.SetReadDeadline(time.Now().Add(30*time.Millisecond)))
			if n, err := b.Read(p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("read %d bytes over a cut, %v", n, err)
			}
			_, err = b.Write([]byte("other"))
			must(t, err)
			_, err = io.ReadFull(a, p)
			must(t, err)
			must(t, b.SetReadDeadline(time.Time{}))
			cut.Heal("a", "b")
			if _, err = io.ReadFull(b, p); err != nil || string(p) != "hello" {
				t.Fatalf("after the heal: %q, %v", p, err)
			}
		})
	}
}

// TestCutDuringRead: a cut also holds what arrives in a read that was under way when it was ordered.
func TestCutDuringRead(t *testing.T) {
	near, far := New(nil), New(nil)
	a, b := connect(t, near, far)
	roundTrip(t, a, b)
	got := make(chan string, 1)
	go func() {
		p := make([]byte, 5)
		n, err := io.ReadFull(b, p)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(p[:n])
	}()
	time.Sleep(20 * time.Millisecond) // the read is under way by now; if not, the test only tests less
	far.Cut("a", "b", false)
	_, err := a.Write([]byte("hello"))
	must(t, err)
	select {
	case s := <-got:
		t.Fatalf("read %q over a cut", s)
	case <-time.After(30 * time.Millisecond):
	}
	far.Heal("a", "b")
	if s := <-got; s != "hello" {
		t.Fatalf("after the heal: %q", s)
	}
}

// TestDialOverCut: a dial over a cut waits, ends with its context, and goes through when the cut is healed.
func TestDialOverCut(t *testing.T) {
	network := New(nil)
	defer network.Close()
	network.Cut("b", "a", false) // the answers get lost
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := network.Dial(ctx, "a", "b", l.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("dial over a cut: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { network.Heal("a", "b") })
	if _, err := network.Dial(t.Context(), "a", "b", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
}

// TestKill: both ends of a killed region's connections fail, with nothing of what was under way.
func TestKill(t *testing.T) {
	network := New(nil)
	a, b := connect(t, network, network)
	roundTrip(t, a, b)
	network.SetDelay(func(_, _ chat.Region) time.Duration { return time.Hour })
	_, err := a.Write([]byte("never to arrive"))
	must(t, err)
	must(t, b.SetReadDeadline(time.Now().Add(time.Minute)))
	network.Kill("a")
	for name, end := range map[string]net.Conn{"killed": a, "other": b} {
		if n, err := end.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s end: %d bytes, %v", name, n, err)
		}
	}
}
