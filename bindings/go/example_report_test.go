package yokedcache_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"strings"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func ExampleCache_Switch() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"))
	report, err := cache.Switch(ctx, "memory://?max_size=1000000&key_prefix=new", yokedcache.SwitchOptions{Copy: true})
	fmt.Println(report.Backend, report.Copied.Copied, err)
	name, err := cache.Get(ctx, "user:1")
	fmt.Println(string(name), err)
	// Output:
	// memory 1 <nil>
	// Ada <nil>
}

func ExampleSwitchOptions() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	options := yokedcache.SwitchOptions{Copy: true, Rate: 5000} // Entries per second.
	_, err := cache.Switch(ctx, "memory://", options)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleSwitchReport() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	var report yokedcache.SwitchReport
	report, err := cache.Switch(ctx, "memory://", yokedcache.SwitchOptions{})
	fmt.Println(report.Backend, report.Copied == nil, err)
	// Output: memory true <nil>
}

func ExampleCache_MigrateTo() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTags("users"))
	target, err := yokedcache.Open("memory://?key_prefix=target")
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()

	report, err := cache.MigrateTo(ctx, target, yokedcache.MigrateOptions{})
	fmt.Println(report.Complete, report.Copied, err)
	name, err := target.Get(ctx, "user:1")
	fmt.Println(string(name), err)
	// Output:
	// true 1 <nil>
	// Ada <nil>
}

func ExampleMigrateOptions() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	cache.Set(ctx, "order:1", nil)
	target := exampleTarget()
	defer target.Close()

	report, err := cache.MigrateTo(ctx, target, yokedcache.MigrateOptions{Pattern: "user:*", DryRun: true})
	fmt.Println(report.Copied, report.DryRun, err)
	// Output: 1 true <nil>
}

func ExampleMigrateProgress() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	target := exampleTarget()
	defer target.Close()

	var last yokedcache.MigrateProgress
	options := yokedcache.MigrateOptions{Progress: func(progress yokedcache.MigrateProgress) bool {
		last = progress
		return true // Continue.
	}}
	_, err := cache.MigrateTo(ctx, target, options)
	fmt.Println(last.Examined, last.Copied, err)
	// Output: 1 1 <nil>
}

func ExampleMigrateReport() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	target := exampleTarget()
	defer target.Close()
	target.Set(ctx, "user:1", nil)

	var report yokedcache.MigrateReport
	report, err := cache.MigrateTo(ctx, target, yokedcache.MigrateOptions{})
	fmt.Println(report.Copied, report.Skipped["present"], report.Failed, err)
	// Output: 0 1 0 <nil>
}

func ExampleMigrateReport_Elapsed() {
	report := yokedcache.MigrateReport{ElapsedMillis: 1500}
	fmt.Println(report.Elapsed())
	// Output: 1.5s
}

// Returns a cache that migrations copy to.
func exampleTarget() *yokedcache.Cache {
	target, err := yokedcache.Open("memory://?key_prefix=target")
	if err != nil {
		log.Fatal(err)
	}
	return target
}

func ExampleCache_Stats() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"))
	cache.Get(ctx, "user:1")
	stats, err := cache.Stats(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Backend, *stats.Keys, stats.Hits, stats.Misses)
	// Output: memory 1 1 0
}

func ExampleStats() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	var stats *yokedcache.Stats
	stats, err := cache.Stats(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if stats.HitRate == nil {
		fmt.Println("no reads yet")
	}
	// Output: no reads yet
}

func ExampleFallbackStats() {
	cache, err := yokedcache.Open(`{backend: redis, redis: {port: 1, connect: lazy, key_prefix: app}, fallback: {backend: memory}}`)
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()

	stats, err := cache.Stats(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	var fallback *yokedcache.FallbackStats = stats.Fallback
	fmt.Println(fallback.Backend)
	// Output: memory
}

func ExampleStats_Uptime() {
	stats := yokedcache.Stats{UptimeMillis: 90000}
	fmt.Println(stats.Uptime())
	// Output: 1m30s
}

func ExampleLatency() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	stats, err := cache.Stats(ctx)
	if err != nil {
		log.Fatal(err)
	}
	var gets yokedcache.Latency = stats.Latency["get"]
	fmt.Println(gets.Samples, gets.P99 <= gets.Max)
	// Output: 0 true
}

func ExampleCache_Health() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	health, err := cache.Health(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(health.Status, health.Reasons)
	// Output: healthy []
}

func ExampleHealth() {
	var health yokedcache.Health
	err := json.Unmarshal([]byte(`{"status": "degraded", "reasons": ["the fallback is active"]}`), &health)
	fmt.Println(health.Healthy(), health.Reasons[0], err)
	// Output: false the fallback is active <nil>
}

func ExampleHealth_Healthy() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	health, err := cache.Health(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(health.Healthy())
	// Output: true
}

func ExampleServerHealth() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	health, err := cache.Health(ctx)
	if err != nil {
		log.Fatal(err)
	}
	var servers []yokedcache.ServerHealth = health.Details.Servers
	for _, server := range servers {
		fmt.Println(server.Server, server.Error)
	}
	fmt.Println("servers:", len(servers))
	// Output: servers: 0
}

func ExampleCache_Metrics() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	text, err := cache.Metrics(ctx)
	fmt.Println(strings.Contains(text, "# TYPE yokedcache_"), err)
	// Output: true <nil>
}

func ExampleCache_Ping() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	fmt.Println(cache.Ping(ctx))
	// Output: <nil>
}

func ExampleMetricsOf() {
	users, pages := exampleCache(), exampleCache()
	defer users.Close()
	defer pages.Close()
	ctx := context.Background()

	users.Set(ctx, "user:1", []byte("Ada"))
	text, err := yokedcache.MetricsOf(ctx, map[string]*yokedcache.Cache{"users": users, "pages": pages})
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "yokedcache_sets_total") {
			fmt.Println(line)
		}
	}
	// Output:
	// yokedcache_sets_total{cache="pages",backend="memory",key_prefix="example"} 0
	// yokedcache_sets_total{cache="users",backend="memory",key_prefix="example"} 1
}
