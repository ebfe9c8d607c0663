package yokedcache

import (
	"context"
	"errors"
	"time"
)

// A Fill is what a loader knows of the value that it loads. The options of the call set its fields; the loader may change
// them until it returns.
type Fill struct {
	// The time to live of the value, see [WithTTL].
	TTL time.Duration
	// The time after TTL in which the value may be served as stale, see [WithStaleFor].
	StaleFor time.Duration
	// The time for which the cache remembers that there is no value, see [WithAbsentTTL].
	AbsentTTL time.Duration
	// Tags in addition to those of [WithTags], which only the loader knows.
	Tags []string

	keys map[string]*Fill
}

// ForKey returns the Fill of one key of [GetOrLoadMany]. It begins with the times of the Fill that all keys share; its tags
// are in addition to the shared ones.
func (fill *Fill) ForKey(key string) *Fill {
	if own := fill.keys[key]; own != nil {
		return own
	}
	if fill.keys == nil {
		fill.keys = map[string]*Fill{}
	}
	own := &Fill{TTL: fill.TTL, StaleFor: fill.StaleFor, AbsentTTL: fill.AbsentTTL}
	fill.keys[key] = own
	return own
}

// Returns what the loader set for a key.
func (fill *Fill) of(key string) *Fill {
	own := fill.keys[key]
	if own == nil {
		return fill
	}
	tags := append(append([]string(nil), fill.Tags...), own.Tags...)
	return &Fill{TTL: own.TTL, StaleFor: own.StaleFor, AbsentTTL: own.AbsentTTL, Tags: tags}
}

// GetOrLoad returns the value of a key. If there is none, it calls the loader and stores the value that the loader
// returns. Of many callers one loads, among all processes that share a store and a prefix. The others wait for the value:
// until ctx is done or, without a deadline of ctx, for the socket_timeout of the configuration (1 s on the memory
// backend). Then they get [ErrBusy]. If loads take longer, set a deadline or [WithWait].
//
// A value whose load began before an invalidation, a delete or a set of the key is not stored, and no call that began
// after it returns the value. Name the tags of the value with [WithTags] or, if only the loader knows them, in its Fill.
//
// A loader that finds nothing returns [ErrAbsent], or an error that wraps it. The cache remembers that for
// [WithAbsentTTL]. GetOrLoad returns the error of the loader to its caller and to those that wait for it, and ErrAbsent
// while the absence is remembered. Note that a loader that calls GetOrLoad for another key, and returns its ErrAbsent,
// makes its own key absent; see ErrAbsent. Any other error of the loader is returned, unchanged, to its caller and to the
// callers of this process that wait for it. It is not cached, see [WithRetryAfter].
//
// With [WithStaleFor], a value past its TTL is returned at once, while one caller's loader runs in the background.
//
// The loader runs on a goroutine of its own. Its context has the values of ctx. It is cancelled when no caller waits for
// the value any more and when the cache is closed; in the background, when the lease ends. A context that is done ends
// the wait of its own caller only. A loader may run after GetOrLoad has returned. A panic of the loader, and
// runtime.Goexit, continue in the caller that started it; other callers get an error. A failure that no caller learns of
// is logged with log/slog.
//
// If the store is down, one caller at a time of this process loads the key, and nothing is stored. The value is returned
// to callers that wait for it because they found the store down, too. The store is down if its error is [ErrConnect],
// [ErrAuth], [ErrTLS], [ErrTimeout], [ErrServerMemory], or another one that is Retryable, except [ErrBusy]. After any
// other error nothing is loaded: GetOrLoad returns it.
//
// A value that cannot be stored ([ErrTooLarge], ErrServerMemory, a server that went down) is returned to the caller of the
// loader. Callers that wait for it begin again; the next load then serves all that wait. A Fill that is not allowed, such
// as a negative TTL or an empty tag, is an error of the caller of the loader, and of those that wait for it. A value with
// more than 128 tags, or with a tag over 64 KiB, cannot be stored: ErrTooLarge.
//
// Errors: [ErrAbsent], and the error of the loader; [ErrBusy] if another caller is still loading when the wait is over;
// [ErrInvalid] also for a Fill that is not allowed, and if a loader asks for the key that it loads; [ErrUnsupported] if
// the server denies what leases need; [ErrClosed] if the cache is closed, which ends running loads at once; the error of
// the codec, if a value does not decode to the type.
func GetOrLoad[T any](ctx context.Context, cache *Cache, key string, load func(ctx context.Context, fill *Fill) (T, error), options ...LoadOption) (T, error) {
	if len(options) == 0 {
		return getOrLoad(ctx, cache, key, load, &defaultLoadSettings)
	}
	settings, err := defaultLoadSettings.with(options)
	if err != nil {
		return *new(T), err
	}
	return getOrLoad(ctx, cache, key, load, &settings)
}

