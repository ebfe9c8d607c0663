package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func ExampleCondition() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	for _, condition := range []yokedcache.Condition{yokedcache.IfPresent(), yokedcache.IfAbsent(), yokedcache.IfAbsent()} {
		stored, _, err := cache.SetIf(ctx, "user:1", []byte("Ada"), condition)
		fmt.Println(stored, err)
	}
	// Output:
	// false <nil>
	// true <nil>
	// false <nil>
}

// A lock for one process at a time, which expires if its holder fails.
func ExampleIfAbsent() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	locked, version, err := cache.SetIf(ctx, "lock", []byte("worker 1"), yokedcache.IfAbsent(), yokedcache.WithTTL(30*time.Second))
	fmt.Println("worker 1:", locked, err)
	other, _, err := cache.SetIf(ctx, "lock", []byte("worker 2"), yokedcache.IfAbsent(), yokedcache.WithTTL(30*time.Second))
	fmt.Println("worker 2:", other, err)
	released, err := cache.DeleteIf(ctx, "lock", version)
	fmt.Println("worker 1 released it:", released, err)
	// Output:
	// worker 1: true <nil>
	// worker 2: false <nil>
	// worker 1 released it: true <nil>
}

func ExampleIfPresent() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	stored, _, err := cache.SetIf(ctx, "user:1", []byte("Ada"), yokedcache.IfPresent())
	fmt.Println(stored, err)
	// Output: false <nil>
}

// An update that is repeated if another writer was faster.
func ExampleIfVersion() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "guests", []byte("Ada"))
	for {
		guests, version, err := cache.GetVersioned(ctx, "guests")
		if err != nil {
			fmt.Println(err)
			return
		}
		stored, _, err := cache.SetIf(ctx, "guests", append(guests, ", Grace"...), yokedcache.IfVersion(version))
		if err != nil {
			fmt.Println(err)
			return
		}
		if stored {
			break
		}
	}
	guests, err := cache.Get(ctx, "guests")
	fmt.Println(string(guests), err)
	// Output: Ada, Grace <nil>
}

func ExampleCache_GetInfo() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTTL(time.Hour), yokedcache.WithTags("users"))
	info, err := cache.GetInfo(ctx, "user:1")
	fmt.Println(string(info.Value), info.Age < time.Minute, info.TTL > time.Minute, info.TagCount, err)
	// Output: Ada true true 1 <nil>
}

func ExampleCache_GetInfo_tags() {
	cache, err := yokedcache.Open("memory://?tag_names=true")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTags("users", "admins"))
	info, err := cache.GetInfo(ctx, "user:1")
	fmt.Println(info.Tags, err)
	// Output: [users admins] <nil>
}

func ExampleEntryInfo() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTTL(time.Hour))
	var info yokedcache.EntryInfo
	info, err := cache.GetInfo(ctx, "user:1")
	if err != nil {
		log.Fatal(err)
	}
	stored, _, err := cache.SetIf(ctx, "user:1", []byte("Grace"), yokedcache.IfVersion(info.Version), yokedcache.WithTTL(info.TTL))
	fmt.Println(stored, err)
	// Output: true <nil>
}

func ExampleInfoOption() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "price:1", []byte("12"), yokedcache.WithTTL(time.Hour))
	options := []yokedcache.InfoOption{yokedcache.WithMaxAge(10 * time.Minute)}
	info, err := cache.GetInfo(ctx, "price:1", options...)
	fmt.Println(string(info.Value), err)
	// Output: 12 <nil>
}

func ExampleWithMaxAge() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "price:1", []byte("12"), yokedcache.WithTTL(yokedcache.NoExpiry))
	// In memory an entry without a time to live has no age.
	_, err := cache.GetInfo(ctx, "price:1", yokedcache.WithMaxAge(time.Minute))
	fmt.Println(errors.Is(err, yokedcache.ErrMiss))
	// Output: true
}

func ExampleCache_GetVersioned() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	_, stored, _ := cache.SetIf(ctx, "user:1", []byte("Ada"), yokedcache.IfAbsent())
	value, version, err := cache.GetVersioned(ctx, "user:1")
	fmt.Println(string(value), version == stored, err)
	_, _, err = cache.GetVersioned(ctx, "user:2")
	fmt.Println(errors.Is(err, yokedcache.ErrMiss))
	// Output:
	// Ada true <nil>
	// true
}

func ExampleCache_SetIf() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	stored, version, err := cache.SetIf(ctx, "user:1", []byte("Ada"), yokedcache.IfAbsent(), yokedcache.WithTags("users"))
	fmt.Println(stored, err)
	stored, _, err = cache.SetIf(ctx, "user:1", []byte("Ada Lovelace"), yokedcache.IfVersion(version))
	fmt.Println(stored, err)
	stored, _, err = cache.SetIf(ctx, "user:1", []byte("Grace"), yokedcache.IfVersion(version))
	fmt.Println(stored, err)
	// Output:
	// true <nil>
	// true <nil>
	// false <nil>
}

func ExampleCache_DeleteIf() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	_, version, _ := cache.SetIf(ctx, "user:1", []byte("Ada"), yokedcache.IfAbsent())
	cache.Set(ctx, "user:1", []byte("Grace"))
	deleted, err := cache.DeleteIf(ctx, "user:1", version)
	fmt.Println(deleted, err)
	// Output: false <nil>
}

func ExampleCache_GetAndExpire() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "session", []byte("Ada"), yokedcache.WithTTL(time.Minute))
	value, err := cache.GetAndExpire(ctx, "session", time.Hour)
	fmt.Println(string(value), err)
	ttl, err := cache.TTL(ctx, "session")
	fmt.Println(ttl > 59*time.Minute, err)
	// Output:
	// Ada <nil>
	// true <nil>
}

func ExampleCache_CounterAdd() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	// At most 100 requests in a minute, which begins with the first one.
	requests, err := cache.CounterAdd(ctx, "requests:192.0.2.1", 1, yokedcache.WithTTL(time.Minute))
	fmt.Println(requests, requests <= 100, err)
	requests, err = cache.CounterAdd(ctx, "requests:192.0.2.1", 1, yokedcache.WithTTL(time.Minute))
	fmt.Println(requests, requests <= 100, err)
	// Output:
	// 1 true <nil>
	// 2 true <nil>
}

func ExampleCounterOption() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	options := []yokedcache.CounterOption{yokedcache.WithInitial(1000), yokedcache.WithTTL(yokedcache.NoExpiry)}
	tickets, err := cache.CounterAdd(ctx, "tickets", -2, options...)
	fmt.Println(tickets, err)
	// Output: 998 <nil>
}

func ExampleWithInitial() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	for i := 0; i < 2; i++ {
		tickets, err := cache.CounterAdd(ctx, "tickets", -2, yokedcache.WithInitial(1000))
		fmt.Println(tickets, err)
	}
	// Output:
	// 998 <nil>
	// 996 <nil>
}
