package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

type user struct {
	Name string
	Age  int
}

func loadsOf[T any](value T, count *atomic.Int64) func(context.Context, *yokedcache.Fill) (T, error) {
	return func(context.Context, *yokedcache.Fill) (T, error) {
		count.Add(1)
		return value, nil
	}
}

func TestValuesOfEachTypeAreLoadedOnce(t *testing.T) {
	cache := openLeasing(t, "")
	var loads atomic.Int64
	for round := 0; round < 3; round++ {
		if value, err := yokedcache.GetOrLoad(ctx, cache, "bytes", loadsOf([]byte{0, 255}, &loads)); err != nil || string(value) != "\x00\xff" {
			t.Error(value, err)
		}
		if value, err := yokedcache.GetOrLoad(ctx, cache, "string", loadsOf("", &loads)); err != nil || value != "" {
			t.Error(value, err)
		}
		if value, err := yokedcache.GetOrLoad(ctx, cache, "user", loadsOf(user{"Ada", 36}, &loads)); err != nil || value.Name != "Ada" {
			t.Error(value, err)
		}
		if value, err := yokedcache.GetOrLoad(ctx, cache, "pointer", loadsOf[*user](nil, &loads)); err != nil || value != nil {
			t.Error(value, err)
		}
		if value, err := yokedcache.GetOrLoad(ctx, cache, "any", loadsOf[any](nil, &loads)); err != nil || value != nil {
			t.Error(value, err)
		}
		if _, err := yokedcache.GetOrLoad(ctx, cache, "absent", func(context.Context, *yokedcache.Fill) (int, error) {
			loads.Add(1)
			return 0, fmt.Errorf("no row: %w", yokedcache.ErrAbsent)
		}); !errors.Is(err, yokedcache.ErrAbsent) || (err.Error() == "no row: "+yokedcache.ErrAbsent.Error()) != (round == 0) {
			t.Error(err)
		}
	}
	if loads.Load() != 6 {
		t.Error(loads.Load(), "loads")
	}
}

// A thousand callers share a load of 50 ms.
func TestOneOfManyCallersLoads(t *testing.T) {
	cache := openLeasing(t, "")
	var loads, running atomic.Int64
	var all sync.WaitGroup
	for number := 0; number < 1000; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			value, err := yokedcache.GetOrLoad(ctx, cache, "k", func(context.Context, *yokedcache.Fill) (string, error) {
				if running.Add(1) > 1 {
					t.Error("two loaders run")
				}
				time.Sleep(50 * time.Millisecond)
				loads.Add(1)
				running.Add(-1)
				return "value", nil
			}, yokedcache.WithWait(time.Minute))
			if err != nil || value != "value" {
				t.Error(value, err)
			}
		}()
	}
	all.Wait()
	if loads.Load() != 1 {
		t.Error(loads.Load(), "loads")
	}
}

// ---- Errors of loaders ----

func TestTheErrorOfALoaderIsTheCallersAndIsNotCached(t *testing.T) {
	cache := openLeasing(t, "")
	cause := errors.New("no connection")
	entered, release := make(chan struct{}), make(chan struct{})
	answers := make(chan error, 10)
	var once sync.Once
	get := func() {
		_, err := yokedcache.GetOrLoad(ctx, cache, "k", func(context.Context, *yokedcache.Fill) (int, error) {
			once.Do(func() { close(entered) }) // A call that is late loads again.
			<-release
			return 0, cause
		}, yokedcache.WithWait(time.Minute))
		answers <- err
	}
	go get()
	<-entered
	for number := 0; number < 9; number++ {
		go get()
	}
	time.Sleep(50 * time.Millisecond)
	close(release)
	for number := 0; number < 10; number++ {
		if err := <-answers; err != cause {
			t.Error(err)
		}
	}
	var loads atomic.Int64
	if value, err := yokedcache.GetOrLoad(ctx, cache, "k", loadsOf(7, &loads)); err != nil || value != 7 {
		t.Error(value, err)
	}
}

