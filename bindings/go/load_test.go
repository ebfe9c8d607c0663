package yokedcache_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

type user struct {
	Name string
	Age  int
}

func loadsOf[T any](value T, count *atomic.Int64) func(context.Context, *yokedcache.Fill) (T, error) {
	return func(context.Context, *yokedcache.Fill) (T, error) {
		count.Add(1)
		return value, nil
	}
}

func TestValuesOfEachTypeAreLoadedOnce(t *testing.T) {
	cache := openLeasing(t, "")
	var loads atomic.Int64
	for round := 0; round < 3; round++ {
		if value, err := yokedcache.GetOrLoad(ctx, cache, "bytes", loadsOf([]byte{0, 255}, &loads)); err != nil || string(value) != "\x00\xff" {
			t.Error(value, err)
		}
		if value, err := yokedcache.GetOrLoad(ctx, cache, "string", loadsOf("", &loads)); err != nil || value != "" {
			t.Error(value, err)
		}
		if value, err := yokedcache.GetOrLoad(ctx, cache, "user", loadsOf(user{"Ada", 36}, &loads)); err != nil || value.Name != "Ada" {
			t.Error(value, err)
		}
		if value, err := yokedcache.GetOrLoad(ctx, cache, "pointer", loadsOf[*user](nil, &loads)); err != nil || value != nil {
			t.Error(value, err)
		}
		if value, err := yokedcache.GetOrLoad(ctx, cache, "any", loadsOf[any](nil, &loads)); err != nil || value != nil {
			t.Error(value, err)
		}
		if _, err := yokedcache.GetOrLoad(ctx, cache, "absent", func(context.Context, *yokedcache.Fill) (int, error) {
			loads.Add(1)
			return 0, fmt.Errorf("no row: %w", yokedcache.ErrAbsent)
		}); err != yokedcache.ErrAbsent {
			t.Error(err)
		}
	}
	if loads.Load() != 6 {
		t.Error(loads.Load(), "loads")
	}
}

// A thousand callers share a load of 50 ms.
func TestOneOfManyCallersLoads(t *testing.T) {
	cache := openLeasing(t, "")
	var loads, running atomic.Int64
	var all sync.WaitGroup
	for number := 0; number < 1000; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			value, err := yokedcache.GetOrLoad(ctx, cache, "k", func(context.Context, *yokedcache.Fill) (string, error) {
				if running.Add(1) > 1 {
					t.Error("two loaders run")
				}
				time.Sleep(50 * time.Millisecond)
				loads.Add(1)
				running.Add(-1)
				return "value", nil
			}, yokedcache.WithWait(time.Minute))
			if err != nil || value != "value" {
				t.Error(value, err)
			}
		}()
	}
	all.Wait()
	if loads.Load() != 1 {
		t.Error(loads.Load(), "loads")
	}
}
