package yokedcache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Caches with a near cache that share their entries. The test is skipped on memory, which has none.
func openNear(t testing.TB, maxStaleness string, count int) []*yokedcache.Cache {
	t.Helper()
	if onMemory() {
		t.Skip("the memory backend has its entries in the process: it has no near cache")
	}
	url := testURL("&near=" + maxStaleness)
	caches := make([]*yokedcache.Cache, count)
	for at := range caches {
		cache, err := yokedcache.Open(url)
		check(t, err)
		t.Cleanup(func() {
			cache.Flush(ctx)
			check(t, cache.Close())
		})
		caches[at] = cache
	}
	return caches
}

// Reads a key until the near cache has a copy of this value.
func keepCopy(t testing.TB, cache *yokedcache.Cache, key, value string) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < soon; time.Sleep(time.Millisecond) {
		copied, found, err := cache.GetNear(key)
		check(t, err)
		if found && string(copied) == value {
			return
		}
		_, err = cache.Get(ctx, key)
		check(t, err)
	}
	t.Fatalf("the near cache keeps no copy of %s", key)
}

func checkNotNear(t testing.TB, cache *yokedcache.Cache, key string) {
	t.Helper()
	if copied, found, err := cache.GetNear(key); copied != nil || found || err != nil {
		t.Errorf("%s is near: %q %v %v", key, copied, found, err)
	}
}

func nearHits(t testing.TB, cache *yokedcache.Cache) int64 {
	t.Helper()
	stats, err := cache.Stats(ctx)
	check(t, err)
	var members struct {
		Near struct{ Hits int64 }
	}
	check(t, json.Unmarshal(stats.JSON, &members))
	return members.Near.Hits
}

func TestGetNearReadsTheMemoryOfTheProcess(t *testing.T) {
	cache := open(t, "")
	inProcess := cache.Capabilities()&yokedcache.CanNear != 0
	if inProcess != onMemory() {
		t.Error("a shared backend without the option near has CanNear:", inProcess)
	}
	checkNotNear(t, cache, "nothing")
	for _, size := range []int{0, 1, 4096, 4097, 100000} {
		value := bytes.Repeat([]byte("v"), size)
		check(t, cache.Set(ctx, "k", value))
		read, found, err := cache.GetNear("k")
		if err != nil || found != inProcess || found && (read == nil || !bytes.Equal(read, value)) {
			t.Errorf("%d bytes: %d, %v, %v", size, len(read), found, err)
		}
		fresh, err := cache.Get(ctx, "k", yokedcache.WithFresh())
		if err != nil || fresh == nil || !bytes.Equal(fresh, value) {
			t.Errorf("%d bytes, fresh: %d, %v", size, len(fresh), err)
		}
	}
}

func TestGetNearReadsCopiesOfEachSize(t *testing.T) {
	cache := openNear(t, "60s", 1)[0]
	if cache.Capabilities()&yokedcache.CanNear == 0 {
		t.Error("a cache with a near cache has no CanNear")
	}
	for _, size := range []int{0, 1, 4096, 4097, 20000} {
		value := strings.Repeat("v", size)
		check(t, cache.Set(ctx, "k", []byte(value)))
		keepCopy(t, cache, "k", value)
		read, err := cache.Get(ctx, "k")
		if err != nil || read == nil || string(read) != value {
			t.Errorf("%d bytes: %d, %v", size, len(read), err)
		}
	}
}

// The caller may change what it got: the next reader gets the value of the copy.
func TestAReadCopyIsTheCallersOwn(t *testing.T) {
	cache := openNear(t, "60s", 1)[0]
	check(t, cache.Set(ctx, "k", []byte("value")))
	keepCopy(t, cache, "k", "value")
	read, err := cache.Get(ctx, "k")
	check(t, err)
	clear(read)
	if read, err := cache.Get(ctx, "k"); err != nil || string(read) != "value" {
		t.Error(string(read), err)
	}
}

func TestGetNearRefusesWhatIsNotAllowed(t *testing.T) {
	cache := open(t, "")
	_, _, err := cache.GetNear("")
	if !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
	_, _, err = cache.GetNear(strings.Repeat("k", 70000))
	if !errors.Is(err, yokedcache.ErrTooLarge) {
		t.Error(err)
	}
	_, _, err = (*yokedcache.Cache)(nil).GetNear("k")
	if !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
	check(t, cache.Close())
	_, _, err = cache.GetNear("k")
	if !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
}

