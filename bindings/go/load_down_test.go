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

// Opens a cache behind a proxy, and another one that always reaches the server.
func openBehindProxy(t *testing.T) (proxy *proxy, behind, direct *yokedcache.Cache) {
	t.Helper()
	port := freePort(t)
	scheme, _ := startServer(t, port)
	proxy = startProxy(t, port)
	caches := [2]*yokedcache.Cache{}
	for at, address := range []string{proxy.address, "127.0.0.1:" + port} {
		cache, err := yokedcache.Open(scheme + "://" + address + "?key_prefix=p&socket_timeout=2s&socket_connect_timeout=2s")
		check(t, err)
		t.Cleanup(func() { cache.Close() })
		caches[at] = cache
	}
	return proxy, caches[0], caches[1]
}

// Begins a load while the server is down, then lets the server come back and the row change.
func loadFromBeforeAChange(t *testing.T) (old, row *source, answers chan answer, behind, direct *yokedcache.Cache) {
	t.Helper()
	proxy, behind, direct := openBehindProxy(t)
	proxy.cut()
	old, row = newSource("old"), newSource("new")
	answers = old.get(ctx, behind)
	<-old.read
	proxy.mend()
	within(t, func() {
		for behind.Set(ctx, "other", nil) != nil {
			time.Sleep(10 * time.Millisecond)
		}
	})
	check(t, direct.InvalidateTag(ctx, "named"))
	return old, row, answers, behind, direct
}

// A load that began while the server was down is older than a change that ended after the server came back. A call that
// reaches the server does not get its value.
func TestALoadWithoutALeaseIsNotSharedWithACallerThatReachedTheServer(t *testing.T) {
	old, row, answers, behind, _ := loadFromBeforeAChange(t)
	close(row.release)
	joined := row.get(ctx, behind)
	within(t, func() { (<-joined).is(t, "who got the lease", "new") })
	close(old.release)
	(<-answers).is(t, "who began while the server was down", "old")
	(<-row.get(ctx, behind)).is(t, "who came last", "new")
	if row.loads.Load() != 1 {
		t.Error(row.loads.Load(), "loads")
	}
}

// The same for a caller that finds the lease at another process.
func TestALoadWithoutALeaseIsNotSharedWithACallerThatWaitsForAnotherProcess(t *testing.T) {
	old, row, answers, behind, direct := loadFromBeforeAChange(t)
	other := row.get(ctx, direct)
	<-row.read
	joined := row.get(ctx, behind)
	time.Sleep(50 * time.Millisecond)
	close(old.release)
	(<-answers).is(t, "who began while the server was down", "old")
	select {
	case one := <-joined:
		t.Error("a caller did not wait for the other process", one)
	case <-time.After(50 * time.Millisecond):
	}
	close(row.release)
	(<-other).is(t, "the other process", "new")
	within(t, func() { (<-joined).is(t, "who waited for the other process", "new") })
}

// A value that cannot be stored costs no more than two loads in a row: those that waited for the first one share the
// second, which began after their calls did.
func TestCallersShareAValueThatCannotBeStored(t *testing.T) {
	cache := openLeasing(t, "&max_value_bytes=10")
	var running, loads atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	for number := 0; number < 20; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			value, err := yokedcache.GetOrLoad(ctx, cache, "k", func(context.Context, *yokedcache.Fill) (string, error) {
				if running.Add(1) > 1 {
					t.Error("two loaders run")
				}
				defer running.Add(-1)
				loads.Add(1)
				time.Sleep(200 * time.Millisecond)
				return "more than ten bytes", nil
			}, yokedcache.WithWait(5*time.Second))
			if err != nil || value != "more than ten bytes" {
				t.Error(value, err)
			}
		}()
	}
	all.Wait()
	if loads.Load() > 4 || time.Since(begun) > 3*time.Second {
		t.Errorf("%d loads in %v", loads.Load(), time.Since(begun))
	}
}

