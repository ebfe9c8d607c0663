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
	Keys         uint64   `json:"keys"`
	Bytes        uint64   `json:"bytes"`
	Hits         uint64   `json:"hits"`
	Misses       uint64   `json:"misses"`
	HitRate      *float64 `json:"hit_rate"` // Nil before the first read.
	Sets         uint64   `json:"sets"`
	Deletes      uint64   `json:"deletes"`
	Evictions    uint64   `json:"evictions"`
	Expirations  uint64   `json:"expirations"`

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
	PingMicros   uint64   `json:"ping_us"`

	// The whole report.
	JSON json.RawMessage `json:"-"`
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

func (cache *Cache) report(ctx context.Context, kind C.int32_t, into any) ([]byte, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer user.leave()
	text, err := cache.queue.get(ctx, &operation{kind: kind})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fmt.Errorf("yokedcache: the report of the library: %w", err)
	}
	return text, nil
}
