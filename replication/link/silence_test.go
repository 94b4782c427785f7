package link

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// standstill is a connection in whose first read this machine stands still: all clocks go on, and nothing is read meanwhile.
type standstill struct {
	net.Conn
	stands time.Duration
}

func (c *standstill) Read(p []byte) (int, error) {
	if c.stands > 0 {
		time.Sleep(c.stands)
		c.stands = 0
		return 0, os.ErrDeadlineExceeded // so the runtime answers when it wakes, whatever has come
	}
	return c.Conn.Read(p)
}

// TestStandstillIsNoSilence: a connection that brings nothing is given up after the dead time; one whose own machine stood still for longer
// is not, for what the other side has said lies there.
func TestStandstillIsNoSilence(t *testing.T) {
	const dead = 3 * time.Second
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer func() { must(t, errors.Join(ours.Close(), theirs.Close())) }()
		c := &silenceConn{Conn: &standstill{Conn: ours, stands: 8 * time.Second}}
		c.dead.Store(int64(dead))
		go func() { _, _ = theirs.Write([]byte("ping")) }() // the reader tells
		p := make([]byte, 8)
		if n, err := c.Read(p); string(p[:n]) != "ping" || err != nil {
			t.Fatalf("after a standstill: %q, %v", p[:n], err)
		}
		began := time.Now()
		if _, err := c.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("silence: %v", err)
		}
		if took := time.Since(began); took != dead {
			t.Errorf("silence was given up after %v, not %v", took, dead)
		}
	})
}
