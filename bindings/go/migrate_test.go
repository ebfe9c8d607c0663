package yokedcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

const migrated = 2000

// The URLs of a Redis and a Memcached server; the test is skipped without the two.
func twoServers(t testing.TB) (redis, memcached string) {
	t.Helper()
	redis, memcached = os.Getenv("YC_TEST_REDIS_URL"), os.Getenv("YC_TEST_MEMCACHED_URL")
	if redis == "" || memcached == "" {
		t.Skip("YC_TEST_REDIS_URL and YC_TEST_MEMCACHED_URL are not set")
	}
	return redis, memcached
}

// With a prefix of its own, and time enough for a machine that is busy: a call that is lost fails all the same.
func withPrefix(url string) string {
	url = fmt.Sprintf("%s?key_prefix=gom%d.%d-%d", url, os.Getpid(), prefixes.Add(1), time.Now().UnixNano())
	if strings.HasPrefix(url, "memory:") {
		return url
	}
	return url + "&socket_timeout=10s"
}

func openAt(t testing.TB, url string) *yokedcache.Cache {
	t.Helper()
	cache, err := yokedcache.Open(withPrefix(url))
	check(t, err)
	t.Cleanup(func() {
		cache.Flush(ctx)
		cache.Close()
	})
	return cache
}

func keyAt(at int) string { return fmt.Sprintf("key:%d", at) }
func valueAt(at int) []byte {
	return append([]byte{byte(at), 0, 255}, bytes.Repeat([]byte("v"), at%300)...)
}

func ttlAt(at int) time.Duration {
	if at%3 == 0 {
		return yokedcache.NoExpiry
	}
	return 10*time.Minute + time.Duration(at)*100*time.Millisecond
}

func fill(t testing.TB, cache *yokedcache.Cache) {
	t.Helper()
	for at := 0; at < migrated; at++ {
		options := []yokedcache.SetOption{yokedcache.WithTTL(ttlAt(at))}
		if at%2 == 0 {
			options = append(options, yokedcache.WithTags(fmt.Sprint("tag", at%10), "even"))
		}
		check(t, cache.Set(ctx, keyAt(at), valueAt(at), options...))
	}
}

func checkAll(t testing.TB, cache *yokedcache.Cache) {
	t.Helper()
	for at := 0; at < migrated; at++ {
		if value, err := cache.Get(ctx, keyAt(at)); err != nil || !bytes.Equal(value, valueAt(at)) {
			t.Fatal(at, len(value), err)
		}
		left, err := cache.TTL(ctx, keyAt(at))
		wanted := ttlAt(at)
		if err != nil || left != wanted && (left > wanted || left < wanted-2*time.Minute) {
			t.Fatal(at, left, wanted, err)
		}
	}
}

func TestMigrateFromBackendToBackend(t *testing.T) {
	redis, memcached := twoServers(t)
	caches := []*yokedcache.Cache{openAt(t, "memory://"), openAt(t, redis), openAt(t, memcached), openAt(t, "memory://")}
	fill(t, caches[0])
	for at, target := range caches[1:] {
		report, err := caches[at].MigrateTo(ctx, target, yokedcache.MigrateOptions{})
		check(t, err)
		if !report.Complete || report.Copied != migrated || report.Failed != 0 || report.Resume != "" || len(report.JSON) == 0 {
			t.Fatalf("%s", report.JSON)
		}
		if report.LargestTTLDriftMillis == nil || *report.LargestTTLDriftMillis > 2000 {
			t.Errorf("%s", report.JSON)
		}
		checkAll(t, target)
	}
	for _, cache := range caches {
		check(t, cache.InvalidateTag(ctx, "tag4"))
		if _, err := cache.Get(ctx, keyAt(4)); !errors.Is(err, yokedcache.ErrMiss) {
			t.Error(err)
		}
		_, err := cache.Get(ctx, keyAt(6))
		check(t, err)
		check(t, cache.InvalidateTag(ctx, "even"))
		if _, err := cache.Get(ctx, keyAt(6)); !errors.Is(err, yokedcache.ErrMiss) {
			t.Error(err)
		}
		_, err = cache.Get(ctx, keyAt(7))
		check(t, err)
	}
}

