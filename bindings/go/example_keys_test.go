package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func ExampleCache_InvalidateTag() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "page:1", []byte("<h1>Ada</h1>"), yokedcache.WithTags("user:1"))
	fmt.Println(cache.InvalidateTag(ctx, "user:1"))
	_, err := cache.Get(ctx, "page:1")
	fmt.Println(errors.Is(err, yokedcache.ErrMiss))
	// Output:
	// <nil>
	// true
}

func ExampleCache_InvalidateTags() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "page:1", nil, yokedcache.WithTags("user:1"))
	cache.Set(ctx, "page:2", nil, yokedcache.WithTags("user:2"))
	fmt.Println(cache.InvalidateTags(ctx, "user:1", "user:2"))
	// Output: <nil>
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

func ExampleCache_DryRunInvalidateTags() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "page:1", nil, yokedcache.WithTags("user:1", "pages"))
	cache.Set(ctx, "page:2", nil, yokedcache.WithTags("user:2", "pages"))
	count, err := cache.DryRunInvalidateTags(ctx, "user:1", "pages")
	fmt.Println(count, err)
	exists, err := cache.Exists(ctx, "page:1")
	fmt.Println(exists, err)
	// Output:
	// 2 <nil>
	// true <nil>
}

func ExampleCache_DryRunInvalidatePattern() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	cache.Set(ctx, "user:2", nil)
	fmt.Println(cache.DryRunInvalidatePattern(ctx, "user:*"))
	// Output: 2 <nil>
}

func ExampleCache_DryRunFlush() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	fmt.Println(cache.DryRunFlush(ctx))
	fmt.Println(cache.CountFlush(ctx))
	// Output:
	// 1 <nil>
	// 1 <nil>
}

func ExampleCount() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "page:1", nil, yokedcache.WithTags("pages"))
	count, err := cache.CountInvalidateTags(ctx, "pages")
	if err != nil {
		log.Fatal(err)
	}
	if count != yokedcache.CountUnknown {
		fmt.Println("removed:", int64(count))
	}
	// Output: removed: 1
}

func ExampleCount_String() {
	fmt.Println(yokedcache.Count(3), yokedcache.CountUnknown)
	// Output: 3 unknown
}

func ExampleCache_InvalidatePattern() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	cache.Set(ctx, "user:2", nil)
	cache.Set(ctx, "order:1", nil)
	count, err := cache.InvalidatePattern(ctx, "user:*")
	fmt.Println(count, err)
	// Output: 2 <nil>
}

func ExampleCache_Clear() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	users, err := cache.View(yokedcache.ViewOptions{Namespace: "users"})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	cache.Set(ctx, "1", nil)
	users.Set(ctx, "1", nil)
	fmt.Println(users.Clear(ctx))
	there, err := users.Exists(ctx, "1")
	fmt.Println(there, err)
	there, err = cache.Exists(ctx, "1")
	fmt.Println(there, err)
	// Output:
	// <nil>
	// false <nil>
	// true <nil>
}

func ExampleCache_CountClear() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	users, err := cache.View(yokedcache.ViewOptions{Namespace: "users"})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	users.Set(ctx, "1", nil)
	fmt.Println(users.DryRunClear(ctx))
	fmt.Println(users.CountClear(ctx))
	// Output:
	// 1 <nil>
	// 1 <nil>
}

func ExampleCache_DryRunClear() {
	cache := exampleCache()
	defer cache.Close()

	// Without generations, only a flush removes all entries.
	_, err := cache.DryRunClear(context.Background())
	fmt.Println(errors.Is(err, yokedcache.ErrUnsupported))
	// Output: true
}

func ExampleCache_Flush() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	fmt.Println(cache.Flush(ctx))
	exists, err := cache.Exists(ctx, "user:1")
	fmt.Println(exists, err)
	// Output:
	// <nil>
	// false <nil>
}

func ExampleCache_CountFlush() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	cache.Set(ctx, "user:2", nil)
	count, err := cache.CountFlush(ctx)
	fmt.Println(count, err)
	// Output: 2 <nil>
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

