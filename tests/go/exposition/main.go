// Reads the metrics of a cache with Prometheus's own parser, and has its linter look at their names.
//
// The cache is that of YC_TEST_URL, memory without it; an argument is the URL of one whose server is down.
package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	yokedcache "github.com/yokedcache/yokedcache-go"
)

const duration = "yokedcache_operation_duration_seconds"

var (
	ctx    = context.Background()
	failed bool
)

func check(holds bool, what string, values ...any) {
	if !holds {
		fmt.Println(append([]any{"not so:", what}, values...)...)
		failed = true
	}
}

func stopIf(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// What one cache tells.
type scrape struct {
	families map[string]*dto.MetricFamily
	backend  string
}

// Reads a text with the parser.
func parsed(text string) map[string]*dto.MetricFamily {
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	stopIf(err)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	stopIf(err)
	check(len(problems) == 0, "the linter finds nothing", problems)
	return families
}

func scrapeOf(cache *yokedcache.Cache) scrape {
	text, err := cache.Metrics(ctx)
	stopIf(err)
	families := parsed(text)
	stats, err := cache.Stats(ctx)
	stopIf(err)
	for name, family := range families {
		for _, metric := range family.Metric {
			labels := labelsOf(metric)
			check(labels["backend"] == stats.Backend && labels["key_prefix"] == stats.KeyPrefix, "labels of", name, labels)
		}
	}
	return scrape{families, stats.Backend}
}

func labelsOf(metric *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, label := range metric.Label {
		labels[label.GetName()] = label.GetValue()
	}
	return labels
}

func (scrape scrape) counter(name string) float64 {
	return scrape.only(name, dto.MetricType_COUNTER).GetCounter().GetValue()
}

func (scrape scrape) gauge(name string) float64 {
	return scrape.only(name, dto.MetricType_GAUGE).GetGauge().GetValue()
}

// The one sample of a family of this type.
func (scrape scrape) only(name string, kind dto.MetricType) *dto.Metric {
	family := scrape.families[name]
	if family == nil || family.GetType() != kind || family.GetHelp() == "" || len(family.Metric) != 1 {
		check(false, "one sample, a help and the right type", name, family)
		return &dto.Metric{}
	}
	return family.Metric[0]
}

// The histogram of an operation: bounds that rise up to the end, counts that add up, a sum.
func (scrape scrape) histogram(operation string) *dto.Histogram {
	family := scrape.families[duration]
	check(family.GetType() == dto.MetricType_HISTOGRAM, "a histogram", family)
	for _, metric := range family.GetMetric() {
		if labelsOf(metric)["operation"] == operation {
			checkHistogram(metric.Histogram)
			return metric.Histogram
		}
	}
	check(false, "a histogram of", operation)
	return nil
}

func checkHistogram(histogram *dto.Histogram) {
	bound, count := 0.0, uint64(0)
	for _, bucket := range histogram.Bucket {
		check(bucket.GetUpperBound() > bound && bucket.GetCumulativeCount() >= count, "buckets rise", histogram)
		bound, count = bucket.GetUpperBound(), bucket.GetCumulativeCount()
	}
	check(math.IsInf(bound, 1) && count == histogram.GetSampleCount(), "the last bucket has all", histogram)
}

// Reads, writes and an invalidation, of which the counters have to tell.
func checkCounted(cache *yokedcache.Cache) {
	const reads = 500
	stopIf(cache.Set(ctx, "there", []byte("v"), yokedcache.WithTags("t")))
	for read := 0; read < reads; read++ {
		cache.Get(ctx, "there")
		cache.Get(ctx, "not-there")
	}
	_, err := cache.Delete(ctx, "there")
	stopIf(err)
	stopIf(cache.InvalidateTag(ctx, "t"))

	came := scrapeOf(cache)
	for name, wanted := range map[string]float64{"hits": reads, "misses": reads, "sets": 1, "deletes": 1, "decode_errors": 0, "reconnects": 0} {
		value := came.counter("yokedcache_" + name + "_total")
		check(value == wanted, name, value)
	}
	check(came.gauge("yokedcache_up") == 1 && came.gauge("yokedcache_in_flight") == 0 && came.gauge("yokedcache_uptime_seconds") > 0, "gauges")
	gets, invalidations := came.histogram("get"), came.histogram("invalidate")
	check(gets.GetSampleCount() > 0 && gets.GetSampleCount() < reads/4 && gets.GetSampleSum() > 0, "one get in a few is timed", gets)
	check(invalidations.GetSampleCount() == 1, "each invalidation is timed", invalidations)
	checkPlace(came)
}

// What only a cache of its own knows at once, and what only servers have.
func checkPlace(came scrape) {
	local := came.backend == "memory"
	for _, name := range []string{"keys", "bytes", "evictions_total", "expirations_total"} {
		check((came.families["yokedcache_"+name] != nil) == local, name, "is reported on", came.backend)
	}
	servers := came.families["yokedcache_server_up"]
	check((servers == nil) == local, "servers are reported on", came.backend)
	for _, server := range servers.GetMetric() {
		check(labelsOf(server)["server"] != "" && server.GetGauge().GetValue() == 1, "a server is up", server)
	}
}

// A scrape does not fail because a server is down.
func checkDown(url string) {
	cache, err := yokedcache.Open(url)
	stopIf(err)
	defer cache.Close()
	came := scrapeOf(cache)
	check(came.gauge("yokedcache_up") == 0 && came.gauge("yokedcache_server_up") == 0, "a server that is down is not up")
	check(came.counter("yokedcache_hits_total") == 0, "counters are reported")
	stats, err := cache.Stats(ctx)
	stopIf(err)
	check(stats.Keys == nil && stats.Bytes == nil, "unknown sizes are not zero", string(stats.JSON))
}

// The text of this cache and of one on memory: each family has the samples of both, by their names.
func checkMany(cache *yokedcache.Cache) {
	memory, err := yokedcache.Open("memory://?key_prefix=memory")
	stopIf(err)
	defer memory.Close()
	stopIf(memory.Set(ctx, "a", []byte("v")))
	stopIf(memory.InvalidateTag(ctx, "t"))
	names := map[string]*yokedcache.Cache{"this \"one\"": cache, "back\\slash\nand more": memory}
	text, err := yokedcache.MetricsOf(ctx, names)
	stopIf(err)
	families := parsed(text)
	for name, cache := range names {
		own := scrapeOf(cache)
		for family, alone := range own.families {
			check(count(families[family], name) == len(alone.Metric), "as many samples as alone", family, name)
		}
	}
	for name, family := range families {
		for _, metric := range family.Metric {
			check(names[labelsOf(metric)["cache"]] != nil, "each sample has the name of a cache", name, metric)
			if family.GetType() == dto.MetricType_HISTOGRAM {
				checkHistogram(metric.Histogram)
			}
		}
	}
	check(len(families["yokedcache_sets_total"].GetMetric()) == 2, "two caches", families["yokedcache_sets_total"])
	check(families["yokedcache_keys"] != nil, "what only one of them has", text)
}

// The samples of a cache.
func count(family *dto.MetricFamily, cache string) (count int) {
	for _, metric := range family.GetMetric() {
		if labelsOf(metric)["cache"] == cache {
			count++
		}
	}
	return count
}

func main() {
	url := os.Getenv("YC_TEST_URL")
	if url == "" {
		url = "memory://"
	}
	mark := "?"
	if strings.Contains(url, "?") {
		mark = "&"
	}
	cache, err := yokedcache.Open(fmt.Sprintf("%s%skey_prefix=exposition%d", url, mark, os.Getpid()))
	stopIf(err)
	checkCounted(cache)
	checkMany(cache)
	stopIf(cache.Close())
	for _, down := range os.Args[1:] {
		checkDown(down)
	}
	if failed {
		os.Exit(1)
	}
	fmt.Println("the metrics are what Prometheus reads")
}