// Goroutines that set and read until they are stopped; each call has to succeed.
func underLoad(t testing.TB, cache *yokedcache.Cache) (stop func() int64) {
	var all sync.WaitGroup
	var ended atomic.Bool
	var calls atomic.Int64
	for number := 0; number < 8; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			for turn := 0; !ended.Load(); turn++ {
				key, value := fmt.Sprintf("own:%d:%d", number, turn%50), fmt.Sprint(turn)
				if err := cache.Set(ctx, key, []byte(value), yokedcache.WithTags("own")); err != nil {
					t.Error(err)
				}
				if read, err := cache.Get(ctx, key); err != nil || string(read) != value {
					t.Error(string(read), value, err)
				}
				at := turn % migrated
				if read, err := cache.Get(ctx, keyAt(at)); err != nil || !bytes.Equal(read, valueAt(at)) {
					t.Error(at, len(read), err)
				}
				calls.Add(3)
				time.Sleep(50 * time.Microsecond)
			}
		}(number)
	}
	stop = sync.OnceValue(func() int64 {
		ended.Store(true)
		all.Wait()
		return calls.Load()
	})
	t.Cleanup(func() { stop() })
	return stop
}

func TestSwitchUnderLoad(t *testing.T) {
	redis, memcached := twoServers(t)
	cache := openAt(t, "memory://")
	fill(t, cache)
	stop := underLoad(t, cache)
	for _, next := range []struct {
		url, backend string
	}{{redis, "redis"}, {memcached, "memcached"}, {"memory://", "memory"}} {
		time.Sleep(20 * time.Millisecond)
		report, err := cache.Switch(ctx, withPrefix(next.url), yokedcache.SwitchOptions{Copy: true})
		if err != nil || report.Backend != next.backend || report.Copied == nil || !report.Copied.Complete || len(report.JSON) == 0 {
			t.Fatal(report, err)
		}
		if shares := cache.Capabilities()&yokedcache.CanShare != 0; shares != (next.backend != "memory") {
			t.Error(next.backend, shares)
		}
	}
	if calls := stop(); calls < 100 {
		t.Error(calls)
	}
	checkAll(t, cache)
	check(t, cache.InvalidateTag(ctx, "own"))
	if _, err := cache.Get(ctx, "own:0:0"); !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(err)
	}
	stats, err := cache.Stats(ctx)
	check(t, err)
	if stats.Backend != "memory" {
		t.Error(stats.Backend)
	}
}

func TestSwitchWithoutACopyBeginsEmpty(t *testing.T) {
	cache := openAt(t, "memory://")
	fill(t, cache)
	report, err := cache.Switch(ctx, "memory://?key_prefix=other", yokedcache.SwitchOptions{})
	if err != nil || report.Backend != "memory" || report.Copied != nil {
		t.Error(report, err)
	}
	stats, err := cache.Stats(ctx)
	check(t, err)
	if was, err := cache.Exists(ctx, keyAt(1)); was || err != nil || stats.KeyPrefix != "other" {
		t.Error(was, err, stats.KeyPrefix)
	}
}

func TestWrongSwitchesAndMigrationsChangeNothing(t *testing.T) {
	cache, other := openAt(t, "memory://"), openAt(t, "memory://")
	check(t, cache.Set(ctx, "a", []byte("v")))
	migrate := func(target *yokedcache.Cache, options yokedcache.MigrateOptions) error {
		_, err := cache.MigrateTo(ctx, target, options)
		return err
	}
	switched := func(config string, options yokedcache.SwitchOptions) error {
		_, err := cache.Switch(ctx, config, options)
		return err
	}
	for name, one := range map[string]struct{ came, wanted error }{
		"onto itself":              {migrate(cache, yokedcache.MigrateOptions{}), yokedcache.ErrInvalid},
		"to nothing":               {migrate(nil, yokedcache.MigrateOptions{}), yokedcache.ErrInvalid},
		"a wrong rate":             {migrate(other, yokedcache.MigrateOptions{Rate: -1}), yokedcache.ErrConfig},
		"a wrong token":            {migrate(other, yokedcache.MigrateOptions{Resume: "x"}), yokedcache.ErrInvalid},
		"a pattern of bytes":       {migrate(other, yokedcache.MigrateOptions{Pattern: "\xff*"}), yokedcache.ErrInvalid},
		"a bad configuration":      {switched("memory://?max_sise=3", yokedcache.SwitchOptions{}), yokedcache.ErrConfig},
		"a NUL":                    {switched("memory://\x00", yokedcache.SwitchOptions{}), yokedcache.ErrConfig},
		"a wrong switch":           {switched("memory://", yokedcache.SwitchOptions{Rate: -1}), yokedcache.ErrConfig},
		"no server listens":        {switched("redis://127.0.0.1:1", yokedcache.SwitchOptions{}), yokedcache.ErrConnect},
		"no server takes a copy":   {switched("redis://127.0.0.1:1", yokedcache.SwitchOptions{Copy: true}), yokedcache.ErrConnect},
		"no server, with a socket": {switched("memcached+unix:///nowhere", yokedcache.SwitchOptions{}), yokedcache.ErrConnect},
	} {
		if !errors.Is(one.came, one.wanted) {
			t.Error(name, one.came)
		}
	}
	if value, err := cache.Get(ctx, "a"); err != nil || string(value) != "v" {
		t.Error(string(value), err)
	}
}

