package prom_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	yokedcache "github.com/yokedcache/yokedcache-go"
	"github.com/yokedcache/yokedcache-go/prom"
)

var ctx = context.Background()

func open(t testing.TB, url string) *yokedcache.Cache {
	t.Helper()
	cache, err := yokedcache.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

// The URL of the cache under test, with a prefix.
func testURL(prefix string) string {
	url := os.Getenv("YC_TEST_URL")
	if url == "" {
		url = "memory://"
	}
	mark := "?"
	if strings.Contains(url, "?") {
		mark = "&"
	}
	return fmt.Sprintf("%s%skey_prefix=prom%d.%s", url, mark, os.Getpid(), prefix)
}

// The body of /metrics, as a server of Prometheus gets it.
func scrape(t testing.TB, gatherer prometheus.Gatherer) (int, string) {
	t.Helper()
	server := httptest.NewServer(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestTwoCollectorsOfOneRegistry(t *testing.T) {
	one, two := open(t, "memory://?key_prefix=one"), open(t, "memory://?key_prefix=two")
	down := open(t, "redis://127.0.0.1:1?connect=lazy&key_prefix=down")
	if err := two.Set(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	for _, caches := range []map[string]*yokedcache.Cache{{"one": one, "down": down}, {"t\"w\\o": two}} {
		if err := registry.Register(prom.NewCollector(caches)); err != nil {
			t.Fatal(err)
		}
	}
	wanted := `
# HELP yokedcache_sets_total Entries stored.
# TYPE yokedcache_sets_total counter
yokedcache_sets_total{backend="memory",cache="one",key_prefix="one"} 0
yokedcache_sets_total{backend="memory",cache="t\"w\\o",key_prefix="two"} 1
yokedcache_sets_total{backend="redis",cache="down",key_prefix="down"} 0
# HELP yokedcache_up 1 if the cache can serve, also in part; else 0.
# TYPE yokedcache_up gauge
yokedcache_up{backend="memory",cache="one",key_prefix="one"} 1
yokedcache_up{backend="memory",cache="t\"w\\o",key_prefix="two"} 1
yokedcache_up{backend="redis",cache="down",key_prefix="down"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(wanted), "yokedcache_sets_total", "yokedcache_up"); err != nil {
		t.Error(err)
	}
	status, body := scrape(t, registry)
	if status != http.StatusOK || strings.Count(body, "# TYPE yokedcache_up gauge\n") != 1 {
		t.Error(status, body)
	}
}

// Each sample of the text is in the registry, with the same value.
func TestEachSampleIsCollected(t *testing.T) {
	cache := open(t, testURL("each"))
	for at := 0; at < 100; at++ {
		if err := cache.Set(ctx, "a", nil, yokedcache.WithTags("t")); err != nil {
			t.Fatal(err)
		}
		cache.Get(ctx, "a")
	}
	if err := cache.InvalidateTag(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	caches := map[string]*yokedcache.Cache{"a": cache}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prom.NewCollector(caches))
	text, err := yokedcache.MetricsOf(ctx, caches)
	if err != nil {
		t.Fatal(err)
	}
	_, body := scrape(t, registry)
	samples := func(text string) map[string]int {
		count := map[string]int{}
		for _, line := range strings.Split(text, "\n") {
			if name, _, found := strings.Cut(line, "{"); found && !strings.HasPrefix(line, "#") {
				count[name]++
			}
		}
		return count
	}
	wanted, came := samples(text), samples(body)
	if len(wanted) < 15 || wanted["yokedcache_operation_duration_seconds_bucket"] < 10 {
		t.Error(text)
	}
	if fmt.Sprint(wanted) != fmt.Sprint(came) {
		t.Errorf("%v in the text, %v collected", wanted, came)
	}
	if !strings.Contains(body, "yokedcache_sets_total{") || !strings.Contains(body, "} 100\n") {
		t.Error(body)
	}
}

// Names that two collectors have in common, wrong names, and closed caches.
func TestCollectionsThatFail(t *testing.T) {
	cache := open(t, "memory://")
	for _, caches := range [][]map[string]*yokedcache.Cache{{{"a": cache}, {"a": cache}}, {{"": cache}}, {{"nil": nil}}} {
		registry := prometheus.NewRegistry()
		for _, names := range caches {
			registry.MustRegister(prom.NewCollector(names))
		}
		if _, err := registry.Gather(); err == nil {
			t.Error("no error of", caches)
		} else if caches[0]["a"] == nil && !errors.Is(err, yokedcache.ErrInvalid) && !strings.Contains(err.Error(), "name") {
			t.Error(err)
		}
		if status, _ := scrape(t, registry); status != http.StatusInternalServerError {
			t.Error(status)
		}
	}
	caches := map[string]*yokedcache.Cache{"a": cache}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prom.NewCollector(caches))
	caches["b"] = nil
	if count, err := testutil.GatherAndCount(registry, "yokedcache_up"); count != 1 || err != nil {
		t.Error(count, err)
	}
	cache.Close()
	if families, err := registry.Gather(); len(families) != 0 || err != nil {
		t.Error(families, err)
	}
}

func TestCollectionsAtTheSameTime(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prom.NewCollector(map[string]*yokedcache.Cache{"a": open(t, testURL("a")), "b": open(t, "memory://")}))
	var all sync.WaitGroup
	for number := 0; number < 8; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for turn := 0; turn < 20; turn++ {
				if count, err := testutil.GatherAndCount(registry, "yokedcache_up"); count != 2 || err != nil {
					t.Error(count, err)
				}
			}
		}()
	}
	all.Wait()
}

func ExampleNewCollector() {
	users, err := yokedcache.Open("memory://?key_prefix=users")
	if err != nil {
		panic(err)
	}
	defer users.Close()

	registry := prometheus.NewRegistry()
	registry.MustRegister(prom.NewCollector(map[string]*yokedcache.Cache{"users": users}))
	families, err := registry.Gather()
	for _, family := range families {
		if family.GetName() == "yokedcache_up" {
			fmt.Println(family.GetMetric()[0].GetGauge().GetValue(), err)
		}
	}
	// Output: 1 <nil>
}
