package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// A tracer that keeps the spans that have ended, with the parents of their contexts.
type spanJournal struct {
	lock    sync.Mutex
	begun   int
	ended   []yokedcache.Span
	parents []any
}

type parentKey struct{}

func withParent(name string) context.Context {
	return context.WithValue(context.Background(), parentKey{}, name)
}

func (journal *spanJournal) Begin(ctx context.Context, span yokedcache.Span) any {
	journal.lock.Lock()
	defer journal.lock.Unlock()
	journal.begun++
	return [2]any{span.ID, ctx.Value(parentKey{})}
}

func (journal *spanJournal) End(begun any, span yokedcache.Span) {
	journal.lock.Lock()
	defer journal.lock.Unlock()
	known, _ := begun.([2]any)
	if known[0] != span.ID {
		panic(fmt.Sprintf("the span %d ends with the result of %v", span.ID, known[0]))
	}
	journal.ended = append(journal.ended, span)
	journal.parents = append(journal.parents, known[1])
}

func (journal *spanJournal) all() ([]yokedcache.Span, []any) {
	journal.lock.Lock()
	defer journal.lock.Unlock()
	return append([]yokedcache.Span(nil), journal.ended...), append([]any(nil), journal.parents...)
}

// Sets a new tracer.
func traced(t testing.TB, cache *yokedcache.Cache, options ...yokedcache.TraceOption) *spanJournal {
	t.Helper()
	journal := &spanJournal{}
	check(t, cache.SetTracer(journal, options...))
	return journal
}

func TestSpansHaveResultsAndTheContextsOfTheirCalls(t *testing.T) {
	cache := open(t, "")
	journal := traced(t, cache)
	check(t, cache.Set(withParent("a"), "key", []byte("value")))
	_, err := cache.Get(withParent("b"), "key")
	check(t, err)
	if _, err := cache.Get(withParent("c"), "missing"); !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(err)
	}
	_, err = cache.GetMany(withParent("d"), []string{"key", "missing"})
	check(t, err)
	_, err = cache.Delete(withParent("e"), "key")
	check(t, err)
	check(t, cache.Set(withParent("f"), "key", make([]byte, 10000), yokedcache.WithTags("t")))
	value, err := cache.Get(withParent("g"), "key")
	check(t, err)
	if len(value) != 10000 {
		t.Error(len(value))
	}
	check(t, cache.SetTracer(nil))
	_, err = cache.Get(ctx, "key")
	check(t, err)

	spans, parents := journal.all()
	type summary struct {
		operation string
		parent    any
		code      yokedcache.Code
		bytes     int64
	}
	var seen []summary
	for at, span := range spans {
		if span.Key != "" || span.Backend == "" || span.Near || span.Fallback || span.Duration < 0 {
			t.Errorf("%+v", span)
		}
		if span.Operation != "get" || span.Code != yokedcache.CodeMiss || parents[at] != "d" {
			seen = append(seen, summary{span.Operation, parents[at], span.Code, span.Bytes})
		}
	}
	// A read of many keys may run as a batch of gets.
	if seen[3].operation == "get" {
		seen[3].operation = "get_many"
	}
	want := []summary{{"set", "a", 0, 5}, {"get", "b", 0, 5}, {"get", "c", yokedcache.CodeMiss, 0}, {"get_many", "d", 0, 5},
		{"delete", "e", 0, 0}, {"set", "f", 0, 10000}, {"get", "g", 0, 10000}}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("%v in place of %v", seen, want)
	}
}

func TestSpansOfViewsHaveTheirNamespaceAndKeysIfWanted(t *testing.T) {
	cache := open(t, "")
	view, err := cache.View(yokedcache.ViewOptions{Namespace: "users"})
	check(t, err)
	defer view.Close()
	journal := traced(t, cache, yokedcache.WithTraceKeys())
	check(t, view.Set(withParent("a"), "key", []byte("value")))
	check(t, view.SetTracer(nil))
	check(t, cache.Set(ctx, "key", nil))
	spans, parents := journal.all()
	if len(spans) != 1 || spans[0].Namespace != "users" || spans[0].Key != "key" || spans[0].Keys != 1 || parents[0] != "a" {
		t.Errorf("%+v, %v", spans, parents)
	}
}

func TestCallsAtTheSameTimeHaveTheirOwnContexts(t *testing.T) {
	cache := open(t, "")
	journal := traced(t, cache, yokedcache.WithTraceKeys())
	var group sync.WaitGroup
	const goroutines, calls = 16, 50
	for at := 0; at < goroutines; at++ {
		group.Add(1)
		name := fmt.Sprint("key", at)
		go func() {
			defer group.Done()
			call, cancel := context.WithCancel(withParent(name))
			defer cancel()
			for turn := 0; turn < calls; turn++ {
				if _, err := cache.Get(call, name); !errors.Is(err, yokedcache.ErrMiss) {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
	spans, parents := journal.all()
	if len(spans) != goroutines*calls || journal.begun != len(spans) {
		t.Errorf("%d spans, %d begun", len(spans), journal.begun)
	}
	for at, span := range spans {
		if parents[at] != span.Key {
			t.Fatalf("%v is the parent of the span of %v", parents[at], span.Key)
		}
	}
}

func TestTracersComeAndGoWhileTheCacheIsInUse(t *testing.T) {
	cache := open(t, "")
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				cache.Get(ctx, "key")
				cache.Set(ctx, "key", []byte("value"))
			}
		}
	}()
	var journals []*spanJournal
	for turn := 0; turn < 50; turn++ {
		journals = append(journals, traced(t, cache, yokedcache.WithTraceInterval(uint64(1+turn%3))))
		check(t, cache.Set(ctx, "other", nil))
	}
	check(t, cache.SetTracer(nil))
	close(stop)
	<-ended
	for _, journal := range journals {
		if spans, _ := journal.all(); len(spans) != journal.begun {
			t.Errorf("%d spans have begun and %d have ended", journal.begun, len(spans))
		}
	}
}

func TestAnIntervalSelectsCalls(t *testing.T) {
	cache := open(t, "")
	journal := traced(t, cache, yokedcache.WithTraceInterval(10))
	for call := 0; call < 2000; call++ {
		check(t, cache.Set(ctx, "key", nil))
	}
	// Six standard deviations are 81.
	if spans, _ := journal.all(); len(spans) < 119 || len(spans) > 281 {
		t.Errorf("%d spans of 2000 calls", len(spans))
	}
}

func TestALoadHasSpans(t *testing.T) {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanCompare == 0 {
		t.Skip("no leases")
	}
	journal := traced(t, cache)
	_, err := yokedcache.GetOrLoad(withParent("a"), cache, "key", func(context.Context, *yokedcache.Fill) (string, error) {
		return "value", nil
	})
	check(t, err)
	spans, parents := journal.all()
	if len(spans) != 2 || spans[0].Operation != "get_or_lease" || spans[0].Code.String() != "YC_LEASED" || parents[0] != "a" ||
		spans[1].Operation != "lease_fill" || spans[1].Bytes != 5 || parents[1] != "a" {
		t.Errorf("%+v, %v", spans, parents)
	}
}

func TestATracerOfAClosedCacheIsRefused(t *testing.T) {
	cache, err := yokedcache.Open("memory://")
	check(t, err)
	journal := traced(t, cache)
	check(t, cache.Close())
	if err := cache.SetTracer(journal); !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
	var none *yokedcache.Cache
	if err := none.SetTracer(nil); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
}