func TestMigrationStopsAndGoesOn(t *testing.T) {
	source, target := openAt(t, "memory://"), openAt(t, "memory://")
	fill(t, source)
	counted, err := source.MigrateTo(ctx, target, yokedcache.MigrateOptions{DryRun: true})
	if stats, _ := target.Stats(ctx); err != nil || counted.Copied != migrated || !counted.DryRun || stats.JSON == nil {
		t.Error(counted, err)
	}
	var seen []yokedcache.MigrateProgress
	report, err := source.MigrateTo(ctx, target, yokedcache.MigrateOptions{Progress: func(at yokedcache.MigrateProgress) bool {
		// It may call the caches.
		_, err := source.Exists(ctx, "a")
		seen = append(seen, at)
		return err == nil && len(seen) < 2
	}})
	check(t, err)
	if len(seen) != 2 || report.Complete || report.Copied == 0 || report.Copied >= migrated || report.Resume != seen[1].Resume {
		t.Fatalf("%v %s", seen, report.JSON)
	}
	rest, err := source.MigrateTo(ctx, target, yokedcache.MigrateOptions{Resume: report.Resume, Progress: func(at yokedcache.MigrateProgress) bool {
		seen = append(seen, at)
		return true
	}})
	if err != nil || !rest.Complete || rest.Copied+report.Copied != migrated || seen[len(seen)-1].Resume != "" {
		t.Error(rest, err)
	}
	checkAll(t, target)
	part, err := source.MigrateTo(ctx, openAt(t, "memory://"), yokedcache.MigrateOptions{Pattern: "key:1?"})
	if err != nil || part.Copied != 10 {
		t.Error(part, err)
	}
}

func TestMigrationEndsWithItsContext(t *testing.T) {
	source, target := openAt(t, "memory://"), openAt(t, "memory://")
	fill(t, source)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	report, err := source.MigrateTo(short, target, yokedcache.MigrateOptions{Rate: 500})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, yokedcache.ErrTimeout) || report.Complete || report.Copied == 0 {
		t.Error(report, err)
	}
	if _, err := source.MigrateTo(short, target, yokedcache.MigrateOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := source.Switch(short, "memory://", yokedcache.SwitchOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	rest, err := source.MigrateTo(ctx, target, yokedcache.MigrateOptions{Resume: report.Resume})
	if err != nil || !rest.Complete {
		t.Error(rest, err)
	}
	checkAll(t, target)
}

func TestAPanicGoesAroundTheLibrary(t *testing.T) {
	source, target := openAt(t, "memory://"), openAt(t, "memory://")
	fill(t, source)
	func() {
		defer func() {
			if came := recover(); came != "mine" {
				t.Error(came)
			}
		}()
		source.MigrateTo(ctx, target, yokedcache.MigrateOptions{Progress: func(yokedcache.MigrateProgress) bool { panic("mine") }})
	}()
	check(t, source.Ping(ctx))
	check(t, source.Close())
}

func TestCloseEndsMigrationsAndSwitches(t *testing.T) {
	for _, which := range []int{0, 1} {
		caches := []*yokedcache.Cache{openAt(t, "memory://"), openAt(t, "memory://")}
		fill(t, caches[0])
		ended := make(chan error, 1)
		go func() {
			_, err := caches[0].MigrateTo(ctx, caches[1], yokedcache.MigrateOptions{Rate: 10})
			ended <- err
		}()
		time.Sleep(50 * time.Millisecond)
		within(t, func() {
			check(t, caches[which].Close())
			if err := <-ended; !errors.Is(err, yokedcache.ErrClosed) {
				t.Error(err)
			}
		})
	}
	cache := openAt(t, "memory://")
	fill(t, cache)
	ended := make(chan error, 1)
	go func() {
		for {
			_, err := cache.Switch(ctx, "memory://", yokedcache.SwitchOptions{Copy: true, Rate: 10})
			if !errors.Is(err, yokedcache.ErrBusy) {
				ended <- err
				return
			}
		}
	}()
	// A switch to a server that is not there changes nothing, and is refused once the other one runs.
	for refused := false; !refused; time.Sleep(time.Millisecond) {
		_, err := cache.Switch(ctx, "redis://127.0.0.1:1", yokedcache.SwitchOptions{})
		if err == nil {
			t.Fatal("it switched to a server that is not there")
		}
		refused = errors.Is(err, yokedcache.ErrBusy)
	}
	within(t, func() {
		check(t, cache.Close())
		if err := <-ended; !errors.Is(err, yokedcache.ErrClosed) {
			t.Error(err)
		}
	})
	if _, err := cache.Switch(ctx, "memory://", yokedcache.SwitchOptions{}); !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
}
