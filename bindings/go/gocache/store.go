// Package gocache stores the entries of github.com/eko/gocache in a cache.
//
//	manager := cache.New[string](gocache.New[string](yoked))
//	err := manager.Set(ctx, "user:1", "Ada", store.WithExpiration(time.Minute), store.WithTags([]string{"users"}))
//	err = manager.Invalidate(ctx, store.WithInvalidateTags([]string{"users"}))
//
// gocache's own loadable cache shares a load within the process. yokedcache.GetOrLoad shares it among all processes.
package gocache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eko/gocache/lib/v4/store"
	yokedcache "github.com/yokedcache/yokedcache-go"
)

// StoreType is the type that a store reports.
const StoreType = "yokedcache"

// New returns a store for cache.New[T] of gocache: gets return values of type T. A cache of gocache returns the zero value
// without an error for a value of another type. For values of other types use a marshaler of gocache with []byte.
//
// The options are those of each set that does not have them. The caller closes the cache.
func New[T string | []byte](cache *yokedcache.Cache, options ...store.Option) store.StoreInterface {
	return &adapter[T]{cache, store.ApplyOptions(options...)}
}

type adapter[T string | []byte] struct {
	cache   *yokedcache.Cache
	options *store.Options
}

// Get returns the value of a key. A miss is store.NotFound, which matches yokedcache.ErrMiss too.
func (adapter *adapter[T]) Get(ctx context.Context, key any) (any, error) {
	name, err := nameOf(key)
	if err != nil {
		return nil, err
	}
	value, err := adapter.cache.Get(ctx, name)
	if err != nil {
		return nil, failure(err)
	}
	return T(value), nil
}

// GetWithTTL returns the value of a key and the time until it expires, 0 if it does not.
func (adapter *adapter[T]) GetWithTTL(ctx context.Context, key any) (any, time.Duration, error) {
	name, err := nameOf(key)
	if err != nil {
		return nil, 0, err
	}
	info, err := adapter.cache.GetInfo(ctx, name)
	if err != nil {
		return nil, 0, failure(err)
	}
	return T(info.Value), info.TTL, nil
}

// Set stores a string or []byte. WithExpiration sets the time to live: without it, and for 0 and less, the entry never
// expires. WithTags sets its tags, which are those of the library: other programs invalidate them, too. Other options have
// no effect.
func (adapter *adapter[T]) Set(ctx context.Context, key any, value any, options ...store.Option) error {
	name, err := nameOf(key)
	if err != nil {
		return err
	}
	var data []byte
	switch value := value.(type) {
	case []byte:
		data = value
	case string:
		data = []byte(value)
	default:
		return fmt.Errorf("gocache: a value is of type %T: use string, []byte or a marshaler", value)
	}
	applied := store.ApplyOptionsWithDefault(adapter.options, options...)
	return adapter.cache.Set(ctx, name, data, yokedcache.WithTTL(max(applied.Expiration, 0)), yokedcache.WithTags(applied.Tags...))
}

// Delete removes a key. A key that does not exist is no error.
func (adapter *adapter[T]) Delete(ctx context.Context, key any) error {
	name, err := nameOf(key)
	if err != nil {
		return err
	}
	_, err = adapter.cache.Delete(ctx, name)
	return err
}

// Invalidate turns the entries with any of the tags of WithInvalidateTags into misses, in all processes.
func (adapter *adapter[T]) Invalidate(ctx context.Context, options ...store.InvalidateOption) error {
	return adapter.cache.InvalidateTags(ctx, store.ApplyInvalidateOptions(options...).Tags...)
}

// Clear removes all entries of the cache: in one write for a view with a namespace and for a cache with the option
// generations, else as Flush does, which lists the keys of the prefix.
func (adapter *adapter[T]) Clear(ctx context.Context) error {
	err := adapter.cache.Clear(ctx)
	if errors.Is(err, yokedcache.ErrUnsupported) {
		return adapter.cache.Flush(ctx)
	}
	return err
}

// GetType returns StoreType.
func (adapter *adapter[T]) GetType() string {
	return StoreType
}

func nameOf(key any) (string, error) {
	if name, ok := key.(string); ok {
		return name, nil
	}
	return "", fmt.Errorf("gocache: a key is of type %T: use a string, or a cache of gocache, which makes one of it", key)
}

func failure(err error) error {
	if errors.Is(err, yokedcache.ErrMiss) {
		return store.NotFoundWithCause(err)
	}
	return err
}
