package yokedcache

// SetQueueCapacity sets how many operations of a cache that is opened later may be under way, and answers how many it was.
func SetQueueCapacity(operations int) (before int) {
	before, queueCapacity = queueCapacity, operations
	return before
}
