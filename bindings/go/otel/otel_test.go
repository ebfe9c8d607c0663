package otel_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
	"github.com/yokedcache/yokedcache-go/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"
)

var ctx = context.Background()

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The URL of the cache under test, with options and a prefix.
func testURL(options string) string {
	url := os.Getenv("YC_TEST_URL")
	if url == "" {
		url = "memory://"
	}
	mark := "?"
	if strings.Contains(url, "?") {
		mark = "&"
	}
	return fmt.Sprintf("%s%skey_prefix=otel%d%s", url, mark, os.Getpid(), options)
}

func isMemory() bool { return strings.HasPrefix(testURL(""), "memory:") }

func open(t testing.TB, url string) *yokedcache.Cache {
	t.Helper()
	cache, err := yokedcache.Open(url)
	check(t, err)
	t.Cleanup(func() {
		cache.SetTracer(nil)
		cache.Flush(ctx)
		cache.Close()
	})
	return cache
}

// A provider, and the exporter that has its spans.
func newProvider() (*trace.TracerProvider, *tracetest.InMemoryExporter) {
	exporter := tracetest.NewInMemoryExporter()
	return trace.NewTracerProvider(trace.WithSyncer(exporter)), exporter
}

func attributesOf(span tracetest.SpanStub) map[string]any {
	found := map[string]any{}
	for _, attribute := range span.Attributes {
		found[string(attribute.Key)] = attribute.Value.AsInterface()
	}
	return found
}

func expect(t *testing.T, span tracetest.SpanStub, name string, wanted map[string]any) {
	t.Helper()
	found := attributesOf(span)
	for key, value := range wanted {
		if found[key] != value {
			t.Errorf("%s: %s is %v in place of %v", name, key, found[key], value)
		}
	}
	if span.Name != name || span.SpanKind != api.SpanKindClient || span.EndTime.Before(span.StartTime) {
		t.Errorf("%s: %s, %v", name, span.Name, span.SpanKind)
	}
	if _, hasKey := found["yokedcache.key"]; hasKey != (wanted["yokedcache.key"] != nil) {
		t.Errorf("%s has the key %v", name, found["yokedcache.key"])
	}
}

func TestSpansHaveTheAttributesOfDatabaseCalls(t *testing.T) {
	cache := open(t, testURL(""))
	provider, exporter := newProvider()
	check(t, otel.Trace(cache, otel.WithTracerProvider(provider), otel.WithAttributes(attribute.String("cache", "users"))))
	parent, root := provider.Tracer("test").Start(ctx, "request")
	check(t, cache.Set(parent, "key", []byte("value")))
	cache.Get(parent, "key")
	cache.Get(parent, "missing")
	cache.Get(parent, "")
	_, err := cache.DeleteMany(parent, []string{"key", "missing"})
	check(t, err)
	root.End()
	check(t, otel.Trace(cache, otel.Off()))
	cache.Get(parent, "key")

	spans := exporter.GetSpans()
	if len(spans) != 6 {
		t.Fatalf("%d spans", len(spans))
	}
	for _, span := range spans[:5] {
		if span.Parent.SpanID() != root.SpanContext().SpanID() || span.SpanContext.TraceID() != root.SpanContext().TraceID() {
			t.Errorf("%s has another parent", span.Name)
		}
	}
	prefix := fmt.Sprint("otel", os.Getpid())
	address := map[string]any{"db.system.name": "memory", "server.address": nil, "server.port": nil}
	if !isMemory() {
		server, err := url.Parse(testURL(""))
		check(t, err)
		port, err := strconv.ParseInt(server.Port(), 10, 64)
		check(t, err)
		address = map[string]any{"db.system.name": server.Scheme, "server.address": server.Hostname(), "server.port": port}
	}
	for _, span := range spans[:4] {
		expect(t, span, span.Name, address)
	}
	expect(t, spans[0], "set", map[string]any{"db.operation.name": "set", "db.namespace": prefix, "yokedcache.bytes": int64(5), "cache": "users"})
	expect(t, spans[1], "get", map[string]any{"cache.hit": true, "yokedcache.outcome": "YC_OK", "yokedcache.bytes": int64(5)})
	expect(t, spans[2], "get", map[string]any{"cache.hit": false, "yokedcache.outcome": "YC_MISS", "error.type": nil})
	expect(t, spans[3], "get", map[string]any{"cache.hit": nil, "error.type": "YC_E_INVALID", "db.response.status_code": "YC_E_INVALID"})
	expect(t, spans[4], "delete_many", map[string]any{"db.operation.batch.size": int64(2)})
	for at, span := range spans[:5] {
		if isError := span.Status.Code == codes.Error; isError != (at == 3) {
			t.Errorf("%s: %v", span.Name, span.Status)
		}
	}
}

