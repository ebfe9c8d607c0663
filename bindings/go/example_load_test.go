package yokedcache_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"strings"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func ExampleGetOrLoad() {
	cache := exampleCache()
	defer cache.Close()
	type user struct{ Name string }
	load := func(ctx context.Context, fill *yokedcache.Fill) (user, error) {
		fmt.Println("SELECT name FROM users WHERE id = 1")
		return user{"Ada"}, nil // A loader that finds no row returns yokedcache.ErrAbsent.
	}
	for range []int{1, 2} {
		found, err := yokedcache.GetOrLoad(ctx, cache, "user:1", load,
			yokedcache.WithTTL(time.Minute), yokedcache.WithTags("users"))
		fmt.Println(found.Name, err)
	}
	// Output:
	// SELECT name FROM users WHERE id = 1
	// Ada <nil>
	// Ada <nil>
}

// The cache remembers that there is no value.
func ExampleGetOrLoad_absent() {
	cache := exampleCache()
	defer cache.Close()
	load := func(context.Context, *yokedcache.Fill) (string, error) {
		fmt.Println("no rows")
		return "", yokedcache.ErrAbsent
	}
	for range []int{1, 2} {
		_, err := yokedcache.GetOrLoad(ctx, cache, "user:2", load)
		fmt.Println(errors.Is(err, yokedcache.ErrAbsent))
	}
	// Output:
	// no rows
	// true
	// true
}

func ExampleGetOrLoadMany() {
	cache := exampleCache()
	defer cache.Close()
	cache.Set(ctx, "user:1", []byte("Ada"))
	load := func(ctx context.Context, keys []string, fill *yokedcache.Fill) (map[string]string, error) {
		fmt.Println("load", keys)
		fill.ForKey("user:2").Tags = []string{"admins"}
		return map[string]string{"user:2": "Grace"}, nil
	}
	users, err := yokedcache.GetOrLoadMany(ctx, cache, []string{"user:1", "user:2", "user:3"}, load)
	fmt.Println(users, err)
	// Output:
	// load [user:2 user:3]
	// map[user:1:Ada user:2:Grace] <nil>
}

func ExampleFill() {
	cache := exampleCache()
	defer cache.Close()
	load := func(ctx context.Context, fill *yokedcache.Fill) (string, error) {
		fill.TTL = 10 * time.Second // For example from the Cache-Control of a reply.
		fill.Tags = append(fill.Tags, "author:7")
		return "text", nil
	}
	yokedcache.GetOrLoad(ctx, cache, "article:1", load)
	left, _ := cache.TTL(ctx, "article:1")
	fmt.Println(left <= 10*time.Second)
	cache.InvalidateTag(ctx, "author:7")
	fmt.Println(cache.Exists(ctx, "article:1"))
	// Output:
	// true
	// false <nil>
}

func ExampleWithStaleIfError() {
	cache := exampleCache()
	defer cache.Close()
	get := func(load func(context.Context, *yokedcache.Fill) (string, error)) (string, error) {
		return yokedcache.GetOrLoad(ctx, cache, "rate", load, yokedcache.WithTTL(time.Millisecond),
			yokedcache.WithStaleFor(time.Hour), yokedcache.WithStaleIfError())
	}
	get(func(context.Context, *yokedcache.Fill) (string, error) { return "1.07", nil })
	time.Sleep(10 * time.Millisecond)
	fmt.Println(get(func(context.Context, *yokedcache.Fill) (string, error) { return "", errors.New("no connection") }))
	// Output: 1.07 <nil>
}

func ExampleWithRetryAfter() {
	cache := exampleCache()
	defer cache.Close()
	load := func(context.Context, *yokedcache.Fill) (string, error) { return "", errors.New("no connection") }
	_, err := yokedcache.GetOrLoad(ctx, cache, "rate", load, yokedcache.WithRetryAfter(time.Minute))
	fmt.Println(err)
	_, err = yokedcache.GetOrLoad(ctx, cache, "rate", load)
	fmt.Println("busy:", errors.Is(err, yokedcache.ErrBusy))
	// Output:
	// no connection
	// busy: true
}

// An exampleCodec encodes with package encoding/gob.
type exampleCodec struct{}

func (exampleCodec) Marshal(value any) ([]byte, error) {
	var text bytes.Buffer
	err := gob.NewEncoder(&text).Encode(value)
	return text.Bytes(), err
}

func (exampleCodec) Unmarshal(data []byte, into any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(into)
}

func ExampleCodec() {
	cache := exampleCache()
	defer cache.Close()
	load := func(context.Context, *yokedcache.Fill) ([]int, error) { return []int{1, 2, 3}, nil }
	yokedcache.GetOrLoad(ctx, cache, "numbers", load, yokedcache.WithCodec(exampleCodec{}))
	numbers, err := yokedcache.GetOrLoad(ctx, cache, "numbers", load, yokedcache.WithCodec(exampleCodec{}))
	fmt.Println(numbers, err)
	// Output: [1 2 3] <nil>
}

func ExampleWithCodec() {
	cache := exampleCache()
	defer cache.Close()
	load := func(context.Context, *yokedcache.Fill) (string, error) { return "Ada", nil }
	yokedcache.GetOrLoad(ctx, cache, "name", load, yokedcache.WithCodec(yokedcache.JSON))
	text, _ := cache.Get(ctx, "name")
	fmt.Printf("%s\n", text)
	// Output: "Ada"
}

func ExampleNewCodec() {
	upper := yokedcache.NewCodec("upper case",
		func(value any) ([]byte, error) { return []byte(strings.ToUpper(value.(string))), nil },
		func(data []byte, into any) error { *into.(*string) = strings.ToLower(string(data)); return nil })
	cache := exampleCache()
	defer cache.Close()
	load := func(context.Context, *yokedcache.Fill) (string, error) { return "ada", nil }
	yokedcache.GetOrLoad(ctx, cache, "name", load, yokedcache.WithCodec(upper))
	text, _ := cache.Get(ctx, "name")
	name, _ := yokedcache.GetOrLoad(ctx, cache, "name", load, yokedcache.WithCodec(upper))
	fmt.Printf("%s %s\n", text, name)
	// Output: ADA ada
}

type exampleUser struct{ Name string }

func ExampleTyped() {
	cache := exampleCache()
	defer cache.Close()
	users := yokedcache.NewTyped[exampleUser](cache, yokedcache.WithTTL(time.Minute), yokedcache.WithTags("users"))
	users.Set(ctx, "user:1", exampleUser{"Ada"})
	found, err := users.Get(ctx, "user:1")
	fmt.Println(found.Name, err)
	users.Cache().InvalidateTag(ctx, "users")
	_, err = users.Get(ctx, "user:1")
	fmt.Println(errors.Is(err, yokedcache.ErrMiss))
	// Output:
	// Ada <nil>
	// true
}

func ExampleNewTyped() {
	cache := exampleCache()
	defer cache.Close()
	counts := yokedcache.NewTyped[int](cache, yokedcache.WithCodec(exampleCodec{}), yokedcache.WithAbsentTTL(time.Minute))
	load := func(ctx context.Context, fill *yokedcache.Fill) (int, error) { return 0, nil }
	fmt.Println(counts.GetOrLoad(ctx, "visits", load))
	absent := func(ctx context.Context, fill *yokedcache.Fill) (int, error) { return 0, yokedcache.ErrAbsent }
	_, err := counts.GetOrLoad(ctx, "likes", absent)
	fmt.Println(errors.Is(err, yokedcache.ErrAbsent))
	// Output:
	// 0 <nil>
	// true
}
