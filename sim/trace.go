package sim

import (
	"fmt"
	"math"
	"reflect"
)

// note adds to the trace. Its values go into the hash; the text is made only for a trace that somebody reads.
func (w *world) note(who string, format string, args ...any) {
	w.trace.add(uint64(w.now))
	w.trace.text(who)
	w.trace.text(format)
	for _, arg := range args {
		w.trace.value(arg)
	}
	if w.tell != nil {
		w.tell(fmt.Sprintf("%9.3fs %s: %s", w.now.Seconds(), who, fmt.Sprintf(format, args...)))
	}
}

// traceHash is FNV-1a over what happened.
type traceHash uint64

func (h *traceHash) add(v uint64) {
	if *h == 0 {
		*h = 14695981039346656037
	}
	for range 8 {
		*h = (*h ^ traceHash(v&0xff)) * 1099511628211
		v >>= 8
	}
}

func (h *traceHash) text(s string) {
	h.add(uint64(len(s)))
	for i := range len(s) {
		*h = (*h ^ traceHash(s[i])) * 1099511628211
	}
}

// value adds a value of a note by what it is, which is cheaper than by how it is written.
func (h *traceHash) value(v any) {
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		h.add(uint64(r.Int()))
	case r.CanUint():
		h.add(r.Uint())
	case r.CanFloat():
		h.add(math.Float64bits(r.Float()))
	case r.Kind() == reflect.String:
		h.text(r.String())
	case r.Kind() == reflect.Bool && r.Bool():
		h.add(1)
	case r.Kind() == reflect.Bool:
		h.add(0)
	default:
		h.text(fmt.Sprint(v))
	}
}