func TestGetThroughANearCacheRefusesWhatIsNotAllowed(t *testing.T) {
	cache := openNear(t, "60s", 1)[0]
	if _, err := cache.Get(ctx, ""); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
	check(t, cache.Set(ctx, "k", nil))
	keepCopy(t, cache, "k", "")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := cache.Get(cancelled, "k"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	check(t, cache.Close())
	if _, err := cache.Get(ctx, "k"); !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
}

func TestOwnWritesAreReadAtOnceThroughANearCache(t *testing.T) {
	cache := openNear(t, "60s", 1)[0]
	for round := 0; round < 50; round++ {
		first, second := fmt.Sprint("first", round), fmt.Sprint("second", round)
		check(t, cache.Set(ctx, "k", []byte(first), yokedcache.WithTags("t")))
		keepCopy(t, cache, "k", first)
		check(t, cache.Set(ctx, "k", []byte(second), yokedcache.WithTags("t")))
		if read, err := cache.Get(ctx, "k"); err != nil || string(read) != second {
			t.Fatal(string(read), err)
		}
		keepCopy(t, cache, "k", second)
		if round%2 == 0 {
			check(t, cache.InvalidateTag(ctx, "t"))
		} else if was, err := cache.Delete(ctx, "k"); !was || err != nil {
			t.Fatal(was, err)
		}
		checkNotNear(t, cache, "k")
		if read, err := cache.Get(ctx, "k"); !errors.Is(err, yokedcache.ErrMiss) {
			t.Fatal(string(read), err)
		}
	}
}

// Each goroutine reads what it set or something newer, on a key of its own and on one that all of them set.
func TestGoroutinesReadTheirWritesThroughANearCache(t *testing.T) {
	cache := openNear(t, "60s", 1)[0]
	var all sync.WaitGroup
	var shared sync.Mutex
	var sharedNumber int
	for number := 0; number < 8; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			own := fmt.Sprint("own", number)
			for turn := 0; turn < 300; turn++ {
				value := fmt.Sprint(turn)
				if err := cache.Set(ctx, own, []byte(value)); err != nil {
					t.Error(err)
				}
				for read := 0; read < 3; read++ {
					if read, err := cache.Get(ctx, own); err != nil || string(read) != value {
						t.Errorf("%s: %q in place of %s, %v", own, read, value, err)
					}
				}
				least := setNext(t, cache, &shared, &sharedNumber)
				if read, err := getNumber(cache); err != nil || read < least {
					t.Errorf("%d after %d was set, %v", read, least, err)
				}
			}
		}(number)
	}
	all.Wait()
	if nearHits(t, cache) == 0 {
		t.Error("no read was served by a copy")
	}
}

// Sets a key to the next number, one goroutine at a time.
func setNext(t *testing.T, cache *yokedcache.Cache, lock *sync.Mutex, number *int) int {
	lock.Lock()
	defer lock.Unlock()
	*number++
	if err := cache.Set(ctx, "shared", []byte(fmt.Sprint(*number))); err != nil {
		t.Error(err)
	}
	return *number
}

func getNumber(cache *yokedcache.Cache) (int, error) {
	text, err := cache.Get(ctx, "shared")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

func TestAChangeOfAnotherCacheIsSeenAfterMaxStaleness(t *testing.T) {
	caches := openNear(t, "300ms", 2)
	cache, other := caches[0], caches[1]
	check(t, cache.Set(ctx, "k", []byte("one"), yokedcache.WithTags("t")))
	keepCopy(t, cache, "k", "one")
	check(t, other.Set(ctx, "k", []byte("two"), yokedcache.WithTags("t")))
	time.Sleep(350 * time.Millisecond)
	if read, err := cache.Get(ctx, "k"); err != nil || string(read) != "two" {
		t.Error(string(read), err)
	}
	keepCopy(t, cache, "k", "two")
	check(t, other.InvalidateTag(ctx, "t"))
	time.Sleep(350 * time.Millisecond)
	checkNotNear(t, cache, "k")
	if read, err := cache.Get(ctx, "k"); !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(string(read), err)
	}
}

