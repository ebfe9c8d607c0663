package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// A source is what a loader reads, such as a row of a database. Its loader says when it has read, and waits then.
type source struct {
	value   atomic.Value
	read    chan struct{}
	release chan struct{}
	loads   atomic.Int64
}

func newSource(value string) *source {
	source := &source{read: make(chan struct{}, 1000), release: make(chan struct{})}
	source.value.Store(value)
	return source
}

func (source *source) load(ctx context.Context, fill *yokedcache.Fill) (string, error) {
	value := source.value.Load().(string)
	source.loads.Add(1)
	source.read <- struct{}{}
	select {
	case <-source.release:
		return value, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

type answer struct {
	value string
	err   error
}

func (source *source) get(ctx context.Context, cache *yokedcache.Cache, options ...yokedcache.LoadOption) chan answer {
	answers := make(chan answer, 1)
	options = append([]yokedcache.LoadOption{yokedcache.WithTags("named"), yokedcache.WithWait(time.Minute)}, options...)
	go func() {
		value, err := yokedcache.GetOrLoad(ctx, cache, "row", func(ctx context.Context, fill *yokedcache.Fill) (string, error) {
			fill.Tags = append(fill.Tags, "late")
			return source.load(ctx, fill)
		}, options...)
		answers <- answer{value, err}
	}()
	return answers
}

func (answers answer) is(t *testing.T, who, value string) {
	t.Helper()
	if answers.err != nil || answers.value != value {
		t.Errorf("%s got %q, %v in place of %q", who, answers.value, answers.err, value)
	}
}

// Each way to change a row while it is loaded.
var changes = map[string]func(*yokedcache.Cache) error{
	"a named tag": func(cache *yokedcache.Cache) error { return cache.InvalidateTag(ctx, "named") },
	"a late tag":  func(cache *yokedcache.Cache) error { return cache.InvalidateTag(ctx, "late") },
	"a delete":    func(cache *yokedcache.Cache) error { return second(cache.Delete(ctx, "row")) },
	"many deletes": func(cache *yokedcache.Cache) error {
		return second(cache.DeleteMany(ctx, []string{"other", "row"}))
	},
	"a set":     func(cache *yokedcache.Cache) error { return cache.Set(ctx, "row", []byte("new")) },
	"a pattern": func(cache *yokedcache.Cache) error { return second(cache.InvalidatePattern(ctx, "ro*")) },
	"a flush":   func(cache *yokedcache.Cache) error { return cache.Flush(ctx) },
}

// No call that began after a change gets the value that was loaded before it: neither from the cache nor by joining the
// load. A late tag is not known before the load is over, so its invalidation does not end the lease: who comes waits.
func TestAValueFromBeforeAChangeIsNotServedAfterIt(t *testing.T) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			cache := openLeasing(t, "")
			if cache.Capabilities()&yokedcache.CanList == 0 && (name == "a pattern" || name == "a flush") {
				t.Skip("Memcached cannot list keys")
			}
			source := newSource("old")
			leader := source.get(ctx, cache)
			<-source.read
			joined := source.get(ctx, cache)
			time.Sleep(20 * time.Millisecond)
			source.value.Store("new")
			check(t, change(cache))
			after := source.get(ctx, cache)
			time.Sleep(20 * time.Millisecond)
			close(source.release)
			(<-leader).is(t, "the leader", "old")
			(<-joined).is(t, "who joined", "new")
			(<-after).is(t, "who came after the change", "new")
			(<-source.get(ctx, cache)).is(t, "who came last", "new")
		})
	}
}

