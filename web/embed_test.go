package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func testFS() fstest.MapFS {
	return fstest.MapFS{
		"index.html":            {Data: []byte("<html>app</html>")},
		"index.html.gz":         {Data: []byte("html-gz")},
		"assets/app-1a2b.js":    {Data: []byte("plain script")},
		"assets/app-1a2b.js.gz": {Data: []byte("script-gz")},
		"assets/app-1a2b.js.br": {Data: []byte("script-br")},
		"icon.svg":              {Data: []byte("<svg/>")},
		".vite/manifest.json":   {Data: []byte("{}")},
		".keep":                 {},
	}
}

var fallbackFS = fstest.MapFS{"index.html": {Data: []byte("run make web")}, "fallback.js": {Data: []byte("//")}}

func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A page path gives the application; a file path gives that file or 404; an API path never gives a page.
func TestWhatAPathServes(t *testing.T) {
	h := newHandler(testFS(), fallbackFS, Options{})
	for _, c := range []struct {
		path, want string
		status     int
		cache      string
	}{
		{"/", "<html>app</html>", 200, cacheRevalidate},
		{"/index.html", "<html>app</html>", 200, cacheRevalidate},
		{"/c/some-conversation", "<html>app</html>", 200, cacheRevalidate},
		{"/assets/app-1a2b.js", "plain script", 200, cacheForever},
		{"/icon.svg", "<svg/>", 200, cacheRevalidate},
		{"/assets/app-0000.js", "not found\n", 404, "no-store"},
		{"/assets/", "not found\n", 404, "no-store"},
		{"/robots.txt", "not found\n", 404, "no-store"},
		{"/.vite/manifest.json", "not found\n", 404, "no-store"},
		{"/assets/app-1a2b.js.gz", "not found\n", 404, "no-store"},
		{"/v1/me", "not found\n", 404, "no-store"},
		{"/v1", "not found\n", 404, "no-store"},
		{"/healthz", "not found\n", 404, "no-store"},
		{"/readyz", "not found\n", 404, "no-store"},
		{"/metrics", "not found\n", 404, "no-store"},
	} {
		r := get(t, h, c.path)
		if got := body(t, r); r.StatusCode != c.status || got != c.want || r.Header.Get("Cache-Control") != c.cache {
			t.Errorf("%s: %d %q cache %q, want %d %q %q", c.path, r.StatusCode, got, r.Header.Get("Cache-Control"), c.status, c.want, c.cache)
		}
	}
}

// The stored encodings are chosen by Accept-Encoding, each with its own ETag.
func TestEncodings(t *testing.T) {
	h := newHandler(testFS(), fallbackFS, Options{})
	tags := map[string]string{}
	for _, c := range []struct{ accept, encoding, want string }{
		{"", "", "plain script"},
		{"gzip", "gzip", "script-gz"},
		{"gzip, deflate, br", "br", "script-br"},
		{"br;q=0, gzip;q=0.5", "gzip", "script-gz"},
		{"identity", "", "plain script"},
	} {
		r := get(t, h, "/assets/app-1a2b.js", "Accept-Encoding", c.accept)
		if got := body(t, r); got != c.want || r.Header.Get("Content-Encoding") != c.encoding {
			t.Errorf("%q: %q as %q, want %q as %q", c.accept, got, r.Header.Get("Content-Encoding"), c.want, c.encoding)
		}
		if r.Header.Get("Vary") != "Accept-Encoding" || r.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("%q: header %v", c.accept, r.Header)
		}
		if other, ok := tags[r.Header.Get("ETag")]; ok && other != c.encoding {
			t.Errorf("%q: ETag of encoding %q", c.accept, other)
		}
		tags[r.Header.Get("ETag")] = c.encoding
	}
}

func TestRevalidation(t *testing.T) {
	h := newHandler(testFS(), fallbackFS, Options{})
	tag := get(t, h, "/").Header.Get("ETag")
	for _, header := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		if r := get(t, h, "/", "If-None-Match", header); r.StatusCode != http.StatusNotModified || body(t, r) != "" {
			t.Errorf("If-None-Match %s: %d", header, r.StatusCode)
		}
	}
	if r := get(t, h, "/", "If-None-Match", `"other"`); r.StatusCode != http.StatusOK {
		t.Errorf("another ETag: %d", r.StatusCode)
	}
}

// The policy names every region, or the browser would block the failover; it is asked anew for each answer.
func TestSecurityHeaders(t *testing.T) {
	origins := []string{"https://eu.example.org", "wss://eu.example.org"}
	h := newHandler(testFS(), fallbackFS, Options{ConnectOrigins: func() []string { return origins }, Version: "1.2.3"})
	origins = append(origins, "https://us.example.org", "bad; script-src *")
	r := get(t, h, "/")
	const want = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; " +
		"connect-src 'self' https://eu.example.org wss://eu.example.org https://us.example.org; " +
		"manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := r.Header.Get("Content-Security-Policy"); got != want {
		t.Errorf("policy\n%s\nwant\n%s", got, want)
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Meridian-Version": "1.2.3",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Without a built client the hand-written page is served, under the same rules.
func TestFallback(t *testing.T) {
	h := newHandler(fstest.MapFS{".keep": {}}, fallbackFS, Options{})
	if got := body(t, get(t, h, "/any/page")); got != "run make web" {
		t.Errorf("page: %q", got)
	}
	if r := get(t, h, "/fallback.js"); r.StatusCode != http.StatusOK {
		t.Errorf("script: %d", r.StatusCode)
	}
}

func TestMethods(t *testing.T) {
	h := newHandler(testFS(), fallbackFS, Options{})
	for method, want := range map[string]int{http.MethodHead: 200, http.MethodPost: 405, http.MethodDelete: 405} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		if w.Code != want || method == http.MethodHead && w.Body.Len() != 0 {
			t.Errorf("%s: %d with %d bytes, want %d", method, w.Code, w.Body.Len(), want)
		}
	}
}

// What is embedded serves, whether the client was built or not.
func TestEmbedded(t *testing.T) {
	r := get(t, Handler(Options{}), "/")
	if got := body(t, r); r.StatusCode != http.StatusOK || !strings.Contains(got, "Meridian") {
		t.Errorf("built=%v: %d %.80q", Built(), r.StatusCode, got)
	}
}
