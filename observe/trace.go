package observe

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"meridian/chat"
)

// spanAttributes are the only attributes that leave the process. None can name a person or hold content.
var spanAttributes = map[string]bool{
	"messaging.system": true, "messaging.operation.name": true, "messaging.operation.type": true,
	"messaging.destination.template": true, "messaging.batch.message_count": true,
	"db.system.name": true, "db.operation.name": true, "network.protocol.name": true, "cloud.region": true,
	"meridian.from": true, "meridian.to": true, "meridian.zone": true, "meridian.level": true, "meridian.kind": true,
	"meridian.code": true, "meridian.reason": true, "meridian.ops": true, "meridian.bytes": true,
}

// spanName is "operation destination", as in "publish conversation" or "process relay.eu-west"; never an id.
var spanName = regexp.MustCompile(`^[a-z][a-z0-9_./{} -]{0,63}$`)

// traceFileMaxBytes bounds a trace file; what comes after it is dropped, and said once in the log.
const traceFileMaxBytes = 256 << 20

// Tracer makes the spans of one region. The zero Tracer and a nil one make none. It is safe for concurrent use.
type Tracer struct {
	provider trace.TracerProvider
	tracer   trace.Tracer
	flush    func(context.Context) error
}

// NewTracer makes a tracer as t.Traces says; the log gets the spans for "log", and what goes wrong. The error has
// chat.CodeInvalid: the file cannot be opened. Close writes out what is left.
func NewTracer(t Telemetry, region chat.Region, log *slog.Logger) (*Tracer, error) {
	var exporter *spanExporter
	path, toFile := strings.CutPrefix(t.Traces, "file:")
	switch {
	case toFile:
		path = strings.ReplaceAll(path, "{region}", string(region))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, &chat.Error{Code: chat.CodeInvalid, Op: "observe.NewTracer", Message: "the trace file cannot be opened", Cause: err}
		}
		exporter = &spanExporter{region: region, log: log, file: f, hide: newHider()}
	case t.Traces == "log":
		exporter = &spanExporter{region: region, log: log, hide: newHider()}
	default:
		return &Tracer{}, nil
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(time.Second), sdktrace.WithMaxQueueSize(4096)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "meridian"), attribute.String("cloud.region", string(region)))),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("meridian"), flush: provider.Shutdown}, nil
}

// Provider gives the provider for libraries that want one; it makes no spans when tracing is off.
func (t *Tracer) Provider() trace.TracerProvider {
	if t == nil || t.provider == nil {
		return noop.NewTracerProvider()
	}
	return t.provider
}

// Start begins a span under the W3C trace context parent ("" begins a trace) and gives the trace context to hand on, in
// chat.Op.TraceParent or a frame. Attributes are pairs of key and value; keys that are not on the list of spanAttributes
// are dropped, an odd one at the end too. end must be called once; an error marks the span with its code. When tracing is off the parent is
// handed on as it is.
func (t *Tracer) Start(parent, name string, attributes ...string) (traceParent string, end func(error)) {
	if t == nil || t.tracer == nil {
		return parent, func(error) {}
	}
	pairs := make([]attribute.KeyValue, 0, len(attributes)/2)
	for i := 0; i+1 < len(attributes); i += 2 {
		pairs = append(pairs, attribute.String(attributes[i], attributes[i+1]))
	}
	ctx, span := t.tracer.Start(WithTraceParent(context.Background(), parent), name, trace.WithAttributes(pairs...))
	return TraceParent(ctx), func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "")
			span.SetAttributes(attribute.String("meridian.code", string(chat.CodeOf(err))))
		}
		span.End()
	}
}

// Close writes out the spans that are left, until ctx ends, and stops.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil || t.flush == nil {
		return nil
	}
	return t.flush(ctx)
}

// TraceParent gives the W3C traceparent of ctx's span, or "" where there is none.
func TraceParent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// WithTraceParent gives ctx with the span that a W3C traceparent names as its remote parent. What is malformed is ignored.
func WithTraceParent(ctx context.Context, traceParent string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceParent})
}

// spanExporter writes one line for each span, to a file or the log.
type spanExporter struct {
	region chat.Region
	log    *slog.Logger
	hide   *hider

	mu      sync.Mutex
	file    *os.File // nil: to the log
	written int64
	full    bool
}

// spanLine is one span in a trace file.
type spanLine struct {
	Start      time.Time         `json:"start"`
	Trace      string            `json:"trace"`
	Span       string            `json:"span"`
	Parent     string            `json:"parent,omitempty"`
	Name       string            `json:"name"`
	Region     chat.Region       `json:"region"`
	DurationMs float64           `json:"duration_ms"`
	Failed     bool              `json:"failed,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

func (e *spanExporter) line(s sdktrace.ReadOnlySpan) spanLine {
	l := spanLine{
		Start: s.StartTime().UTC(), Trace: s.SpanContext().TraceID().String(), Span: s.SpanContext().SpanID().String(),
		Name: s.Name(), Region: e.region, DurationMs: float64(s.EndTime().Sub(s.StartTime()).Microseconds()) / 1000,
		Failed: s.Status().Code == codes.Error,
	}
	if !spanName.MatchString(l.Name) || uuidPattern.MatchString(l.Name) {
		l.Name = redacted
	}
	if s.Parent().IsValid() {
		l.Parent = s.Parent().SpanID().String()
	}
	for _, a := range s.Attributes() {
		if spanAttributes[string(a.Key)] {
			if l.Attributes == nil {
				l.Attributes = map[string]string{}
			}
			l.Attributes[string(a.Key)] = e.hide.text(a.Value.String(), spanValueMaxBytes)
		}
	}
	return l
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range spans {
		l := e.line(s)
		if e.file == nil {
			e.log.LogAttrs(ctx, slog.LevelInfo, "span", l.attrs()...)
			continue
		}
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if e.written += int64(len(b)) + 1; e.written > traceFileMaxBytes {
			if !e.full {
				e.log.Warn("the trace file is full: no more spans are written", "bytes", traceFileMaxBytes)
			}
			e.full = true
			return nil
		}
		if _, err := e.file.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// attrs gives the line for the log.
func (l spanLine) attrs() []slog.Attr {
	attrs := []slog.Attr{
		slog.String("trace", l.Trace), slog.String("span", l.Span), slog.String("parent", l.Parent), slog.String("name", l.Name),
		slog.String("region", string(l.Region)), slog.Float64("duration_ms", l.DurationMs), slog.Bool("failed", l.Failed),
	}
	for _, key := range slices.Sorted(maps.Keys(l.Attributes)) {
		attrs = append(attrs, slog.String("attributes."+key, l.Attributes[key]))
	}
	return attrs
}

// Shutdown implements sdktrace.SpanExporter.
func (e *spanExporter) Shutdown(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file == nil {
		return nil
	}
	return e.file.Close()
}
