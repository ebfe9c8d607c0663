package gocache_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eko/gocache/lib/v4/cache"
	"github.com/eko/gocache/lib/v4/marshaler"
	"github.com/eko/gocache/lib/v4/store"
	yokedcache "github.com/yokedcache/yokedcache-go"
	"github.com/yokedcache/yokedcache-go/gocache"
)

var ctx = context.Background()

// Opens the cache under test, with a prefix.
func open(t testing.TB, prefix string) *yokedcache.Cache {
	t.Helper()
	url := os.Getenv("YC_TEST_URL")
	if url == "" {
		url = "memory://"
	}
	mark := "?"
	if strings.Contains(url, "?") {
		mark = "&"
	}
	yoked, err := yokedcache.Open(fmt.Sprintf("%s%skey_prefix=gocache%d.%s&default_ttl=1h", url, mark, os.Getpid(), prefix))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { yoked.Close() })
	return yoked
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func isMiss(t testing.TB, value any, err error) {
	t.Helper()
	if !errors.Is(err, store.NotFound{}) || !errors.Is(err, yokedcache.ErrMiss) {
		t.Errorf("%v, %v", value, err)
	}
}

func TestSetGetDelete(t *testing.T) {
	adapter := gocache.New[string](open(t, "set"))
	value, err := adapter.Get(ctx, "a")
	isMiss(t, value, err)
	check(t, adapter.Set(ctx, "a", "one"))
	check(t, adapter.Set(ctx, "b", []byte("two")))
	for key, wanted := range map[string]string{"a": "one", "b": "two"} {
		if value, err := adapter.Get(ctx, key); value != wanted || err != nil {
			t.Error(value, err)
		}
	}
	check(t, adapter.Delete(ctx, "a"))
	check(t, adapter.Delete(ctx, "a"))
	value, err = adapter.Get(ctx, "a")
	isMiss(t, value, err)
	if adapter.GetType() != "yokedcache" {
		t.Error(adapter.GetType())
	}
}

func TestBytes(t *testing.T) {
	adapter := gocache.New[[]byte](open(t, "bytes"))
	check(t, adapter.Set(ctx, "a", []byte{0, 255}))
	value, err := adapter.Get(ctx, "a")
	if data, ok := value.([]byte); !ok || string(data) != "\x00\xff" || err != nil {
		t.Error(value, err)
	}
}

