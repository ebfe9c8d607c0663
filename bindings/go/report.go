package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Stats are counters since the cache was opened, and what it holds. Later versions of the library may tell more: it is
// all in JSON.
type Stats struct {
	Backend      string   `json:"backend"`
	KeyPrefix    string   `json:"key_prefix"`
	UptimeMillis uint64   `json:"uptime_ms"`
	Keys         *uint64  `json:"keys"`  // Nil where it cannot be known now: a server is down, or cannot list keys.
	Bytes        *uint64  `json:"bytes"` // As Keys.
	Hits         uint64   `json:"hits"`
	Misses       uint64   `json:"misses"`
	HitRate      *float64 `json:"hit_rate"` // Nil before the first read.
	Sets         uint64   `json:"sets"`
	Deletes      uint64   `json:"deletes"`
	Evictions    *uint64  `json:"evictions"`   // Nil on a shared store, which removes entries by itself.
	Expirations  *uint64  `json:"expirations"` // As Evictions.
	DecodeErrors uint64   `json:"decode_errors"`
	Reconnects   uint64   `json:"reconnects"`
	InFlight     uint64   `json:"in_flight"`

	// By group of operations: get, set, delete, inspect, invalidate, list, many.
	Latency map[string]Latency `json:"latency_us"`

	// The whole report.
	JSON json.RawMessage `json:"-"`
}

// A Latency is how long a sample of the calls of a group took, in microseconds.
type Latency struct {
	Samples uint64  `json:"samples"`
	P50     float64 `json:"p50"`
	P90     float64 `json:"p90"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
}

// Health is whether the cache can serve. Later versions of the library may tell more: it is all in JSON.
type Health struct {
	// "healthy", "degraded" or "unhealthy".
	Status       string   `json:"status"`
	Reasons      []string `json:"reasons"`
	Backend      string   `json:"backend"`
	KeyPrefix    string   `json:"key_prefix"`
	Version      string   `json:"version"`
	UptimeMillis uint64   `json:"uptime_ms"`
	PingMicros   *uint64  `json:"ping_us"` // Of the slowest server; nil where none answered.
	Details      struct {
		Servers []ServerHealth `json:"servers"` // None on memory.
	} `json:"details"`

	// The whole report.
	JSON json.RawMessage `json:"-"`
}

// ServerHealth is what one server tells of itself; what it does not tell is left empty. A later library may tell more: it
// is all in [Health].JSON.
type ServerHealth struct {
	Server          string  `json:"server"`
	Error           string  `json:"error"` // Why it does not serve; "" while it does.
	PingMicros      *uint64 `json:"ping_us"`
	Version         string  `json:"version"`
	Role            string  `json:"role"`
	UsedMemoryBytes uint64  `json:"used_memory_bytes"`
	MaxMemoryBytes  uint64  `json:"max_memory_bytes"`
	EvictedKeys     uint64  `json:"evicted_keys"`
}

// Uptime is for how long the cache has been open.
func (stats *Stats) Uptime() time.Duration {
	return time.Duration(stats.UptimeMillis) * time.Millisecond
}

// Healthy tells whether Status is "healthy".
func (health *Health) Healthy() bool {
	return health.Status == "healthy"
}

// Stats asks for the counters.
func (cache *Cache) Stats(ctx context.Context) (*Stats, error) {
	stats := &Stats{}
	text, err := cache.report(ctx, C.YC_OP_STATS, stats)
	stats.JSON = text
	return given(stats, err)
}

// Health asks whether the cache can serve; it changes no counter. There is no error when the cache is unhealthy: that
// is its answer.
func (cache *Cache) Health(ctx context.Context) (*Health, error) {
	health := &Health{}
	text, err := cache.report(ctx, C.YC_OP_HEALTH, health)
	health.JSON = text
	return given(health, err)
}

// Metrics are counters, gauges and a histogram of latencies as the text that Prometheus scrapes; a handler serves it as
// "text/plain; version=0.0.4". One text is one cache: the texts of two are not to be joined, since each names its
// families. It asks each server how it is, changes no counter, and does not fail while servers are down.
func (cache *Cache) Metrics(ctx context.Context) (string, error) {
	text, err := cache.text(ctx, C.YC_OP_METRICS)
	return string(text), err
}

// Ping asks the backend for a sign of life, every server of it.
func (cache *Cache) Ping(ctx context.Context) error {
	user, err := cache.enter(ctx)
	if err != nil {
		return err
	}
	defer user.leave()
	_, err = cache.queue.outcome(ctx, &operation{kind: C.YC_OP_PING})
	return err
}

func given[T any](report *T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return report, nil
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
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fmt.Errorf("yokedcache: the report of the library: %w", err)
	}
	return text, nil
}
