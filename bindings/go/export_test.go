package yokedcache

// SetQueueCapacity sets the number of operations that caches opened later may have in flight, and returns the previous
// number.
func SetQueueCapacity(operations int) (before int) {
	before, queueCapacity = queueCapacity, operations
	return before
}

// IsOutage reports whether GetOrLoad takes an error of the store for an outage.
func IsOutage(err error) bool { return isOutage(err) }
