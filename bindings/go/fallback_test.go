package yokedcache_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

type fallback struct {
	Active  bool   `json:"active"`
	Answers uint64 `json:"answers"`
	Outages uint64 `json:"outages"`
}

func fallbackOf(t *testing.T, cache *yokedcache.Cache) fallback {
	t.Helper()
	stats, err := cache.Stats(ctx)
	check(t, err)
	var report struct {
		Fallback *fallback `json:"fallback"`
	}
	check(t, json.Unmarshal(stats.JSON, &report))
	if report.Fallback == nil {
		t.Fatalf("%s", stats.JSON)
	}
	return *report.Fallback
}

// A server that is killed and comes back, behind a fallback: no call fails, and the reports say who serves.
func TestAFallbackServesWhileTheServerIsDown(t *testing.T) {
	twoServers(t)
	port := freePort(t)
	kill := startRedis(t, port)
	cache, err := yokedcache.Open(fmt.Sprintf("{backend: redis, redis: {url: 'redis://127.0.0.1:%s', socket_timeout: 500ms}, fallback: memory}", port))
	check(t, err)
	defer cache.Close()
	var all sync.WaitGroup
	var ended atomic.Bool
	for number := 0; number < 8; number++ {
		all.Add(1)
		go func(key string) {
			defer all.Done()
			for turn := 0; !ended.Load(); turn++ {
				value := fmt.Sprint(turn)
				if err := cache.Set(ctx, key, []byte(value), yokedcache.WithTags("t")); err != nil {
					t.Error(err)
				}
				// The fallback begins empty: a miss is no failure, and old entries are not served.
				if read, err := cache.Get(ctx, key); err != nil && !errors.Is(err, yokedcache.ErrMiss) || err == nil && string(read) != value {
					t.Error(string(read), value, err)
				}
				time.Sleep(50 * time.Microsecond)
			}
		}(fmt.Sprint("k", number))
	}
	becomes := func(active bool) {
		t.Helper()
		for begun := time.Now(); fallbackOf(t, cache).Active != active; time.Sleep(5 * time.Millisecond) {
			if time.Since(begun) > soon {
				t.Fatal("the fallback is not", active)
			}
		}
	}
	becomes(false)
	kill()
	becomes(true)
	check(t, cache.Set(ctx, "meanwhile", []byte("v")))
	if health, err := cache.Health(ctx); err != nil || health.Status != "degraded" {
		t.Error(health, err)
	}
	startRedis(t, port)
	becomes(false)
	time.Sleep(50 * time.Millisecond)
	ended.Store(true)
	all.Wait()
	if report := fallbackOf(t, cache); report.Outages != 1 || report.Answers == 0 {
		t.Error(report)
	}
	if health, err := cache.Health(ctx); err != nil || !health.Healthy() {
		t.Error(health, err)
	}
}
