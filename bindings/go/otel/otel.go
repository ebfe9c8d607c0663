// Package otel creates OpenTelemetry spans for the calls of a cache.
//
//	if err := otel.Trace(cache); err != nil {
//		log.Fatal(err)
//	}
//	defer otel.Trace(cache, otel.Off())
//
// A span follows the semantic conventions for database clients. Its parent is the span in the context of the call.
package otel

import (
	"context"
	"net"
	"strconv"
	"strings"

	yokedcache "github.com/yokedcache/yokedcache-go"
	otelapi "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// The name of the instrumentation.
const scope = "github.com/yokedcache/yokedcache-go/otel"

// An Option is an optional property of [Trace].
type Option interface {
	set(*settings)
}

type settings struct {
	provider   trace.TracerProvider
	attributes []attribute.KeyValue
	options    []yokedcache.TraceOption
	hasKeys    bool
	onlyChild  bool
	isOff      bool
}

type option func(*settings)

func (option option) set(settings *settings) { option(settings) }

// WithTracerProvider sets the provider of the spans. The default is the global one, otel.GetTracerProvider().
func WithTracerProvider(provider trace.TracerProvider) Option {
	return option(func(settings *settings) { settings.provider = provider })
}

// WithAttributes sets attributes that every span gets, such as the name of the cache.
func WithAttributes(attributes ...attribute.KeyValue) Option {
	return option(func(settings *settings) { settings.attributes = append(settings.attributes, attributes...) })
}

// WithInterval selects one call in so many, at random, before the sampler of the provider decides. By default every call has a
// span.
func WithInterval(calls uint64) Option {
	return option(func(settings *settings) {
		settings.options = append(settings.options, yokedcache.WithTraceInterval(calls))
	})
}

// WithKeys adds the key of a call to its span, as the attribute yokedcache.key. By default spans have no keys.
func WithKeys() Option {
	return option(func(settings *settings) {
		settings.options = append(settings.options, yokedcache.WithTraceKeys())
		settings.hasKeys = true
	})
}

// WithParentOnly leaves out calls whose context has no span, which would begin traces of their own.
func WithParentOnly() Option {
	return option(func(settings *settings) { settings.onlyChild = true })
}

// Off ends the tracing of a cache.
func Off() Option {
	return option(func(settings *settings) { settings.isOff = true })
}

// Trace creates a span for each call of a cache and of its views, in place of a tracer that was set before; see
// yokedcache.Cache.SetTracer. The name of a span is its operation, such as "get". It has these attributes:
//   - db.system.name: "redis" or "memcached"; "memory" for the memory backend.
//   - db.operation.name: the operation. db.operation.batch.size: the number of keys, if it is over 1.
//   - db.namespace: the key_prefix and the namespace of a view, joined by "/".
//   - server.address and server.port, if the server is known; for a Unix socket its path.
//   - db.response.status_code and error.type: the status of a failure, such as "YC_E_TIMEOUT". The status of the span is Error
//     then. A miss is no error.
//   - cache.hit: true or false after a read that did not fail. yokedcache.outcome: the status, such as "YC_LEASED".
//   - yokedcache.bytes: the bytes of the values. yokedcache.near and yokedcache.fallback: true if the value came from the near
//     cache, or the fallback serves.
//
// Errors: those of SetTracer.
func Trace(cache *yokedcache.Cache, options ...Option) error {
	var settings settings
	for _, option := range options {
		if option != nil {
			option.set(&settings)
		}
	}
	if settings.isOff {
		return cache.SetTracer(nil)
	}
	if settings.provider == nil {
		settings.provider = otelapi.GetTracerProvider()
	}
	tracer := settings.provider.Tracer(scope, trace.WithInstrumentationVersion(yokedcache.Version()))
	return cache.SetTracer(&spans{tracer, settings}, settings.options...)
}

// Passes the spans of a cache to a tracer of OpenTelemetry.
type spans struct {
	tracer   trace.Tracer
	settings settings
}

func (spans *spans) Begin(ctx context.Context, call yokedcache.Span) any {
	if spans.settings.onlyChild && !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	_, span := spans.tracer.Start(ctx, call.Operation, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(spans.attributesOf(call)...))
	return span
}

func (spans *spans) End(begun any, call yokedcache.Span) {
	span, ok := begun.(trace.Span)
	if !ok {
		return
	}
	if span.IsRecording() {
		span.SetAttributes(resultOf(call)...)
		if call.Code < 0 {
			span.SetStatus(codes.Error, call.Code.String())
		}
	}
	span.End()
}

// The attributes that a sampler may decide by.
func (spans *spans) attributesOf(call yokedcache.Span) []attribute.KeyValue {
	attributes := make([]attribute.KeyValue, 0, 8+len(spans.settings.attributes))
	attributes = append(attributes, spans.settings.attributes...)
	attributes = append(attributes,
		attribute.String("db.system.name", call.Backend),
		attribute.String("db.operation.name", call.Operation))
	if namespace := namespaceOf(call); namespace != "" {
		attributes = append(attributes, attribute.String("db.namespace", namespace))
	}
	if call.Keys > 1 {
		attributes = append(attributes, attribute.Int("db.operation.batch.size", call.Keys))
	}
	if spans.settings.hasKeys && call.Key != "" {
		attributes = append(attributes, attribute.String("yokedcache.key", strings.ToValidUTF8(call.Key, "\uFFFD")))
	}
	return append(attributes, serverOf(call.Server)...)
}

func namespaceOf(call yokedcache.Span) string {
	if call.KeyPrefix == "" || call.Namespace == "" {
		return call.KeyPrefix + call.Namespace
	}
	return call.KeyPrefix + "/" + call.Namespace
}

// Returns the address and the port of a server: HOST:PORT, [IPv6]:PORT, or the path of a socket.
func serverOf(server string) []attribute.KeyValue {
	if server == "" {
		return nil
	}
	if host, port, err := net.SplitHostPort(server); err == nil {
		if number, err := strconv.Atoi(port); err == nil {
			return []attribute.KeyValue{attribute.String("server.address", host), attribute.Int("server.port", number)}
		}
	}
	return []attribute.KeyValue{attribute.String("server.address", server)}
}

func resultOf(call yokedcache.Span) []attribute.KeyValue {
	status := call.Code.String()
	attributes := []attribute.KeyValue{attribute.String("yokedcache.outcome", status), attribute.Int64("yokedcache.bytes", call.Bytes)}
	if call.Code < 0 {
		attributes = append(attributes, attribute.String("db.response.status_code", status), attribute.String("error.type", status))
	} else if reads[call.Operation] {
		// A stale value is a hit.
		attributes = append(attributes, attribute.Bool("cache.hit", status == "YC_OK" || status == "YC_STALE"))
	}
	if call.Near {
		attributes = append(attributes, attribute.Bool("yokedcache.near", true))
	}
	if call.Fallback {
		attributes = append(attributes, attribute.Bool("yokedcache.fallback", true))
	}
	return attributes
}

// The operations that read one key.
var reads = map[string]bool{"get": true, "get_versioned": true, "get_info": true, "get_and_expire": true, "get_or_lease": true, "exists": true, "ttl": true}