// Readers that load rows of a source that writers change. What a reader gets is at least as new as the source was when
// its call began, by invalidations that had returned.
func TestReadersAndWritersRace(t *testing.T) {
	cache := openLeasing(t, "")
	const rows = 4
	var written, invalidated [rows]atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for number := 0; number < 16; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			random := rand.New(rand.NewSource(int64(number)))
			for time.Now().Before(end) {
				row := random.Intn(rows)
				key := fmt.Sprint("row", row)
				if number < 2 {
					version := written[row].Add(1)
					if err := cache.InvalidateTag(ctx, key); err != nil {
						t.Error(err)
						return
					}
					// Two writers: an older version stays older.
					for seen := invalidated[row].Load(); seen < version && !invalidated[row].CompareAndSwap(seen, version); {
						seen = invalidated[row].Load()
					}
					time.Sleep(time.Duration(random.Intn(3000)) * time.Microsecond)
					continue
				}
				least := invalidated[row].Load()
				got, err := yokedcache.GetOrLoad(ctx, cache, key, func(_ context.Context, fill *yokedcache.Fill) (int64, error) {
					version := written[row].Load()
					time.Sleep(time.Duration(random.Intn(500)) * time.Microsecond)
					if number%2 == 1 {
						fill.Tags = []string{key}
					}
					return version, nil
				}, yokedcache.WithTags([]string{key, "all"}[number%2]), yokedcache.WithWait(time.Minute), yokedcache.WithStaleFor(time.Minute))
				if err != nil || got < least {
					t.Errorf("version %d after the invalidation of %d: %v", got, least, err)
					return
				}
			}
		}(number)
	}
	all.Wait()
}

// Two caches of one store stand for two processes. Loaders fail, panic, end their goroutine and are cancelled at random.
func TestTwoLoadersOfAKeyNeverRunAtOnce(t *testing.T) {
	url := testURL("&lease=60s")
	caches := make([]*yokedcache.Cache, 2)
	for at := range caches {
		cache, err := yokedcache.Open(url)
		check(t, err)
		defer cache.Close()
		caches[at] = cache
	}
	if caches[0].Capabilities()&yokedcache.CanCompare == 0 {
		t.Skip("leases need a server that compares before it writes (CanCompare)")
	}
	shared := caches[0].Capabilities()&yokedcache.CanShare != 0
	const keys = 5
	var running [2][keys]atomic.Int64
	var loads atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for number := 0; number < 32; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			random := rand.New(rand.NewSource(int64(number)))
			for time.Now().Before(end) {
				key, place := random.Intn(keys), number%2
				own := place
				if shared {
					own = 0
				}
				once(t, caches[place], fmt.Sprint("k", key), random.Intn(1000), func() func() {
					if running[own][key].Add(1) > 1 {
						t.Error("two loaders run")
					}
					loads.Add(1)
					return func() { running[own][key].Add(-1) }
				})
			}
		}(number)
	}
	all.Wait()
	t.Log(loads.Load(), "loads")
	// A lease that is lost blocks its key for a minute.
	for key := 0; key < keys; key++ {
		found, err := caches[0].GetOrLease(ctx, fmt.Sprint("k", key), yokedcache.WithWait(20*time.Second))
		if err != nil {
			t.Error(key, err)
		}
		found.Lease.Free()
	}
	caches[0].Flush(ctx)
}

// Calls GetOrLoad once; chance decides how its loader ends.
func once(t *testing.T, cache *yokedcache.Cache, key string, chance int, begin func() func()) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(chance)*20*time.Microsecond+time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		err := errors.New("it ended otherwise")
		defer func() {
			recover()
			ended <- err
		}()
		_, err = yokedcache.GetOrLoad(ctx, cache, key, func(ctx context.Context, _ *yokedcache.Fill) (int, error) {
			defer begin()()
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(time.Duration(chance%10) * 200 * time.Microsecond):
			}
			switch chance % 7 {
			case 0:
				panic("on purpose")
			case 1:
				return 0, errors.New("on purpose")
			case 2:
				runtime.Goexit()
			}
			return 1, nil
		}, yokedcache.WithTTL(time.Millisecond))
	}()
	<-ended
}

// ---- Loaders that do not return ----

func TestAWaiterEndsWithItsTime(t *testing.T) {
	cache := openLeasing(t, "")
	source := newSource("value")
	leader := source.get(ctx, cache)
	<-source.read
	within(t, func() {
		limited, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if one := <-source.get(limited, cache); !errors.Is(one.err, context.DeadlineExceeded) || !errors.Is(one.err, yokedcache.ErrTimeout) {
			t.Error(one)
		}
		for _, wait := range []time.Duration{yokedcache.NoWait, 50 * time.Millisecond} {
			if one := <-source.get(ctx, cache, yokedcache.WithWait(wait)); !errors.Is(one.err, yokedcache.ErrBusy) {
				t.Error(wait, one)
			}
		}
		if onMemory() {
			// The deadline of a call.
			if one := <-source.get(ctx, cache, yokedcache.WithWait(0)); !errors.Is(one.err, yokedcache.ErrBusy) {
				t.Error(one)
			}
		}
	})
	close(source.release)
	(<-leader).is(t, "the leader", "value")
	if source.loads.Load() != 1 {
		t.Error(source.loads.Load(), "loads")
	}
}