func TestExpiration(t *testing.T) {
	yoked := open(t, "expiration")
	adapter := gocache.New[string](yoked, store.WithExpiration(time.Minute))
	check(t, adapter.Set(ctx, "default", ""))
	check(t, adapter.Set(ctx, "hour", "", store.WithExpiration(time.Hour)))
	check(t, gocache.New[string](yoked).Set(ctx, "never", ""))
	check(t, adapter.Set(ctx, "short", "", store.WithExpiration(time.Millisecond)))
	for key, most := range map[string]time.Duration{"default": time.Minute, "hour": time.Hour, "never": 0} {
		_, ttl, err := adapter.GetWithTTL(ctx, key)
		if err != nil || ttl > most || ttl < most*9/10 {
			t.Error(key, ttl, err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	value, _, err := adapter.GetWithTTL(ctx, "short")
	isMiss(t, value, err)
}

func TestTags(t *testing.T) {
	yoked := open(t, "tags")
	adapter := gocache.New[string](yoked, store.WithTags([]string{"default"}))
	check(t, adapter.Set(ctx, "a", "", store.WithTags([]string{"x", "y"})))
	check(t, adapter.Set(ctx, "b", "", store.WithTags([]string{"y"})))
	check(t, adapter.Set(ctx, "c", ""))
	exist := func(wanted string) {
		t.Helper()
		found := ""
		for _, key := range []string{"a", "b", "c"} {
			if _, err := adapter.Get(ctx, key); err == nil {
				found += key
			}
		}
		if found != wanted {
			t.Errorf("%q are there, not %q", found, wanted)
		}
	}
	check(t, adapter.Invalidate(ctx))
	exist("abc")
	check(t, adapter.Invalidate(ctx, store.WithInvalidateTags([]string{"x"})))
	exist("bc")
	// The tags are those of the library.
	check(t, yoked.InvalidateTag(ctx, "default"))
	exist("b")
	check(t, adapter.Invalidate(ctx, store.WithInvalidateTags([]string{"none", "y"})))
	exist("")
}

func TestClear(t *testing.T) {
	yoked := open(t, "clear")
	view, err := yoked.View(yokedcache.ViewOptions{Namespace: "pages"})
	check(t, err)
	defer view.Close()
	whole, pages := gocache.New[string](yoked), gocache.New[string](view)
	check(t, whole.Set(ctx, "a", "whole"))
	check(t, pages.Set(ctx, "a", "page"))
	check(t, pages.Clear(ctx))
	value, err := pages.Get(ctx, "a")
	isMiss(t, value, err)
	if value, err := whole.Get(ctx, "a"); value != "whole" || err != nil {
		t.Error(value, err)
	}
	check(t, whole.Clear(ctx))
	value, err = whole.Get(ctx, "a")
	isMiss(t, value, err)
}

func TestErrors(t *testing.T) {
	adapter := gocache.New[string](open(t, "errors"))
	if err := adapter.Set(ctx, "a", 1); err == nil || !strings.Contains(err.Error(), "type int") {
		t.Error(err)
	}
	_, getErr := adapter.Get(ctx, 1)
	_, _, ttlErr := adapter.GetWithTTL(ctx, 1)
	for _, err := range []error{getErr, ttlErr, adapter.Set(ctx, 1, ""), adapter.Delete(ctx, 1)} {
		if err == nil || errors.Is(err, store.NotFound{}) {
			t.Error(err)
		}
	}
	// A server that is down is not a miss.
	down, err := yokedcache.Open("redis://127.0.0.1:1?connect=lazy&key_prefix=down")
	check(t, err)
	defer down.Close()
	for _, err := range []error{
		gocache.New[string](down).Set(ctx, "a", ""), gocache.New[string](down).Clear(ctx), gocache.New[string](down).Delete(ctx, "a"),
		gocache.New[string](down).Invalidate(ctx, store.WithInvalidateTags([]string{"a"})),
	} {
		if !errors.Is(err, yokedcache.ErrConnect) {
			t.Error(err)
		}
	}
	if _, err := gocache.New[string](down).Get(ctx, "a"); !errors.Is(err, yokedcache.ErrConnect) || errors.Is(err, store.NotFound{}) {
		t.Error(err)
	}
}

// The caches that gocache builds of stores.
func TestCachesOfGocache(t *testing.T) {
	yoked := open(t, "caches")
	type user struct{ Name string }
	values := marshaler.New(cache.New[any](gocache.New[[]byte](yoked)))
	check(t, values.Set(ctx, "user:1", user{"Ada"}, store.WithTags([]string{"users"})))
	if value, err := values.Get(ctx, "user:1", new(user)); err != nil || *value.(*user) != (user{"Ada"}) {
		t.Error(value, err)
	}
	check(t, values.Invalidate(ctx, store.WithInvalidateTags([]string{"users"})))
	value, err := values.Get(ctx, "user:1", new(user))
	isMiss(t, value, err)

	loads := 0
	loadable := cache.NewLoadable(func(_ context.Context, key any) (string, error) {
		loads++
		return fmt.Sprint("loaded ", key), nil
	}, cache.CacheInterface[string](cache.New[string](gocache.New[string](yoked))))
	if value, err := loadable.Get(ctx, "b"); value != "loaded b" || err != nil {
		t.Error(value, err)
	}
	check(t, loadable.Close())
	if text, err := yoked.Get(ctx, "b"); string(text) != "loaded b" || err != nil || loads != 1 {
		t.Error(string(text), err, loads)
	}
}

//go:embed README.md
var readme string

//go:embed store_test.go
var source string

func TestReadmeHasTheExample(t *testing.T) {
	_, code, _ := strings.Cut(readme, "```go\n")
	code, _, _ = strings.Cut(code, "```")
	if code == "" || !strings.Contains(source, "\t"+strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n\t"), "\n\t\n", "\n\n")) {
		t.Error("README.md has another program than ExampleNew")
	}
}

func ExampleNew() {
	yoked, err := yokedcache.Open("memory://?key_prefix=app")
	if err != nil {
		panic(err)
	}
	defer yoked.Close()

	manager := cache.New[string](gocache.New[string](yoked))
	err = manager.Set(ctx, "user:1", "Ada", store.WithExpiration(time.Minute), store.WithTags([]string{"users"}))
	fmt.Println(err)
	fmt.Println(manager.Get(ctx, "user:1"))
	err = manager.Invalidate(ctx, store.WithInvalidateTags([]string{"users"}))
	_, missed := manager.Get(ctx, "user:1")
	fmt.Println(err, errors.Is(missed, store.NotFound{}))
	// Output:
	// <nil>
	// Ada <nil>
	// <nil> true
}
