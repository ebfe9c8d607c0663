package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func ExampleCache_View() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	users, err := cache.View(yokedcache.ViewOptions{Namespace: "users"})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	users.Set(ctx, "1", []byte("Ada"))
	value, err := users.Get(ctx, "1")
	fmt.Println(string(value), err)
	_, err = cache.Get(ctx, "1")
	fmt.Println(errors.Is(err, yokedcache.ErrMiss))
	// Output:
	// Ada <nil>
	// true
}

func ExampleNamespaceStats() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	users, err := cache.View(yokedcache.ViewOptions{Namespace: "users"})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	users.Set(ctx, "1", []byte("Ada"))
	stats, err := cache.Stats(ctx)
	fmt.Println(stats.Namespaces["users"].Sets, err)
	// Output: 1 <nil>
}

func ExampleViewOptions() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	options := yokedcache.ViewOptions{Timeout: 20 * time.Millisecond, DefaultTTL: time.Minute, Tags: []string{"reports"}}
	reports, err := cache.View(options)
	if err != nil {
		log.Fatal(err)
	}
	defer reports.Close()
	reports.Set(ctx, "report:1", []byte("sums"))
	cache.InvalidateTag(ctx, "reports")
	_, err = reports.Get(ctx, "report:1")
	fmt.Println(errors.Is(err, yokedcache.ErrMiss))
	// Output: true
}
