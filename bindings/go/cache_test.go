package yokedcache_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	yokedcache "github.com/yokedcache/yokedcache-go"
)

func TestWhatIsSetIsRead(t *testing.T) {
	cache := open(t, "")
	for _, size := range []int{0, 1, 100, 4095, 4096, 4097, 8193, 100000, 1000000} {
		key, value := fmt.Sprintf("key\x00\xff%d", size), bytes.Repeat([]byte{byte(size), 0}, size)[:size]
		check(t, cache.Set(ctx, key, value))
		read, err := cache.Get(ctx, key)
		if err != nil || read == nil || !bytes.Equal(read, value) {
			t.Errorf("%d bytes came back as %d, %v", size, len(read), err)
		}
	}
}

func TestAMissIsErrMiss(t *testing.T) {
	cache := open(t, "")
	if value, err := cache.Get(ctx, "nothing"); value != nil || !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(value, err)
	}
	if _, err := cache.TTL(ctx, "nothing"); !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(err)
	}
	for name, ask := range map[string]func() (bool, error){
		"exists": func() (bool, error) { return cache.Exists(ctx, "nothing") },
		"delete": func() (bool, error) { return cache.Delete(ctx, "nothing") },
		"expire": func() (bool, error) { return cache.Expire(ctx, "nothing", time.Second) },
	} {
		if was, err := ask(); was || err != nil {
			t.Error(name, was, err)
		}
	}
}

func TestTimesToLive(t *testing.T) {
	cache := open(t, "&default_ttl=100s&ttl_jitter=0")
	check(t, cache.Set(ctx, "default", nil))
	check(t, cache.Set(ctx, "never", nil, yokedcache.WithTTL(yokedcache.NoExpiry)))
	check(t, cache.Set(ctx, "minute", nil, yokedcache.WithTTL(time.Minute)))
	check(t, cache.Set(ctx, "short", nil, yokedcache.WithTTL(time.Nanosecond)))
	for key, most := range map[string]time.Duration{"default": 100 * time.Second, "never": yokedcache.NoExpiry, "minute": time.Minute} {
		left, err := cache.TTL(ctx, key)
		if err != nil || left > most || left < most/2 {
			t.Error(key, left, err)
		}
	}
	time.Sleep(5 * time.Millisecond)
	if was, err := cache.Exists(ctx, "short"); was || err != nil {
		t.Error("a nanosecond is a millisecond at most", was, err)
	}
	if was, err := cache.Expire(ctx, "never", time.Hour); !was || err != nil {
		t.Error(was, err)
	}
	if left, err := cache.TTL(ctx, "never"); left <= time.Minute || err != nil {
		t.Error(left, err)
	}
}

func TestTagsInvalidate(t *testing.T) {
	cache := open(t, "")
	check(t, cache.Set(ctx, "a", []byte("1"), yokedcache.WithTags("x"), yokedcache.WithTags("y", "z")))
	check(t, cache.Set(ctx, "b", []byte("2"), yokedcache.WithTags("y"), yokedcache.WithTTL(time.Minute)))
	check(t, cache.InvalidateTag(ctx, "x"))
	if was, _ := cache.Exists(ctx, "a"); was {
		t.Error("a is there")
	}
	count, err := cache.CountInvalidateTags(ctx, "y", "z")
	check(t, err)
	if cache.Capabilities()&yokedcache.CanCount != 0 && count != 1 || count != 1 && count != yokedcache.CountUnknown {
		t.Error(count)
	}
	if was, _ := cache.Exists(ctx, "b"); was {
		t.Error("b is there")
	}
}

func TestKeysAndPatterns(t *testing.T) {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanList == 0 {
		t.Skip("the server cannot list keys (CanList)")
	}
	var wanted []string
	for at := 0; at < 1000; at++ {
		key := fmt.Sprintf("user:%03d", at)
		wanted = append(wanted, key)
		check(t, cache.Set(ctx, key, nil))
	}
	check(t, cache.Set(ctx, "other", nil))
	for _, limit := range []int{0, 1, 300} {
		keys := cache.Keys(ctx, "user:*").PageSize(limit)
		var found []string
		for keys.Next() {
			found = append(found, keys.Key())
		}
		check(t, keys.Err())
		if keys.Next() {
			t.Error("a key behind the end")
		}
		sort.Strings(found)
		if strings.Join(found, " ") != strings.Join(wanted, " ") {
			t.Error(len(found), "keys")
		}
	}
	dropped := cache.Keys(ctx, "*")
	dropped.Next()
	dropped.Close()
	if dropped.Next() || dropped.Err() != nil {
		t.Error("a closed listing continues", dropped.Err())
	}
	if _, err := cache.InvalidatePattern(ctx, "user:*"); err != nil {
		t.Error(err)
	}
	if was, err := cache.Exists(ctx, "other"); !was || err != nil {
		t.Error(was, err)
	}
	check(t, cache.Flush(ctx))
	if was, err := cache.Exists(ctx, "other"); was || err != nil {
		t.Error(was, err)
	}
}

