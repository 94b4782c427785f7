package web

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// file is one servable path with its encodings, best first. The identity encoding is always the last.
type file struct {
	contentType string
	cache       string
	variants    []variant
}

// variant is one encoding of a file. Its ETag is the hash of its bytes: embedded files have no times.
type variant struct {
	encoding string // "br", "gzip", or "" for the plain bytes
	etag     string
	body     []byte
}

// Caching: a hashed name never changes its content; everything else is asked for again each time, which an ETag makes cheap.
const (
	cacheForever    = "public, max-age=31536000, immutable"
	cacheRevalidate = "no-cache"
)

// api are the paths of programs. This handler never answers one with a page.
var api = []string{"/v1/", "/healthz", "/readyz", "/metrics"}

type handler struct {
	files map[string]file
	opts  Options
}

// newHandler reads all of dist, or of fallback when dist holds no index.html, into memory. The files are a few
// hundred kilobytes and already stand in the binary.
func newHandler(dist, fallback fs.FS, opts Options) http.Handler {
	root := dist
	if _, err := fs.Stat(dist, "index.html"); err != nil {
		root = fallback
	}
	h := &handler{files: map[string]file{}, opts: opts}
	for name, body := range readAll(root) {
		if ext := path.Ext(name); ext == ".gz" || ext == ".br" {
			continue // a variant of the file without that ending
		}
		h.files["/"+name] = newFile(root, name, body)
	}
	return h
}

// readAll gives the content of every file under root, except those in or with a name that starts with a dot: build
// tools keep manifests there that are nobody's business.
func readAll(root fs.FS) map[string][]byte {
	all := map[string][]byte{}
	_ = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // an unreadable entry is a missing file: 404
		}
		if strings.HasPrefix(entry.Name(), ".") && name != "." {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		if body, err := fs.ReadFile(root, name); err == nil {
			all[name] = body
		}
		return nil
	})
	return all
}

func newFile(root fs.FS, name string, body []byte) file {
	f := file{contentType: contentType(name), cache: cacheRevalidate}
	if strings.HasPrefix(name, "assets/") {
		f.cache = cacheForever
	}
	for _, encoded := range []struct{ ending, encoding string }{{".br", "br"}, {".gz", "gzip"}} {
		if b, err := fs.ReadFile(root, name+encoded.ending); err == nil {
			f.variants = append(f.variants, newVariant(encoded.encoding, b))
		}
	}
	f.variants = append(f.variants, newVariant("", body))
	return f
}

func newVariant(encoding string, body []byte) variant {
	sum := sha256.Sum256(body)
	return variant{encoding: encoding, etag: `"` + hex.EncodeToString(sum[:12]) + `"`, body: body}
}

// contentType names the types of a web client itself: the machine's own table may lack them or say something else.
func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".woff2":
		return "font/woff2"
	case ".txt":
		return "text/plain; charset=utf-8"
	default:
		if t := mime.TypeByExtension(ext); t != "" {
			return t
		}
		return "application/octet-stream"
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.setSecurity(w.Header())
	f, ok := h.find(r.URL.Path)
	if !ok {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	serveFile(w, r, f)
}

// find gives the file of a URL path. A path that looks like a page gives the application, which routes by itself; one
// that looks like a file must exist. An old tab that asks for an asset of the last release must not get HTML as script.
func (h *handler) find(urlPath string) (file, bool) {
	for _, reserved := range api {
		if urlPath == strings.TrimSuffix(reserved, "/") || strings.HasPrefix(urlPath, strings.TrimSuffix(reserved, "/")+"/") {
			return file{}, false
		}
	}
	if f, ok := h.files[path.Clean("/"+urlPath)]; ok {
		return f, true
	}
	if strings.HasPrefix(urlPath, "/assets/") || path.Ext(urlPath) != "" {
		return file{}, false
	}
	f, ok := h.files["/index.html"]
	return f, ok
}

func serveFile(w http.ResponseWriter, r *http.Request, f file) {
	v := choose(f.variants, r)
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cache)
	header.Set("ETag", v.etag)
	if len(f.variants) > 1 {
		header.Add("Vary", "Accept-Encoding")
	}
	if matches(r.Header.Get("If-None-Match"), v.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if v.encoding != "" {
		header.Set("Content-Encoding", v.encoding)
	}
	header.Set("Content-Length", strconv.Itoa(len(v.body)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(v.body) // the reader went away: nobody to tell
}

// choose gives the best variant that the client accepts. The plain bytes are last and always accepted.
func choose(variants []variant, r *http.Request) variant {
	accepted := accepts(r.Header.Values("Accept-Encoding"))
	for _, v := range variants[:len(variants)-1] {
		if accepted[v.encoding] {
			return v
		}
	}
	return variants[len(variants)-1]
}

// accepts reads Accept-Encoding (RFC 9110 §12.5.3). Only what is named is accepted, and "q=0" is a refusal; the order
// among the accepted is ours.
func accepts(values []string) map[string]bool {
	accepted := map[string]bool{}
	for _, item := range strings.Split(strings.Join(values, ","), ",") {
		name, parameters, _ := strings.Cut(item, ";")
		_, q, weighted := strings.Cut(strings.ReplaceAll(parameters, " ", ""), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		if weighted && (err != nil || weight <= 0) {
			continue
		}
		accepted[strings.ToLower(strings.TrimSpace(name))] = true
	}
	return accepted
}

// matches tells whether an If-None-Match header names etag, also weakly: a proxy that re-encodes weakens it.
func matches(header, etag string) bool {
	for _, candidate := range strings.Split(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == "*" || candidate == etag {
			return true
		}
	}
	return false
}

// setSecurity sets what every answer carries. The policy allows what the client itself is made of and nothing else;
// connections go to this origin and to the regions.
func (h *handler) setSecurity(header http.Header) {
	connect := []string{"'self'"}
	if h.opts.ConnectOrigins != nil {
		for _, origin := range h.opts.ConnectOrigins() {
			if validOrigin(origin) {
				connect = append(connect, origin)
			}
		}
	}
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src "+
		strings.Join(connect, " ")+"; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	if h.opts.Version != "" {
		header.Set("Meridian-Version", h.opts.Version)
	}
}

// validOrigin refuses what would end the directive or the header early.
func validOrigin(origin string) bool {
	return origin != "" && !strings.ContainsAny(origin, " ;,\t\r\n'\"")
}
