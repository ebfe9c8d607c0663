// Package yokedcache is one cache with one meaning over memory, Redis and Memcached: the Go binding of the
// YokedCache library. Services in C, C++, Go and Node share entries, tags and invalidations.
//
//	cache, err := yokedcache.Open("redis://localhost:6379/0?key_prefix=app")
//	if err != nil {
//		return err
//	}
//	defer cache.Close()
//
//	err = cache.Set(ctx, "user:1", []byte("Ada"), yokedcache.WithTTL(time.Minute), yokedcache.WithTags("users"))
//	name, err := cache.Get(ctx, "user:1")
//	if errors.Is(err, yokedcache.ErrMiss) {
//		// not there
//	}
//	err = cache.InvalidateTag(ctx, "users")
//
// # What operations mean
//
// Keys are strings of 1 byte to 64 KiB, any bytes; values are bytes, and an empty one is a hit. A server that
// fails is an error and never a miss. Once InvalidateTag has returned, no process reads an entry that was set
// with the tag before. The README of the library has all of it, with the configuration.
//
// # Waiting and cancelling
//
// Any goroutine may call any method at any time. What a server has to answer is submitted to a completion queue
// of the cache: the goroutine parks, no thread waits for it, and goroutines that call at the same time share
// a crossing into the library and a write to the server. What memory answers is answered on the spot.
//
// A context that is cancelled, or whose deadline passes, ends the call at once; a server may carry it out all the
// same. The error then is both what the context says and an [*Error]. Beside it the configuration's
// socket_timeout ends each call. The binding itself retries nothing, keeps nothing and sets no limit.
//
// [Cache.Switch] and [Cache.MigrateTo] are rare and long: each holds a thread until it is done.
package yokedcache
