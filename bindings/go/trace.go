package yokedcache

// #include "trace.h"
import "C"

import (
	"context"
	"runtime"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"time"
)

// A Span is a call of the library, as a [Tracer] gets it. Begin gets a Span without a result: its Code, Bytes and Duration are
// 0, and Near is false.
type Span struct {
	// The number of the span, which no other span of the process has.
	ID uint64
	// The operation, named as its kind in the C ABI: "get", "set", "get_many", "get_or_lease", "invalidate_tags".
	Operation string
	// The backend: "memory", "redis" or "memcached".
	Backend string
	// The server, as [Health] names it. It is empty without a server, and if several servers may have the keys.
	Server string
	// The key_prefix of the cache.
	KeyPrefix string
	// The namespace of the view; empty for a cache.
	Namespace string
	// The key, if [WithTraceKeys] asks for it and the operation has exactly one.
	Key string
	// The number of keys.
	Keys int
	// True if the fallback serves in place of the servers.
	Fallback bool
	// True if the value came from the near cache, without a request.
	Near bool
	// The result: 0 for success, [CodeMiss] and other positive codes for an outcome, a negative code for a failure.
	Code Code
	// The bytes of the values that were read or written.
	Bytes int64
	// The time from the beginning to the outcome.
	Duration time.Duration
}

// A Tracer receives the spans of the calls of a cache, see [Cache.SetTracer]. Several goroutines may call it at the same time.
//
// Its methods must not block, because other calls may wait for them, and must not call a cache. A panic ends the program.
type Tracer interface {
	// Begin receives the beginning of a call, before it runs. ctx is that of the call; where a call has none, or its caller
	// has left already, it is context.Background(). The result goes to End.
	Begin(ctx context.Context, span Span) any
	// End receives the end of a call, with the result of Begin. It is called once for each Begin.
	End(begun any, span Span)
}

// A TraceOption is an optional property of [Cache.SetTracer]. [WithTraceInterval] and [WithTraceKeys] return one.
type TraceOption interface {
	setTraceOption(*traceSettings)
}

type traceSettings struct {
	interval uint64
	flags    C.uint32_t
}

type traceInterval uint64

func (interval traceInterval) setTraceOption(settings *traceSettings) {
	settings.interval = uint64(interval)
}

type traceKeys struct{}

func (traceKeys) setTraceOption(settings *traceSettings) { settings.flags |= C.YC_TRACE_KEYS }

// WithTraceInterval selects one call in so many, at random. By default every call has a span.
func WithTraceInterval(calls uint64) TraceOption {
	return traceInterval(calls)
}

// WithTraceKeys has spans contain the key of their call. By default they do not.
func WithTraceKeys() TraceOption {
	return traceKeys{}
}

// SetTracer sets the tracer of a cache and of its views, in place of the previous one. A nil tracer ends tracing. Each call of the
// library is a span: a method on many keys may be several, and [GetOrLoad] has one for the lookup and one for each step of
// its load. [Cache.GetNear], [Cache.MigrateTo] and [Cache.Switch] have none. A span never has a value or a password.
//
// When SetTracer has returned, calls that begin have no spans of the previous tracer. Spans that have begun still end there.
//
// A cache with a tracer reads copies of a near cache through its queue, which takes longer.
//
// The module github.com/yokedcache/yokedcache-go/otel has a tracer for programs that use OpenTelemetry.
//
// Errors: [ErrClosed].
func (cache *Cache) SetTracer(tracer Tracer, options ...TraceOption) error {
	user, err := cache.enter(context.Background())
	if err != nil {
		return err
	}
	defer user.leave()
	settings := traceSettings{interval: 1}
	for _, option := range options {
		if option != nil {
			option.setTraceOption(&settings)
		}
	}
	cache.tracingLock.Lock()
	defer cache.tracingLock.Unlock()
	var described *C.yc_error
	if tracer == nil {
		err := failure(C.yoked_go_set_trace(cache.handle, 0, 0, 0, &described), described)
		if err == nil {
			cache.tracing.Store(nil)
		}
		return err
	}
	previous, next := cache.tracing.Load(), &tracing{tracer: tracer}
	handle := cgo.NewHandle(next)
	// Calls know their contexts before they have spans.
	cache.tracing.Store(next)
	status := C.yoked_go_set_trace(cache.handle, C.uintptr_t(handle), settings.flags, C.uint64_t(settings.interval), &described)
	if status != C.YC_OK {
		cache.tracing.Store(previous)
		handle.Delete()
	}
	return failure(status, described)
}

// A tracing has the spans of one tracer.
type tracing struct {
	tracer Tracer
	// The results of Begin, by the numbers of the spans.
	begun sync.Map
}

// The place of the tracing of a cache; nil without a tracer.
type tracingPlace = atomic.Pointer[tracing]

// ---- The contexts of calls ----

// The library returns a number with each span: that of the context of a call on this thread, or of the queue, whose slots have
// the contexts of their calls.
var traceContexts = struct {
	lock  sync.RWMutex
	last  uint64
	known map[uint64]any
}{known: map[uint64]any{}}

func addTraceContext(context any) uint64 {
	traceContexts.lock.Lock()
	defer traceContexts.lock.Unlock()
	traceContexts.last++
	traceContexts.known[traceContexts.last] = context
	return traceContexts.last
}

func removeTraceContext(number uint64) {
	traceContexts.lock.Lock()
	defer traceContexts.lock.Unlock()
	delete(traceContexts.known, number)
}

