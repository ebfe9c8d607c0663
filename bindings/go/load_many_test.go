package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

type manyLoader = func(context.Context, []string, *yokedcache.Fill) (map[string]string, error)

// Loads each key as its own value.
func itself(seen *[][]string) manyLoader {
	var lock sync.Mutex
	return func(_ context.Context, keys []string, _ *yokedcache.Fill) (map[string]string, error) {
		lock.Lock()
		defer lock.Unlock()
		if seen != nil {
			*seen = append(*seen, append([]string(nil), keys...))
		}
		values := map[string]string{}
		for _, key := range keys {
			values[key] = key
		}
		return values, nil
	}
}

func TestManyKeysAreLoadedByOneCall(t *testing.T) {
	cache := openLeasing(t, "")
	check(t, cache.Set(ctx, "b", []byte("set")))
	var seen [][]string
	load := func(ctx context.Context, keys []string, fill *yokedcache.Fill) (map[string]string, error) {
		values, _ := itself(&seen)(ctx, keys, fill)
		delete(values, "d")
		values["not asked for"] = "x"
		fill.Tags = []string{"all"}
		fill.ForKey("a").Tags = []string{"only a"}
		fill.ForKey("a").TTL = time.Minute
		return values, nil
	}
	for round := 0; round < 2; round++ {
		values, err := yokedcache.GetOrLoadMany(ctx, cache, []string{"a", "b", "a", "c", "d"}, load, yokedcache.WithTags("named"))
		if err != nil || !reflect.DeepEqual(values, map[string]string{"a": "a", "b": "set", "c": "c"}) {
			t.Error(values, err)
		}
	}
	if !reflect.DeepEqual(seen, [][]string{{"a", "c", "d"}}) {
		t.Error(seen)
	}
	if left, err := cache.TTL(ctx, "a"); err != nil || left > time.Minute {
		t.Error(left, err)
	}
	for _, step := range []struct{ tag, exist string }{{"only a", "bc"}, {"all", "b"}} {
		check(t, cache.InvalidateTag(ctx, step.tag))
		exist := ""
		for _, key := range []string{"a", "b", "c"} {
			if was, _ := cache.Exists(ctx, key); was {
				exist += key
			}
		}
		if exist != step.exist {
			t.Error(step.tag, exist)
		}
	}
	values, err := yokedcache.GetOrLoadMany(ctx, cache, nil, load)
	if err != nil || len(values) != 0 {
		t.Error(values, err)
	}
}

func TestALotOfKeysAndLongValues(t *testing.T) {
	cache := openLeasing(t, "")
	var keys []string
	for at := 0; at < 1500; at++ {
		keys = append(keys, fmt.Sprint("key", at, strings.Repeat("x", at*7)))
	}
	var seen [][]string
	for round := 0; round < 2; round++ {
		values, err := yokedcache.GetOrLoadMany(ctx, cache, keys, itself(&seen))
		if err != nil || len(values) != len(keys) || len(seen) != 1 || len(seen[0]) != len(keys) {
			t.Fatal(len(values), err, len(seen))
		}
		for key, value := range values {
			if key != value {
				t.Fatal("another value")
			}
		}
	}
}

// Each caller leases some of the keys and waits for the others: none blocks the other, and each key is loaded once.
func TestCrossedKeys(t *testing.T) {
	cache := openLeasing(t, "")
	const keys = 41
	var loads [keys]atomic.Int64
	var all sync.WaitGroup
	within(t, func() {
		for number := 0; number < 16; number++ {
			all.Add(1)
			go func(number int) {
				defer all.Done()
				var names []string
				for at := 0; at < keys; at++ {
					names = append(names, fmt.Sprint((at*(2*number+1)+number)%keys))
				}
				values, err := yokedcache.GetOrLoadMany(ctx, cache, names, func(ctx context.Context, keys []string, fill *yokedcache.Fill) (map[string]string, error) {
					if len(keys) == 0 {
						t.Error("a load of nothing")
					}
					for _, key := range keys {
						var at int
						fmt.Sscan(key, &at)
						loads[at].Add(1)
					}
					time.Sleep(5 * time.Millisecond)
					return itself(nil)(ctx, keys, fill)
				}, yokedcache.WithWait(time.Minute))
				if err != nil || len(values) != keys {
					t.Error(len(values), err)
				}
			}(number)
		}
		all.Wait()
	})
	for at := range loads {
		if n := loads[at].Load(); n != 1 {
			t.Errorf("key %d was loaded %d times", at, n)
		}
	}
}