func TestAKeyIsHeldBackAfterAFailureIfItsLoaderSaysSo(t *testing.T) {
	cache := openLeasing(t, "")
	cause := errors.New("no connection")
	fails := func(context.Context, *yokedcache.Fill) (int, error) { return 0, cause }
	if _, err := yokedcache.GetOrLoad(ctx, cache, "k", fails, yokedcache.WithRetryAfter(100*time.Millisecond)); err != cause {
		t.Error(err)
	}
	var loads atomic.Int64
	_, err := yokedcache.GetOrLoad(ctx, cache, "k", loadsOf(1, &loads), yokedcache.WithWait(time.Minute))
	var failed *yokedcache.Error
	if !errors.As(err, &failed) || failed.Code != yokedcache.CodeBusy || !failed.Retryable || !strings.Contains(failed.Message, "failed") {
		t.Error(err)
	}
	time.Sleep(150 * time.Millisecond)
	if value, err := yokedcache.GetOrLoad(ctx, cache, "k", loadsOf(1, &loads)); err != nil || value != 1 {
		t.Error(value, err)
	}
}

// ---- Stale values ----

// Loads a value that is stale after 20 ms.
func loadStale(t *testing.T, cache *yokedcache.Cache, options ...yokedcache.LoadOption) {
	t.Helper()
	var loads atomic.Int64
	options = append([]yokedcache.LoadOption{yokedcache.WithTTL(20 * time.Millisecond), yokedcache.WithStaleFor(time.Hour)}, options...)
	_, err := yokedcache.GetOrLoad(ctx, cache, "k", loadsOf("old", &loads), options...)
	check(t, err)
	time.Sleep(50 * time.Millisecond)
}

func getString(cache *yokedcache.Cache, load func(context.Context, *yokedcache.Fill) (string, error), options ...yokedcache.LoadOption) answer {
	value, err := yokedcache.GetOrLoad(ctx, cache, "k", load, options...)
	return answer{value, err}
}

func TestAStaleValueIsServedWhileItIsRefreshed(t *testing.T) {
	cache := openLeasing(t, "")
	loadStale(t, cache)
	release, entered := make(chan struct{}), make(chan struct{})
	var loads atomic.Int64
	refresh := func(ctx context.Context, _ *yokedcache.Fill) (string, error) {
		loads.Add(1)
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > time.Minute {
			t.Error("a refresh is not limited by its lease", end)
		}
		close(entered)
		<-release
		return "new", nil
	}
	for round := 0; round < 5; round++ {
		getString(cache, refresh, yokedcache.WithLease(30*time.Second)).is(t, "a caller", "old")
	}
	<-entered
	if _, err := cache.Get(ctx, "k"); !errors.Is(err, yokedcache.ErrMiss) {
		t.Error("a stale value is one for Get", err)
	}
	close(release)
	within(t, func() {
		for getString(cache, refresh).value != "new" {
			time.Sleep(time.Millisecond)
		}
	})
	if loads.Load() != 1 {
		t.Error(loads.Load(), "loads")
	}
}

func TestARefreshThatFailsKeepsTheStaleValue(t *testing.T) {
	cache := openLeasing(t, "")
	loadStale(t, cache)
	var loads atomic.Int64
	fails := func(context.Context, *yokedcache.Fill) (string, error) {
		loads.Add(1)
		if loads.Load() == 1 {
			panic("on purpose")
		}
		return "", errors.New("no connection")
	}
	for begun := time.Now(); loads.Load() < 3 && time.Since(begun) < soon; time.Sleep(time.Millisecond) {
		getString(cache, fails).is(t, "a caller", "old")
	}
	getString(cache, fails, yokedcache.WithStaleIfError()).is(t, "a caller", "old")
}

// The context of a refresh ends with its lease. A caller that waits for the refresh does not get that error, which says
// nothing of its own context: it loads, and does not need the stale value.
func TestARefreshThatExpiresIsNoErrorOfACallerThatWaits(t *testing.T) {
	for round := 0; round < 10; round++ {
		cache := openLeasing(t, "")
		loadStale(t, cache)
		entered := make(chan struct{})
		refresh := func(ctx context.Context, _ *yokedcache.Fill) (string, error) {
			close(entered)
			<-ctx.Done()
			return "", ctx.Err()
		}
		getString(cache, refresh, yokedcache.WithLease(100*time.Millisecond)).is(t, "who refreshes", "old")
		<-entered
		var loads atomic.Int64
		within(t, func() {
			getString(cache, loadsOf("new", &loads), yokedcache.WithStaleIfError(), yokedcache.WithWait(time.Minute)).is(t, "who waits", "new")
		})
	}
}

