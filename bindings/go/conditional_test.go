package yokedcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func openComparing(t *testing.T) *yokedcache.Cache {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanCompare == 0 {
		t.Skip("the server cannot compare before it writes (CanCompare)")
	}
	return cache
}

func TestAVersionIsOfOneSet(t *testing.T) {
	cache := openComparing(t)
	seen := map[uint64]bool{}
	for at := 0; at < 100; at++ {
		check(t, cache.Set(ctx, "k", []byte("same")))
		value, version, err := cache.GetVersioned(ctx, "k")
		if err != nil || string(value) != "same" || seen[version] {
			t.Error(string(value), version, err)
		}
		seen[version] = true
	}
	_, before, _ := cache.GetVersioned(ctx, "k")
	if value, err := cache.GetAndExpire(ctx, "k", time.Hour); err != nil || string(value) != "same" {
		t.Error(string(value), err)
	}
	if left, err := cache.TTL(ctx, "k"); err != nil || left <= 59*time.Minute || left > time.Hour {
		t.Error(left, err)
	}
	if _, after, err := cache.GetVersioned(ctx, "k"); err != nil || after != before {
		t.Error("a new time to live is a new version", err)
	}
}

// Short values come as bytes, long ones as handles.
func TestValuesOfAllSizesWithVersions(t *testing.T) {
	cache := openComparing(t)
	for _, size := range []int{0, 1, 4095, 4096, 4097, 8193, 100000} {
		value := bytes.Repeat([]byte{7, 0}, size)[:size]
		stored, version, err := cache.SetIf(ctx, fmt.Sprint(size), value, yokedcache.IfAbsent(), yokedcache.WithTags("sizes"))
		if err != nil || !stored {
			t.Fatal(size, stored, err)
		}
		read, of, err := cache.GetVersioned(ctx, fmt.Sprint(size))
		if err != nil || read == nil || !bytes.Equal(read, value) || of != version {
			t.Errorf("%d bytes came back as %d, %v", size, len(read), err)
		}
		read, err = cache.GetAndExpire(ctx, fmt.Sprint(size), yokedcache.NoExpiry)
		if err != nil || read == nil || !bytes.Equal(read, value) {
			t.Errorf("%d bytes came back as %d, %v", size, len(read), err)
		}
		if left, err := cache.TTL(ctx, fmt.Sprint(size)); left != yokedcache.NoExpiry || err != nil {
			t.Error(left, err)
		}
	}
	check(t, cache.InvalidateTag(ctx, "sizes"))
	if value, version, err := cache.GetVersioned(ctx, "4097"); value != nil || version != 0 || !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(len(value), version, err)
	}
	if value, err := cache.GetAndExpire(ctx, "4097", time.Hour); value != nil || !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(len(value), err)
	}
}

func TestConditions(t *testing.T) {
	cache := openComparing(t)
	one, _, err := cache.SetIf(ctx, "k", []byte("0"), yokedcache.IfPresent())
	stored, version, err2 := cache.SetIf(ctx, "k", []byte("1"), yokedcache.IfAbsent())
	again, none, err3 := cache.SetIf(ctx, "k", []byte("2"), yokedcache.IfAbsent())
	if one || !stored || again || none != 0 || err != nil || err2 != nil || err3 != nil {
		t.Fatal(one, stored, again, err, err2, err3)
	}
	for _, condition := range []yokedcache.Condition{yokedcache.IfVersion(version), yokedcache.IfPresent()} {
		stored, changed, err := cache.SetIf(ctx, "k", []byte("3"), condition, yokedcache.WithTTL(time.Hour))
		if !stored || changed == version || err != nil {
			t.Error(stored, changed, err)
		}
	}
	if stored, _, err := cache.SetIf(ctx, "k", nil, yokedcache.IfVersion(version)); stored || err != nil {
		t.Error("an old version holds", err)
	}
	if deleted, err := cache.DeleteIf(ctx, "k", version); deleted || err != nil {
		t.Error("an old version was deleted", err)
	}
	_, version, err = cache.GetVersioned(ctx, "k")
	check(t, err)
	for _, wanted := range []bool{true, false} {
		if deleted, err := cache.DeleteIf(ctx, "k", version); deleted != wanted || err != nil {
			t.Error(deleted, err)
		}
	}
}