func getOrLoad[T any](ctx context.Context, cache *Cache, key string, load func(context.Context, *Fill) (T, error), settings *loadSettings) (T, error) {
	buffer := buffers.Get().(*[4096]byte)
	var found found
	cache.lookup(ctx, key, settings, buffer[:], &found)
	if found.err == nil && found.State == StateFresh && found.Lease == nil {
		value, err := decode[T](found.Value, found.borrowed, settings.codec, key)
		buffers.Put(buffer)
		return value, err
	}
	found.own()
	buffers.Put(buffer)
	return loadOne(ctx, cache, key, load, *settings, found)
}

func loadOne[T any](ctx context.Context, cache *Cache, key string, load func(context.Context, *Fill) (T, error), settings loadSettings, first found) (T, error) {
	if load == nil {
		first.Lease.Free()
		return *new(T), invalid("the loader is nil")
	}
	loader := func(ctx context.Context, keys []string, fill *Fill) ([]loaded, error) {
		value, err := load(ctx, fill)
		if errors.Is(err, ErrAbsent) {
			return []loaded{{absent: true, cause: err}}, nil
		}
		if err != nil {
			return nil, err
		}
		return []loaded{encode(value, settings.codec, key)}, nil
	}
	call := newLoadCall(ctx, cache, []string{key}, loader, &settings)
	results := call.run([]found{first})
	return resultOf[T](&results[0], settings.codec, key)
}

// Returns the result of a key as its caller gets it.
func resultOf[T any](result *loaded, codec Codec, key string) (T, error) {
	switch {
	case result.err != nil:
		return *new(T), result.err
	case result.absent && result.cause != nil:
		return *new(T), result.cause
	case result.absent:
		return *new(T), ErrAbsent
	case result.own != nil:
		return *result.own.(*T), nil
	}
	// Other callers may have the same bytes.
	return decode[T](result.bytes, true, codec, key)
}

// GetOrLoadMany returns the values of many keys, as [GetOrLoad] does for one. It calls the loader once, with the keys that
// this caller must load; keys that the loader's map does not have are absent. If others load keys, GetOrLoadMany waits for
// them after its own load. If such a load fails or is superseded, it calls the loader again, with the keys that became
// free. Values to be refreshed are loaded by another call of the loader, in the background, which may run at the same
// time. Calls with the same keys in another order do not block each other. A key that is given twice is asked for once.
//
// The result has no entry for an absent key. The error is that of the first key that failed; the result has the values of
// the other keys nevertheless.
//
// Errors: as [GetOrLoad], except [ErrAbsent]. An error of the loader fails all keys of that call of the loader.
func GetOrLoadMany[T any](ctx context.Context, cache *Cache, keys []string, load func(ctx context.Context, keys []string, fill *Fill) (map[string]T, error), options ...LoadOption) (map[string]T, error) {
	settings, err := defaultLoadSettings.with(options)
	if err != nil {
		return nil, err
	}
	return getOrLoadMany(ctx, cache, keys, load, settings)
}

func getOrLoadMany[T any](ctx context.Context, cache *Cache, keys []string, load func(context.Context, []string, *Fill) (map[string]T, error), settings loadSettings) (map[string]T, error) {
	if load == nil {
		return nil, invalid("the loader is nil")
	}
	loader := func(ctx context.Context, keys []string, fill *Fill) ([]loaded, error) {
		values, err := load(ctx, keys, fill)
		if err != nil {
			return nil, err
		}
		return encodeAll(values, keys, settings.codec), nil
	}
	keys = unique(keys)
	first, err := cache.lookups(ctx, keys, &settings)
	if err != nil {
		return nil, err
	}
	call := newLoadCall(ctx, cache, keys, loader, &settings)
	return resultsOf[T](call.run(first), keys, settings.codec)
}

func encodeAll[T any](values map[string]T, keys []string, codec Codec) []loaded {
	results := make([]loaded, len(keys))
	for at, key := range keys {
		if value, ok := values[key]; ok {
			results[at] = encode(value, codec, key)
		} else {
			results[at] = loaded{absent: true}
		}
	}
	return results
}

func resultsOf[T any](results []loaded, keys []string, codec Codec) (map[string]T, error) {
	values := make(map[string]T, len(keys))
	var first error
	for at := range results {
		value, err := resultOf[T](&results[at], codec, keys[at])
		if err == nil {
			values[keys[at]] = value
		} else if first == nil && !results[at].absent {
			first = err
		}
	}
	return values, first
}

// Returns each key once, in the order of their first places.
func unique(keys []string) []string {
	seen := make(map[string]struct{}, len(keys))
	once := make([]string, 0, len(keys))
	for _, key := range keys {
		if _, known := seen[key]; !known {
			seen[key] = struct{}{}
			once = append(once, key)
		}
	}
	return once
}
