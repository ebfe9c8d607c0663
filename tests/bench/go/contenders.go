package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/viccon/sturdyc"
	yokedcache "github.com/yokedcache/yokedcache-go"
)

// A contender is a client as its users would call it: bytes in, bytes of one's own out.
type contender struct {
	name    string
	get     func(ctx context.Context, key string) ([]byte, error)
	set     func(ctx context.Context, key string, value []byte) error
	getMany func(ctx context.Context, keys []string) (hits int, err error)
	setMany func(ctx context.Context, keys []string, value []byte) error
	// Returns the value of a key, or loads it: see load.
	getOrLoad func(ctx context.Context, key string) ([]byte, error)
	// Waits until the sets before are visible, where they are not at once.
	settle func()
	close  func()
}

// The time to live of every entry, as a cache has one.
const ttl = time.Hour

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func yoked(url string) *contender {
	return yokedOf("YokedCache", must(yokedcache.Open(url)))
}

func yokedOf(name string, cache *yokedcache.Cache) *contender {
	return &contender{
		name: name,
		get: func(ctx context.Context, key string) ([]byte, error) {
			return cache.Get(ctx, key)
		},
		set: func(ctx context.Context, key string, value []byte) error {
			return cache.Set(ctx, key, value, yokedcache.WithTTL(ttl))
		},
		getMany: func(ctx context.Context, keys []string) (hits int, err error) {
			results, err := cache.GetMany(ctx, keys)
			for _, result := range results {
				if result.Err == nil {
					hits++
				}
			}
			return hits, err
		},
		setMany: func(ctx context.Context, keys []string, value []byte) error {
			entries := make([]yokedcache.Entry, len(keys))
			for at, key := range keys {
				entries[at] = yokedcache.Entry{Key: key, Value: value}
			}
			_, err := cache.SetMany(ctx, entries, yokedcache.WithTTL(ttl))
			return err
		},
		getOrLoad: func(ctx context.Context, key string) ([]byte, error) {
			return yokedcache.GetOrLoad(ctx, cache, key, func(ctx context.Context, _ *yokedcache.Fill) ([]byte, error) {
				return load(ctx, key)
			})
		},
		close: func() { cache.Close() },
	}
}

// The load of a key, as of a row of a database. Every key is there, so it is not called.
func load(_ context.Context, key string) ([]byte, error) {
	return nil, fmt.Errorf("%s was loaded", key)
}

// A near cache that keeps a copy of every entry.
func yokedNear(config string) *contender {
	cache := must(yokedcache.Open(config))
	contender := yokedOf("YokedCache near", cache)
	contender.settle = func() { keepCopies(cache) }
	return contender
}

// Reads every key until the process has a copy: the server may still tell of its set when it is read.
func keepCopies(cache *yokedcache.Cache) {
	ctx := context.Background()
	begun := time.Now()
	for _, key := range keys {
		for {
			if _, found, err := cache.GetNear(key); found && err == nil {
				break
			}
			must(cache.Get(ctx, key))
			if time.Since(begun) > time.Minute {
				panic("the near cache keeps no copy of " + key)
			}
		}
	}
}

func goRedis(address string) *contender {
	client := redis.NewClient(&redis.Options{Addr: address, PoolSize: max(10*runtime.GOMAXPROCS(0), 64)})
	return &contender{
		name: "go-redis",
		get: func(ctx context.Context, key string) ([]byte, error) {
			return client.Get(ctx, key).Bytes()
		},
		set: func(ctx context.Context, key string, value []byte) error {
			return client.Set(ctx, key, value, ttl).Err()
		},
		getMany: func(ctx context.Context, keys []string) (hits int, err error) {
			values, err := client.MGet(ctx, keys...).Result()
			for _, value := range values {
				if value != nil {
					hits++
				}
			}
			return hits, err
		},
		setMany: func(ctx context.Context, keys []string, value []byte) error {
			_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for _, key := range keys {
					pipe.Set(ctx, key, value, ttl)
				}
				return nil
			})
			return err
		},
		close: func() { client.Close() },
	}
}

func rueidisClient(address string) *contender {
	client := must(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true, ForceSingleClient: true}))
	return &contender{
		name: "rueidis",
		get: func(ctx context.Context, key string) ([]byte, error) {
			return client.Do(ctx, client.B().Get().Key(key).Build()).AsBytes()
		},
		set: func(ctx context.Context, key string, value []byte) error {
			return client.Do(ctx, client.B().Set().Key(key).Value(rueidis.BinaryString(value)).Px(ttl).Build()).Error()
		},
		getMany: func(ctx context.Context, keys []string) (hits int, err error) {
			values, err := client.Do(ctx, client.B().Mget().Key(keys...).Build()).ToArray()
			for at := range values {
				if _, err := values[at].AsBytes(); err == nil {
					hits++
				}
			}
			return hits, err
		},
		setMany: func(ctx context.Context, keys []string, value []byte) error {
			commands := make(rueidis.Commands, len(keys))
			for at, key := range keys {
				commands[at] = client.B().Set().Key(key).Value(rueidis.BinaryString(value)).Px(ttl).Build()
			}
			for _, result := range client.DoMulti(ctx, commands...) {
				if err := result.Error(); err != nil {
					return err
				}
			}
			return nil
		},
		close: client.Close,
	}
}

