package yokedcache_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// A bound that finds a hang: longer than a cancelled call takes on a busy machine, and less than the minute that it
// would wait otherwise.
const soon = 40 * time.Second

func within(t *testing.T, run func()) {
	t.Helper()
	begun := time.Now()
	run()
	if taken := time.Since(begun); taken > soon {
		t.Errorf("it took %v", taken)
	}
}

func TestEachMethodIsCancelledInItsMidst(t *testing.T) {
	cache := openSilent(t)
	for _, end := range []struct {
		with       func() (context.Context, context.CancelFunc)
		is, wanted error
	}{
		{cancelledSoon, context.Canceled, yokedcache.ErrCancelled},
		{func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 20*time.Millisecond) },
			context.DeadlineExceeded, yokedcache.ErrTimeout},
	} {
		within(t, func() {
			var all sync.WaitGroup
			for name, method := range methods {
				all.Add(1)
				go func(name string, method func(context.Context, *yokedcache.Cache) error) {
					defer all.Done()
					ctx, cancel := end.with()
					defer cancel()
					if err := method(ctx, cache); !errors.Is(err, end.is) || !errors.Is(err, end.wanted) {
						t.Errorf("%s: %v", name, err)
					}
				}(name, method)
			}
			all.Wait()
		})
	}
}

func cancelledSoon() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	return ctx, cancel
}

// The caller's bytes are its own again when a call returns, also one that was cancelled: the race detector looks.
func TestACancelledCallHasNoHoldOnItsArguments(t *testing.T) {
	cache := openSilent(t)
	var all sync.WaitGroup
	for number := 0; number < 50; number++ {
		all.Add(1)
		go func(size int) {
			defer all.Done()
			value := make([]byte, size)
			for at := 0; at < 20; at++ {
				ctx, cancel := context.WithTimeout(ctx, time.Duration(at)*50*time.Microsecond)
				if err := cache.Set(ctx, "k", value); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
				for at := range value {
					value[at]++
				}
			}
		}(1 + number*400)
	}
	all.Wait()
}

// A thread for each would show: a goroutine that waits has none.
func TestCallsThatWaitHaveNoThread(t *testing.T) {
	cache := openSilent(t)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	before := threads(t)
	for number := 0; number < 1000; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			cache.Get(ctx, "k")
		}()
	}
	time.Sleep(200 * time.Millisecond)
	if now := threads(t); now > before+20 {
		t.Errorf("%d threads have become %d", before, now)
	}
	if waiting := runtime.NumGoroutine(); waiting < 1000 {
		t.Errorf("%d goroutines wait", waiting)
	}
	cancel()
	all.Wait()
}

func threads(t *testing.T) int {
	return len(strings.Fields(readFile(t, "/proc/self/task")))
}

func TestCloseEndsWhatWaits(t *testing.T) {
	for name, shut := range map[string]func(*yokedcache.Cache) error{
		"close": (*yokedcache.Cache).Close,
		"shutdown": func(cache *yokedcache.Cache) error {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			return cache.Shutdown(ctx)
		},
	} {
		cache := openSilent(t)
		var all sync.WaitGroup
		for number := 0; number < 200; number++ {
			all.Add(1)
			go func() {
				defer all.Done()
				if _, err := cache.Get(ctx, "k"); !errors.Is(err, yokedcache.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			}()
		}
		time.Sleep(50 * time.Millisecond)
		within(t, func() {
			if err := shut(cache); !errors.Is(err, yokedcache.ErrTimeout) {
				t.Errorf("%s: %v", name, err)
			}
			all.Wait()
		})
		check(t, cache.Close())
	}
}

// Calls and closes at once: each call ends, with success, a miss, or that the cache is closed.
func TestCloseBesideCalls(t *testing.T) {
	for round := 0; round < 20; round++ {
		cache, err := yokedcache.Open(testURL(""))
		check(t, err)
		var all sync.WaitGroup
		for number := 0; number < 16; number++ {
			all.Add(1)
			go func(number int) {
				defer all.Done()
				for name, method := range methods {
					err := method(ctx, cache)
					if err != nil && !errors.Is(err, yokedcache.ErrClosed) && !errors.Is(err, yokedcache.ErrMiss) &&
						!errors.Is(err, yokedcache.ErrUnsupported) {
						t.Errorf("%s: %v", name, err)
					}
				}
				if number%4 == 0 {
					if err := cache.Close(); err != nil {
						t.Error(err)
					}
				}
			}(number)
		}
		all.Wait()
		check(t, cache.Close())
	}
}

// Calls one after another block their own thread. Each ends with its context all the same.
func TestCallsOneAfterAnotherAreCancelled(t *testing.T) {
	cache := openSilent(t)
	for number := 0; number < 12; number++ {
		within(t, func() {
			ctx, cancel := cancelledSoon()
			defer cancel()
			if _, err := cache.Get(ctx, "k"); !errors.Is(err, context.Canceled) || !errors.Is(err, yokedcache.ErrCancelled) {
				t.Errorf("call %d: %v", number, err)
			}
		})
	}
}

// So do reads of many keys.
func TestReadsOfManyKeysOneAfterAnotherAreCancelled(t *testing.T) {
	cache := openSilent(t)
	for number := 0; number < 12; number++ {
		within(t, func() {
			ctx, cancel := cancelledSoon()
			defer cancel()
			results, err := cache.GetMany(ctx, []string{"k", "l"})
			if !errors.Is(err, context.Canceled) || !errors.Is(err, yokedcache.ErrCancelled) {
				t.Errorf("call %d: %v, %v", number, results, err)
			}
		})
	}
}

// The moment of the cancel moves over the time of a call: it has its value or is cancelled, and the next call has its own.
func TestCallsOneAfterAnotherKeepTheirReplies(t *testing.T) {
	cache := open(t, "")
	for _, key := range []string{"one", "two"} {
		check(t, cache.Set(ctx, key, []byte("value of "+key)))
	}
	answered, cancelled := 0, 0
	for number := 0; number < 400; number++ {
		short, cancel := context.WithTimeout(ctx, time.Duration(number)*time.Microsecond/2)
		value, err := cache.Get(short, "one")
		cancel()
		if err == nil {
			answered++
		} else if errors.Is(err, context.DeadlineExceeded) {
			cancelled++
		} else {
			t.Fatal(err)
		}
		if err == nil && string(value) != "value of one" {
			t.Fatalf("%q", value)
		}
		if value, err := cache.Get(ctx, "two"); err != nil || string(value) != "value of two" {
			t.Fatalf("%q, %v", value, err)
		}
	}
	t.Logf("%d answered, %d cancelled", answered, cancelled)
}
