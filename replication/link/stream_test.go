package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"meridian/chat"
)

// streamPair gives two connected regions of which the second hands each stream it gets to serve.
func streamPair(t testing.TB, network Network, serve func(s Stream, kind string, header []byte), change func(*Options)) (a, b *node) {
	return pair(t, network, func(o *Options) {
		if change != nil {
			change(o)
		}
		o.Handlers.OnStream = func(_ chat.NodeRef, s Stream, kind string, header []byte) { serve(s, kind, header) }
	})
}

// echo sends back what it reads, until the end.
func echo(s Stream, _ string, _ []byte) {
	for {
		message, err := s.Read(context.Background())
		if err != nil || s.Write(context.Background(), message) != nil {
			return
		}
	}
}

// TestStreamEcho: messages of all sizes go both ways in order, over many times the window.
func TestStreamEcho(t *testing.T) {
	a, _ := streamPair(t, nil, echo, nil)
	s, err := a.OpenStream(t.Context(), "us-east", "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{0, 1, 100, 5000, MaxStreamMessageBytes, 70_000, MaxStreamMessageBytes, 3}
	const rounds = 10
	written := make(chan error, 1)
	go func() {
		for i := range rounds * len(sizes) {
			if err := s.Write(t.Context(), bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)])); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for i := range rounds * len(sizes) {
		message, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(message) != sizes[i%len(sizes)] || len(message) > 0 && message[0] != byte(i) {
			t.Fatalf("message %d has %d bytes, want %d", i, len(message), sizes[i%len(sizes)])
		}
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), make([]byte, MaxStreamMessageBytes+1)); chat.CodeOf(err) != chat.CodeTooLarge {
		t.Errorf("a message too large: %v", err)
	}
}

// TestSlowStreamStallsOnlyItself: where nobody reads, the writer has to wait after a window; another stream goes on; and
// once somebody reads, everything arrives.
func TestSlowStreamStallsOnlyItself(t *testing.T) {
	gate, total := make(chan struct{}), make(chan int, 1)
	a, _ := streamPair(t, nil, func(s Stream, kind string, header []byte) {
		if kind == "echo" {
			echo(s, kind, header)
			return
		}
		<-gate
		sum := 0
		for {
			message, err := s.Read(context.Background())
			if err != nil {
				total <- sum
				return
			}
			sum += len(message)
		}
	}, nil)
	slow, err := a.OpenStream(t.Context(), "us-east", "slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	const size = 10_000
	sent := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := slow.Write(ctx, make([]byte, size))
		cancel()
		if err != nil {
			break
		}
		if sent += size; sent > StreamWindowBytes {
			t.Fatal("more than a window was taken for a reader that does not read")
		}
	}
	fast, err := a.OpenStream(t.Context(), "us-east", "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if err := fast.Write(t.Context(), make([]byte, size)); err != nil {
			t.Fatal(i, err)
		}
		if _, err := fast.Read(t.Context()); err != nil {
			t.Fatal(i, err)
		}
	}
	close(gate)
	for range 50 {
		if err := slow.Write(t.Context(), make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		sent += size
	}
	slow.CloseWithCode(1000, "")
	if got := <-total; got != sent {
		t.Errorf("%d bytes arrived, want %d", got, sent)
	}
}

// TestStreamClose: code and reason cross after the messages before them; what the own side closed tells that; a handler
// that returns closes its stream.
func TestStreamClose(t *testing.T) {
	a, _ := streamPair(t, nil, func(s Stream, kind string, header []byte) {
		if kind == "leave" {
			return
		}
		_ = s.Write(context.Background(), header) // the reader checks
		s.CloseWithCode(4008, "slow_consumer")
		s.CloseWithCode(4009, "too late")
	}, nil)
	s, err := a.OpenStream(t.Context(), "us-east", "x", []byte("header"))
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if message, err := s.Read(t.Context()); err != nil || string(message) != "header" {
		t.Fatalf("read %q, %v", message, err)
	}
	var closed *CloseError
	for range 2 {
		if _, err := s.Read(t.Context()); !errors.As(err, &closed) || *closed != (CloseError{4008, "slow_consumer"}) {
			t.Fatalf("end: %v", err)
		}
	}
	if err := s.Write(t.Context(), nil); !errors.As(err, &closed) {
		t.Errorf("write after the end: %v", err)
	}

	s, err = a.OpenStream(t.Context(), "us-east", "leave", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context()); !errors.As(err, &closed) || closed.Code != CloseDone {
		t.Errorf("the handler returned: %v", err)
	}

	s, err = a.OpenStream(t.Context(), "us-east", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.CloseWithCode(1000, "")
	if _, err := s.Read(t.Context()); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("read after the own close: %v", err)
	}
	eventually(t, "no stream left", func() bool { return a.Peers()[ref("us-east")].Streams == 0 })
}