func TestSpansOfAViewHaveItsNamespaceAndKeysIfWanted(t *testing.T) {
	cache := open(t, testURL(""))
	provider, exporter := newProvider()
	view, err := cache.View(yokedcache.ViewOptions{Namespace: "users"})
	check(t, err)
	defer view.Close()
	check(t, otel.Trace(cache, otel.WithTracerProvider(provider), otel.WithKeys()))
	view.Exists(ctx, "a\xffb")
	spans := exporter.GetSpans()
	if len(spans) != 1 {
		t.Fatalf("%d spans", len(spans))
	}
	expect(t, spans[0], "exists", map[string]any{"db.namespace": fmt.Sprintf("otel%d/users", os.Getpid()), "yokedcache.key": "a\uFFFDb"})
}

func TestCallsWithoutAParentMayBeLeftOut(t *testing.T) {
	cache := open(t, testURL(""))
	provider, exporter := newProvider()
	check(t, otel.Trace(cache, otel.WithTracerProvider(provider), otel.WithParentOnly()))
	cache.Get(ctx, "key")
	if spans := exporter.GetSpans(); len(spans) != 0 {
		t.Errorf("%d spans", len(spans))
	}
	parent, root := provider.Tracer("test").Start(ctx, "request")
	cache.Get(parent, "key")
	root.End()
	if spans := exporter.GetSpans(); len(spans) != 2 || spans[0].Name != "get" {
		t.Errorf("%d spans", len(spans))
	}
}

func TestAnIntervalSelectsCalls(t *testing.T) {
	cache := open(t, testURL(""))
	provider, exporter := newProvider()
	check(t, otel.Trace(cache, otel.WithTracerProvider(provider), otel.WithInterval(10)))
	for call := 0; call < 2000; call++ {
		cache.Get(ctx, "key")
	}
	// Six standard deviations are 81.
	if spans := exporter.GetSpans(); len(spans) < 119 || len(spans) > 281 {
		t.Errorf("%d spans of 2000 calls", len(spans))
	}
}

func TestGoroutinesHaveTheirOwnParents(t *testing.T) {
	cache := open(t, testURL(""))
	provider, exporter := newProvider()
	check(t, otel.Trace(cache, otel.WithTracerProvider(provider), otel.WithKeys()))
	var group sync.WaitGroup
	names := sync.Map{}
	for at := 0; at < 16; at++ {
		name := fmt.Sprint("key", at)
		group.Add(1)
		go func() {
			defer group.Done()
			parent, root := provider.Tracer("test").Start(ctx, "request")
			names.Store(root.SpanContext().SpanID(), name)
			for turn := 0; turn < 20; turn++ {
				cache.Get(parent, name)
			}
		}()
	}
	group.Wait()
	spans := exporter.GetSpans()
	if len(spans) != 320 {
		t.Errorf("%d spans", len(spans))
	}
	for _, span := range spans {
		if name, _ := names.Load(span.Parent.SpanID()); attributesOf(span)["yokedcache.key"] != name {
			t.Fatalf("the span of %v is in the request of %v", attributesOf(span)["yokedcache.key"], name)
		}
	}
}