// The calls that read a key; each returns the value as text.
var reads = map[string]func(cache *yokedcache.Cache, key string, fresh bool) (string, error){
	"Get": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		value, err := cache.Get(ctx, key, freshIf(fresh)...)
		return string(value), err
	},
	"GetMany": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		results, err := cache.GetMany(ctx, []string{key}, freshIf(fresh)...)
		if err != nil {
			return "", err
		}
		return string(results[0].Value), results[0].Err
	},
	"GetJSON": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		value, err := yokedcache.GetJSON[int](ctx, cache, key, freshIf(fresh)...)
		return fmt.Sprint(value), err
	},
	"Typed.Get": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		value, err := yokedcache.NewTyped[int](cache).Get(ctx, key, freshIf(fresh)...)
		return fmt.Sprint(value), err
	},
	"Typed.Get of a fresh view": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		value, err := yokedcache.NewTyped[int](cache, loadFreshIf(fresh)...).Get(ctx, key)
		return fmt.Sprint(value), err
	},
	"Typed.GetMany": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		values, err := yokedcache.NewTyped[int](cache).GetMany(ctx, []string{key}, freshIf(fresh)...)
		return fmt.Sprint(values[key]), err
	},
	"GetOrLease": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		found, err := cache.GetOrLease(ctx, key, loadFreshIf(fresh)...)
		return string(found.Value), err
	},
	"GetOrLoad": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		return yokedcache.GetOrLoad(ctx, cache, key, loadNothing, loadFreshIf(fresh)...)
	},
	"GetOrLoadMany": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		values, err := yokedcache.GetOrLoadMany(ctx, cache, []string{key}, loadNone, loadFreshIf(fresh)...)
		return values[key], err
	},
	"Typed.GetOrLoad": func(cache *yokedcache.Cache, key string, fresh bool) (string, error) {
		load := func(context.Context, *yokedcache.Fill) (int, error) { return 0, yokedcache.ErrAbsent }
		value, err := yokedcache.NewTyped[int](cache).GetOrLoad(ctx, key, load, loadFreshIf(fresh)...)
		return fmt.Sprint(value), err
	},
}

func freshIf(fresh bool) []yokedcache.GetOption {
	if fresh {
		return []yokedcache.GetOption{{}, yokedcache.WithFresh()}
	}
	return nil
}

func loadFreshIf(fresh bool) []yokedcache.LoadOption {
	if fresh {
		return []yokedcache.LoadOption{yokedcache.WithFresh(), yokedcache.WithWait(yokedcache.NoWait)}
	}
	return nil
}

func loadNothing(context.Context, *yokedcache.Fill) (string, error) {
	return "", yokedcache.ErrAbsent
}

func loadNone(context.Context, []string, *yokedcache.Fill) (map[string]string, error) {
	return nil, nil
}

func TestWithFreshReadsFromTheServers(t *testing.T) {
	caches := openNear(t, "60s", 2)
	cache, other := caches[0], caches[1]
	for name, read := range reads {
		for _, inQueue := range []bool{false, true} {
			key := fmt.Sprint(name, inQueue)
			check(t, cache.Set(ctx, key, []byte("1")))
			readCopy(t, cache, key, read)
			end := func() {}
			if inQueue {
				end = occupy(t, cache)
			}
			before := nearHits(t, cache)
			if value, err := read(cache, key, true); err != nil || value != "1" || nearHits(t, cache) != before {
				t.Errorf("%s, fresh: %q, %v, %d hits in place of none", name, value, err, nearHits(t, cache)-before)
			}
			check(t, other.Set(ctx, key, []byte("2")))
			if value, err := read(cache, key, true); err != nil || value != "2" {
				t.Errorf("%s, fresh: %q, %v", name, value, err)
			}
			end()
		}
	}
}

// Reads a key whose value is 1 until a copy serves the call. The server may tell of the set after the first copy was made.
func readCopy(t *testing.T, cache *yokedcache.Cache, key string, read func(*yokedcache.Cache, string, bool) (string, error)) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < soon; {
		keepCopy(t, cache, key, "1")
		before := nearHits(t, cache)
		if value, err := read(cache, key, false); err != nil || value != "1" {
			t.Fatalf("%s: %q, %v", key, value, err)
		}
		if nearHits(t, cache) == before+1 {
			return
		}
	}
	t.Fatalf("%s: no call is served by a copy", key)
}

// Keeps a call of the cache in flight until the returned function is called, so that others take the queue: it waits for
// the load of another caller.
func occupy(t *testing.T, cache *yokedcache.Cache) (end func()) {
	t.Helper()
	key := fmt.Sprint("occupied", prefixes.Add(1))
	found, err := cache.GetOrLease(ctx, key, yokedcache.WithLease(time.Minute))
	check(t, err)
	waiting, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		second, _ := cache.GetOrLease(waiting, key, yokedcache.WithWait(time.Minute))
		second.Lease.Free()
	}()
	for begun := time.Now(); yokedcache.CallsInFlight(cache) == 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > soon {
			t.Fatal("the call does not wait")
		}
	}
	return func() {
		cancel()
		<-ended
		found.Lease.Free()
	}
}

