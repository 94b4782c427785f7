package front

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"meridian/chat"
)

// Only what trusted proxies wrote is believed, from the right; what is not followed is told.
func TestClientOf(t *testing.T) {
	trusted, err := prefixes("network.trusted_proxies", []string{"10.0.0.0/8", "::1", "127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ peer, forwarded, want, ignored string }{
		{"192.0.2.7:1", "", "192.0.2.7", ""},
		{"192.0.2.7:1", "8.8.8.8", "192.0.2.7", unlisted},
		{"192.0.2.7:1", "127.0.0.1", "192.0.2.7", unlisted},
		{"10.1.1.1:1", "", "10.1.1.1", ""},
		{"10.1.1.1:1", "8.8.8.8", "8.8.8.8", ""},
		{"10.1.1.1:1", "1.1.1.1, 8.8.8.8, 10.2.2.2", "8.8.8.8", ""},
		{"10.1.1.1:1", "nonsense, 8.8.8.8, 10.2.2.2", "8.8.8.8", ""},
		{"10.1.1.1:1", "10.3.3.3, 10.2.2.2", "10.3.3.3", ""},
		{"10.1.1.1:1", "8.8.8.8, nonsense", "10.1.1.1", malformed},
		{"10.1.1.1:1", "8.8.8.8, nonsense, 10.2.2.2", "10.2.2.2", malformed},
		{"10.1.1.1:1", "8.8.8.8,", "10.1.1.1", malformed},
		{"[::1]:1", "2001:db8::5", "2001:db8::5", ""},
		{"[::1]:1", "[2001:db8::5]:443", "2001:db8::5", ""},
		{"127.0.0.1:1", "8.8.8.8:443", "8.8.8.8", ""},
		{"[::ffff:10.1.1.1]:1", "::ffff:8.8.8.8", "8.8.8.8", ""},
		{"[fe80::1%eth0]:1", "", "fe80::1", ""},
		{"@", "8.8.8.8", "invalid IP", unlisted},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got, ignored := clientOf(r, trusted); got.String() != c.want || ignored != c.ignored {
			t.Errorf("%s, %q: got %s %q, want %s %q", c.peer, c.forwarded, got, ignored, c.want, c.ignored)
		}
	}
	if _, err := prefixes("network.trusted_proxies", []string{"10.0.0.0/99"}); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("a wrong network: got %v", err)
	}
}
