package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

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

func ExampleCache_GetNear() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"))
	value, found, err := cache.GetNear("user:1")
	fmt.Println(string(value), found, err)
	if !found {
		value, err = cache.Get(ctx, "user:1") // This one may have to ask the server.
	}
	fmt.Println(string(value), err)
	// Output:
	// Ada true <nil>
	// Ada <nil>
}

// With the option near of the configuration, a copy of the balance may be max_staleness old.
func ExampleWithFresh() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "balance:1", []byte("100"))
	shown, err := cache.Get(ctx, "balance:1")
	fmt.Println(string(shown), err)
	current, err := cache.Get(ctx, "balance:1", yokedcache.WithFresh())
	fmt.Println(string(current), err)
	// Output:
	// 100 <nil>
	// 100 <nil>
}

func ExampleGetOption() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	read := func(key string, options ...yokedcache.GetOption) {
		value, err := cache.Get(ctx, key, options...)
		fmt.Println(string(value), err)
	}
	cache.Set(ctx, "page:1", []byte("<h1>One</h1>"))
	read("page:1")
	read("page:1", yokedcache.WithFresh())
	// Output:
	// <h1>One</h1> <nil>
	// <h1>One</h1> <nil>
}

func ExampleCache_Set() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	err := cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTTL(5*time.Minute), yokedcache.WithTags("users"))
	fmt.Println(err)
	err = cache.Set(ctx, "", []byte("Ada"))
	fmt.Println(errors.Is(err, yokedcache.ErrInvalid))
	// Output:
	// <nil>
	// true
}

func ExampleSetOption() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	options := []yokedcache.SetOption{yokedcache.WithTTL(time.Hour), yokedcache.WithTags("pages")}
	fmt.Println(cache.Set(ctx, "page:1", []byte("<h1>One</h1>"), options...))
	fmt.Println(cache.Set(ctx, "page:2", []byte("<h1>Two</h1>"), options...))
	// Output:
	// <nil>
	// <nil>
}

func ExampleWithTTL() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "settings", nil, yokedcache.WithTTL(yokedcache.NoExpiry))
	ttl, err := cache.TTL(ctx, "settings")
	fmt.Println(ttl == yokedcache.NoExpiry, err)
	// Output: true <nil>
}

func ExampleWithTags() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "page:1", []byte("<h1>Ada</h1>"), yokedcache.WithTags("pages", "user:1"))
	cache.InvalidateTag(ctx, "user:1")
	exists, err := cache.Exists(ctx, "page:1")
	fmt.Println(exists, err)
	// Output: false <nil>
}

func ExampleCache_Delete() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"))
	existed, err := cache.Delete(ctx, "user:1")
	fmt.Println(existed, err)
	existed, err = cache.Delete(ctx, "user:1")
	fmt.Println(existed, err)
	// Output:
	// true <nil>
	// false <nil>
}

func ExampleCache_Exists() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"))
	exists, err := cache.Exists(ctx, "user:1")
	fmt.Println(exists, err)
	// Output: true <nil>
}

func ExampleCache_Expire() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "session", []byte("Ada"), yokedcache.WithTTL(time.Minute))
	exists, err := cache.Expire(ctx, "session", time.Hour)
	fmt.Println(exists, err)
	ttl, err := cache.TTL(ctx, "session")
	fmt.Println(ttl > 59*time.Minute, err)
	// Output:
	// true <nil>
	// true <nil>
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
	// "" yokedcache: the key does not exist
	// <nil>
}

func ExampleResult() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	results, err := cache.GetMany(ctx, []string{"user:1"})
	if err != nil {
		log.Fatal(err)
	}
	var result yokedcache.Result = results[0]
	fmt.Println(errors.Is(result.Err, yokedcache.ErrMiss))
	// Output: true
}

func ExampleCache_SetMany() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	entries := []yokedcache.Entry{{Key: "user:1", Value: []byte("Ada")}, {Key: "user:2", Value: []byte("Grace")}}
	failures, err := cache.SetMany(ctx, entries, yokedcache.WithTTL(time.Minute), yokedcache.WithTags("users"))
	fmt.Println(failures, err)
	// Output: [] <nil>
}

func ExampleEntry() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	entry := yokedcache.Entry{Key: "user:1", Value: []byte("Ada")}
	_, err := cache.SetMany(ctx, []yokedcache.Entry{entry})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleCache_DeleteMany() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", []byte("Ada"))
	existed, err := cache.DeleteMany(ctx, []string{"user:1", "user:2"})
	fmt.Println(existed, err)
	// Output: [true false] <nil>
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

func ExampleSetJSON() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	err := yokedcache.SetJSON(ctx, cache, "languages", []string{"Ada", "Go"}, yokedcache.WithTTL(time.Hour))
	fmt.Println(err)
	text, err := cache.Get(ctx, "languages")
	fmt.Println(string(text), err)
	// Output:
	// <nil>
	// ["Ada","Go"] <nil>
}