func TestACopyOfANearCacheIsTold(t *testing.T) {
	if isMemory() {
		t.Skip("needs a server")
	}
	cache := open(t, testURL("&near=10s"))
	provider, exporter := newProvider()
	check(t, cache.Set(ctx, "key", []byte("value")))
	_, err := cache.Get(ctx, "key")
	check(t, err)
	check(t, otel.Trace(cache, otel.WithTracerProvider(provider)))
	_, err = cache.Get(ctx, "key")
	check(t, err)
	spans := exporter.GetSpans()
	if len(spans) != 1 {
		t.Fatalf("%d spans", len(spans))
	}
	expect(t, spans[0], "get", map[string]any{"yokedcache.near": true, "cache.hit": true})
}

// Prints a trace as an indented tree, with some attributes.
func printTrace(to io.Writer, spans tracetest.SpanStubs) {
	children := map[api.SpanID]tracetest.SpanStubs{}
	for _, span := range spans {
		children[span.Parent.SpanID()] = append(children[span.Parent.SpanID()], span)
	}
	var write func(parent api.SpanID, indent string)
	write = func(parent api.SpanID, indent string) {
		sort.SliceStable(children[parent], func(one, other int) bool {
			return children[parent][one].StartTime.Before(children[parent][other].StartTime)
		})
		for _, span := range children[parent] {
			fmt.Fprint(to, indent, span.Name)
			found := attributesOf(span)
			for _, name := range []string{"db.system.name", "server.address", "yokedcache.outcome", "yokedcache.bytes", "cache.hit"} {
				if value, isThere := found[name]; isThere {
					fmt.Fprintf(to, " %s=%v", name[strings.LastIndex(name, ".")+1:], value)
				}
			}
			fmt.Fprintln(to)
			write(span.SpanContext.SpanID(), indent+"  ")
		}
	}
	write(api.SpanID{}, "")
}

// A request of HTTP, which loads what the cache does not have, and one that finds it.
func TestATraceOfARequestLeadsThroughTheCacheToItsServer(t *testing.T) {
	cache := open(t, testURL(""))
	if cache.Capabilities()&yokedcache.CanCompare == 0 {
		t.Skip("no leases")
	}
	provider, exporter := newProvider()
	tracer := provider.Tracer("app")
	check(t, otel.Trace(cache, otel.WithTracerProvider(provider)))
	handler := func(response http.ResponseWriter, request *http.Request) {
		ctx, span := tracer.Start(request.Context(), "GET /users/1", api.WithSpanKind(api.SpanKindServer))
		defer span.End()
		name, err := yokedcache.GetOrLoad(ctx, cache, "user:1", func(ctx context.Context, _ *yokedcache.Fill) (string, error) {
			_, query := tracer.Start(ctx, "SELECT users")
			defer query.End()
			time.Sleep(time.Millisecond)
			return "Ada", nil
		})
		if err != nil {
			http.Error(response, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(response, name)
	}
	server := httptest.NewServer(http.HandlerFunc(handler))
	defer server.Close()
	var printed strings.Builder
	for request := 0; request < 2; request++ {
		exporter.Reset()
		response, err := http.Get(server.URL)
		check(t, err)
		body, err := io.ReadAll(response.Body)
		check(t, err)
		response.Body.Close()
		if string(body) != "Ada" {
			t.Fatalf("%s", body)
		}
		// The handler may end its span after the response has arrived.
		for turn := 0; turn < 2000 && !hasRoot(exporter.GetSpans()); turn++ {
			time.Sleep(time.Millisecond)
		}
		printTrace(&printed, exporter.GetSpans())
	}
	place := "memory"
	if !isMemory() {
		address, err := url.Parse(testURL(""))
		check(t, err)
		place = address.Scheme + " address=" + address.Hostname()
	}
	wanted := strings.ReplaceAll(`GET /users/1
  get_or_lease name=SERVER outcome=YC_LEASED bytes=0 hit=false
  SELECT users
  lease_fill name=SERVER outcome=YC_OK bytes=3
GET /users/1
  get_or_lease name=SERVER outcome=YC_OK bytes=3 hit=true
`, "SERVER", place)
	t.Log("\n" + printed.String())
	if printed.String() != wanted {
		t.Errorf("printed:\n%s\nwanted:\n%s", printed.String(), wanted)
	}
}

func hasRoot(spans tracetest.SpanStubs) bool {
	for _, span := range spans {
		if !span.Parent.IsValid() {
			return true
		}
	}
	return false
}