// Two caches of one store, whose callers wait for each other through the store.
func TestCrossedKeysOfTwoProcesses(t *testing.T) {
	url := testURL("&lease=60s")
	var all sync.WaitGroup
	var loads atomic.Int64
	within(t, func() {
		for number := 0; number < 2; number++ {
			cache, err := yokedcache.Open(url)
			check(t, err)
			defer cache.Close()
			if cache.Capabilities()&yokedcache.CanCompare == 0 || cache.Capabilities()&yokedcache.CanShare == 0 {
				t.Skip("the memory backend shares no leases between two caches")
			}
			all.Add(1)
			go func(number int) {
				defer all.Done()
				for round := 0; round < 20; round++ {
					names := []string{fmt.Sprint("a", round), fmt.Sprint("b", round), fmt.Sprint("c", round)}
					if number == 1 {
						sort.Sort(sort.Reverse(sort.StringSlice(names)))
					}
					values, err := yokedcache.GetOrLoadMany(ctx, cache, names, func(ctx context.Context, keys []string, fill *yokedcache.Fill) (map[string]string, error) {
						loads.Add(int64(len(keys)))
						time.Sleep(time.Millisecond)
						return itself(nil)(ctx, keys, fill)
					}, yokedcache.WithWait(time.Minute))
					if err != nil || len(values) != 3 {
						t.Error(values, err)
					}
				}
			}(number)
			defer cache.Flush(ctx)
		}
		all.Wait()
	})
	if loads.Load() != 60 && !t.Failed() {
		t.Error(loads.Load(), "loads")
	}
}

func TestKeysThatBecomeFreeAreLoadedByAFurtherCall(t *testing.T) {
	cache := openLeasing(t, "")
	entered, release := make(chan struct{}), make(chan struct{})
	cause := errors.New("no connection")
	failed := make(chan error)
	leave, cancel := context.WithCancel(ctx)
	go func() {
		_, err := yokedcache.GetOrLoadMany(leave, cache, []string{"a", "b"}, func(context.Context, []string, *yokedcache.Fill) (map[string]string, error) {
			close(entered)
			<-release
			return nil, cause
		})
		failed <- err
	}()
	<-entered
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var seen [][]string
	done := make(chan map[string]string)
	go func() {
		values, err := yokedcache.GetOrLoadMany(ctx, cache, []string{"a", "b", "c"}, itself(&seen), yokedcache.WithWait(time.Minute))
		if err != nil {
			t.Error(err)
		}
		done <- values
	}()
	time.Sleep(20 * time.Millisecond)
	close(release)
	if values := <-done; len(values) != 3 || len(seen) < 2 || !reflect.DeepEqual(seen[0], []string{"c"}) {
		t.Error(values, seen)
	}
}

func TestAFailureFailsItsKeysOnly(t *testing.T) {
	cache := openLeasing(t, "")
	check(t, cache.Set(ctx, "b", []byte("set")))
	cause := errors.New("no connection")
	values, err := yokedcache.GetOrLoadMany(ctx, cache, []string{"a", "b"}, func(context.Context, []string, *yokedcache.Fill) (map[string]string, error) {
		return nil, cause
	})
	if err != cause || !reflect.DeepEqual(values, map[string]string{"b": "set"}) {
		t.Error(values, err)
	}
	any, err := yokedcache.GetOrLoadMany(ctx, cache, []string{"a", "c"}, func(context.Context, []string, *yokedcache.Fill) (map[string]any, error) {
		return map[string]any{"a": 1, "c": func() {}}, nil
	})
	if err == nil || !strings.Contains(err.Error(), `"c"`) || any["a"] != 1 {
		t.Error(any, err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		yokedcache.GetOrLoadMany(ctx, cache, []string{"d", "e"}, func(context.Context, []string, *yokedcache.Fill) (map[string]string, error) {
			panic("on purpose")
		})
	}()
	within(t, func() {
		if values, err := yokedcache.GetOrLoadMany(ctx, cache, []string{"c", "d", "e"}, itself(nil)); err != nil || len(values) != 3 {
			t.Error(values, err)
		}
	})
}

func TestStaleValuesOfManyKeys(t *testing.T) {
	cache := openLeasing(t, "")
	keys := []string{"a", "b", "c"}
	options := []yokedcache.LoadOption{yokedcache.WithTTL(20 * time.Millisecond), yokedcache.WithStaleFor(time.Hour)}
	_, err := yokedcache.GetOrLoadMany(ctx, cache, keys, itself(nil), options...)
	check(t, err)
	time.Sleep(50 * time.Millisecond)
	release := make(chan struct{})
	var refreshes atomic.Int64
	refresh := func(_ context.Context, keys []string, _ *yokedcache.Fill) (map[string]string, error) {
		refreshes.Add(1)
		<-release
		values := map[string]string{}
		for _, key := range keys {
			values[key] = "new"
		}
		return values, nil
	}
	values, err := yokedcache.GetOrLoadMany(ctx, cache, keys, refresh)
	if err != nil || values["a"] != "a" || values["c"] != "c" {
		t.Error(values, err)
	}
	close(release)
	within(t, func() {
		for values["a"] != "new" || values["b"] != "new" || values["c"] != "new" {
			values, err = yokedcache.GetOrLoadMany(ctx, cache, keys, refresh)
			check(t, err)
		}
	})
	if refreshes.Load() != 1 {
		t.Error(refreshes.Load(), "refreshes")
	}
	fails := func(context.Context, []string, *yokedcache.Fill) (map[string]string, error) {
		return nil, errors.New("no connection")
	}
	_, err = yokedcache.GetOrLoadMany(ctx, cache, []string{"d"}, itself(nil), options...)
	check(t, err)
	time.Sleep(50 * time.Millisecond)
	values, err = yokedcache.GetOrLoadMany(ctx, cache, []string{"a", "d"}, fails, yokedcache.WithStaleIfError())
	if err != nil || values["d"] != "d" || values["a"] != "new" {
		t.Error(values, err)
	}
}