func ExampleKeyIterator() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	cache.Set(ctx, "user:2", nil)
	var keys *yokedcache.KeyIterator = cache.Keys(ctx, "*")
	found := 0
	for keys.Next() {
		found++
	}
	keys.Close()
	fmt.Println(found, keys.Err())
	// Output: 2 <nil>
}

func ExampleKeyIterator_PageSize() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	keys := cache.Keys(ctx, "user:*").PageSize(100)
	defer keys.Close()
	fmt.Println(keys.Next(), keys.Key())
	// Output: true user:1
}

func ExampleKeyIterator_Next() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	keys := cache.Keys(ctx, "user:*")
	defer keys.Close()
	for keys.Next() {
		fmt.Println(keys.Key())
	}
	fmt.Println(keys.Next())
	// Output:
	// user:1
	// false
}

func ExampleKeyIterator_Key() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	keys := cache.Keys(ctx, "user:*")
	defer keys.Close()
	fmt.Printf("%q\n", keys.Key())
	if keys.Next() {
		fmt.Printf("%q\n", keys.Key())
	}
	// Output:
	// ""
	// "user:1"
}

func ExampleKeyIterator_Err() {
	cache := exampleCache()
	defer cache.Close()

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	keys := cache.Keys(ctx, "*")
	defer keys.Close()
	fmt.Println(keys.Next(), errors.Is(keys.Err(), context.Canceled))
	// Output: false true
}

func ExampleKeyIterator_Close() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	keys := cache.Keys(ctx, "*")
	keys.Close()
	fmt.Println(keys.Next(), keys.Err())
	// Output: false <nil>
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

func ExampleMatch() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:ada", nil)
	matches, err := cache.Search(ctx, "ada")
	if err != nil {
		log.Fatal(err)
	}
	var best yokedcache.Match = matches[0]
	fmt.Println(best.Key, best.Score)
	// Output: user:ada 100
}

func ExampleKeysOption() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:ada", nil, yokedcache.WithTags("staff"))
	cache.Set(ctx, "user:bob", nil)
	options := []yokedcache.KeysOption{yokedcache.WithAnyTag("staff", "guests")}
	keys := cache.Keys(ctx, "user:*", options...)
	defer keys.Close()
	for keys.Next() {
		fmt.Println(keys.Key())
	}
	// Output: user:ada
}

func ExampleTagOption() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:ada", nil, yokedcache.WithTags("staff"))
	var staff yokedcache.TagOption = yokedcache.WithAnyTag("staff")
	keys := cache.Keys(ctx, "*", staff)
	defer keys.Close()
	fmt.Println(keys.Next(), keys.Key())
	// Output: true user:ada
}

func ExampleSearchOption() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:ada", nil, yokedcache.WithTags("staff"))
	options := []yokedcache.SearchOption{yokedcache.WithThreshold(60), yokedcache.WithLimit(5), yokedcache.WithAnyTag("staff")}
	matches, err := cache.Search(ctx, "ada", options...)
	fmt.Println(len(matches), err)
	// Output: 1 <nil>
}

func ExampleWithThreshold() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:ada", nil)
	matches, err := cache.Search(ctx, "adam", yokedcache.WithThreshold(95))
	fmt.Println(len(matches), err)
	matches, err = cache.Search(ctx, "adam", yokedcache.WithThreshold(70))
	fmt.Println(len(matches), err)
	// Output:
	// 0 <nil>
	// 1 <nil>
}

func ExampleWithLimit() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil)
	cache.Set(ctx, "user:2", nil)
	matches, err := cache.Search(ctx, "user", yokedcache.WithLimit(1))
	fmt.Println(len(matches), err)
	// Output: 1 <nil>
}

func ExampleWithAnyTag() {
	cache := exampleCache()
	defer cache.Close()
	ctx := context.Background()

	cache.Set(ctx, "user:1", nil, yokedcache.WithTags("staff"))
	cache.Set(ctx, "user:2", nil, yokedcache.WithTags("guests"))
	matches, err := cache.Search(ctx, "user", yokedcache.WithAnyTag("staff"))
	fmt.Println(matches[0].Key, len(matches), err)
	// Output: user:1 1 <nil>
}
