package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func exampleCache() *yokedcache.Cache {
	cache, err := yokedcache.Open("memory://?key_prefix=example")
	if err != nil {
		log.Fatal(err)
	}
	return cache
}

func Example() {
	cache, err := yokedcache.Open("memory://?max_size=10000&key_prefix=app")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	err = cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTTL(time.Minute), yokedcache.WithTags("users"))
	fmt.Println(err)
	name, err := cache.Get(ctx, "user:1")
	fmt.Println(string(name), err)
	fmt.Println(cache.InvalidateTag(ctx, "users"))
	_, err = cache.Get(ctx, "user:1")
	fmt.Println(errors.Is(err, yokedcache.ErrMiss))
	// Output:
	// <nil>
	// Ada <nil>
	// <nil>
	// true
}

func ExampleOpen() {
	_, err := yokedcache.Open("memory://?max_sise=1000")
	fmt.Println(errors.Is(err, yokedcache.ErrConfig))
	// Output: true
}

func ExampleCache_Get() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	value, err := cache.Get(ctx, "user:1")
	switch {
	case err == nil:
		fmt.Printf("hit: %s\n", value)
	case errors.Is(err, yokedcache.ErrMiss):
		fmt.Println("miss")
	default:
		fmt.Println("the cache failed:", err)
	}
	// Output: miss
}

func ExampleCache_TTL() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "session", nil, yokedcache.WithTTL(time.Hour))
	cache.Set(ctx, "settings", nil, yokedcache.WithTTL(yokedcache.NoExpiry))
	session, _ := cache.TTL(ctx, "session")
	settings, _ := cache.TTL(ctx, "settings")
	fmt.Println(session > 59*time.Minute, settings == yokedcache.NoExpiry)
	// Output: true true
}

func ExampleCache_CountInvalidateTags() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "page:1", nil, yokedcache.WithTags("user:1", "pages"))
	cache.Set(ctx, "page:2", nil, yokedcache.WithTags("user:2", "pages"))
	count, err := cache.CountInvalidateTags(ctx, "user:1", "user:3")
	fmt.Println(count, err)
	// Output: 1 <nil>
}

func ExampleCache_Keys() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	cache.Set(ctx, "order:1", nil)
	keys := cache.Keys(ctx, "user:*")
	defer keys.Close()
	for keys.Next() {
		fmt.Println(keys.Key())
	}
	fmt.Println(keys.Err())
	// Output:
	// user:1
	// <nil>
}

func ExampleCache_Search() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:ada lovelace", nil)
	cache.Set(ctx, "user:grace hopper", nil)
	matches, err := cache.Search(ctx, "ada lovlace", yokedcache.WithLimit(1))
	for _, match := range matches {
		fmt.Printf("%s %.0f\n", match.Key, match.Score)
	}
	fmt.Println(err)
	// Output:
	// user:ada lovelace 91
	// <nil>
}

func ExampleCache_GetMany() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.SetMany(ctx, []yokedcache.Entry{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}})
	results, err := cache.GetMany(ctx, []string{"a", "b", "c"})
	for _, result := range results {
		fmt.Printf("%q %v\n", result.Value, result.Err)
	}
	fmt.Println(err)
	// Output:
	// "1" <nil>
	// "2" <nil>
	// "" yokedcache: the key is not there
	// <nil>
}

func ExampleGetJSON() {
	type user struct {
		Name string
	}
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	if err := yokedcache.SetJSON(ctx, cache, "user:1", user{"Ada"}, yokedcache.WithTags("users")); err != nil {
		log.Fatal(err)
	}
	ada, err := yokedcache.GetJSON[user](ctx, cache, "user:1")
	fmt.Println(ada.Name, err)
	// Output: Ada <nil>
}
