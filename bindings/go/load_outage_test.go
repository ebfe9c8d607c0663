package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Calls GetOrLoad from 20 goroutines until a time is over. Reports the loads, and the calls that failed.
func stampede(t *testing.T, cache *yokedcache.Cache, key string, lasts time.Duration, most int64) (loads, failures int64) {
	t.Helper()
	var running, count, failed atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(lasts)
	for number := 0; number < 20; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for time.Now().Before(end) {
				value, err := yokedcache.GetOrLoad(ctx, cache, key, func(context.Context, *yokedcache.Fill) (string, error) {
					if running.Add(1) > most {
						t.Error("two loaders run")
					}
					defer running.Add(-1)
					count.Add(1)
					time.Sleep(20 * time.Millisecond)
					return "value", nil
				}, yokedcache.WithWait(time.Minute))
				if err != nil || value != "value" {
					failed.Add(1)
					t.Log(err)
				}
			}
		}()
	}
	all.Wait()
	return count.Load(), failed.Load()
}

// A store that is down costs one load per process and key at a time, and no call fails.
func TestLoadsWhileTheServerIsDown(t *testing.T) {
	for _, fallback := range []string{"", ", fallback: memory"} {
		port := freePort(t)
		scheme, kill := startServer(t, port)
		cache, err := yokedcache.Open(fmt.Sprintf("{backend: %s, %s: {url: '%s://127.0.0.1:%s', socket_timeout: 500ms, socket_connect_timeout: 500ms}%s}",
			scheme, scheme, scheme, port, fallback))
		check(t, err)
		defer cache.Close()
		if loads, failures := stampede(t, cache, "k", 200*time.Millisecond, 1); loads != 1 || failures != 0 {
			t.Errorf("before: %d loads, %d failures", loads, failures)
		}
		// The server dies in the middle of a load.
		entered, release := make(chan struct{}), make(chan struct{})
		answers := make(chan error)
		go func() {
			_, err := yokedcache.GetOrLoad(ctx, cache, "other", func(context.Context, *yokedcache.Fill) (string, error) {
				close(entered)
				<-release
				return "value", nil
			})
			answers <- err
		}()
		<-entered
		kill()
		close(release)
		if err := <-answers; err != nil {
			t.Error(err)
		}
		// In the moment of the outage a load with a lease of the server and one without may overlap.
		stampede(t, cache, "k", 500*time.Millisecond, 2)
		loads, failures := stampede(t, cache, "down", time.Second, 1)
		if fallback == "" && (loads < 2 || loads > 50) || fallback != "" && loads != 1 || failures != 0 {
			t.Errorf("during the outage (%s): %d loads, %d failures", fallback, loads, failures)
		}
		_, kill = startServer(t, port)
		defer kill()
		within(t, func() {
			for {
				if loads, _ := stampede(t, cache, "again", 100*time.Millisecond, 2); loads == 0 {
					break
				}
			}
		})
		if _, err := cache.Get(ctx, "down"); fallback == "" && !errors.Is(err, yokedcache.ErrMiss) {
			t.Error("something was stored during the outage", err)
		}
	}
}

// A server that never answers: each caller ends with its own context, and the loads are one at a time.
func TestLoadsWithAServerThatIsSilent(t *testing.T) {
	cache, err := yokedcache.Open(silentServer(t) + "?connect=lazy&socket_timeout=200ms&socket_connect_timeout=200ms")
	check(t, err)
	defer cache.Close()
	loads, failures := stampede(t, cache, "k", time.Second, 1)
	if loads < 1 || failures != 0 {
		t.Errorf("%d loads, %d failures", loads, failures)
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := yokedcache.GetOrLoad(limited, openSilent(t), "k", loadsOf(1, new(atomic.Int64))); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
