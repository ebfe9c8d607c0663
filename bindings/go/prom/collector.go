// Package prom collects the metrics of caches for Prometheus' client_golang.
//
//	registry.MustRegister(prom.NewCollector(map[string]*yokedcache.Cache{"users": users, "pages": pages}))
//	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//
// A program without client_golang serves the text of yokedcache.MetricsOf.
package prom

import (
	"context"
	"sort"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	yokedcache "github.com/yokedcache/yokedcache-go"
)

// NewCollector returns a collector of the metrics of caches. The keys of the map name the caches: each sample has the name of
// its cache as the label cache. Later changes of the map have no effect. The guide's page reports.md lists the metrics.
//
// A registry takes any number of collectors, if the names of their caches differ. It does not check the collector when it is
// registered, because the metrics of a cache can change: those of a near cache come with a switch to a backend with one.
//
// Each collection contacts the servers of all caches at the same time, for at most the time of a call. It does not fail while
// servers are down. A cache that is closed is left out. A name that is not allowed (see yokedcache.MetricsOf) and a nil cache
// fail the collection.
func NewCollector(caches map[string]*yokedcache.Cache) prometheus.Collector {
	copied := make(map[string]*yokedcache.Cache, len(caches))
	for name, cache := range caches {
		copied[name] = cache
	}
	return collector(copied)
}

type collector map[string]*yokedcache.Cache

// Describe describes nothing: the registry does not know the metrics in advance.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of the caches.
func (caches collector) Collect(metrics chan<- prometheus.Metric) {
	families, err := caches.families()
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	for name, family := range families {
		desc := prometheus.NewDesc(name, family.GetHelp(), nil, nil)
		for _, sample := range family.Metric {
			labels := sample.Label
			sort.Slice(labels, func(one, other int) bool { return labels[one].GetName() < labels[other].GetName() })
			metrics <- metric{desc, sample}
		}
	}
}

func (caches collector) families() (map[string]*dto.MetricFamily, error) {
	text, err := yokedcache.MetricsOf(context.Background(), caches)
	if err != nil {
		return nil, err
	}
	var parser expfmt.TextParser
	return parser.TextToMetricFamilies(strings.NewReader(text))
}

// A metric is a sample that the library has written.
type metric struct {
	desc   *prometheus.Desc
	sample *dto.Metric
}

func (metric metric) Desc() *prometheus.Desc { return metric.desc }

func (metric metric) Write(out *dto.Metric) error {
	out.Label = metric.sample.Label
	out.Counter = metric.sample.Counter
	out.Gauge = metric.sample.Gauge
	out.Histogram = metric.sample.Histogram
	out.Untyped = metric.sample.Untyped
	out.Summary = metric.sample.Summary
	return nil
}
