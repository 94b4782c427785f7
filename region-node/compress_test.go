package regionnode_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A page comes compressed as the client asks, from the home region and through an edge elsewhere alike, and says the same; a request
// whose body is compressed is refused before it is read.
func TestPagesAreCompressed(t *testing.T) {
	w := newWorld(t)
	lisbon, york := w.signUp("eu-west", "lisbon_user", "eu"), w.signUp("us-east", "newyork_user", "")
	c, _ := w.connect("eu-west", lisbon, "")
	var conversation string
	for range 20 {
		conversation = c.say(york.name, strings.Repeat("the same words again, ", 20), "region")["conversation_id"].(string)
	}
	get := func(at, encoding string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.cfg.Regions[map[string]int{"us-east": 0, "eu-west": 1}[at]].BaseURL()+"/v1/conversations/"+conversation+"/messages", nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+lisbon.token)
		if encoding != "" {
			req.Header.Set("Accept-Encoding", encoding)
		}
		resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return resp, body
	}
	_, plain := get("eu-west", "")
	for _, at := range []string{"eu-west", "us-east"} {
		for encoding, unpack := range map[string]func(io.Reader) (io.Reader, error){
			"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
			"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
		} {
			resp, packed := get(at, encoding)
			r, err := unpack(bytes.NewReader(packed))
			must(t, err)
			body, err := io.ReadAll(r)
			must(t, err)
			if resp.Header.Get("Content-Encoding") != encoding || !strings.Contains(strings.Join(resp.Header.Values("Vary"), ","), "Accept-Encoding") || len(packed) > len(plain)/5 || !json.Valid(body) || !bytes.Equal(body, plain) {
				t.Errorf("%s at %s: %v, %d of %d bytes", encoding, at, resp.Header, len(packed), len(plain))
			}
		}
	}
	for encoding, want := range map[string]int{"gzip": http.StatusUnsupportedMediaType, "identity": http.StatusUnauthorized} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", w.url("us-east")+"/v1/login", strings.NewReader(`{"username":"lisbon_user","password":"wrong one"}`))
		must(t, err)
		req.Header.Set("Content-Encoding", encoding)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a body in %s: %s", encoding, resp.Status)
		}
	}
}