// TestStreamsEndWithTheLink: when the connection is lost, both ends of a stream learn it, and what waits in Write too.
func TestStreamsEndWithTheLink(t *testing.T) {
	network := newSim(t, time.Millisecond)
	begun, served := make(chan struct{}), make(chan error, 1)
	a, _ := streamPair(t, network, func(s Stream, _ string, _ []byte) {
		close(begun)
		<-s.Done()
		for {
			if _, err := s.Read(context.Background()); err != nil {
				served <- err
				return
			}
		}
	}, nil)
	s, err := a.OpenStream(t.Context(), "us-east", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	writing := make(chan error, 1)
	go func() {
		for {
			if err := s.Write(context.Background(), make([]byte, 100_000)); err != nil {
				writing <- err
				return
			}
		}
	}()
	<-begun
	eventually(t, "the window is used up", func() bool { st := s.(*stream); st.mu.Lock(); defer st.mu.Unlock(); return st.allowed < 100_000 })
	network.Kill("us-east")
	for what, ended := range map[string]chan error{"writer": writing, "other side": served} {
		if err := <-ended; chat.CodeOf(err) != chat.CodeRegionDegraded {
			t.Errorf("%s: %v, want CodeRegionDegraded", what, err)
		}
	}
	if _, err := s.Read(t.Context()); chat.CodeOf(err) != chat.CodeRegionDegraded {
		t.Errorf("reader: %v, want CodeRegionDegraded", err)
	}
}

// TestStreamLimit: no more streams are open than allowed, and there is room again when one ends.
func TestStreamLimit(t *testing.T) {
	a, b := streamPair(t, nil, echo, func(o *Options) { o.Limits.Streams = 3 })
	var open []Stream
	for range 3 {
		s, err := a.OpenStream(t.Context(), "us-east", "echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, err := a.OpenStream(t.Context(), "us-east", "echo", nil); chat.CodeOf(err) != chat.CodeBusy {
		t.Fatalf("a fourth stream: %v, want CodeBusy", err)
	}
	if s, err := b.OpenStream(t.Context(), "eu-west", "echo", nil); err != nil {
		t.Fatalf("the other side has its own three: %v", err)
	} else {
		s.CloseWithCode(1000, "")
	}
	open[0].CloseWithCode(1000, "")
	eventually(t, "room for another", func() bool {
		s, err := a.OpenStream(t.Context(), "us-east", "echo", nil)
		if err != nil {
			return false
		}
		if err := s.Write(t.Context(), []byte("x")); err != nil {
			return false
		}
		_, err = s.Read(t.Context())
		return err == nil
	})
}

// TestManyStreams: hundreds of streams at once keep to themselves.
func TestManyStreams(t *testing.T) {
	a, _ := streamPair(t, nil, echo, nil)
	failed := make(chan error, 200)
	for i := range cap(failed) {
		go func() {
			failed <- func() error {
				s, err := a.OpenStream(t.Context(), "us-east", "echo", nil)
				if err != nil {
					return err
				}
				defer s.CloseWithCode(1000, "")
				for j := range 10 {
					want := fmt.Sprint(i, ":", j)
					if err := s.Write(t.Context(), []byte(want)); err != nil {
						return err
					}
					got, err := s.Read(t.Context())
					if err != nil {
						return fmt.Errorf("want %q: %w", want, err)
					}
					if string(got) != want {
						return fmt.Errorf("got %q, want %q", got, want)
					}
				}
				return nil
			}()
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkStream measures a message there and back over loopback TLS, both ends in this process: of one stream alone, and of many
// at once.
func BenchmarkStream(b *testing.B) {
	for _, streams := range []int{1, 64} {
		b.Run(fmt.Sprint("streams=", streams), func(b *testing.B) {
			a, _ := streamPair(b, nil, echo, nil)
			message := make([]byte, 50)
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for i := range streams {
				all.Go(func() {
					s, err := a.OpenStream(b.Context(), "us-east", "echo", nil)
					for n := i; n < b.N && err == nil; n += streams {
						if err = s.Write(b.Context(), message); err == nil {
							_, err = s.Read(b.Context())
						}
					}
					if err != nil {
						b.Error(err)
					}
				})
			}
			all.Wait()
		})
	}
}
