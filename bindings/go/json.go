package yokedcache

import (
	"context"
	"encoding/json"
	"fmt"
)

// GetJSON reads a value that is JSON. It fails as [Cache.Get] does, and with the error of package json when the value
// is no JSON of this type.
func GetJSON[T any](ctx context.Context, cache *Cache, key string) (T, error) {
	var value T
	text, err := cache.Get(ctx, key)
	if err != nil {
		return value, err
	}
	if err := json.Unmarshal(text, &value); err != nil {
		return *new(T), fmt.Errorf("yokedcache: the value of %q: %w", key, err)
	}
	return value, nil
}

// SetJSON stores a value as JSON. It fails as [Cache.Set] does, and with the error of package json.
func SetJSON[T any](ctx context.Context, cache *Cache, key string, value T, options ...SetOption) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("yokedcache: the value for %q: %w", key, err)
	}
	return cache.Set(ctx, key, text, options...)
}
