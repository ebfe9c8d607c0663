package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Stats is the report of [Cache.Stats]: counters since the cache was opened, sizes and latencies. Later versions
// of the library may add members to JSON.
type Stats struct {
	Backend      string   `json:"backend"`
	KeyPrefix    string   `json:"key_prefix"`
	UptimeMillis uint64   `json:"uptime_ms"`
	Keys         *uint64  `json:"keys"`  // Nil if unknown: a server is down or cannot list keys.
	Bytes        *uint64  `json:"bytes"` // Nil if unknown, as Keys.
	Hits         uint64   `json:"hits"`
	Misses       uint64   `json:"misses"`
	HitRate      *float64 `json:"hit_rate"` // From 0 to 1; nil before the first read.
	Sets         uint64   `json:"sets"`
	Deletes      uint64   `json:"deletes"`
	Evictions    *uint64  `json:"evictions"`   // Nil on a server, which evicts entries itself.
	Expirations  *uint64  `json:"expirations"` // Nil on a server, as Evictions.
	DecodeErrors uint64   `json:"decode_errors"`
	Reconnects   uint64   `json:"reconnects"`
	InFlight     uint64   `json:"in_flight"`
	// Calls that invalidated tags or a pattern, cleared or flushed, and did not fail.
	Invalidations uint64 `json:"invalidations"`
	// The open connections for operations; 0 on memory.
	Connections uint64 `json:"connections"`
	// The fallback; nil without one.
	Fallback *FallbackStats `json:"fallback"`

	// The namespace of a view; nil without one. With one, the sizes, evictions and expirations are nil.
	Namespace *string `json:"namespace"`
	// The counters of each namespace that a view was opened for, the first 64; nil in the statistics of a view.
	Namespaces map[string]NamespaceStats `json:"namespaces"`

	// The latencies by group of operations: get, set, delete, inspect, invalidate, list, many.
	Latency map[string]Latency `json:"latency_us"`

	// The complete report.
	JSON json.RawMessage `json:"-"`
}

// NamespaceStats holds the counters of one namespace: those of all its views in this process.
type NamespaceStats struct {
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
	Sets    uint64 `json:"sets"`
	Deletes uint64 `json:"deletes"`
	// As in [Stats].
	Invalidations uint64 `json:"invalidations"`
}

// FallbackStats reports on the fallback of a cache.
type FallbackStats struct {
	Backend         string  `json:"backend"`           // The backend that serves while the servers fail.
	Active          bool    `json:"active"`            // True while it serves.
	Circuit         string  `json:"circuit"`           // "closed", "open" or "half-open".
	Answers         uint64  `json:"answers"`           // Calls that it answered.
	Outages         uint64  `json:"outages"`           // The number of times that it began to serve.
	OpenMillis      *uint64 `json:"open_for_ms"`       // The duration of the outage that lasts; nil without one.
	ChangesToReplay *uint64 `json:"changes_to_replay"` // Changes that the servers do not have yet; nil without an outage.
}

// A Latency summarizes the durations of sampled calls of one group, in microseconds.
type Latency struct {
	Samples uint64  `json:"samples"`
	P50     float64 `json:"p50"`
	P90     float64 `json:"p90"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
}

// Health is the report of [Cache.Health]. Later versions of the library may add members to JSON.
type Health struct {
	// The status: "healthy", "degraded" or "unhealthy".
	Status       string   `json:"status"`
	Reasons      []string `json:"reasons"`
	Backend      string   `json:"backend"`
	KeyPrefix    string   `json:"key_prefix"`
	Version      string   `json:"version"`
	UptimeMillis uint64   `json:"uptime_ms"`
	PingMicros   *uint64  `json:"ping_us"` // Of the slowest server, in microseconds; nil if no server replied.
	// The fallback; nil without one.
	Fallback *FallbackStats `json:"fallback"`
	Details  struct {
		Servers []ServerHealth `json:"servers"` // Empty on memory.
	} `json:"details"`

	// The complete report.
	JSON json.RawMessage `json:"-"`
}

// ServerHealth is the report of one server. A member that the server does not report has its zero value. Later
// versions of the library may add members to [Health].JSON.
type ServerHealth struct {
	Server          string  `json:"server"`
	Error           string  `json:"error"` // The reason why it does not serve; "" if it does.
	PingMicros      *uint64 `json:"ping_us"`
	Version         string  `json:"version"`
	Role            string  `json:"role"`
	UsedMemoryBytes uint64  `json:"used_memory_bytes"`
	MaxMemoryBytes  uint64  `json:"max_memory_bytes"`
	EvictedKeys     uint64  `json:"evicted_keys"`
}

// Uptime returns the time since the cache was opened.
func (stats *Stats) Uptime() time.Duration {
	return time.Duration(stats.UptimeMillis) * time.Millisecond
}

// Healthy reports whether Status is "healthy".
func (health *Health) Healthy() bool {
	return health.Status == "healthy"
}

// Stats returns the counters, sizes and latencies of the cache. It does not fail while servers are down: sizes
// that are unknown are nil.
func (cache *Cache) Stats(ctx context.Context) (*Stats, error) {
	stats := &Stats{}
	var err error
	if stats.JSON, err = cache.report(ctx, C.YC_OP_STATS, stats); err != nil {
		return nil, err
	}
	return stats, nil
}

// Health reports whether the cache can serve. It contacts every server and changes no counter. It does not fail
// while servers are down: the status of the report is then "degraded" or "unhealthy".
func (cache *Cache) Health(ctx context.Context) (*Health, error) {
	health := &Health{}
	var err error
	if health.JSON, err = cache.report(ctx, C.YC_OP_HEALTH, health); err != nil {
		return nil, err
	}
	return health, nil
}

// Metrics returns counters, gauges and a histogram of latencies in the text format of Prometheus. Serve it as
// "text/plain; version=0.0.4". A text describes one cache; do not concatenate the texts of several caches, because
// each declares its metric families: use [MetricsOf]. Metrics contacts every server, changes no counter and does not
// fail while servers are down.
func (cache *Cache) Metrics(ctx context.Context) (string, error) {
	text, err := cache.text(ctx, C.YC_OP_METRICS)
	return string(text), err
}

// Ping checks that every server of the backend replies. It returns the error of the first one that does not, such
// as [ErrConnect] or [ErrTimeout].
func (cache *Cache) Ping(ctx context.Context) error {
	user, err := cache.enter(ctx)
	if err != nil {
		return err
	}
	defer user.leave()
	_, err = cache.queue.outcome(ctx, &operation{kind: C.YC_OP_PING})
	return err
}

func (cache *Cache) text(ctx context.Context, kind C.int32_t) ([]byte, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer user.leave()
	return cache.queue.get(ctx, &operation{kind: kind})
}

func (cache *Cache) report(ctx context.Context, kind C.int32_t, into any) ([]byte, error) {
	text, err := cache.text(ctx, kind)
	if err != nil {
		return nil, err
	}
	return text, decodeReport(text, into)
}

func decodeReport(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("yokedcache: cannot decode the report of the library: %w", err)
	}
	return nil
}
