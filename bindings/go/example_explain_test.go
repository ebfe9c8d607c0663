package yokedcache_test

import (
	"context"
	"fmt"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func ExampleCache_Explain() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTags("users"))
	cache.InvalidateTag(ctx, "users")
	why, err := cache.Explain(ctx, "user:1", "users")
	fmt.Println(why.Exists, why.Reason, err)
	fmt.Println(why.Tags[0].Name, why.Tags[0].Status)
	// Output:
	// false invalidated <nil>
	// users invalidated
}

func ExampleExplanation() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTTL(time.Minute))
	why, err := cache.Explain(ctx, "user:1")
	fmt.Println(why.State, *why.ValueBytes, why.Server, why.Lease == nil, err)
	// Output: fresh 3 memory true <nil>
}

func ExampleExplanation_TTL() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTTL(yokedcache.NoExpiry))
	why, err := cache.Explain(ctx, "user:1")
	fmt.Println(why.TTL() == yokedcache.NoExpiry, err)
	// Output: true <nil>
}

func ExampleExplainedTag() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTags("users"))
	why, err := cache.Explain(ctx, "user:1", "users", "admins")
	for _, tag := range why.Tags {
		fmt.Println(tag.Name, tag.Status, err)
	}
	fmt.Println(why.TagsNotCarried)
	// Output:
	// users current <nil>
	// [admins]
}

func ExampleExplainedLease() {
	cache := exampleCache()
	defer cache.Close()

	why, err := cache.Explain(context.Background(), "user:1")
	if why.Lease != nil {
		fmt.Println("a load began:", why.Lease.Kind, why.Lease.LeftMillis)
	}
	fmt.Println(why.Reason, err)
	// Output: not_stored <nil>
}