// A loader that never returns blocks its key for the time of its lease, also for those that wait already.
func TestALoaderThatDoesNotReturnIsReplaced(t *testing.T) {
	cache := openLeasing(t, "")
	stuck := make(chan struct{})
	defer close(stuck)
	entered := make(chan struct{})
	go yokedcache.GetOrLoad(ctx, cache, "row", func(context.Context, *yokedcache.Fill) (string, error) {
		close(entered)
		<-stuck
		return "old", nil
	}, yokedcache.WithLease(200*time.Millisecond))
	<-entered
	source := newSource("value")
	close(source.release)
	within(t, func() {
		var answers []chan answer
		for number := 0; number < 20; number++ {
			answers = append(answers, source.get(ctx, cache))
		}
		for _, one := range answers {
			(<-one).is(t, "who waited", "value")
		}
	})
	if source.loads.Load() != 1 {
		t.Error(source.loads.Load(), "loads")
	}
}

func TestAPanicGoesToTheCallerOfTheLoader(t *testing.T) {
	cache := openLeasing(t, "")
	entered, release := make(chan struct{}), make(chan struct{})
	panicked := make(chan any)
	cause := errors.New("on purpose")
	go func() {
		defer func() { panicked <- recover() }()
		yokedcache.GetOrLoad(ctx, cache, "row", func(context.Context, *yokedcache.Fill) (string, error) {
			close(entered)
			<-release
			panic(cause)
		})
	}()
	<-entered
	source := newSource("value")
	joined := source.get(ctx, cache)
	time.Sleep(20 * time.Millisecond)
	close(release)
	err, ok := (<-panicked).(error)
	if !ok || !errors.Is(err, cause) {
		t.Error(err)
	}
	if one := <-joined; one.err == nil || source.loads.Load() != 0 {
		t.Error(one, source.loads.Load())
	}
	close(source.release)
	within(t, func() { (<-source.get(ctx, cache)).is(t, "the next caller", "value") })
}

func TestGoexitEndsTheCallerOfTheLoader(t *testing.T) {
	cache := openLeasing(t, "")
	ended := make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- returned }()
		yokedcache.GetOrLoad(ctx, cache, "row", func(context.Context, *yokedcache.Fill) (string, error) {
			runtime.Goexit()
			return "", nil
		})
		returned = true
	}()
	if <-ended {
		t.Error("GetOrLoad returned")
	}
	source := newSource("value")
	close(source.release)
	within(t, func() { (<-source.get(ctx, cache)).is(t, "the next caller", "value") })
}

// ---- Cancellation ----

func TestACallerThatLeavesDoesNotEndTheLoadOfOthers(t *testing.T) {
	cache := openLeasing(t, "")
	source := newSource("value")
	first, cancel := context.WithCancel(ctx)
	leader := source.get(first, cache)
	<-source.read
	joined := source.get(ctx, cache)
	time.Sleep(20 * time.Millisecond)
	cancel()
	if one := <-leader; !errors.Is(one.err, context.Canceled) || !errors.Is(one.err, yokedcache.ErrCancelled) {
		t.Error(one)
	}
	close(source.release)
	(<-joined).is(t, "who joined", "value")
	if source.loads.Load() != 1 {
		t.Error(source.loads.Load(), "loads")
	}
}

type contextKey struct{}

func TestTheLastCallerThatLeavesCancelsTheLoad(t *testing.T) {
	cache := openLeasing(t, "")
	entered, ended := make(chan struct{}), make(chan error)
	load := func(ctx context.Context, _ *yokedcache.Fill) (string, error) {
		if ctx.Value(contextKey{}) != "value of the caller" {
			t.Error("the values of the context are lost")
		}
		if _, ok := ctx.Deadline(); ok {
			t.Error("the deadline of one caller limits the loader")
		}
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
		return "", ctx.Err()
	}
	first, cancel := context.WithTimeout(context.WithValue(ctx, contextKey{}, "value of the caller"), time.Hour)
	second, cancelSecond := context.WithCancel(ctx)
	answers := make(chan error, 2)
	go func() {
		_, err := yokedcache.GetOrLoad(first, cache, "row", load)
		answers <- err
	}()
	<-entered
	source := newSource("value")
	joined := source.get(second, cache)
	time.Sleep(20 * time.Millisecond)
	cancel()
	if err := <-answers; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case <-ended:
		t.Error("the load ended with its first caller")
	case <-time.After(20 * time.Millisecond):
	}
	cancelSecond()
	<-joined
	within(t, func() {
		<-ended
		close(source.release)
		(<-source.get(ctx, cache)).is(t, "the next caller", "value")
	})
}