func TestStaleIfErrorWaitsForTheLoad(t *testing.T) {
	cache := openLeasing(t, "")
	fails := func(context.Context, *yokedcache.Fill) (string, error) {
		time.Sleep(10 * time.Millisecond)
		return "", errors.New("no connection")
	}
	loadStale(t, cache)
	var all sync.WaitGroup
	for number := 0; number < 10; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			getString(cache, fails, yokedcache.WithStaleIfError()).is(t, "a caller", "old")
		}()
	}
	all.Wait()
	source := newSource("new")
	answers := make(chan answer, 10)
	go func() { answers <- getString(cache, source.load, yokedcache.WithStaleIfError()) }()
	<-source.read
	for number := 0; number < 9; number++ {
		go func() { answers <- getString(cache, source.load, yokedcache.WithStaleIfError()) }()
	}
	time.Sleep(20 * time.Millisecond)
	getString(cache, source.load, yokedcache.WithStaleIfError(), yokedcache.WithWait(time.Millisecond)).is(t, "who does not wait", "old")
	close(source.release)
	for number := 0; number < 10; number++ {
		(<-answers).is(t, "a caller", "new")
	}
	if source.loads.Load() != 1 {
		t.Error(source.loads.Load(), "loads")
	}
}

func TestWhatMayNotBeServedAsStale(t *testing.T) {
	cache := openLeasing(t, "")
	var loads atomic.Int64
	loadStale(t, cache, yokedcache.WithTags("x"))
	check(t, cache.InvalidateTag(ctx, "x"))
	getString(cache, loadsOf("new", &loads)).is(t, "who came after the invalidation", "new")

	cache.Delete(ctx, "k")
	loadStale(t, cache, yokedcache.WithStaleFor(10*time.Millisecond))
	getString(cache, loadsOf("newer", &loads)).is(t, "who came after the time of stale values", "newer")

	// An invalidation during a refresh: who comes then does not get what the refresh loads.
	cache.Delete(ctx, "k")
	loadStale(t, cache, yokedcache.WithTags("x"))
	source := newSource("old, too")
	getString(cache, source.load, yokedcache.WithTags("x")).is(t, "who refreshes", "old")
	<-source.read
	check(t, cache.InvalidateTag(ctx, "x"))
	after := make(chan answer, 1)
	go func() {
		after <- getString(cache, loadsOf("newest", &loads), yokedcache.WithTags("x"), yokedcache.WithStaleIfError())
	}()
	time.Sleep(20 * time.Millisecond)
	close(source.release)
	(<-after).is(t, "who came after the invalidation", "newest")
	getString(cache, loadsOf("", &loads)).is(t, "who came last", "newest")
}

// A caller that waits for a load with a stale value in its hand reads again after an invalidation. The value is gone then,
// also for a load that fails, and while another caller holds the key back.
func TestAStaleValueThatWasInvalidatedDoesNotReplaceAnError(t *testing.T) {
	cause := errors.New("no connection")
	fails := func(context.Context, *yokedcache.Fill) (string, error) { return "", cause }
	for _, isHeld := range []bool{false, true} {
		cache := openLeasing(t, "")
		loadStale(t, cache, yokedcache.WithTags("x"))
		options := []yokedcache.LoadOption{yokedcache.WithTags("x"), yokedcache.WithStaleIfError(), yokedcache.WithWait(time.Minute)}
		source := newSource("old, too")
		leader, joined := make(chan answer, 1), make(chan answer, 1)
		go func() { leader <- getString(cache, source.load, options...) }()
		<-source.read
		go func() { joined <- getString(cache, fails, options...) }()
		time.Sleep(50 * time.Millisecond)
		check(t, cache.InvalidateTag(ctx, "x"))
		wanted := cause
		if isHeld {
			found, err := cache.GetOrLease(ctx, "k", yokedcache.WithWait(yokedcache.NoWait))
			check(t, err)
			check(t, found.Lease.Abandon(ctx, time.Hour))
			wanted = yokedcache.ErrBusy
		}
		close(source.release)
		(<-leader).is(t, "the leader", "old, too")
		within(t, func() {
			if one := <-joined; !errors.Is(one.err, wanted) {
				t.Error(isHeld, one)
			}
		})
	}
}

