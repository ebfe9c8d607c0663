package yokedcache_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

// Every method, with arguments that are fine.
var methods = map[string]func(context.Context, *yokedcache.Cache) error{
	"Get": func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.Get(ctx, "k"); return err },
	"Get fresh": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := c.Get(ctx, "k", yokedcache.WithFresh())
		return err
	},
	"Set": func(ctx context.Context, c *yokedcache.Cache) error { return c.Set(ctx, "k", nil) },
	"Set tag": func(ctx context.Context, c *yokedcache.Cache) error {
		return c.Set(ctx, "k", nil, yokedcache.WithTags("t"))
	},
	"Delete": func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.Delete(ctx, "k"); return err },
	"Exists": func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.Exists(ctx, "k"); return err },
	"Expire": func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.Expire(ctx, "k", 0); return err },
	"TTL":    func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.TTL(ctx, "k"); return err },
	"GetVersioned": func(ctx context.Context, c *yokedcache.Cache) error {
		_, _, err := c.GetVersioned(ctx, "k")
		return err
	},
	"SetIf": func(ctx context.Context, c *yokedcache.Cache) error {
		_, _, err := c.SetIf(ctx, "k", nil, yokedcache.IfPresent(), yokedcache.WithTags("t"))
		return err
	},
	"DeleteIf": func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.DeleteIf(ctx, "k", 1); return err },
	"GetAndExpire": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := c.GetAndExpire(ctx, "k", time.Hour)
		return err
	},
	"CounterAdd": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := c.CounterAdd(ctx, "n", 1)
		return err
	},
	"GetInfo": func(ctx context.Context, c *yokedcache.Cache) error {
		return second(c.GetInfo(ctx, "k", yokedcache.WithMaxAge(time.Minute)))
	},
	"InvalidateTag": func(ctx context.Context, c *yokedcache.Cache) error {
		return c.InvalidateTag(ctx, "t")
	},
	"InvalidateTags": func(ctx context.Context, c *yokedcache.Cache) error {
		return c.InvalidateTags(ctx, "t", "u")
	},
	"CountInvalidateTags": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := c.CountInvalidateTags(ctx, "t")
		return err
	},
	"InvalidatePattern": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := c.InvalidatePattern(ctx, "p*")
		return err
	},
	"DryRunInvalidateTags": func(ctx context.Context, c *yokedcache.Cache) error {
		return second(c.DryRunInvalidateTags(ctx, "t"))
	},
	"DryRunInvalidatePattern": func(ctx context.Context, c *yokedcache.Cache) error {
		return second(c.DryRunInvalidatePattern(ctx, "p*"))
	},
	"DryRunFlush": func(ctx context.Context, c *yokedcache.Cache) error { return second(c.DryRunFlush(ctx)) },
	"Keys": func(ctx context.Context, c *yokedcache.Cache) error {
		keys := c.Keys(ctx, "*")
		for keys.Next() {
		}
		keys.Close()
		keys.Close()
		return keys.Err()
	},
	"Keys with tags": func(ctx context.Context, c *yokedcache.Cache) error {
		keys := c.Keys(ctx, "*", yokedcache.WithAnyTag("t", "u"))
		defer keys.Close()
		for keys.Next() {
		}
		return keys.Err()
	},
	"Search": func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.Search(ctx, "q"); return err },
	"GetMany": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := c.GetMany(ctx, []string{"k"})
		return err
	},
	"GetMany fresh": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := c.GetMany(ctx, []string{"k"}, yokedcache.WithFresh())
		return err
	},
	"SetMany": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := c.SetMany(ctx, []yokedcache.Entry{{Key: "k"}})
		return err
	},
	"DeleteMany": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := c.DeleteMany(ctx, []string{"k"})
		return err
	},
	"Flush":      func(ctx context.Context, c *yokedcache.Cache) error { return c.Flush(ctx) },
	"CountFlush": func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.CountFlush(ctx); return err },
	"Stats":      func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.Stats(ctx); return err },
	"Health":     func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.Health(ctx); return err },
	"Metrics":    func(ctx context.Context, c *yokedcache.Cache) error { _, err := c.Metrics(ctx); return err },
	"Ping":       func(ctx context.Context, c *yokedcache.Cache) error { return c.Ping(ctx) },
	"GetOrLease": func(ctx context.Context, c *yokedcache.Cache) error {
		found, err := c.GetOrLease(ctx, fmt.Sprint("l", prefixes.Add(1)), yokedcache.WithTags("t"), yokedcache.WithWait(yokedcache.NoWait))
		found.Lease.Free()
		return err
	},
	"Publish": func(ctx context.Context, c *yokedcache.Cache) error { return second(c.Publish(ctx, "c", nil)) },
	"Subscribe": func(ctx context.Context, c *yokedcache.Cache) error {
		subscription, err := c.Subscribe(ctx, yokedcache.Filter{Channels: []string{"c"}, Patterns: []string{"p*"}})
		if err == nil {
			err = subscription.Close()
		}
		return err
	},
	"OpenEvents": func(ctx context.Context, c *yokedcache.Cache) error {
		reader, err := c.OpenEvents(ctx, yokedcache.EventFilter{Tags: []string{"t"}, Keys: []string{"p*"}})
		if err == nil {
			err = reader.Close()
		}
		return err
	},
	"GetJSON": func(ctx context.Context, c *yokedcache.Cache) error {
		_, err := yokedcache.GetJSON[int](ctx, c, "j")
		return err
	},
	"SetJSON": func(ctx context.Context, c *yokedcache.Cache) error { return yokedcache.SetJSON(ctx, c, "j", 1) },
}

