package yokedcache_test

import (
	"errors"
	"fmt"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Of many callers one loads the value. It is not stored if one of its tags is invalidated during the load.
func ExampleCache_GetOrLease() {
	cache := exampleCache()
	defer cache.Close()
	found, err := cache.GetOrLease(ctx, "user:1", yokedcache.WithTags("users"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if found.Lease != nil {
		defer found.Lease.Free()
		cache.InvalidateTag(ctx, "users") // Another goroutine changes the user during the load.
		stored, err := found.Lease.Fill(ctx, []byte("Ada"), yokedcache.WithTTL(time.Minute))
		fmt.Println("stored:", stored, err)
	}
	// Output: stored: false <nil>
}

func ExampleLease() {
	cache := exampleCache()
	defer cache.Close()
	first, _ := cache.GetOrLease(ctx, "user:1")
	defer first.Lease.Free()
	fmt.Println(first.Lease.Fill(ctx, []byte("Ada")))
	second, _ := cache.GetOrLease(ctx, "user:2")
	defer second.Lease.Free()
	fmt.Println(second.Lease.FillAbsent(ctx))
	third, _ := cache.GetOrLease(ctx, "user:3")
	defer third.Lease.Free()
	fmt.Println(third.Lease.Abandon(ctx, time.Minute))
	_, err := cache.GetOrLease(ctx, "user:3")
	fmt.Println("busy:", errors.Is(err, yokedcache.ErrBusy))
	// Output:
	// true <nil>
	// true <nil>
	// <nil>
	// busy: true
}

func ExampleLookup() {
	cache := exampleCache()
	defer cache.Close()
	cache.Set(ctx, "user:1", []byte("Ada"))
	found, err := cache.GetOrLease(ctx, "user:1")
	fmt.Printf("%s %v %v\n", found.Value, found.State == yokedcache.StateFresh, err)
	// Output: Ada true <nil>
}

func ExampleState() {
	cache := exampleCache()
	defer cache.Close()
	found, _ := cache.GetOrLease(ctx, "user:1")
	defer found.Lease.Free()
	found.Lease.FillAbsent(ctx)
	again, _ := cache.GetOrLease(ctx, "user:1")
	fmt.Println(found.State == yokedcache.StateVacant, again.State == yokedcache.StateAbsent)
	// Output: true true
}

func ExampleLoadOption() {
	cache := exampleCache()
	defer cache.Close()
	options := []yokedcache.LoadOption{
		yokedcache.WithTTL(time.Minute), yokedcache.WithTags("users"), yokedcache.WithLease(30 * time.Second),
	}
	found, _ := cache.GetOrLease(ctx, "user:1", options...)
	defer found.Lease.Free()
	found.Lease.Fill(ctx, []byte("Ada"))
	left, _ := cache.TTL(ctx, "user:1")
	fmt.Println(left <= time.Minute)
	// Output: true
}

func ExampleWithStaleFor() {
	cache := exampleCache()
	defer cache.Close()
	found, _ := cache.GetOrLease(ctx, "user:1", yokedcache.WithTTL(time.Millisecond), yokedcache.WithStaleFor(time.Hour))
	defer found.Lease.Free()
	found.Lease.Fill(ctx, []byte("Ada"))
	time.Sleep(10 * time.Millisecond)
	stale, _ := cache.GetOrLease(ctx, "user:1")
	defer stale.Lease.Free()
	fmt.Printf("%s %v\n", stale.Value, stale.State == yokedcache.StateStale)
	// Output: Ada true
}

func ExampleWithAbsentTTL() {
	cache := exampleCache()
	defer cache.Close()
	found, _ := cache.GetOrLease(ctx, "user:1", yokedcache.WithAbsentTTL(time.Millisecond))
	defer found.Lease.Free()
	found.Lease.FillAbsent(ctx)
	time.Sleep(10 * time.Millisecond)
	again, _ := cache.GetOrLease(ctx, "user:1")
	defer again.Lease.Free()
	fmt.Println(again.State == yokedcache.StateVacant)
	// Output: true
}

func ExampleWithLease() {
	cache := exampleCache()
	defer cache.Close()
	slow, _ := cache.GetOrLease(ctx, "user:1", yokedcache.WithLease(time.Millisecond))
	defer slow.Lease.Free()
	time.Sleep(10 * time.Millisecond)
	fmt.Println(slow.Lease.Fill(ctx, []byte("Ada")))
	// Output: false <nil>
}

func ExampleWithWait() {
	cache := exampleCache()
	defer cache.Close()
	found, _ := cache.GetOrLease(ctx, "user:1")
	defer found.Lease.Free()
	_, err := cache.GetOrLease(ctx, "user:1", yokedcache.WithWait(10*time.Millisecond))
	fmt.Println("busy:", errors.Is(err, yokedcache.ErrBusy))
	// Output: busy: true
}