// rueidis with client-side caching. What it returns belongs to its cache, so it is copied, as with the caches of Go's heap.
func rueidisCached(address string) *contender {
	client := must(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, ForceSingleClient: true}))
	plain := rueidisClient(address)
	return &contender{
		name: "rueidis DoCache",
		get: func(ctx context.Context, key string) ([]byte, error) {
			read, err := client.DoCache(ctx, client.B().Get().Key(key).Cache(), ttl).AsBytes()
			return append([]byte{}, read...), err
		},
		set: plain.set,
		getMany: func(ctx context.Context, keys []string) (hits int, err error) {
			commands := make([]rueidis.CacheableTTL, len(keys))
			for at, key := range keys {
				commands[at] = rueidis.CT(client.B().Get().Key(key).Cache(), ttl)
			}
			results := make([][]byte, len(keys))
			for at, result := range client.DoMultiCache(ctx, commands...) {
				read, err := result.AsBytes()
				if err == nil {
					results[at] = append([]byte{}, read...)
					hits++
				}
			}
			return hits, nil
		},
		close: func() {
			client.Close()
			plain.close()
		},
	}
}

// gomemcache has no call for many sets: they go one after another, as its users would.
func goMemcache(address string) *contender {
	client := memcache.New(address)
	client.MaxIdleConns = 1024
	client.Timeout = time.Second
	set := func(key string, value []byte) error {
		return client.Set(&memcache.Item{Key: key, Value: value, Expiration: int32(ttl.Seconds())})
	}
	return &contender{
		name: "gomemcache",
		get: func(_ context.Context, key string) ([]byte, error) {
			item, err := client.Get(key)
			if err != nil {
				return nil, err
			}
			return item.Value, nil
		},
		set: func(_ context.Context, key string, value []byte) error { return set(key, value) },
		getMany: func(_ context.Context, keys []string) (int, error) {
			items, err := client.GetMulti(keys)
			return len(items), err
		},
		setMany: func(_ context.Context, keys []string, value []byte) error {
			for _, key := range keys {
				if err := set(key, value); err != nil {
					return err
				}
			}
			return nil
		},
		close: func() { client.Close() },
	}
}

// Caches of Go's own heap hand out what they hold; here each copies, so that the bytes are one's own as with the others.
func local(name string, get func(string) ([]byte, bool), set func(string, []byte), close func()) *contender {
	one := func(_ context.Context, key string) ([]byte, error) {
		value, ok := get(key)
		if !ok {
			return nil, fmt.Errorf("%s has no %s", name, key)
		}
		return append([]byte{}, value...), nil
	}
	put := func(_ context.Context, key string, value []byte) error {
		set(key, append([]byte{}, value...))
		return nil
	}
	return &contender{
		name: name, get: one, set: put, close: close,
		getMany: func(ctx context.Context, keys []string) (hits int, err error) {
			results := make([][]byte, len(keys))
			for at, key := range keys {
				if results[at], err = one(ctx, key); err == nil {
					hits++
				}
			}
			return hits, nil
		},
		setMany: func(ctx context.Context, keys []string, value []byte) error {
			for _, key := range keys {
				put(ctx, key, value)
			}
			return nil
		},
	}
}

func ristrettoCache() *contender {
	cache := must(ristretto.NewCache(&ristretto.Config[string, []byte]{
		NumCounters: 10 * entries,
		MaxCost:     2 * entries,
		BufferItems: 64,
		// Otherwise its own overhead counts against MaxCost, and only a few hundred entries fit.
		IgnoreInternalCost: true,
	}))
	contender := local("ristretto", cache.Get, func(key string, value []byte) { cache.SetWithTTL(key, value, 1, ttl) }, cache.Close)
	contender.settle = cache.Wait
	return contender
}

func otterCache() *contender {
	cache := must(otter.New(&otter.Options[string, []byte]{
		MaximumSize:      2 * entries,
		ExpiryCalculator: otter.ExpiryWriting[string, []byte](ttl),
	}))
	contender := local("otter", cache.GetIfPresent, func(key string, value []byte) { cache.Set(key, value) }, func() {})
	contender.getOrLoad = func(ctx context.Context, key string) ([]byte, error) {
		value, err := cache.Get(ctx, key, otter.LoaderFunc[string, []byte](load))
		return append([]byte{}, value...), err
	}
	return contender
}

func sturdycCache() *contender {
	cache := sturdyc.New[[]byte](2*entries, 64, ttl, 10)
	contender := local("sturdyc", cache.Get, func(key string, value []byte) { cache.Set(key, value) }, func() {})
	contender.getOrLoad = func(ctx context.Context, key string) ([]byte, error) {
		value, err := cache.GetOrFetch(ctx, key, func(ctx context.Context) ([]byte, error) { return load(ctx, key) })
		return append([]byte{}, value...), err
	}
	return contender
}