func contextOf(number, userData uint64) context.Context {
	traceContexts.lock.RLock()
	known := traceContexts.known[number]
	traceContexts.lock.RUnlock()
	var found context.Context
	switch known := known.(type) {
	case context.Context:
		found = known
	case *queue:
		found = known.contextOf(uint32(userData))
	}
	if found == nil {
		return context.Background()
	}
	return found
}

// A tracedCall is a call on this thread. Its spans have a context until it ends.
type tracedCall struct {
	number   uint64
	previous C.uint64_t
}

// Begins a call on this thread.
func (*tracing) beginCall(ctx context.Context) tracedCall {
	number := addTraceContext(ctx)
	runtime.LockOSThread()
	return tracedCall{number, C.yc_set_trace_context(C.uint64_t(number))}
}

func (call tracedCall) end() {
	C.yc_set_trace_context(call.previous)
	runtime.UnlockOSThread()
	removeTraceContext(call.number)
}

// Runs a call on this thread, whose spans have the context.
func (queue *queue) withContext(ctx context.Context, block func()) {
	if tracing := queue.tracing.Load(); tracing != nil {
		defer tracing.beginCall(ctx).end()
	}
	block()
}

// Keeps the context of an operation for its spans.
func (queue *queue) keepContext(ctx context.Context, op *operation) {
	if queue.tracing.Load() != nil {
		op.ctx = ctx
	}
}

// Returns the context of the call in a slot.
func (queue *queue) contextOf(slot uint32) context.Context {
	queue.lock.Lock()
	defer queue.lock.Unlock()
	if int(slot) >= len(queue.slots) {
		return nil
	}
	return queue.slots[slot].ctx
}

// ---- Reports of the library ----

// Receives a span on the goroutine that calls the library.
//
//export yokedGoSpan
func yokedGoSpan(handle C.uintptr_t, phase C.int32_t, span *C.yc_span) {
	// A panic must not leave frames of the library unfinished.
	defer func() {
		if cause := recover(); cause != nil {
			go panic(cause)
			select {}
		}
	}()
	tracing := cgo.Handle(handle).Value().(*tracing)
	described := describeSpan(span)
	if phase == C.YC_SPAN_BEGIN {
		ctx := contextOf(uint64(span.context), uint64(span.user_data))
		tracing.begun.Store(described.ID, tracing.tracer.Begin(ctx, described))
		return
	}
	begun, _ := tracing.begun.LoadAndDelete(described.ID)
	tracing.tracer.End(begun, described)
}

// Receives the end of a tracing: it gets no more spans.
//
//export yokedGoEndTracing
func yokedGoEndTracing(handle C.uintptr_t) {
	cgo.Handle(handle).Delete()
}

func describeSpan(span *C.yc_span) Span {
	return Span{
		ID:        uint64(span.id),
		Operation: operationName(span.kind),
		Backend:   textOf(span.backend),
		Server:    textOf(span.server),
		KeyPrefix: textOf(span.key_prefix),
		Namespace: textOf(span.name_space),
		Key:       textOf(span.key),
		Keys:      int(span.keys),
		Fallback:  span.flags&C.YC_SPAN_FALLBACK != 0,
		Near:      span.flags&C.YC_SPAN_NEAR != 0,
		Code:      Code(span.status),
		Bytes:     int64(span.bytes),
		Duration:  time.Duration(span.duration_ns),
	}
}

func textOf(slice C.yc_slice) string {
	return C.GoStringN((*C.char)(slice.data), C.int(slice.len))
}

var operationNames = map[C.int32_t]string{
	C.YC_OP_GET:                "get",
	C.YC_OP_SET:                "set",
	C.YC_OP_DELETE:             "delete",
	C.YC_OP_EXISTS:             "exists",
	C.YC_OP_EXPIRE:             "expire",
	C.YC_OP_TTL:                "ttl",
	C.YC_OP_INVALIDATE_TAGS:    "invalidate_tags",
	C.YC_OP_INVALIDATE_PATTERN: "invalidate_pattern",
	C.YC_OP_FLUSH:              "flush",
	C.YC_OP_PING:               "ping",
	C.YC_OP_STATS:              "stats",
	C.YC_OP_HEALTH:             "health",
	C.YC_OP_METRICS:            "metrics",
	C.YC_OP_GET_MANY:           "get_many",
	C.YC_OP_SET_MANY:           "set_many",
	C.YC_OP_DELETE_MANY:        "delete_many",
	C.YC_OP_KEYS_NEXT:          "keys_next",
	C.YC_OP_SEARCH:             "search",
	C.YC_OP_GET_VERSIONED:      "get_versioned",
	C.YC_OP_SET_IF:             "set_if",
	C.YC_OP_DELETE_IF:          "delete_if",
	C.YC_OP_GET_AND_EXPIRE:     "get_and_expire",
	C.YC_OP_COUNTER_ADD:        "counter_add",
	C.YC_OP_GET_OR_LEASE:       "get_or_lease",
	C.YC_OP_LEASE_FILL:         "lease_fill",
	C.YC_OP_LEASE_ABANDON:      "lease_abandon",
	C.YC_OP_EXPLAIN:            "explain",
	C.YC_OP_REDIS_COMMAND:      "redis_command",
	C.YC_OP_PUBLISH:            "publish",
	C.YC_OP_SUBSCRIPTION_NEXT:  "subscription_next",
	C.YC_OP_EVENTS_NEXT:        "events_next",
	C.YC_OP_GET_INFO:           "get_info",
	C.YC_OP_CLEAR:              "clear",
}

// Returns the name of a kind of operation.
func operationName(kind C.int32_t) string {
	if name := operationNames[kind]; name != "" {
		return name
	}
	return "unknown"
}
