package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func readFile(t testing.TB, path string) string {
	t.Helper()
	if entries, err := os.ReadDir(path); err == nil {
		names := ""
		for _, entry := range entries {
			names += entry.Name() + " "
		}
		return names
	}
	text, err := os.ReadFile(path)
	check(t, err)
	return string(text)
}

func residentMiB(t testing.TB) int {
	pages, err := strconv.Atoi(strings.Fields(readFile(t, "/proc/self/statm"))[1])
	check(t, err)
	return pages * os.Getpagesize() >> 20
}

// Churns until so many operations are done: hits, misses, sets, tags, many, errors, and calls that are cancelled.
func churn(t testing.TB, cache *yokedcache.Cache, operations int64) {
	var all sync.WaitGroup
	var begun atomic.Int64
	value := make([]byte, 300)
	for number := 0; number < 32; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			key := fmt.Sprint("key", number)
			for at := begun.Add(1); at <= operations; at = begun.Add(1) {
				err := step(cache, key, value, at)
				if err != nil && !isExpected(err) {
					t.Error(err)
					return
				}
			}
		}(number)
	}
	all.Wait()
}

func isExpected(err error) bool {
	return errors.Is(err, yokedcache.ErrMiss) || errors.Is(err, yokedcache.ErrBusy) || errors.Is(err, errOnPurpose) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func step(cache *yokedcache.Cache, key string, value []byte, at int64) (err error) {
	switch at % 16 {
	case 0:
		err = cache.Set(ctx, key, value, yokedcache.WithTags("a", "b"))
	case 1:
		ctx, cancel := context.WithTimeout(ctx, time.Duration(at%300)*time.Microsecond)
		defer cancel()
		_, err = cache.Get(ctx, key)
	case 2:
		ctx, cancel := context.WithCancel(ctx)
		go cancel()
		err = cache.Set(ctx, key, make([]byte, 10000))
	case 3:
		_, err = cache.GetMany(ctx, []string{key, "other"})
	case 4:
		ctx, cancel := context.WithCancel(ctx)
		go cancel()
		_, err = cache.GetMany(ctx, []string{key, "other"})
	case 5:
		if cache.Set(ctx, "", nil) == nil {
			err = errors.New("an empty key was stored")
		}
	case 6:
		_, err = cache.Delete(ctx, key)
	case 7:
		_, _, err = cache.GetVersioned(ctx, key)
	case 8:
		_, _, err = cache.SetIf(ctx, key, make([]byte, 10000), yokedcache.IfAbsent(), yokedcache.WithTags("a"))
	case 9:
		_, err = cache.GetAndExpire(ctx, key, time.Minute)
	case 10:
		_, err = cache.CounterAdd(ctx, "counter of "+key, 1)
	case 11:
		ctx, cancel := context.WithCancel(ctx)
		go cancel()
		_, _, err = cache.GetVersioned(ctx, key)
	case 12:
		ctx, cancel := context.WithCancel(ctx)
		go cancel()
		err = useLease(ctx, cache, "loaded "+key, at)
	case 13:
		err = useLease(ctx, cache, "loaded "+key, at)
	case 14:
		ctx, cancel := context.WithCancel(ctx)
		go cancel()
		err = load(ctx, cache, key, at)
	case 15:
		err = load(ctx, cache, key, at)
	default:
		_, err = cache.Get(ctx, key)
	}
	return err
}

// Takes the lease of a key and ends it in each way, if it has no value.
func useLease(ctx context.Context, cache *yokedcache.Cache, key string, at int64) error {
	found, err := cache.GetOrLease(ctx, key, yokedcache.WithTags("a"), yokedcache.WithWait(yokedcache.NoWait))
	if err != nil || found.Lease == nil {
		return err
	}
	if at/16%4 > 0 {
		defer found.Lease.Free() // Else the collector does it.
	}
	switch at / 16 % 8 {
	case 1:
		return found.Lease.Abandon(ctx, 0)
	case 2, 3:
		return nil
	}
	_, err = found.Lease.Fill(ctx, make([]byte, 5000), yokedcache.WithTTL(time.Millisecond), yokedcache.WithTags("b"))
	return err
}

var errOnPurpose = errors.New("on purpose")

// Loads keys that many goroutines share. The loaders end in each way.
func load(ctx context.Context, cache *yokedcache.Cache, key string, at int64) error {
	keys := []string{"of its own " + key}
	if at/16%8 == 0 {
		keys = append(keys, "shared", "shared by some "+key[:4])
	}
	_, err := yokedcache.GetOrLoadMany(ctx, cache, keys, func(context.Context, []string, *yokedcache.Fill) (map[string]string, error) {
		if at%3 == 0 {
			return nil, errOnPurpose
		}
		return map[string]string{"shared": key}, nil
	}, yokedcache.WithTTL(time.Millisecond), yokedcache.WithStaleFor(time.Millisecond), yokedcache.WithAbsentTTL(time.Millisecond))
	return err
}

// Half a million operations under the collector's pressure leave the process as large as it was after the first ones.
func TestNothingLeaks(t *testing.T) {
	operations := int64(1000000)
	if raceEnabled || testing.Short() {
		operations = 100000
	}
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	cache := open(t, "")
	stop := make(chan struct{})
	defer close(stop)
	go pressure(stop)
	done := int64(0)
	some := func(until int64, end time.Time) {
		for ; done < until && time.Now().Before(end); done += operations / 100 {
			churn(t, cache, operations/100)
		}
	}
	some(operations/5, time.Now().Add(15*time.Second))
	checkMemoryStays(t, func() { some(done+operations/2, time.Now().Add(30*time.Second)) })
	t.Logf("%d operations", done)
}

// The most measurements of checkMemoryStays.
const attempts = 3

// Checks that the process stops growing. A leak adds to the process each time. The allocator keeps some memory for each
// thread that used it, which adds a few times only.
func checkMemoryStays(t *testing.T, run func()) {
	t.Helper()
	sizes := make([]int, 0, attempts+1)
	for {
		runtime.GC()
		sizes = append(sizes, residentMiB(t))
		last := len(sizes) - 1
		// The race detector remembers more and more of what it saw.
		if last > 0 && (sizes[last] <= sizes[last-1]+24 || raceEnabled) {
			return
		}
		if last == attempts {
			t.Errorf("the process grows: %d MiB", sizes)
			return
		}
		run()
	}
}

func pressure(stop chan struct{}) {
	var kept [][]byte
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
			if kept = append(kept, make([]byte, 64<<10)); len(kept) > 100 {
				kept = nil
			}
			runtime.GC()
		}
	}
}

// Caches that come and go leave no memory, thread or descriptor, nor do listings that are dropped.
func TestClosedCachesLeaveNothing(t *testing.T) {
	one := func() {
		cache, err := yokedcache.Open(testURL(""))
		check(t, err)
		check(t, cache.Set(ctx, "k", make([]byte, 1000000), yokedcache.WithTags("t")))
		if cache.Capabilities()&yokedcache.CanList != 0 {
			cache.Keys(ctx, "*").Next()
		}
		check(t, cache.Flush(ctx))
		check(t, cache.Close())
	}
	some := func() {
		for at := 0; at < 60; at++ {
			one()
		}
	}
	some()
	descriptors, tasks := len(readFile(t, "/proc/self/fd")), threads(t)
	checkMemoryStays(t, some)
	time.Sleep(10 * time.Millisecond)
	if now := len(readFile(t, "/proc/self/fd")); now > descriptors+8 {
		t.Errorf("descriptors: %d became %d: %s", descriptors, now, readFile(t, "/proc/self/fd"))
	}
	if now := threads(t); now > tasks+4 {
		t.Errorf("%d threads have become %d", tasks, now)
	}
}
