//go:build go1.23

package yokedcache

import (
	"context"
	"iter"
)

// AllKeys returns the keys that match a glob as a sequence for a range loop, as [Cache.Keys] lists them:
//
//	for key, err := range cache.AllKeys(ctx, "user:*") {
//		if err != nil {
//			return err
//		}
//		fmt.Println(key)
//	}
//
// An error is the last element of the sequence, with the key "".
func (cache *Cache) AllKeys(ctx context.Context, pattern string, options ...KeysOption) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		keys := cache.Keys(ctx, pattern, options...)
		defer keys.Close()
		for keys.Next() {
			if !yield(keys.Key(), nil) {
				return
			}
		}
		if err := keys.Err(); err != nil {
			yield("", err)
		}
	}
}