func TestSearch(t *testing.T) {
	cache := open(t, "")
	if cache.Capabilities()&yokedcache.CanList == 0 {
		t.Skip("the server cannot list keys (CanList)")
	}
	check(t, cache.Set(ctx, "user:ada", nil, yokedcache.WithTags("x")))
	check(t, cache.Set(ctx, "user:ava", nil))
	matches, err := cache.Search(ctx, "user:ada", yokedcache.WithThreshold(0), yokedcache.WithLimit(2))
	if err != nil || len(matches) != 2 || matches[0] != (yokedcache.Match{Key: "user:ada", Score: 100}) || matches[1].Key != "user:ava" {
		t.Error(matches, err)
	}
	matches, err = cache.Search(ctx, "ava", yokedcache.WithAnyTag("x"), yokedcache.WithThreshold(10))
	if err != nil || len(matches) != 1 || matches[0].Key != "user:ada" {
		t.Error(matches, err)
	}
	for _, limit := range []int{0, -1} {
		if _, err := cache.Search(ctx, "a", yokedcache.WithLimit(limit)); !errors.Is(err, yokedcache.ErrInvalid) {
			t.Error(err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	cache := open(t, "")
	large := bytes.Repeat([]byte("L"), 20000)
	entries := []yokedcache.Entry{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte{}}, {Key: "c", Value: large}}
	failures, err := cache.SetMany(ctx, entries, yokedcache.WithTags("t", "u"), yokedcache.WithTTL(time.Minute))
	if failures != nil || err != nil {
		t.Fatal(failures, err)
	}
	// Calls one after another take another path after a few.
	for number := 0; number < 8; number++ {
		results, err := cache.GetMany(ctx, []string{"c", "nothing", "b", "a"})
		check(t, err)
		if len(results) != 4 || !bytes.Equal(results[0].Value, large) || results[2].Value == nil || len(results[2].Value) != 0 || string(results[3].Value) != "1" {
			t.Error(results)
		}
		if results[1].Value != nil || !errors.Is(results[1].Err, yokedcache.ErrMiss) || results[0].Err != nil {
			t.Error(results[1])
		}
		if results, err := cache.GetMany(ctx, []string{"a", ""}); results != nil || !errors.Is(err, yokedcache.ErrInvalid) {
			t.Error(results, err)
		}
	}
	deleted, err := cache.DeleteMany(ctx, []string{"a", "nothing"})
	if err != nil || fmt.Sprint(deleted) != "[true false]" {
		t.Error(deleted, err)
	}
	check(t, cache.InvalidateTags(ctx, "u"))
	if results, err := cache.GetMany(ctx, []string{"b"}); err != nil || !errors.Is(results[0].Err, yokedcache.ErrMiss) {
		t.Error(results, err)
	}
	for _, none := range [][]string{nil, {}} {
		if results, err := cache.GetMany(ctx, none); err != nil || len(results) != 0 {
			t.Error(results, err)
		}
		if deleted, err := cache.DeleteMany(ctx, none); err != nil || len(deleted) != 0 {
			t.Error(deleted, err)
		}
	}
	if failures, err := cache.SetMany(ctx, nil); failures != nil || err != nil {
		t.Error(failures, err)
	}
}

func TestJSON(t *testing.T) {
	type user struct{ Name string }
	cache := open(t, "")
	check(t, yokedcache.SetJSON(ctx, cache, "ada", user{"Ada"}, yokedcache.WithTags("users")))
	if ada, err := yokedcache.GetJSON[user](ctx, cache, "ada"); err != nil || ada.Name != "Ada" {
		t.Error(ada, err)
	}
	if _, err := yokedcache.GetJSON[user](ctx, cache, "bob"); !errors.Is(err, yokedcache.ErrMiss) {
		t.Error(err)
	}
	if _, err := yokedcache.GetJSON[int](ctx, cache, "ada"); err == nil || errors.Is(err, yokedcache.ErrMiss) {
		t.Error(err)
	}
	if err := yokedcache.SetJSON(ctx, cache, "f", func() {}); err == nil {
		t.Error("a function became JSON")
	}
}

func TestReports(t *testing.T) {
	cache := open(t, "")
	check(t, cache.Ping(ctx))
	// An empty Memcached reports that it uses no memory.
	check(t, cache.Set(ctx, "something", []byte("value")))
	for at := 0; at < 200; at++ {
		cache.Get(ctx, "nothing")
	}
	stats, err := cache.Stats(ctx)
	if err != nil || stats.Misses != 200 || stats.HitRate == nil || len(stats.JSON) == 0 || stats.Latency["get"].Samples == 0 {
		t.Error(stats, err)
	}
	health, err := cache.Health(ctx)
	if err != nil || !health.Healthy() || health.Version != yokedcache.Version() || health.Backend != stats.Backend {
		t.Error(health, err)
	}
	if health.PingMicros == nil || onMemory() != (len(health.Details.Servers) == 0) {
		t.Error(health)
	}
	for _, server := range health.Details.Servers {
		if server.Server == "" || server.Error != "" || server.Version == "" || server.UsedMemoryBytes == 0 {
			t.Error(server)
		}
	}
	if onMemory() != (stats.Evictions != nil) {
		t.Error(stats)
	}
	metrics, err := cache.Metrics(ctx)
	if err != nil || !strings.Contains(metrics, "\nyokedcache_misses_total{backend=\""+stats.Backend+"\",key_prefix=\""+stats.KeyPrefix+"\"} 200\n") {
		t.Error(metrics, err)
	}
}

func TestACheckOfAConfiguration(t *testing.T) {
	text, err := yokedcache.CheckConfig("redis://app:c4n4ry@192.0.2.1/3?key_prefix=checked")
	check(t, err)
	var summary struct {
		Backend   string
		Servers   []string
		KeyPrefix string `json:"key_prefix"`
		Password  bool
	}
	check(t, json.Unmarshal(text, &summary))
	if summary.Backend != "redis" || summary.Servers[0] != "192.0.2.1:6379" || summary.KeyPrefix != "checked" || !summary.Password {
		t.Error(summary)
	}
	if strings.Contains(string(text), "c4n4ry") {
		t.Error("the error contains the password")
	}
	for _, wrong := range []string{"memory://?max_sise=1", "", "a\x00b"} {
		if text, err := yokedcache.CheckConfig(wrong); text != nil || !errors.Is(err, yokedcache.ErrConfig) {
			t.Error(wrong, text, err)
		}
	}
	path := filepath.Join(t.TempDir(), "cache.yaml")
	check(t, os.WriteFile(path, []byte("cache: {blue: {backend: memory, memory: {key_prefix: blue}}}"), 0o600))
	if text, err := yokedcache.CheckConfigFile(path, "blue"); err != nil || !strings.Contains(string(text), `"key_prefix":"blue"`) {
		t.Error(string(text), err)
	}
	for _, environment := range []string{"", "green", "a\x00b"} {
		if text, err := yokedcache.CheckConfigFile(path, environment); text != nil || !errors.Is(err, yokedcache.ErrConfig) {
			t.Error(environment, text, err)
		}
	}
}

func TestAConfigurationFileAndVariables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.yaml")
	text := "cache: {blue: {backend: memory, memory: {key_prefix: blue}}, development: {backend: memory, memory: {key_prefix: dev}}}"
	check(t, os.WriteFile(path, []byte(text), 0o600))
	prefix := func(cache *yokedcache.Cache, err error) string {
		check(t, err)
		defer cache.Close()
		stats, err := cache.Stats(ctx)
		check(t, err)
		return stats.KeyPrefix
	}
	if found := prefix(yokedcache.OpenFile(path, "blue")); found != "blue" {
		t.Error(found)
	}
	if found := prefix(yokedcache.OpenFile(path, "")); found != "dev" {
		t.Error(found)
	}
	t.Setenv("YOKEDCACHE_URL", "memory://?key_prefix=environment")
	if found := prefix(yokedcache.OpenEnv()); found != "environment" {
		t.Error(found)
	}
	if _, err := yokedcache.OpenFile(path, "green"); !errors.Is(err, yokedcache.ErrConfig) {
		t.Error(err)
	}
}

// Each goroutine finds its own values: no answer is another's.
func TestManyGoroutines(t *testing.T) {
	cache := open(t, "")
	var all sync.WaitGroup
	for number := 0; number < 100; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			for at := 0; at < 50; at++ {
				key := fmt.Sprintf("%d:%d", number, at)
				value := bytes.Repeat([]byte(key), 1+at*at)
				if err := cache.Set(ctx, key, value, yokedcache.WithTags(fmt.Sprint(number))); err != nil {
					t.Error(err)
				}
				if read, err := cache.Get(ctx, key); err != nil || !bytes.Equal(read, value) {
					t.Errorf("%s: %d bytes, %v", key, len(read), err)
				}
				if results, err := cache.GetMany(ctx, []string{key, "nothing"}); err != nil || !bytes.Equal(results[0].Value, value) {
					t.Error(err)
				}
			}
			if err := cache.InvalidateTag(ctx, fmt.Sprint(number)); err != nil {
				t.Error(err)
			}
		}(number)
	}
	all.Wait()
}