func TestCounters(t *testing.T) {
	cache := openComparing(t)
	for _, step := range []struct {
		delta, sum int64
	}{{1, 101}, {-201, -100}, {math.MaxInt64, math.MaxInt64 - 100}, {100, math.MaxInt64}, {0, math.MaxInt64}} {
		sum, err := cache.CounterAdd(ctx, "n", step.delta, yokedcache.WithInitial(100), yokedcache.WithTTL(time.Hour))
		if sum != step.sum || err != nil {
			t.Error(sum, err)
		}
	}
	if _, err := cache.CounterAdd(ctx, "n", 1); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
	if value, err := cache.Get(ctx, "n"); string(value) != strconv.Itoa(math.MaxInt64) || err != nil {
		t.Error(string(value), err)
	}
	if sum, err := cache.CounterAdd(ctx, "low", -1, yokedcache.WithInitial(math.MinInt64+1)); sum != math.MinInt64 || err != nil {
		t.Error(sum, err)
	}
	check(t, cache.Set(ctx, "text", []byte("one")))
	if _, err := cache.CounterAdd(ctx, "text", 1); !errors.Is(err, yokedcache.ErrInvalid) {
		t.Error(err)
	}
	if left, err := cache.TTL(ctx, "n"); err != nil || left <= 59*time.Minute || left > time.Hour {
		t.Error(left, err)
	}
}

// Repeats while other callers change the key at each attempt.
func unlessBusy(run func() error) error {
	for {
		if err := run(); !errors.Is(err, yokedcache.ErrBusy) {
			return err
		}
	}
}

// Goroutines add to one counter, and to a number that each of them reads and replaces: no addition is lost.
func TestNoUpdateIsLost(t *testing.T) {
	cache := openComparing(t)
	check(t, cache.Set(ctx, "number", []byte("0")))
	const goroutines, rounds = 8, 20
	var unmet atomic.Int64
	replace := func() error {
		text, version, err := cache.GetVersioned(ctx, "number")
		for err == nil {
			number, _ := strconv.Atoi(string(text))
			var stored bool
			stored, _, err = cache.SetIf(ctx, "number", []byte(strconv.Itoa(number+1)), yokedcache.IfVersion(version))
			if stored || err != nil {
				break
			}
			unmet.Add(1)
			text, version, err = cache.GetVersioned(ctx, "number")
		}
		return err
	}
	var all sync.WaitGroup
	for number := 0; number < goroutines; number++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for at := 0; at < rounds; at++ {
				for _, run := range []func() error{func() error { return second(cache.CounterAdd(ctx, "counter", 1)) }, replace} {
					if err := unlessBusy(run); err != nil {
						t.Error(err)
					}
				}
			}
		}()
	}
	all.Wait()
	for _, key := range []string{"counter", "number"} {
		if value, err := cache.Get(ctx, key); string(value) != strconv.Itoa(goroutines*rounds) || err != nil {
			t.Error(key, string(value), err)
		}
	}
	t.Logf("%d attempts were repeated", unmet.Load())
}

// Of many goroutines that create a key, one succeeds.
func TestOneCreatorOfMany(t *testing.T) {
	cache := openComparing(t)
	var all sync.WaitGroup
	var winners atomic.Int64
	for number := 0; number < 50; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			err := unlessBusy(func() error {
				stored, _, err := cache.SetIf(ctx, "lock", []byte(fmt.Sprint(number)), yokedcache.IfAbsent())
				if stored {
					winners.Add(1)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}(number)
	}
	all.Wait()
	if winners.Load() != 1 {
		t.Error(winners.Load())
	}
}

// A server that denies scripts refuses conditional operations, and nothing else.
func TestAServerThatDeniesScripts(t *testing.T) {
	if !strings.HasPrefix(os.Getenv("YC_TEST_URL"), "redis:") {
		t.Skip("only Redis has permissions for scripts")
	}
	port := freePort(t)
	startRedis(t, port, "--user", "default", "on", "nopass", "~*", "&*", "+@all", "-@scripting")
	cache, err := yokedcache.Open("redis://127.0.0.1:" + port + "?key_prefix=limited")
	check(t, err)
	defer cache.Close()
	if cache.Capabilities()&yokedcache.CanCompare != 0 {
		t.Error("the capability is reported")
	}
	check(t, cache.Set(ctx, "k", []byte("v"), yokedcache.WithTags("t")))
	stored, _, err := cache.SetIf(ctx, "k", nil, yokedcache.IfPresent())
	if stored || !errors.Is(err, yokedcache.ErrUnsupported) || !strings.Contains(err.Error(), "+eval") {
		t.Error(stored, err)
	}
	if value, err := cache.Get(ctx, "k"); string(value) != "v" || err != nil {
		t.Error(string(value), err)
	}
}