func TestGetManyWithFreshReadsMoreKeysThanRunTogether(t *testing.T) {
	cache := open(t, "")
	var entries []yokedcache.Entry
	keys := []string{"nothing"}
	for at := 0; at < 1500; at++ {
		keys = append(keys, keyAt(at))
		entries = append(entries, yokedcache.Entry{Key: keyAt(at), Value: valueAt(at)})
	}
	_, err := cache.SetMany(ctx, entries)
	check(t, err)
	results, err := cache.GetMany(ctx, keys, yokedcache.WithFresh())
	check(t, err)
	if len(results) != len(keys) || results[0].Value != nil || !errors.Is(results[0].Err, yokedcache.ErrMiss) {
		t.Fatal(len(results), results[0])
	}
	for at, result := range results[1:] {
		if result.Err != nil || !bytes.Equal(result.Value, valueAt(at)) {
			t.Error(at, len(result.Value), result.Err)
		}
	}
	if results, err := cache.GetMany(ctx, append(keys, ""), yokedcache.WithFresh()); results != nil || !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(len(results), err)
	}
	if results, err := cache.GetMany(ctx, nil, yokedcache.WithFresh()); len(results) != 0 || err != nil {
		t.Error(results, err)
	}
}

func checkPaths(t *testing.T, cache *yokedcache.Cache, onMemory, hasNear bool) {
	t.Helper()
	if fast, near := yokedcache.Paths(cache); fast != onMemory || near != hasNear {
		t.Errorf("fast path %v, near %v in place of %v, %v", fast, near, onMemory, hasNear)
	}
}

func TestSwitchSelectsWhetherCopiesAreRead(t *testing.T) {
	if onMemory() {
		t.Skip("the memory backend has no near cache")
	}
	near, plain := testURL("&near=60s"), testURL("")
	cache, err := yokedcache.Open(near)
	check(t, err)
	defer cache.Close()
	check(t, cache.Set(ctx, "k", []byte("one")))
	keepCopy(t, cache, "k", "one")
	checkPaths(t, cache, false, true)
	for round := 0; round < 2; round++ {
		for _, to := range []struct {
			url             string
			memory, hasNear bool
		}{{"memory://", true, false}, {near, false, true}, {plain, false, false}, {near, false, true}} {
			_, err := cache.Switch(ctx, to.url, yokedcache.SwitchOptions{Copy: true})
			check(t, err)
			checkPaths(t, cache, to.memory, to.hasNear)
			if isNear := cache.Capabilities()&yokedcache.CanNear != 0; isNear != (to.memory || to.hasNear) {
				t.Error("CanNear is", isNear)
			}
			if value, err := cache.Get(ctx, "k"); err != nil || string(value) != "one" {
				t.Error(string(value), err)
			}
			if to.memory || to.hasNear {
				keepCopy(t, cache, "k", "one")
			} else {
				checkNotNear(t, cache, "k")
			}
		}
	}
	if _, err = cache.Switch(ctx, "redis://127.0.0.1:1", yokedcache.SwitchOptions{}); !errors.Is(err, yokedcache.ErrConnect) {
		t.Error(err)
	}
	checkPaths(t, cache, false, true)
	check(t, cache.Flush(ctx))
	removeAt(t, plain)
}

// Removes the entries of a cache that a test switched away from.
func removeAt(t *testing.T, url string) {
	t.Helper()
	cache, err := yokedcache.Open(url)
	check(t, err)
	check(t, cache.Flush(ctx))
	check(t, cache.Close())
}

// Goroutines that set and read while the backend changes between memory and a near cache read what they set.
func TestSwitchUnderLoadWithANearCache(t *testing.T) {
	if onMemory() {
		t.Skip("the memory backend has no near cache")
	}
	near := []string{testURL("&near=60s"), testURL("&near=60s"), testURL("&near=60s")}
	cache, err := yokedcache.Open(near[0])
	check(t, err)
	defer cache.Close()
	fill(t, cache)
	stop := underLoad(t, cache)
	for _, to := range []string{"memory://", near[1], near[2], "memory://"} {
		time.Sleep(20 * time.Millisecond)
		_, err := cache.Switch(ctx, to, yokedcache.SwitchOptions{Copy: true})
		check(t, err)
	}
	stop()
	for _, url := range near {
		removeAt(t, url)
	}
}