func TestAValueIsRefreshedEarly(t *testing.T) {
	cache := openLeasing(t, "&refresh_ahead=true")
	var loads atomic.Int64
	slow := func(context.Context, *yokedcache.Fill) (string, error) {
		loads.Add(1)
		time.Sleep(20 * time.Millisecond)
		return "value", nil
	}
	for begun := time.Now(); loads.Load() < 3 && time.Since(begun) < soon; time.Sleep(time.Millisecond) {
		before := time.Now()
		getString(cache, slow, yokedcache.WithTTL(100*time.Millisecond)).is(t, "a caller", "value")
		if loads.Load() > 1 && time.Since(before) > 10*time.Second {
			t.Error("a caller waited for a refresh")
		}
	}
}

// ---- Absences, fills, codecs ----

func TestAbsencesEndWithTheirTime(t *testing.T) {
	cache := openLeasing(t, "&negative_ttl=30ms")
	var loads atomic.Int64
	absent := func(_ context.Context, fill *yokedcache.Fill) (string, error) {
		loads.Add(1)
		fill.Tags = []string{"x"}
		return "", yokedcache.ErrAbsent
	}
	get := func(options ...yokedcache.LoadOption) {
		t.Helper()
		if one := getString(cache, absent, options...); one.err != yokedcache.ErrAbsent {
			t.Error(one)
		}
	}
	get()
	time.Sleep(60 * time.Millisecond)
	get(yokedcache.WithAbsentTTL(time.Hour))
	time.Sleep(60 * time.Millisecond)
	get()
	if loads.Load() != 2 {
		t.Error(loads.Load(), "loads")
	}
	check(t, cache.InvalidateTag(ctx, "x"))
	get()
	if loads.Load() != 3 {
		t.Error(loads.Load(), "loads")
	}
	check(t, cache.Set(ctx, "k", []byte("value")))
	getString(cache, absent).is(t, "who came after a set", "value")
}

func TestAFillSaysWhatItsLoaderLearned(t *testing.T) {
	cache := openLeasing(t, "")
	_, err := yokedcache.GetOrLoad(ctx, cache, "k", func(_ context.Context, fill *yokedcache.Fill) (string, error) {
		if fill.TTL != time.Hour || fill.StaleFor != time.Minute || fill.AbsentTTL != yokedcache.DefaultTTL || fill.Tags != nil {
			t.Error(fill)
		}
		fill.TTL = time.Minute
		fill.Tags = append(fill.Tags, "late")
		return "value", nil
	}, yokedcache.WithTTL(time.Hour), yokedcache.WithStaleFor(time.Minute), yokedcache.WithTags("early"))
	check(t, err)
	if left, err := cache.TTL(ctx, "k"); err != nil || left > time.Minute || left < 50*time.Second {
		t.Error(left, err)
	}
	check(t, cache.InvalidateTag(ctx, "late"))
	if was, err := cache.Exists(ctx, "k"); was || err != nil {
		t.Error(was, err)
	}
}

// A value that cannot be stored is returned nevertheless.
func TestAFillThatFailsDoesNotFailTheCall(t *testing.T) {
	cache := openLeasing(t, "&max_value_bytes=1000")
	var loads atomic.Int64
	for round := int64(1); round < 3; round++ {
		value, err := yokedcache.GetOrLoad(ctx, cache, "k", loadsOf(strings.Repeat("v", 1001), &loads))
		if err != nil || len(value) != 1001 || loads.Load() != round {
			t.Error(len(value), err, loads.Load())
		}
	}
}

func TestAValueThatDoesNotDecodeIsAnError(t *testing.T) {
	cache := openLeasing(t, "")
	check(t, cache.Set(ctx, "k", []byte("{")))
	var loads atomic.Int64
	_, err := yokedcache.GetOrLoad(ctx, cache, "k", loadsOf(user{}, &loads))
	if err == nil || !strings.Contains(err.Error(), `"k"`) || !strings.Contains(err.Error(), "JSON") || loads.Load() != 0 {
		t.Error(err, loads.Load())
	}
	_, err = yokedcache.GetOrLoad(ctx, cache, "new", loadsOf(func() {}, &loads))
	if err == nil || !strings.Contains(err.Error(), `"new"`) || !strings.Contains(err.Error(), "JSON") {
		t.Error(err)
	}
	var failed answer
	within(t, func() {
		failed.value, failed.err = yokedcache.GetOrLoad(ctx, cache, "new", loadsOf("value", &loads))
	})
	failed.is(t, "who loads again", "value")
}