// A caller that joined a load before a change does not get its value, also if the value cannot be stored.
func TestAValueThatCannotBeStoredIsNotSharedAfterAChange(t *testing.T) {
	cache := openLeasing(t, "&max_value_bytes=4")
	row := newSource("older")
	leader := row.get(ctx, cache)
	<-row.read
	row.value.Store("newer")
	check(t, cache.InvalidateTag(ctx, "late"))
	after := []chan answer{row.get(ctx, cache), row.get(ctx, cache), row.get(ctx, cache)}
	time.Sleep(20 * time.Millisecond)
	close(row.release)
	(<-leader).is(t, "the leader", "older")
	for _, one := range after {
		(<-one).is(t, "who came after the change", "newer")
	}
}

// A loader that sets a fill that is not allowed: its caller and those that wait get the error, after one load.
func TestAFillThatIsNotAllowedIsAnError(t *testing.T) {
	for name, mistake := range map[string]func(*yokedcache.Fill){
		"TTL":         func(fill *yokedcache.Fill) { fill.TTL = -5 * time.Second },
		"stale time":  func(fill *yokedcache.Fill) { fill.StaleFor = -5 * time.Second },
		"tag":         func(fill *yokedcache.Fill) { fill.Tags = []string{""} },
		"tag of many": func(fill *yokedcache.Fill) { fill.ForKey("b").Tags = []string{""} },
	} {
		t.Run(name, func(t *testing.T) {
			cache := openLeasing(t, "")
			entered, release := make(chan struct{}, 10), make(chan struct{})
			var loads atomic.Int64
			get := func() chan answer {
				answers := make(chan answer, 1)
				go func() {
					values, err := yokedcache.GetOrLoadMany(ctx, cache, []string{"a", "b"}, func(_ context.Context, keys []string, fill *yokedcache.Fill) (map[string]string, error) {
						loads.Add(1)
						entered <- struct{}{}
						<-release
						mistake(fill)
						return map[string]string{"a": "1", "b": "2"}, nil
					}, yokedcache.WithWait(time.Minute))
					answers <- answer{values["b"], err}
				}()
				return answers
			}
			leader := get()
			<-entered
			joined := get()
			time.Sleep(20 * time.Millisecond)
			close(release)
			for _, answers := range []chan answer{leader, joined} {
				if one := <-answers; !errors.Is(one.err, yokedcache.ErrInvalid) || one.value != "" {
					t.Error(one)
				}
			}
			if loads.Load() != 1 {
				t.Error(loads.Load(), "loads")
			}
		})
	}
	cache := openLeasing(t, "")
	if one := getString(cache, func(_ context.Context, fill *yokedcache.Fill) (string, error) {
		fill.AbsentTTL = -5 * time.Second
		return "", fmt.Errorf("no row: %w", yokedcache.ErrAbsent)
	}); !errors.Is(one.err, yokedcache.ErrInvalid) {
		t.Error(one)
	}
}

// The errors that mean that the store is down, and those that are returned without a load.
func TestErrorsThatMeanThatTheStoreIsDown(t *testing.T) {
	for code, isDown := range map[yokedcache.Code]bool{
		yokedcache.CodeConnect: true, yokedcache.CodeAuth: true, yokedcache.CodeTLS: true, yokedcache.CodeTimeout: true,
		yokedcache.CodeServerMemory: true,
		yokedcache.CodeInvalid:      false, yokedcache.CodeConfig: false, yokedcache.CodeTooLarge: false, yokedcache.CodeUnsupported: false,
		yokedcache.CodeClosed: false, yokedcache.CodeForked: false, yokedcache.CodeCancelled: false, yokedcache.CodeDenied: false,
		yokedcache.CodeServer: false, yokedcache.CodeProtocol: false, yokedcache.CodePanic: false, yokedcache.CodeBusy: false,
	} {
		if yokedcache.IsOutage(&yokedcache.Error{Code: code}) != isDown {
			t.Error(code, "is not", isDown)
		}
		isDown = code != yokedcache.CodeBusy
		if yokedcache.IsOutage(&yokedcache.Error{Code: code, Retryable: true}) != isDown {
			t.Error(code, "that is retryable is not", isDown)
		}
	}
}

