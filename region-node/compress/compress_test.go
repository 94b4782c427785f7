package compress

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The encoding is the one of the highest weight that both speak; nothing is compressed for a client that did not ask for it.
func TestNegotiate(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "gzip": "gzip", "zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "br": "", "GZIP": "gzip", "x-gzip": "gzip", "*": "zstd",
		"gzip;q=1, zstd;q=0.5": "gzip", "gzip;q=0.5, zstd;q=0.5": "zstd", "zstd;q=0, gzip": "gzip", "zstd;q=0": "", "gzip;q=0": "",
		"*;q=0": "", "*;q=0, gzip;q=0.1": "gzip", "gzip;q=0, *": "zstd", "identity;q=1, gzip;q=0.5": "", "identity, gzip": "gzip",
		"identity;q=0": "", "identity;q=0, gzip;q=0.2": "gzip", "gzip ; q=0.7 , zstd ;q=0.6": "gzip",
		"gzip;q=nonsense": "", "gzip;q=2": "", "gzip;q=NaN": "", "gzip;p=1": "", ",,;,=": "", "gzip;q=-1": "", "gzip, gzip;q=0": "gzip",
	} {
		if got := negotiate([]string{header}); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
	if got := negotiate([]string{"gzip;q=0.1", "zstd;q=0.2"}); got != "zstd" {
		t.Errorf("of two headers: %q", got)
	}
}

type sums map[string]float64

func (s sums) Add(name string, value float64, labels ...string) {
	s[strings.Join(append([]string{name}, labels...), " ")] += value
}

// fetch asks a server with the handler, as a client that accepts encoding, and gives the answer and its body as sent.
func fetch(t *testing.T, h http.Handler, method, encoding string) (*http.Response, []byte, sums) {
	t.Helper()
	counted := sums{}
	s := httptest.NewServer(Handler(h, counted))
	t.Cleanup(s.Close)
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", encoding)
	resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body, counted
}

func unpack(t *testing.T, encoding string, body []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	var err error
	switch encoding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A body comes out as it was written, in whatever pieces and with whatever encoding, shorter when it is long, of a kind that gets
// shorter, and the client takes the encoding; status and type stay, and every answer says on what it depends.
func TestBodiesArrive(t *testing.T) {
	const text = "application/json; charset=utf-8"
	for _, c := range []struct {
		kind   string
		length int
		packed bool
	}{
		{text, 0, false},
		{text, minBytes - 1, false},
		{text, minBytes, true},
		{text, 3 << 20, true},
		{"text/html", 5000, true},
		{"application/problem+json", 5000, true},
		{"image/webp", 5000, false},
		{"application/zip", 5000, false},
		{"", 5000, false},
	} {
		want := []byte(strings.Repeat(`{"text":"the same again"}`, c.length/25+1))[:c.length]
		for _, encoding := range []string{"gzip", "zstd", "identity"} {
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("Content-Length", strconv.Itoa(len(want)))
				w.WriteHeader(http.StatusCreated)
				for rest := want; len(rest) > 0; {
					n := min(1+rand.IntN(2000), len(rest))
					if k, err := w.Write(rest[:n]); k != n || err != nil {
						t.Errorf("wrote %d of %d, error %v", k, n, err)
					}
					rest = rest[n:]
				}
			})
			resp, body, counted := fetch(t, h, "GET", encoding)
			as, packed := resp.Header.Get("Content-Encoding"), c.packed && encoding != "identity"
			if packed != (as == encoding) || !packed && as != "" || resp.StatusCode != http.StatusCreated || resp.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s, %d bytes, %s: %d %v", c.kind, c.length, encoding, resp.StatusCode, resp.Header)
			}
			if got := unpack(t, as, body); !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes, %s: another body", c.kind, c.length, encoding)
			}
			if packed && len(body) > c.length/4 {
				t.Errorf("%s, %s: %d of %d bytes", c.kind, encoding, len(body), c.length)
			}
			if name := map[bool]string{true: encoding, false: "identity"}[packed]; counted["response_bytes_total "+name+" sent"] != float64(len(body)) {
				t.Errorf("%s, %d bytes, %s: counted %v", c.kind, c.length, encoding, counted)
			}
		}
	}
}

// What is encoded already is left alone, an answer without a body has none, and a flush sends what was written so far.
func TestLeftAlone(t *testing.T) {
	long := strings.Repeat("a", 2*minBytes)
	for name, c := range map[string]struct {
		method string
		answer func(http.ResponseWriter)
		status int
		body   string
	}{
		"encoded": {"GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Encoding", "br")
			_, _ = io.WriteString(w, long)
		}, 200, long},
		"nothing": {"GET", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, 204, ""},
		"silence": {"GET", func(http.ResponseWriter) {}, 200, ""},
		"head":    {"HEAD", func(w http.ResponseWriter) { _, _ = io.WriteString(w, long) }, 200, ""},
	} {
		resp, body, _ := fetch(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w) }), c.method, "gzip")
		if as := resp.Header.Get("Content-Encoding"); resp.StatusCode != c.status || string(body) != c.body || as != "" && as != "br" {
			t.Errorf("%s: %d %v %d bytes", name, resp.StatusCode, resp.Header, len(body))
		}
	}
	resp, body, _ := fetch(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "first ")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "second")
	}), "GET", "zstd")
	if got := unpack(t, resp.Header.Get("Content-Encoding"), body); string(got) != "first second" {
		t.Errorf("flushed: %q", got)
	}
}
