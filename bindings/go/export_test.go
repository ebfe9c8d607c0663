package yokedcache

// SetQueueCapacity sets the number of operations that caches opened later may have in flight, and returns the previous
// number.
func SetQueueCapacity(operations int) (before int) {
	before, queueCapacity = queueCapacity, operations
	return before
}

// IsOutage reports whether GetOrLoad takes an error of the store for an outage.
func IsOutage(err error) bool { return isOutage(err) }

// CallsAlone returns the number of calls so far with no other at the same time, since the last that had another.
func CallsAlone(cache *Cache) int {
	cache.queue.lock.Lock()
	defer cache.queue.lock.Unlock()
	return cache.queue.direct.alone
}

// Paths reports whether reads run on the calling thread, and whether they try the near cache first.
func Paths(cache *Cache) (fastPath, hasNear bool) {
	return cache.fastPath.Load(), cache.hasNear.Load()
}

// CallsInFlight returns the number of calls in the queue, except those that wait for messages or events.
func CallsInFlight(cache *Cache) int {
	cache.queue.lock.Lock()
	defer cache.queue.lock.Unlock()
	return cache.queue.inFlight()
}

// CallsListening returns the number of calls in the queue that wait for messages or events.
func CallsListening(cache *Cache) int {
	cache.queue.lock.Lock()
	defer cache.queue.lock.Unlock()
	return cache.queue.listening
}
