package yokedcache

import (
	"context"
	"errors"
	"time"
)

// A Typed is a cache whose values have one type. A codec converts them: [JSON], unless [WithCodec] selects another. All
// methods are safe for concurrent use. Methods for keys, such as Delete and InvalidateTag, are those of the [Cache].
type Typed[V any] struct {
	cache    *Cache
	settings loadSettings
	err      error
}

// NewTyped returns a typed view of a cache. The options are the defaults of its methods, whose own options come after
// them. Options that are not allowed are reported by the methods. The view needs no Close.
func NewTyped[V any](cache *Cache, options ...LoadOption) *Typed[V] {
	settings, err := defaultLoadSettings.with(options)
	if settings.codec == nil {
		settings.codec = JSON
	}
	return &Typed[V]{cache, settings, err}
}

// Cache returns the cache of the view.
func (typed *Typed[V]) Cache() *Cache {
	if typed == nil {
		return nil
	}
	return typed.cache
}

func (typed *Typed[V]) with(options []LoadOption) (loadSettings, error) {
	if typed == nil || typed.settings.codec == nil {
		return loadSettings{}, invalid("the typed cache was not created by NewTyped")
	}
	if typed.err != nil {
		return loadSettings{}, typed.err
	}
	settings, err := typed.settings.with(options)
	if settings.codec == nil {
		settings.codec = JSON
	}
	return settings, err
}

// Returns the default options with those of a call that reads.
func (typed *Typed[V]) get(options []GetOption) (GetOption, error) {
	settings, err := typed.with(nil)
	return GetOption{settings.flags | getFlags(options)}, err
}

// Returns the default options with those of a call that stores.
func (typed *Typed[V]) set(options []SetOption) (SetOption, error) {
	settings, err := typed.with(nil)
	for _, option := range options {
		settings.addSetOption(option)
	}
	return SetOption{hasTTL: true, ttl: settings.ttl, tags: settings.tags}, err
}

func (typed *Typed[V]) encode(key string, value V) ([]byte, error) {
	text, err := typed.settings.codec.Marshal(value)
	if err != nil {
		return nil, codecError("encode", typed.settings.codec, key, err)
	}
	return text, nil
}

// Returns what a function of the cache read, decoded.
func (typed *Typed[V]) decode(key string, text []byte, err error) (V, error) {
	if err != nil {
		return *new(V), err
	}
	return decodeBy[V](text, typed.settings.codec, key)
}

// Get returns the value of a key, see [Cache.Get].
//
// Errors: [ErrMiss]; the error of the codec, if the value does not decode.
func (typed *Typed[V]) Get(ctx context.Context, key string, options ...GetOption) (V, error) {
	option, err := typed.get(options)
	if err != nil {
		return *new(V), err
	}
	text, err := typed.cache.Get(ctx, key, option)
	return typed.decode(key, text, err)
}

// GetVersioned returns the value of a key and its version, see [Cache.GetVersioned].
func (typed *Typed[V]) GetVersioned(ctx context.Context, key string) (value V, version uint64, err error) {
	if _, err := typed.with(nil); err != nil {
		return value, 0, err
	}
	text, version, err := typed.cache.GetVersioned(ctx, key)
	value, err = typed.decode(key, text, err)
	return value, version, err
}

// GetAndExpire returns the value of a key and sets its time to live, see [Cache.GetAndExpire].
func (typed *Typed[V]) GetAndExpire(ctx context.Context, key string, ttl time.Duration) (V, error) {
	if _, err := typed.with(nil); err != nil {
		return *new(V), err
	}
	text, err := typed.cache.GetAndExpire(ctx, key, ttl)
	return typed.decode(key, text, err)
}

// GetMany returns the values of many keys, see [Cache.GetMany]. The result has no entry for a key that does not exist.
// The error is that of the first key that failed; the result has the values of the others nevertheless.
func (typed *Typed[V]) GetMany(ctx context.Context, keys []string, options ...GetOption) (map[string]V, error) {
	option, err := typed.get(options)
	if err != nil {
		return nil, err
	}
	results, first := typed.cache.GetMany(ctx, keys, option)
	values := make(map[string]V, len(results))
	for at, result := range results {
		value, err := typed.decode(keys[at], result.Value, result.Err)
		if err == nil {
			values[keys[at]] = value
		} else if first == nil && !errors.Is(err, ErrMiss) {
			first = err
		}
	}
	return values, first
}

// Set stores a value, see [Cache.Set].
//
// Errors: the error of the codec, if it cannot encode the value.
func (typed *Typed[V]) Set(ctx context.Context, key string, value V, options ...SetOption) error {
	option, err := typed.set(options)
	if err != nil {
		return err
	}
	text, err := typed.encode(key, value)
	if err != nil {
		return err
	}
	return typed.cache.Set(ctx, key, text, option)
}

// SetIf stores a value if a condition holds, see [Cache.SetIf].
func (typed *Typed[V]) SetIf(ctx context.Context, key string, value V, condition Condition, options ...SetOption) (stored bool, version uint64, err error) {
	option, err := typed.set(options)
	if err != nil {
		return false, 0, err
	}
	text, err := typed.encode(key, value)
	if err != nil {
		return false, 0, err
	}
	return typed.cache.SetIf(ctx, key, text, condition, option)
}

// SetMany stores many values, see [Cache.SetMany]. The error is that of an entry that failed; others may be stored. If a
// value cannot be encoded, none is.
func (typed *Typed[V]) SetMany(ctx context.Context, values map[string]V, options ...SetOption) error {
	option, err := typed.set(options)
	if err != nil {
		return err
	}
	entries := make([]Entry, 0, len(values))
	for key, value := range values {
		text, err := typed.encode(key, value)
		if err != nil {
			return err
		}
		entries = append(entries, Entry{Key: key, Value: text})
	}
	_, err = typed.cache.SetMany(ctx, entries, option)
	return err
}

// GetOrLoad returns the value of a key, or loads it, see the function [GetOrLoad]. The error [ErrAbsent] distinguishes a
// value that does not exist from the zero value of the type.
func (typed *Typed[V]) GetOrLoad(ctx context.Context, key string, load func(ctx context.Context, fill *Fill) (V, error), options ...LoadOption) (V, error) {
	settings, err := typed.with(options)
	if err != nil {
		return *new(V), err
	}
	return getOrLoad(ctx, typed.cache, key, load, &settings)
}

// GetOrLoadMany returns the values of many keys, and loads those that are missing, see the function [GetOrLoadMany].
func (typed *Typed[V]) GetOrLoadMany(ctx context.Context, keys []string, load func(ctx context.Context, keys []string, fill *Fill) (map[string]V, error), options ...LoadOption) (map[string]V, error) {
	settings, err := typed.with(options)
	if err != nil {
		return nil, err
	}
	return getOrLoadMany(ctx, typed.cache, keys, load, settings)
}
