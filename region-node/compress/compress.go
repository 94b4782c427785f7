// Package compress shortens REST answers for clients that say how (Accept-Encoding): zstd or gzip, on the last way to the client
// only. What passes between nodes is not compressed. There are no cookies, so no page can make a browser fetch somebody's answer with
// text of its own in it and learn from its length.
package compress

import (
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// minBytes: shorter bodies are sent as they are; they fit a packet anyway.
	minBytes = 1024
	// gzipLevel and the zstd options below cost a few ms for the largest page, and little memory: a server's answer is short.
	gzipLevel = 4
	// zstdWindowBytes is far below the 8 MiB that browsers allow (RFC 9659).
	zstdWindowBytes = 256 << 10
)

// Metrics counts by names of the project's list.
type Metrics interface {
	Add(name string, value float64, labels ...string)
}

// encoder is a compressing writer that can be used again.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// pools keep encoders: a new one costs far more than what it writes.
var pools = map[string]*sync.Pool{
	"gzip": {New: func() any {
		w, err := gzip.NewWriterLevel(nil, gzipLevel)
		return mustMake(w, err)
	}},
	"zstd": {New: func() any {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithWindowSize(zstdWindowBytes), zstd.WithLowerEncoderMem(true))
		return mustMake(w, err)
	}},
}

// mustMake gives an encoder whose options are constants: they are wrong always or never.
func mustMake(e encoder, err error) encoder {
	if err != nil {
		panic("compress: " + err.Error())
	}
	return e
}

// Handler compresses what next answers.
func Handler(next http.Handler, metrics Metrics) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		if r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		c := &writer{ResponseWriter: w, encoding: negotiate(r.Header.Values("Accept-Encoding")), metrics: metrics}
		next.ServeHTTP(c, r) // one that panics leaves the answer as it is: cut off
		c.finish()
	})
}

// writer holds back the beginning of a body until it is known whether it is worth compressing.
type writer struct {
	http.ResponseWriter
	encoding string // "": none
	metrics  Metrics

	status  int
	held    []byte
	decided bool
	encoder encoder // nil: the body goes out as it is
	in, out int
}

// WriteHeader notes the status; it is sent with the first of the body, or at the end.
func (w *writer) WriteHeader(status int) {
	switch {
	case status < http.StatusOK:
		w.ResponseWriter.WriteHeader(status)
	case w.status == 0:
		w.status = status
	}
}

// Write takes a piece of the body.
func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if !w.decided && len(w.held)+len(b) < minBytes {
		w.held = append(w.held, b...)
		return len(b), nil
	}
	if err := w.decide(true); err != nil {
		return 0, err
	}
	return w.send(b)
}

// Flush sends what there is.
func (w *writer) Flush() {
	if w.decide(true) != nil {
		return
	}
	if w.encoder != nil && w.encoder.Flush() != nil {
		return // the client is gone, as the next write will say
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // one that cannot sends later
}

// decide settles how the body goes out, and sends what was held back.
func (w *writer) decide(long bool) error {
	if w.decided {
		return nil
	}
	w.decided = true
	h := w.Header()
	if long && w.encoding != "" && h.Get("Content-Encoding") == "" && h.Get("Content-Range") == "" && worthwhile(h.Get("Content-Type")) {
		h.Set("Content-Encoding", w.encoding)
		h.Del("Content-Length")
		w.encoder = pools[w.encoding].Get().(encoder)
		w.encoder.Reset(counter{w})
	}
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
	held := w.held
	w.held = nil
	if len(held) == 0 {
		return nil
	}
	_, err := w.send(held)
	return err
}

func (w *writer) send(b []byte) (int, error) {
	w.in += len(b)
	if w.encoder != nil {
		return w.encoder.Write(b)
	}
	return counter{w}.Write(b)
}

// finish ends the body.
func (w *writer) finish() {
	encoding := "identity"
	err := w.decide(false)
	if w.encoder != nil {
		encoding = w.encoding
		if err = w.encoder.Close(); err == nil {
			w.encoder.Reset(nil)
			pools[encoding].Put(w.encoder)
		}
	}
	if err == nil && w.in > 0 {
		w.metrics.Add("response_bytes_total", float64(w.in), encoding, "body")
		w.metrics.Add("response_bytes_total", float64(w.out), encoding, "sent")
	}
}

// counter writes to the client and counts.
type counter struct{ w *writer }

func (c counter) Write(b []byte) (int, error) {
	n, err := c.w.ResponseWriter.Write(b)
	c.w.out += n
	return n, err
}

// worthwhile says whether a body of that type gets shorter: text does, what is compressed by its own nature does not.
func worthwhile(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return strings.HasPrefix(kind, "text/") || kind == "application/json" || strings.HasSuffix(kind, "+json") || kind == "application/javascript"
}
