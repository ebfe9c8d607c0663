package yokedcache_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func openViewOf(t testing.TB, cache *yokedcache.Cache, options yokedcache.ViewOptions) *yokedcache.Cache {
	t.Helper()
	view, err := cache.View(options)
	check(t, err)
	t.Cleanup(func() { view.Close() })
	return view
}

func TestANamespaceHasKeysAndTagsOfItsOwn(t *testing.T) {
	cache := open(t, "")
	users := openViewOf(t, cache, yokedcache.ViewOptions{Namespace: "users"})
	groups := openViewOf(t, cache, yokedcache.ViewOptions{Namespace: "groups"})
	all := []*yokedcache.Cache{cache, users, groups}
	values := []string{"plain", "user", "group"}
	for at, one := range all {
		check(t, one.Set(ctx, "view", []byte(values[at]), yokedcache.WithTags("t")))
	}
	check(t, users.InvalidateTag(ctx, "t"))
	values[1] = ""
	for at, one := range all {
		value, err := one.Get(ctx, "view")
		if string(value) != values[at] || (values[at] == "") != errors.Is(err, yokedcache.ErrMiss) {
			t.Errorf("%q, %v in place of %q", value, err, values[at])
		}
	}
	var loads atomic.Int64
	loaded, err := yokedcache.GetOrLoad(ctx, users, "view", loadsOf("loaded", &loads))
	if check(t, err); loaded != "loaded" {
		t.Errorf("%q", loaded)
	}
	if cache.Capabilities()&yokedcache.CanList != 0 {
		keys := users.Keys(ctx, "*")
		for keys.Next() {
			if keys.Key() != "view" {
				t.Errorf("%q", keys.Key())
			}
		}
		check(t, keys.Err())
	}
}

func TestAViewHasOtherDefaults(t *testing.T) {
	cache := open(t, "")
	view := openViewOf(t, cache, yokedcache.ViewOptions{DefaultTTL: 20 * time.Second, Timeout: 10 * time.Second, Tags: []string{"all"}})
	check(t, view.Set(ctx, "default", nil))
	left, err := cache.TTL(ctx, "default")
	if check(t, err); left <= 0 || left > 20*time.Second {
		t.Errorf("%v", left)
	}
	check(t, cache.InvalidateTag(ctx, "all"))
	if _, err := view.Get(ctx, "default"); !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(err)
	}
	lasting := openViewOf(t, view, yokedcache.ViewOptions{DefaultTTL: -1})
	check(t, lasting.Set(ctx, "default", nil))
	if left, err := cache.TTL(ctx, "default"); err != nil || left != yokedcache.NoExpiry {
		t.Errorf("%v, %v", left, err)
	}
	check(t, cache.InvalidateTag(ctx, "all"))
}

func TestAViewEndsWithItsCacheAndEndsNothingElse(t *testing.T) {
	cache, err := yokedcache.Open(withPrefix("memory://"))
	check(t, err)
	one := openViewOf(t, cache, yokedcache.ViewOptions{Namespace: "n"})
	two := openViewOf(t, cache, yokedcache.ViewOptions{Namespace: "n"})
	check(t, one.Set(ctx, "k", nil))
	check(t, one.Close())
	if _, err := one.Get(ctx, "k"); !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
	_, err = two.Get(ctx, "k")
	check(t, err)
	check(t, cache.Close())
	if _, err := two.Get(ctx, "k"); !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
	if _, err := cache.View(yokedcache.ViewOptions{}); !errors.Is(err, yokedcache.ErrClosed) {
		t.Error(err)
	}
	check(t, two.Close())
}

func TestASwitchOfTheCacheAppliesToItsViews(t *testing.T) {
	cache := openAt(t, "memory://")
	view := openViewOf(t, cache, yokedcache.ViewOptions{Namespace: "n"})
	check(t, view.Set(ctx, "k", []byte("v")))
	if _, err := view.Switch(ctx, "memory://", yokedcache.SwitchOptions{}); !errors.Is(err, yokedcache.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := view.MigrateTo(ctx, cache, yokedcache.MigrateOptions{}); !errors.Is(err, yokedcache.ErrUnsupported) {
		t.Error(err)
	}
	_, err := cache.Switch(ctx, withPrefix("memory://"), yokedcache.SwitchOptions{Copy: true})
	check(t, err)
	if value, err := view.Get(ctx, "k"); err != nil || string(value) != "v" {
		t.Errorf("%q, %v", value, err)
	}
}

func TestWrongOptionsOfAViewAreRefused(t *testing.T) {
	cache := openAt(t, "memory://")
	for _, options := range []yokedcache.ViewOptions{
		{Namespace: "a:b"}, {Namespace: "\xff"}, {Namespace: "a\x00"}, {Timeout: -1}, {Timeout: 48 * time.Hour}, {MaxAge: -1}, {MaxAge: -time.Second}, {Tags: []string{""}}, {Tags: []string{"\xff"}},
	} {
		if view, err := cache.View(options); view != nil || !errors.Is(err, yokedcache.ErrConfig) && !errors.Is(err, yokedcache.ErrInvalid) {
			t.Errorf("%+v: %v", options, err)
		}
	}
	view := openViewOf(t, cache, yokedcache.ViewOptions{Namespace: "a"})
	if _, err := view.View(yokedcache.ViewOptions{Namespace: "b"}); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
	var none *yokedcache.Cache
	if _, err := none.View(yokedcache.ViewOptions{}); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
	if _, err := new(yokedcache.Cache).View(yokedcache.ViewOptions{}); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
	if capabilities := new(yokedcache.Cache).Capabilities(); capabilities != 0 {
		t.Error(capabilities)
	}
}
