package yokedcache_test

import (
	"context"
	"testing"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// A hit costs one call of the library and the memory of the value.
func TestAHitAllocatesTheValueOnly(t *testing.T) {
	if !onMemory() || raceEnabled {
		t.Skip("only on the memory backend, without the race detector, which allocates")
	}
	cache := open(t, "")
	load := func(context.Context, *yokedcache.Fill) ([]byte, error) { return make([]byte, 100), nil }
	hit := func() {
		if _, err := yokedcache.GetOrLoad(ctx, cache, "k", load); err != nil {
			t.Fatal(err)
		}
	}
	hit()
	if n := testing.AllocsPerRun(1000, hit); n > 1 {
		t.Errorf("a hit allocates %v times", n)
	}
	tagged := func() {
		yokedcache.GetOrLoad(ctx, cache, "k", load, yokedcache.WithTags("a"), yokedcache.WithTTL(yokedcache.DefaultTTL))
	}
	t.Log("with options:", testing.AllocsPerRun(1000, tagged))
}

func BenchmarkGetOrLoad(b *testing.B) {
	cache := open(b, "")
	value := make([]byte, 100)
	load := func(context.Context, *yokedcache.Fill) ([]byte, error) { return value, nil }
	b.Run("Get", func(b *testing.B) {
		check(b, cache.Set(ctx, "k", value))
		b.ReportAllocs()
		for at := 0; at < b.N; at++ {
			cache.Get(ctx, "k")
		}
	})
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for at := 0; at < b.N; at++ {
			yokedcache.GetOrLoad(ctx, cache, "k", load)
		}
	})
	b.Run("tags", func(b *testing.B) {
		b.ReportAllocs()
		for at := 0; at < b.N; at++ {
			yokedcache.GetOrLoad(ctx, cache, "k", load, yokedcache.WithTags("a"))
		}
	})
}
