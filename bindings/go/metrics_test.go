package yokedcache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func openNamed(t *testing.T, url string) *yokedcache.Cache {
	t.Helper()
	cache, err := yokedcache.Open(url)
	check(t, err)
	t.Cleanup(func() { cache.Close() })
	return cache
}

func TestMetricsOfManyCachesAreOneText(t *testing.T) {
	one, two := openNamed(t, "memory://?key_prefix=one"), openNamed(t, "memory://?key_prefix=two")
	check(t, two.Set(ctx, "a", nil))
	down := openNamed(t, "redis://127.0.0.1:1?connect=lazy&key_prefix=down")
	text, err := yokedcache.MetricsOf(ctx, map[string]*yokedcache.Cache{"z": one, "b\"\n\\": two, "down": down, "again": two})
	check(t, err)
	for _, part := range []string{
		`yokedcache_sets_total{cache="again",backend="memory",key_prefix="two"} 1
yokedcache_sets_total{cache="b\"\n\\",backend="memory",key_prefix="two"} 1
yokedcache_sets_total{cache="down",backend="redis",key_prefix="down"} 0
yokedcache_sets_total{cache="z",backend="memory",key_prefix="one"} 0
# `,
		`yokedcache_up{cache="down",backend="redis",key_prefix="down"} 0`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("no %s in %s", part, text)
		}
	}
	seen := map[string]bool{}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "# TYPE ") && seen[line] {
			t.Error("declared twice:", line)
		}
		seen[line] = true
	}
}

func TestMetricsOfLeavesClosedCachesOut(t *testing.T) {
	open, closed := openNamed(t, "memory://"), openNamed(t, "memory://")
	check(t, closed.Close())
	text, err := yokedcache.MetricsOf(ctx, map[string]*yokedcache.Cache{"open": open, "closed": closed})
	if err != nil || !strings.Contains(text, `cache="open"`) || strings.Contains(text, `cache="closed"`) {
		t.Error(text, err)
	}
	for _, none := range []map[string]*yokedcache.Cache{nil, {}, {"closed": closed}} {
		if text, err := yokedcache.MetricsOf(ctx, none); text != "" || err != nil {
			t.Error(text, err)
		}
	}
}

func TestMetricsOfRefusesNames(t *testing.T) {
	cache := openNamed(t, "memory://")
	for _, name := range []string{"", "a\x00b", "\xff", strings.Repeat("n", 257)} {
		if text, err := yokedcache.MetricsOf(ctx, map[string]*yokedcache.Cache{"good": cache, name: cache}); text != "" || !errors.Is(err, yokedcache.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, wrong := range []*yokedcache.Cache{nil, {}} {
		if text, err := yokedcache.MetricsOf(ctx, map[string]*yokedcache.Cache{"good": cache, "wrong": wrong}); text != "" || !errors.Is(err, yokedcache.ErrInvalid) || !strings.Contains(err.Error(), "wrong") {
			t.Error(err)
		}
	}
}

func TestMetricsOfEndsWithItsContext(t *testing.T) {
	silent := openNamed(t, silentServer(t)+"?connect=lazy&socket_timeout=30s&socket_connect_timeout=30s")
	caches := map[string]*yokedcache.Cache{"silent": silent, "again": silent}
	limited, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	within(t, func() {
		if _, err := yokedcache.MetricsOf(limited, caches); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, yokedcache.ErrTimeout) {
			t.Error(err)
		}
	})
	if _, err := yokedcache.MetricsOf(limited, caches); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := yokedcache.MetricsOf(nil, caches); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
	within(t, func() { silent.Close() })
}

// Texts while caches are used and closed.
func TestMetricsOfDuringTraffic(t *testing.T) {
	caches := map[string]*yokedcache.Cache{"a": openNamed(t, "memory://"), "b": openNamed(t, testURL("")), "c": openNamed(t, testURL(""))}
	var all sync.WaitGroup
	stop := make(chan struct{})
	for number := 0; number < 8; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			for at := 0; ; at++ {
				select {
				case <-stop:
					return
				default:
				}
				var err error
				if number%2 == 0 {
					_, err = yokedcache.MetricsOf(ctx, caches)
				} else {
					err = caches["b"].Set(ctx, "k", nil)
				}
				if err != nil && (number%2 == 0 || !errors.Is(err, yokedcache.ErrClosed)) {
					t.Error(err)
				}
			}
		}(number)
	}
	for _, name := range []string{"b", "a"} {
		time.Sleep(50 * time.Millisecond)
		check(t, caches[name].Close())
	}
	time.Sleep(20 * time.Millisecond)
	close(stop)
	all.Wait()
}
