package yokedcache_test

import (
	"context"
	"strings"
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

// A read of a copy costs what one of the memory backend does.
func TestAHitOfACopyAllocatesTheValueOnly(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	cache := openNear(t, "60s", 1)[0]
	value := strings.Repeat("v", 100)
	check(t, cache.Set(ctx, "k", []byte(value)))
	keepCopy(t, cache, "k", value)
	hit := func() {
		if _, found, err := cache.GetNear("k"); !found || err != nil {
			keepCopy(t, cache, "k", value)
		}
		if _, err := cache.Get(ctx, "k"); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, hit); n > 2 {
		t.Errorf("two hits allocate %v times", n)
	}
}

// A hit of the memory backend, of a copy, and of the servers.
func BenchmarkGet(b *testing.B) {
	value := strings.Repeat("v", 100)
	get := func(name string, cache *yokedcache.Cache, options ...yokedcache.GetOption) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for at := 0; at < b.N; at++ {
				if _, err := cache.Get(ctx, "k", options...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	memory := openAt(b, "memory://")
	check(b, memory.Set(ctx, "k", []byte(value)))
	get("memory", memory)
	near := openNear(b, "60s", 1)[0]
	check(b, near.Set(ctx, "k", []byte(value)))
	keepCopy(b, near, "k", value)
	get("near", near)
	get("fresh", near, yokedcache.WithFresh())
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
