//go:build go1.23

package yokedcache

import (
	"context"
	"iter"
)

// AllKeys lists keys as [Cache.Keys] does, for a range loop:
//
//	for key, err := range cache.AllKeys(ctx, "user:*") {
//		if err != nil {
//			return err
//		}
//		fmt.Println(key)
//	}
//
// An error comes last, with the key "".
func (cache *Cache) AllKeys(ctx context.Context, pattern string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		keys := cache.Keys(ctx, pattern)
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
