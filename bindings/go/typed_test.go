package yokedcache_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func TestATypedCacheKeepsItsType(t *testing.T) {
	cache := openLeasing(t, "")
	for name, codec := range map[string]yokedcache.Codec{"default": nil, "JSON": yokedcache.JSON, "gob": exampleCodec{}} {
		users := yokedcache.NewTyped[user](cache, yokedcache.WithTags("users"), yokedcache.WithTTL(time.Minute), yokedcache.WithCodec(codec))
		ada, grace := user{"Ada", 36}, user{"Grace", 85}
		check(t, users.Set(ctx, name+"a", ada, yokedcache.WithTags("a")))
		check(t, users.SetMany(ctx, map[string]user{name + "b": ada, name + "c": grace}))
		if value, err := users.Get(ctx, name+"a"); err != nil || value != ada {
			t.Error(name, value, err)
		}
		if left, err := cache.TTL(ctx, name+"a"); err != nil || left > time.Minute {
			t.Error(left, err)
		}
		values, err := users.GetMany(ctx, []string{name + "c", "missing", name + "a"})
		if err != nil || !reflect.DeepEqual(values, map[string]user{name + "c": grace, name + "a": ada}) {
			t.Error(name, values, err)
		}
		value, version, err := users.GetVersioned(ctx, name+"b")
		if err != nil || value != ada {
			t.Error(name, value, err)
		}
		if stored, _, err := users.SetIf(ctx, name+"b", grace, yokedcache.IfVersion(version), yokedcache.WithTTL(time.Hour)); err != nil || !stored {
			t.Error(name, stored, err)
		}
		if value, err := users.GetAndExpire(ctx, name+"b", time.Minute); err != nil || value != grace {
			t.Error(name, value, err)
		}
		check(t, users.Cache().InvalidateTag(ctx, "a"))
		if value, err := users.Get(ctx, name+"a"); !errors.Is(err, yokedcache.ErrMiss) || value != (user{}) {
			t.Error(name, value, err)
		}
		check(t, cache.InvalidateTag(ctx, "users"))
		if values, err := users.GetMany(ctx, []string{name + "b", name + "c"}); err != nil || len(values) != 0 {
			t.Error(name, values, err)
		}
	}
}

// A text is a value of the codec like any other, so that programs in other languages read the same.
func TestTypedTexts(t *testing.T) {
	cache := open(t, "")
	texts := yokedcache.NewTyped[string](cache)
	check(t, texts.Set(ctx, "k", "Ada"))
	if text, err := cache.Get(ctx, "k"); err != nil || string(text) != `"Ada"` {
		t.Error(string(text), err)
	}
	if text, err := texts.Get(ctx, "k"); err != nil || text != "Ada" {
		t.Error(text, err)
	}
}

func TestTypedLoads(t *testing.T) {
	cache := openLeasing(t, "")
	numbers := yokedcache.NewTyped[int](cache, yokedcache.WithAbsentTTL(time.Hour), yokedcache.WithTags("numbers"))
	var loads atomic.Int64
	for round := 0; round < 2; round++ {
		if value, err := numbers.GetOrLoad(ctx, "zero", loadsOf(0, &loads)); err != nil || value != 0 {
			t.Error(value, err)
		}
		if _, err := numbers.GetOrLoad(ctx, "absent", func(context.Context, *yokedcache.Fill) (int, error) {
			loads.Add(1)
			return 1, yokedcache.ErrAbsent
		}); err != yokedcache.ErrAbsent {
			t.Error(err)
		}
		if value, err := numbers.Get(ctx, "absent"); !errors.Is(err, yokedcache.ErrMiss) || value != 0 {
			t.Error(value, err)
		}
		values, err := numbers.GetOrLoadMany(ctx, []string{"zero", "absent", "seven"}, func(_ context.Context, keys []string, _ *yokedcache.Fill) (map[string]int, error) {
			loads.Add(1)
			return map[string]int{"seven": 7}, nil
		})
		if err != nil || !reflect.DeepEqual(values, map[string]int{"zero": 0, "seven": 7}) {
			t.Error(values, err)
		}
	}
	if loads.Load() != 3 {
		t.Error(loads.Load(), "loads")
	}
	check(t, cache.InvalidateTag(ctx, "numbers"))
	if value, err := numbers.GetOrLoad(ctx, "absent", loadsOf(1, &loads)); err != nil || value != 1 {
		t.Error(value, err)
	}
}

func TestTypedMisuse(t *testing.T) {
	cache := open(t, "")
	check(t, cache.Set(ctx, "k", []byte("{")))
	users := yokedcache.NewTyped[user](cache)
	for name, err := range map[string]error{
		"Get":          second(users.Get(ctx, "k")),
		"GetMany":      second(users.GetMany(ctx, []string{"k"})),
		"GetVersioned": third(users.GetVersioned(ctx, "k")),
		"GetAndExpire": second(users.GetAndExpire(ctx, "k", time.Hour)),
		"GetOrLoad":    second(users.GetOrLoad(ctx, "k", loadsOf(user{}, new(atomic.Int64)))),
	} {
		if err == nil || !strings.Contains(err.Error(), `"k"`) || !strings.Contains(err.Error(), "JSON") {
			t.Error(name, err)
		}
	}
	functions := yokedcache.NewTyped[func()](cache)
	for name, err := range map[string]error{
		"Set":     functions.Set(ctx, "f", func() {}),
		"SetIf":   third(functions.SetIf(ctx, "f", func() {}, yokedcache.IfAbsent())),
		"SetMany": functions.SetMany(ctx, map[string]func(){"f": func() {}}),
	} {
		if err == nil || !strings.Contains(err.Error(), `"f"`) {
			t.Error(name, err)
		}
	}
	var zero yokedcache.Typed[int]
	for name, typed := range map[string]*yokedcache.Typed[int]{
		"nil": nil, "zero": &zero, "cache": yokedcache.NewTyped[int](nil),
		"option": yokedcache.NewTyped[int](cache, yokedcache.WithTTL(-time.Hour)), "nil option": yokedcache.NewTyped[int](cache, nil),
	} {
		typed.Cache()
		for method, err := range map[string]error{
			"Get":           second(typed.Get(ctx, "k")),
			"GetMany":       second(typed.GetMany(ctx, []string{"k"})),
			"GetVersioned":  third(typed.GetVersioned(ctx, "k")),
			"GetAndExpire":  second(typed.GetAndExpire(ctx, "k", time.Hour)),
			"GetOrLoad":     second(typed.GetOrLoad(ctx, "k", loadsOf(1, new(atomic.Int64)))),
			"GetOrLoadMany": second(typed.GetOrLoadMany(ctx, []string{"k"}, func(context.Context, []string, *yokedcache.Fill) (map[string]int, error) { return nil, nil })),
			"Set":           typed.Set(ctx, "k", 1),
			"SetIf":         third(typed.SetIf(ctx, "k", 1, yokedcache.IfAbsent())),
			"SetMany":       typed.SetMany(ctx, map[string]int{"k": 1}),
		} {
			if !errors.Is(err, yokedcache.ErrInvalid) {
				t.Errorf("%s, %s: %v", name, method, err)
			}
		}
	}
}
