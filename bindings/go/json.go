package yokedcache

import (
	"context"
	"encoding/json"
	"fmt"
)

// GetJSON returns the value of a key, decoded from JSON.
//
// Errors: as [Cache.Get], and the error of package encoding/json if the value does not decode to the type.
func GetJSON[T any](ctx context.Context, cache *Cache, key string) (T, error) {
	var value T
	text, err := cache.Get(ctx, key)
	if err != nil {
		return value, err
	}
	if err := json.Unmarshal(text, &value); err != nil {
		return *new(T), fmt.Errorf("yokedcache: cannot decode the value of key %q: %w", key, err)
	}
	return value, nil
}

// SetJSON stores a value, encoded as JSON, as [Cache.Set] does.
//
// Errors: as [Cache.Set], and the error of package encoding/json if the value cannot be encoded.
func SetJSON[T any](ctx context.Context, cache *Cache, key string, value T, options ...SetOption) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("yokedcache: cannot encode the value of key %q: %w", key, err)
	}
	return cache.Set(ctx, key, text, options...)
}