// Each caller gets a value of its own, which it may change.
func TestCallersDoNotShareMemory(t *testing.T) {
	cache := openLeasing(t, "")
	release := make(chan struct{})
	var all sync.WaitGroup
	for number := 0; number < 20; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			value, err := yokedcache.GetOrLoad(ctx, cache, "k", func(context.Context, *yokedcache.Fill) ([]byte, error) {
				<-release
				return []byte("value"), nil
			}, yokedcache.WithWait(time.Minute))
			if err != nil || string(value) != "value" {
				t.Error(string(value), err)
			}
			for at := range value {
				value[at] = 0
			}
		}()
	}
	time.Sleep(20 * time.Millisecond)
	close(release)
	all.Wait()
}

// Callers that join a load may want another type: each decodes the value itself.
func TestCallersOfOneKeyMayDifferInType(t *testing.T) {
	cache := openLeasing(t, "")
	entered, release := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := yokedcache.GetOrLoad(ctx, cache, "k", func(context.Context, *yokedcache.Fill) (user, error) {
			close(entered)
			<-release
			return user{"Ada", 36}, nil
		})
		done <- err
	}()
	<-entered
	go func() {
		text, err := yokedcache.GetOrLoad(ctx, cache, "k", func(context.Context, *yokedcache.Fill) (string, error) {
			return "", errors.New("it was called")
		}, yokedcache.WithWait(time.Minute))
		if err == nil && text != `{"Name":"Ada","Age":36}` {
			err = errors.New(text)
		}
		done <- err
	}()
	time.Sleep(20 * time.Millisecond)
	close(release)
	for round := 0; round < 2; round++ {
		check(t, <-done)
	}
}

// ---- Misuse ----

func TestLoadsWithWrongArguments(t *testing.T) {
	cache := openLeasing(t, "")
	var loads atomic.Int64
	get := func(ctx context.Context, cache *yokedcache.Cache, key string, options ...yokedcache.LoadOption) error {
		_, err := yokedcache.GetOrLoadMany(ctx, cache, []string{"fine", key}, func(context.Context, []string, *yokedcache.Fill) (map[string]int, error) {
			loads.Add(1)
			return nil, nil
		}, options...)
		_, single := yokedcache.GetOrLoad(ctx, cache, key, loadsOf(1, &loads), options...)
		if fmt.Sprint(err) != fmt.Sprint(single) {
			t.Error(err, "but", single)
		}
		return single
	}
	for name, err := range map[string]error{
		"nil cache": get(ctx, nil, "k"),
		//lint:ignore SA1012 the mistake is what is tested
		"nil context":   get(nil, cache, "k"),
		"zero cache":    get(ctx, &yokedcache.Cache{}, "k"),
		"ttl":           get(ctx, cache, "k", yokedcache.WithTTL(-time.Hour)),
		"retry":         get(ctx, cache, "k", yokedcache.WithRetryAfter(-1)),
		"nil option":    get(ctx, cache, "k", nil),
		"nil loader":    second(yokedcache.GetOrLoad[int](ctx, cache, "k", nil)),
		"nil loader, 2": second(yokedcache.GetOrLoadMany[int](ctx, cache, []string{"k"}, nil)),
	} {
		if !errors.Is(err, yokedcache.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if loads.Load() != 0 {
		t.Error(loads.Load(), "loads")
	}
	for name, key := range map[string]string{"empty": "", "long": strings.Repeat("k", 70000)} {
		if _, err := yokedcache.GetOrLoad(ctx, cache, key, loadsOf(1, &loads)); err == nil || loads.Load() != 0 {
			t.Error(name, err)
		}
	}
	if one := getString(cache, newSource("").load, yokedcache.WithTags("")); !errors.Is(one.err, yokedcache.ErrInvalid) {
		t.Error(one)
	}
	if _, err := yokedcache.GetOrLoad(cancelledContext(), cache, "k", loadsOf(1, &loads)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