// A load whose callers have left is not lost: who comes meanwhile gets its value, or loads if it fails.
func TestALoadThatAllHaveLeftServesTheNext(t *testing.T) {
	for _, fails := range []bool{false, true} {
		cache := openLeasing(t, "")
		entered, release := make(chan struct{}), make(chan struct{})
		first, cancel := context.WithCancel(ctx)
		left := make(chan struct{})
		go func() {
			defer close(left)
			yokedcache.GetOrLoad(first, cache, "row", func(context.Context, *yokedcache.Fill) (string, error) {
				close(entered)
				<-release
				if fails {
					return "", errors.New("cancelled")
				}
				return "first", nil
			})
		}()
		<-entered
		cancel()
		<-left
		source := newSource("second")
		close(source.release)
		joined := source.get(ctx, cache)
		time.Sleep(20 * time.Millisecond)
		close(release)
		(<-joined).is(t, "the next caller", map[bool]string{false: "first", true: "second"}[fails])
	}
}

// ---- Closing ----

func TestCloseEndsLoads(t *testing.T) {
	for _, close := range []func(*yokedcache.Cache) error{
		(*yokedcache.Cache).Close,
		func(cache *yokedcache.Cache) error {
			// The end of a lease may be in flight.
			if err := cache.Shutdown(cancelledContext()); !errors.Is(err, yokedcache.ErrTimeout) {
				return err
			}
			return nil
		},
		func(cache *yokedcache.Cache) error {
			limited, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return cache.Shutdown(limited)
		},
	} {
		cache, err := yokedcache.Open(testURL(""))
		check(t, err)
		if cache.Capabilities()&yokedcache.CanCompare == 0 {
			t.Skip("leases need a server that compares before it writes (CanCompare)")
		}
		source := newSource("value")
		var answers []chan answer
		for number := 0; number < 10; number++ {
			answers = append(answers, source.get(ctx, cache))
		}
		<-source.read
		time.Sleep(20 * time.Millisecond)
		within(t, func() {
			check(t, close(cache))
			for _, one := range answers {
				if one := <-one; !errors.Is(one.err, yokedcache.ErrClosed) {
					t.Error(one)
				}
			}
		})
		if one := <-source.get(ctx, cache); !errors.Is(one.err, yokedcache.ErrClosed) {
			t.Error(one)
		}
	}
}

// ---- A loader that loads ----

func TestALoaderThatAsksForItsOwnKey(t *testing.T) {
	cache := openLeasing(t, "")
	var again func(context.Context, *yokedcache.Fill) (string, error)
	depth := 0
	again = func(ctx context.Context, _ *yokedcache.Fill) (string, error) {
		if depth++; depth > 3 {
			return "", errors.New("it was called again and again")
		}
		return yokedcache.GetOrLoad(ctx, cache, []string{"a", "b"}[depth%2], again)
	}
	within(t, func() {
		if _, err := yokedcache.GetOrLoad(ctx, cache, "a", again); !errors.Is(err, yokedcache.ErrInvalid) {
			t.Error(err)
		}
	})
}

func TestLoadersThatAskForEachOthersKeysEnd(t *testing.T) {
	cache := openLeasing(t, "")
	var both, all sync.WaitGroup
	both.Add(2)
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		all.Add(1)
		go func(names [2]string) {
			defer all.Done()
			first := true
			yokedcache.GetOrLoad(ctx, cache, names[0], func(ctx context.Context, _ *yokedcache.Fill) (string, error) {
				if first {
					first = false
					both.Done()
					both.Wait()
				}
				return yokedcache.GetOrLoad(ctx, cache, names[1], func(context.Context, *yokedcache.Fill) (string, error) {
					return "value", nil
				}, yokedcache.WithWait(100*time.Millisecond))
			})
		}(names)
	}
	within(t, all.Wait)
}
