package yokedcache_test

import (
	"context"
	"fmt"
	"log"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// A printer prints the spans that have ended.
type printer struct{}

func (printer) Begin(ctx context.Context, span yokedcache.Span) any { return ctx.Value(requestKey{}) }

func (printer) End(request any, span yokedcache.Span) {
	fmt.Printf("request %v: %s on %s, code %d, %d bytes\n", request, span.Operation, span.Backend, span.Code, span.Bytes)
}

type requestKey struct{}

func ExampleCache_SetTracer() {
	cache, err := yokedcache.Open("memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	if err := cache.SetTracer(printer{}); err != nil {
		log.Fatal(err)
	}
	request := context.WithValue(context.Background(), requestKey{}, 42)
	cache.Set(request, "user:1", []byte("Ada"))
	cache.Get(request, "user:2")
	// Output:
	// request 42: set on memory, code 0, 3 bytes
	// request 42: get on memory, code 1, 0 bytes
}

func ExampleTracer() {
	var tracer yokedcache.Tracer = printer{}
	begun := tracer.Begin(context.WithValue(context.Background(), requestKey{}, 1), yokedcache.Span{})
	tracer.End(begun, yokedcache.Span{Operation: "get", Backend: "redis", Bytes: 3})
	// Output: request 1: get on redis, code 0, 3 bytes
}

func ExampleSpan() {
	span := yokedcache.Span{Operation: "get", Server: "redis:6379", Code: yokedcache.CodeTimeout}
	if span.Code < 0 {
		fmt.Println(span.Operation, "on", span.Server, "failed:", span.Code)
	}
	// Output: get on redis:6379 failed: YC_E_TIMEOUT
}

func ExampleWithTraceInterval() {
	cache, err := yokedcache.Open("memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	fmt.Println(cache.SetTracer(printer{}, yokedcache.WithTraceInterval(1000)))
	// Output: <nil>
}

// A keyPrinter prints keys.
type keyPrinter struct{}

func (keyPrinter) Begin(ctx context.Context, span yokedcache.Span) any { return nil }
func (keyPrinter) End(begun any, span yokedcache.Span)                 { fmt.Println(span.Operation, span.Key) }

func ExampleWithTraceKeys() {
	cache, err := yokedcache.Open("memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	cache.SetTracer(keyPrinter{}, yokedcache.WithTraceKeys())
	cache.Exists(context.Background(), "user:1")
	// Output: exists user:1
}

func ExampleTraceOption() {
	cache, err := yokedcache.Open("memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	options := []yokedcache.TraceOption{yokedcache.WithTraceInterval(64), yokedcache.WithTraceKeys()}
	fmt.Println(cache.SetTracer(printer{}, options...))
	// Output: <nil>
}