// The error of each method is of the sentinel's code, and an *Error with a message.
func eachFails(t *testing.T, ctx context.Context, cache *yokedcache.Cache, wanted error) {
	t.Helper()
	for name, method := range methods {
		err := method(ctx, cache)
		var described *yokedcache.Error
		if !errors.Is(err, wanted) || !errors.As(err, &described) || described.Message == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMethodsSucceed(t *testing.T) {
	cache := open(t, "")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for name, method := range methods {
		err := method(ctx, cache)
		needed := yokedcache.CanList
		if name == "Publish" || name == "Subscribe" {
			needed = yokedcache.CanPublish
		} else if name == "OpenEvents" {
			needed = yokedcache.CanEvents
		}
		unable := cache.Capabilities()&needed == 0 && errors.Is(err, yokedcache.ErrUnsupported)
		if err != nil && !errors.Is(err, yokedcache.ErrMiss) && !unable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNil(t *testing.T) {
	eachFails(t, ctx, nil, yokedcache.ErrInvalid)
	//lint:ignore SA1012 the mistake is what is tested
	eachFails(t, nil, open(t, ""), yokedcache.ErrInvalid)
	var cache *yokedcache.Cache
	if !errors.Is(cache.Close(), yokedcache.ErrInvalid) || !errors.Is(cache.Shutdown(ctx), yokedcache.ErrInvalid) {
		t.Error("a nil cache closes")
	}
	if cache.Capabilities() != 0 {
		t.Error("a nil cache can something")
	}
}

// A value that was not made by its constructor is refused: it gives neither an empty answer nor a crash.
func TestZeroValues(t *testing.T) {
	var cache yokedcache.Cache
	eachFails(t, ctx, &cache, yokedcache.ErrInvalid)
	if !errors.Is(cache.Close(), yokedcache.ErrInvalid) || !errors.Is(cache.Shutdown(ctx), yokedcache.ErrInvalid) {
		t.Error("a cache that was not opened closes")
	}
	opened := open(t, "")
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for name, err := range map[string]error{
		"Shutdown":       cache.Shutdown(limited),
		"Switch":         second(cache.Switch(ctx, "memory://", yokedcache.SwitchOptions{})),
		"MigrateTo":      second(opened.MigrateTo(ctx, &cache, yokedcache.MigrateOptions{})),
		"KeyIterator":    end(&yokedcache.KeyIterator{}),
		"search option":  second(opened.Search(ctx, "q", nil)),
		"counter option": second(opened.CounterAdd(ctx, "n", 1, nil)),
		"Condition":      third(opened.SetIf(ctx, "n", nil, yokedcache.Condition{})),
	} {
		if !errors.Is(err, yokedcache.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if was, err := opened.Exists(ctx, "n"); was || err != nil {
		t.Error("something was stored", err)
	}
	check(t, opened.Set(ctx, "k", nil, yokedcache.SetOption{}))
	check(t, second(opened.CounterAdd(ctx, "n", 1, yokedcache.SetOption{})))
}

func TestOptionsAddUp(t *testing.T) {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanList == 0 {
		t.Skip("Memcached cannot list keys")
	}
	check(t, cache.Set(ctx, "some:a", nil, yokedcache.WithTags("a")))
	check(t, cache.Set(ctx, "some:b", nil, yokedcache.WithTags("b"), yokedcache.WithTags("c")))
	check(t, cache.Set(ctx, "some:d", nil, yokedcache.WithTags("d")))
	for wanted, options := range map[int][]yokedcache.SearchOption{
		1: {yokedcache.WithAnyTag("a")},
		2: {yokedcache.WithAnyTag("a"), yokedcache.WithAnyTag("c")},
		3: {yokedcache.WithAnyTag("a", "b"), yokedcache.WithAnyTag("d")},
	} {
		matches, err := cache.Search(ctx, "some", options...)
		check(t, err)
		if len(matches) != wanted {
			t.Errorf("%d matches in place of %d", len(matches), wanted)
		}
	}
}

// With a server that never answers, a call beyond the capacity of a cache is refused.
func TestOneOperationTooMany(t *testing.T) {
	defer yokedcache.SetQueueCapacity(yokedcache.SetQueueCapacity(2))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer silent.Close()
	cache, err := yokedcache.Open("redis://" + silent.Addr().String() + "?connect=lazy&socket_timeout=600s&socket_connect_timeout=600s&key_prefix=busy")
	check(t, err)
	failures := make(chan error, 3)
	for range [3]struct{}{} {
		go func() { failures <- second(cache.Get(ctx, "k")) }()
	}
	var busy *yokedcache.Error
	err = <-failures
	if !errors.As(err, &busy) || busy.Code != yokedcache.CodeBusy || !busy.Retryable || !strings.Contains(busy.Message, "2 operations of this cache") {
		t.Error(err)
	}
	stop, cancel := context.WithCancel(ctx)
	cancel()
	cache.Shutdown(stop)
	for range [2]struct{}{} {
		if err := <-failures; !errors.Is(err, yokedcache.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestAClosedCache(t *testing.T) {
	cache, err := yokedcache.Open(testURL(""))
	check(t, err)
	check(t, cache.Set(ctx, "k", nil))
	keys := cache.Keys(ctx, "*")
	for range [3]struct{}{} {
		check(t, cache.Close())
	}
	check(t, cache.Shutdown(ctx))
	eachFails(t, ctx, cache, yokedcache.ErrClosed)
	if keys.Next() || !errors.Is(keys.Err(), yokedcache.ErrClosed) {
		t.Error(keys.Err())
	}
}

func TestAContextThatIsDoneBefore(t *testing.T) {
	cache := open(t, "")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	eachFails(t, cancelled, cache, yokedcache.ErrCancelled)
	eachFails(t, cancelled, cache, context.Canceled)
	late, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancel()
	eachFails(t, late, cache, yokedcache.ErrTimeout)
	eachFails(t, late, cache, context.DeadlineExceeded)
}

func TestArgumentsThatAreRefused(t *testing.T) {
	cache := open(t, "&max_value_bytes=100000")
	long, huge := strings.Repeat("k", 65537), make([]byte, 100001)
	enormous := make([]byte, 100<<20)
	many := make([]string, 129)
	for at := range many {
		many[at] = "t" + strings.Repeat("x", at)
	}
	for name, refused := range map[string]struct {
		err    error
		wanted error
	}{
		"empty key":         {cache.Set(ctx, "", nil), yokedcache.ErrInvalid},
		"empty tag":         {cache.Set(ctx, "k", nil, yokedcache.WithTags("")), yokedcache.ErrInvalid},
		"long key":          {cache.Set(ctx, long, nil), yokedcache.ErrTooLarge},
		"long tag":          {cache.Set(ctx, "k", nil, yokedcache.WithTags(long)), yokedcache.ErrTooLarge},
		"129 tags":          {cache.Set(ctx, "k", nil, yokedcache.WithTags(many...)), yokedcache.ErrTooLarge},
		"huge value":        {cache.Set(ctx, "k", huge), yokedcache.ErrTooLarge},
		"huge value, tag":   {cache.Set(ctx, "k", huge, yokedcache.WithTags("t")), yokedcache.ErrTooLarge},
		"enormous value":    {cache.Set(ctx, "k", enormous), yokedcache.ErrTooLarge},
		"negative TTL":      {cache.Set(ctx, "k", nil, yokedcache.WithTTL(-time.Millisecond)), yokedcache.ErrInvalid},
		"negative TTL, tag": {cache.Set(ctx, "k", nil, yokedcache.WithTTL(-2), yokedcache.WithTags("t")), yokedcache.ErrInvalid},
		"200 years":         {cache.Set(ctx, "k", nil, yokedcache.WithTTL(200*365*24*time.Hour)), yokedcache.ErrInvalid},
		"get":               {second(cache.Get(ctx, "")), yokedcache.ErrInvalid},
		"get, long":         {second(cache.Get(ctx, long)), yokedcache.ErrTooLarge},
		"expire":            {second(cache.Expire(ctx, "k", -time.Hour)), yokedcache.ErrInvalid},
		"get versioned":     {third(cache.GetVersioned(ctx, "")), yokedcache.ErrInvalid},
		"set if, key":       {third(cache.SetIf(ctx, long, nil, yokedcache.IfAbsent())), yokedcache.ErrTooLarge},
		"set if, value":     {third(cache.SetIf(ctx, "k", huge, yokedcache.IfAbsent())), yokedcache.ErrTooLarge},
		"set if, tag":       {third(cache.SetIf(ctx, "k", nil, yokedcache.IfAbsent(), yokedcache.WithTags(""))), yokedcache.ErrInvalid},
		"set if, TTL":       {third(cache.SetIf(ctx, "k", nil, yokedcache.IfAbsent(), yokedcache.WithTTL(-2))), yokedcache.ErrInvalid},
		"delete if":         {second(cache.DeleteIf(ctx, "", 1)), yokedcache.ErrInvalid},
		"get and expire":    {second(cache.GetAndExpire(ctx, "k", -time.Hour)), yokedcache.ErrInvalid},
		"counter, key":      {second(cache.CounterAdd(ctx, "", 1)), yokedcache.ErrInvalid},
		"counter, TTL":      {second(cache.CounterAdd(ctx, "k", 1, yokedcache.WithTTL(-time.Hour))), yokedcache.ErrInvalid},
		"counter, tags":     {second(cache.CounterAdd(ctx, "k", 1, yokedcache.WithTags("t"))), yokedcache.ErrInvalid},
		"counter, overflow": {second(cache.CounterAdd(ctx, "k", 1, yokedcache.WithInitial(math.MaxInt64))), yokedcache.ErrInvalid},
		"get many":          {second(cache.GetMany(ctx, []string{"k", ""})), yokedcache.ErrInvalid},
		"set many":          {second(cache.SetMany(ctx, []yokedcache.Entry{{Key: "k"}, {Key: "l", Value: huge}})), yokedcache.ErrTooLarge},
		"delete many":       {second(cache.DeleteMany(ctx, []string{"", "k"})), yokedcache.ErrInvalid},
		"tag":               {cache.InvalidateTag(ctx, ""), yokedcache.ErrInvalid},
		"page size":         {end(cache.Keys(ctx, "*").PageSize(-1)), yokedcache.ErrInvalid},
	} {
		var described *yokedcache.Error
		if !errors.Is(refused.err, refused.wanted) || !errors.As(refused.err, &described) || described.Retryable {
			t.Errorf("%s: %v", name, refused.err)
		}
	}
	if was, err := cache.Exists(ctx, "k"); was || err != nil {
		t.Error("something was stored", err)
	}
}

func end(keys *yokedcache.KeyIterator) error {
	for keys.Next() {
	}
	return keys.Err()
}

func second[T any](_ T, err error) error {
	return err
}

func third[T, U any](_ T, _ U, err error) error {
	return err
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	for config, wanted := range map[string]error{
		"":                                 yokedcache.ErrConfig,
		"memory://?max_sise=1":             yokedcache.ErrConfig,
		"memory://\x00":                    yokedcache.ErrConfig,
		"\xff":                             yokedcache.ErrConfig,
		strings.Repeat("[", 1000):          yokedcache.ErrConfig,
		"redis://127.0.0.1:1?key_prefix=x": yokedcache.ErrConnect,
	} {
		cache, err := yokedcache.Open(config)
		if cache != nil || !errors.Is(err, wanted) {
			t.Errorf("%.30q: %v", config, err)
		}
	}
	if _, err := yokedcache.OpenFile("/no/such/file", ""); !errors.Is(err, yokedcache.ErrConfig) {
		t.Error(err)
	}
	if _, err := yokedcache.OpenFile("a\x00b", "c"); !errors.Is(err, yokedcache.ErrConfig) {
		t.Error(err)
	}
	for _, name := range []string{"YOKEDCACHE_URL", "YOKEDCACHE_CONFIG", "REDIS_URL"} {
		t.Setenv(name, "")
	}
	if _, err := yokedcache.OpenEnv(); !errors.Is(err, yokedcache.ErrConfig) {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	if yokedcache.CodeTimeout.String() != "YC_E_TIMEOUT" || yokedcache.CodeMiss.String() != "YC_MISS" {
		t.Error(yokedcache.CodeTimeout, yokedcache.CodeMiss)
	}
	if errors.Is(yokedcache.ErrMiss, yokedcache.ErrTimeout) || errors.Is(yokedcache.ErrMiss, context.Canceled) {
		t.Error("one error is another")
	}
	_, err := yokedcache.Open("redis://:canary-password@127.0.0.1:1")
	var described *yokedcache.Error
	if !errors.As(err, &described) || described.Code != yokedcache.CodeConnect || !described.Retryable || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}
