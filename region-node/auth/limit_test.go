package auth

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// A key may spend its burst at once and its rate after that, and is told how long to wait; other keys do not matter.
func TestLimiterSpendsBurstThenRate(t *testing.T) {
	l := NewLimiter(2, 3, 100)
	now := time.Unix(1000, 0)
	for i := range 3 {
		if ok, _ := l.Allow("a", now); !ok {
			t.Fatalf("call %d of the burst is refused", i)
		}
	}
	if ok, wait := l.Allow("a", now); ok || wait != 500*time.Millisecond {
		t.Errorf("after the burst: %v, wait %v, want refused for 500ms", ok, wait)
	}
	if ok, _ := l.Allow("b", now); !ok {
		t.Error("another key is refused")
	}
	if ok, _ := l.Allow("a", now.Add(499*time.Millisecond)); ok {
		t.Error("allowed before the time it was told")
	}
	if ok, _ := l.Allow("a", now.Add(500*time.Millisecond)); !ok {
		t.Error("refused at the time it was told")
	}
	if ok, wait := l.Allow("a", now.Add(-time.Hour)); ok || wait > time.Second {
		t.Errorf("a clock that went back: %v, wait %v", ok, wait)
	}
	for range 3 {
		if ok, _ := l.Allow("a", now.Add(time.Hour)); !ok {
			t.Error("the bucket is not full after an hour")
		}
	}
	if ok, _ := l.Allow("a", now.Add(time.Hour)); ok {
		t.Error("the bucket holds more than its burst")
	}
	if ok, _ := NewLimiter(0, 1, 2).Allow("a", now); !ok {
		t.Error("rate 0 does not mean unlimited")
	}
}

// The memory is bounded however many keys come, and a key that keeps coming is not forgotten meanwhile.
func TestLimiterIsBounded(t *testing.T) {
	l := NewLimiter(0.001, 1, 100)
	now := time.Unix(1000, 0)
	l.Allow("steady", now)
	for i := range 10_000 {
		l.Allow(fmt.Sprint(i), now)
		if i%20 == 0 {
			if ok, _ := l.Allow("steady", now); ok {
				t.Fatalf("forgotten after %d other keys", i)
			}
		}
		if n := l.size(); n > 100 {
			t.Fatalf("%d buckets after %d keys, at most 100 are allowed", n, i)
		}
	}
}

// Addresses of one IPv6 subscriber share a key; an IPv4 address has its own, in both its forms.
func TestAddressKey(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		if got := AddressKey(netip.MustParseAddr(c.a)) == AddressKey(netip.MustParseAddr(c.b)); got != c.same {
			t.Errorf("%s and %s share a key: %v, want %v", c.a, c.b, got, c.same)
		}
	}
	_ = AddressKey(netip.Addr{}) // unknown addresses share one key
}
