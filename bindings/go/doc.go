// Package yokedcache is the Go binding of the YokedCache library: one cache with the same semantics over memory,
// Redis and Memcached. Services in C, C++, Go and Node share entries, tags and invalidations.
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
//		// The key does not exist.
//	}
//	err = cache.InvalidateTag(ctx, "users")
//
// # Semantics
//
// A key is a string of 1 byte to 64 KiB and may contain any bytes. A value is a byte slice; an empty value is a
// hit. A miss is [ErrMiss], and a server that fails is another error, never a miss. After InvalidateTag has
// returned, no process reads an entry that was set with the tag before the call. SetIf and DeleteIf compare and change
// an entry in one step; a condition that does not hold is not an error. The guide of the library, src/guide in its
// repository, describes the semantics (semantics.md) and every option (configuration.md).
//
// # Near cache
//
// With the option near of the configuration (near=true on Redis, near=1s there and on Memcached) the process keeps copies
// of entries that it reads, and reads them again without a request. What this [Cache] changes it reads at once. What
// another process or another Cache changes it reads at most max_staleness later. [WithFresh] reads from the servers, for
// one call; [Cache.GetNear] reads what is in the memory of the process and never waits.
//
// # Loading
//
// [GetOrLoad] returns the value of a key, or calls a loader and stores the value that it returns. Of many callers one loads,
// in all processes. A value whose load began before an invalidation is not stored:
//
//	user, err := yokedcache.GetOrLoad(ctx, cache, "user:1", func(ctx context.Context, fill *yokedcache.Fill) (User, error) {
//		return selectUser(ctx, 1) // selectUser returns yokedcache.ErrAbsent if the user does not exist.
//	}, yokedcache.WithTTL(time.Minute), yokedcache.WithTags("users"))
//
// The others wait for the value: without a deadline of ctx for the socket_timeout of the configuration (1 s on the memory
// backend). Then they get [ErrBusy]; [WithWait] sets another time.
//
// A Get, a load and a Set do not have this protection. The guide's page loading.md explains it.
//
// # Channels
//
// [Cache.Publish] sends a message to the subscriptions that select its channel, and [Cache.Subscribe] receives messages.
// A gap marks the place where a reader may have missed messages:
//
//	message, err := subscription.Next(ctx)
//	if err == nil && message.IsGap() {
//		// Messages may have been lost here.
//	}
//
// # Events
//
// [Cache.Events] tells of what other processes remove: invalidations, flushes and deletes. It serves to keep other copies in
// step, such as values that the program has computed from entries. On Redis and Memcached it needs the option events of the
// configuration, in every process:
//
//	for event, err := range cache.Events(ctx, yokedcache.EventFilter{Tags: []string{"prices"}}) {
//		if err != nil {
//			return err
//		}
//		forget(event)
//	}
//
// [Cache.OpenEvents] returns a reader of its own, for programs that read the state between the open and the first event.
//
// # Errors
//
// Every error of the library is an [*Error]. Compare it with the sentinels:
//
//	errors.Is(err, yokedcache.ErrTimeout)
//
// Every method that takes a context can fail with [ErrInvalid] (an argument is not allowed, or ctx is nil),
// [ErrTooLarge], [ErrClosed], [ErrForked], [ErrBusy], [ErrCancelled] and [ErrTimeout]. On Redis and Memcached it
// can also fail with [ErrConnect], [ErrAuth], [ErrDenied], [ErrTLS], [ErrServerMemory], [ErrProtocol] and
// [ErrServer]. The documentation of a method lists only what is particular to it.
//
// # Contexts
//
// When a context is cancelled or its deadline passes, the call returns at once. The server may execute the
// operation nevertheless. The error then matches both the error of the context (context.Canceled or
// context.DeadlineExceeded) and [ErrCancelled] or [ErrTimeout]. The option socket_timeout of the configuration
// limits each call too. The memory backend answers short operations without waiting: it checks the context before
// the operation only.
//
// # Goroutines
//
// All methods of a [Cache] are safe for concurrent use, Close included. Calls at the same time that need a server are
// submitted to a completion queue of the cache: their goroutines are parked, no thread waits for them, and they share
// one crossing into the library and one write to the server. Calls one after another block the calling thread
// instead, at most one of a cache at a time. A Get that finds a copy in the near cache returns it on the calling thread.
// The binding does not retry, store or limit anything itself; it lets the callers of a process share a load.
//
// [Cache.Switch] and [Cache.MigrateTo] are the exceptions: each occupies a thread until it returns.
//
// # Log
//
// [SetLogger] passes the log lines of the library to a logger of log/slog: lost connections, servers that cannot be
// connected, probable mistakes in a configuration.
package yokedcache
