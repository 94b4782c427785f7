package limits

import (
	"net/netip"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/store/memory"
)

type counts map[string]int

func (c counts) Count(name string, labels ...string) { c[name+" "+labels[0]]++ }

// Each class of requests of each address and person has a bucket of its own: who spends one is refused there with the time to wait,
// counted, and served again after it; others, and other classes, are not touched.
func TestEachHasABucketOfItsOwn(t *testing.T) {
	now := time.Unix(1000, 0)
	counted := counts{}
	cfg := config.Limits{AddressRequestsPerSecond: 2, AuthPerMinute: 6, UserReadsPerSecond: 3, UserWritesPerSecond: 1, LookupsPerSecond: 0.5, SendsPerSecond: 4}
	l := New(memory.NewLimiter(1000, func() time.Time { return now }), cfg, counted)
	ann, bob := User(chat.UserID{1}), User(chat.UserID{2})
	for class, c := range map[Class]struct {
		burst int
		wait  time.Duration
	}{
		Requests: {20, 500 * time.Millisecond}, Auth: {6, 10 * time.Second}, Reads: {30, 333333334}, Writes: {10, time.Second},
		Lookups: {30, 2 * time.Second}, Sends: {40, 250 * time.Millisecond},
	} {
		for i := range c.burst {
			if err := l.Take(t.Context(), class, ann); err != nil {
				t.Fatalf("%s: request %d: %v", class, i, err)
			}
		}
		e := chat.AsError(l.Take(t.Context(), class, ann))
		if e == nil || e.Code != chat.CodeRateLimited || e.RetryAfter != c.wait {
			t.Errorf("%s: after the burst: %v, wait %v", class, e, e.RetryAfter)
		}
		if err := l.Take(t.Context(), class, bob); err != nil {
			t.Errorf("%s: another person: %v", class, err)
		}
		now = now.Add(c.wait)
		if err := l.Take(t.Context(), class, ann); err != nil {
			t.Errorf("%s: after the wait: %v", class, err)
		}
		if n := counted["rate_limited_total "+string(class)]; n != 1 {
			t.Errorf("%s: %d refusals counted", class, n)
		}
	}
}

// Addresses of one IPv6 subscriber share a bucket; an IPv4 address has its own, in both its forms; no address is a person.
func TestAddress(t *testing.T) {
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
		if got := Address(netip.MustParseAddr(c.a)) == Address(netip.MustParseAddr(c.b)); got != c.same {
			t.Errorf("%s and %s share a bucket: %v, want %v", c.a, c.b, got, c.same)
		}
	}
	if a, u := Address(netip.Addr{}), User(chat.UserID{}); a[0] == u[0] { // unknown addresses share one bucket
		t.Errorf("%q, %q", a, u)
	}
}