// A server that forbids the commands of a load is a mistake of the configuration: the call fails, and loads nothing.
// Credentials that the server refuses may be new ones that it does not know yet: the call loads.
func TestAServerThatForbidsALoad(t *testing.T) {
	if !strings.HasPrefix(testURL(""), "redis:") {
		t.Skip("only Redis has permissions")
	}
	port := freePort(t)
	startRedis(t, port, "--user", "default", "on", "nopass", "~*", "&*", "+@all", "--user", "limited", "on", ">secret", "~other*", "&*", "+@all")
	for password, wanted := range map[string]error{"secret": yokedcache.ErrDenied, "wrong": nil} {
		cache, err := yokedcache.Open("redis://limited:" + password + "@127.0.0.1:" + port + "?key_prefix=forbidden&connect=lazy")
		check(t, err)
		defer cache.Close()
		var loads atomic.Int64
		one := getString(cache, loadsOf("value", &loads))
		if !errors.Is(one.err, wanted) || (wanted == nil) != (loads.Load() == 1) {
			t.Error(password, one, loads.Load())
		}
	}
}

// The callers that wait for a load get its error as it is, also if it says that there is no value.
func TestTheTextOfAnAbsenceIsKept(t *testing.T) {
	cache := openLeasing(t, "")
	entered, release := make(chan struct{}), make(chan struct{})
	load := func(context.Context, *yokedcache.Fill) (string, error) {
		close(entered)
		<-release
		return "", fmt.Errorf("user 7: %w", yokedcache.ErrAbsent)
	}
	answers := make(chan answer, 2)
	go func() { answers <- getString(cache, load) }()
	<-entered
	go func() { answers <- getString(cache, load, yokedcache.WithWait(time.Minute)) }()
	time.Sleep(20 * time.Millisecond)
	close(release)
	for number := 0; number < 2; number++ {
		if one := <-answers; !errors.Is(one.err, yokedcache.ErrAbsent) || !strings.HasPrefix(one.err.Error(), "user 7: ") {
			t.Error(one)
		}
	}
	if one := getString(cache, load); one.err != yokedcache.ErrAbsent {
		t.Error(one)
	}
}

// A cache that is closed while it loads leaves no lease behind: another process loads the key at once.
func TestCloseGivesTheLeasesBack(t *testing.T) {
	if onMemory() {
		t.Skip("the memory backend shares no leases between two caches")
	}
	for name, close := range map[string]func(*yokedcache.Cache) error{
		"Close": (*yokedcache.Cache).Close,
		"Shutdown": func(cache *yokedcache.Cache) error {
			limited, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return cache.Shutdown(limited)
		},
	} {
		url := testURL("&lease=60s")
		first, err := yokedcache.Open(url)
		check(t, err)
		second, err := yokedcache.Open(url)
		check(t, err)
		defer second.Close()
		if second.Capabilities()&yokedcache.CanCompare == 0 {
			t.Skip("leases need a server that compares before it writes (CanCompare)")
		}
		// One load that its caller waits for, and one in the background. Both loaders ignore that they are cancelled.
		_, err = yokedcache.GetOrLoad(ctx, first, "stale", loadsOf("old", new(atomic.Int64)), yokedcache.WithTTL(20*time.Millisecond), yokedcache.WithStaleFor(time.Hour))
		check(t, err)
		time.Sleep(50 * time.Millisecond)
		entered, release := make(chan struct{}, 2), make(chan struct{})
		stuck := func(context.Context, *yokedcache.Fill) (string, error) {
			entered <- struct{}{}
			<-release
			return "late", nil
		}
		ended := make(chan error, 1)
		go func() {
			_, err := yokedcache.GetOrLoad(ctx, first, "vacant", stuck)
			ended <- err
		}()
		_, err = yokedcache.GetOrLoad(ctx, first, "stale", stuck)
		check(t, err)
		<-entered
		<-entered
		begun := time.Now()
		check(t, close(first))
		if err := <-ended; !errors.Is(err, yokedcache.ErrClosed) {
			t.Error(name, err)
		}
		for _, key := range []string{"vacant", "stale"} {
			found, err := second.GetOrLease(ctx, key, yokedcache.WithWait(yokedcache.NoWait))
			if err != nil || found.Lease == nil {
				t.Error(name, key, found, err)
			}
			found.Lease.Free()
		}
		if time.Since(begun) > 5*time.Second {
			t.Error(name, time.Since(begun))
		}
		release <- struct{}{}
		release <- struct{}{}
	}
}
