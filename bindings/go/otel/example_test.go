package otel_test

import (
	"context"
	"fmt"
	"log"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
	"github.com/yokedcache/yokedcache-go/otel"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func ExampleTrace() {
	exporter := tracetest.NewInMemoryExporter() // A program exports to a collector.
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter, trace.WithBatchTimeout(time.Second)))

	cache, err := yokedcache.Open("memory://?key_prefix=app")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	if err := otel.Trace(cache, otel.WithTracerProvider(provider)); err != nil {
		log.Fatal(err)
	}
	request, span := provider.Tracer("app").Start(context.Background(), "request")
	cache.Get(request, "user:1")
	span.End()

	provider.ForceFlush(context.Background())
	for _, span := range exporter.GetSpans() {
		fmt.Println(span.Name, span.Parent.IsValid())
	}
	// Output:
	// get true
	// request false
}
