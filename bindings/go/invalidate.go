package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"math"
	"strconv"
)

// A Count is how many entries were removed, or [CountUnknown].
type Count int64

// CountUnknown is what a backend answers that cannot know how many entries it removed; see [CanCount].
const CountUnknown Count = -1

// String is the number, or "unknown".
func (count Count) String() string {
	if count == CountUnknown {
		return "unknown"
	}
	return strconv.FormatInt(int64(count), 10)
}

func countOf(removed uint64) Count {
	if removed == uint64(C.YC_COUNT_UNKNOWN) || removed > math.MaxInt64 {
		return CountUnknown
	}
	return Count(removed)
}

// InvalidateTag makes every entry that was set with the tag a miss: once it has returned, no process reads one
// that was set before. It takes the same time for any number of entries on memory.
func (cache *Cache) InvalidateTag(ctx context.Context, tag string) error {
	return cache.InvalidateTags(ctx, tag)
}

// InvalidateTags invalidates as InvalidateTag does the entries that have any of the tags.
func (cache *Cache) InvalidateTags(ctx context.Context, tags ...string) error {
	_, err := cache.remove(ctx, &operation{kind: C.YC_OP_INVALIDATE_TAGS, tags: tags}, false)
	return err
}

// CountInvalidateTags is InvalidateTags that tells how many entries went; one with several of the tags is counted once.
func (cache *Cache) CountInvalidateTags(ctx context.Context, tags ...string) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_INVALIDATE_TAGS, flags: C.YC_OP_COUNT, tags: tags}, false)
}

// InvalidatePattern removes every key that matches a glob, on the whole key and case-sensitive: "*" any run of
// bytes, "?" any byte, "[a-z]" one of these, "[^a]" or "[!a]" none of these, "\x" the byte x itself. Entries that are
// set while it runs may stay. It fails with [ErrUnsupported] where the backend cannot list keys.
func (cache *Cache) InvalidatePattern(ctx context.Context, pattern string) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_INVALIDATE_PATTERN, flags: C.YC_OP_COUNT, key: pattern}, true)
}

// Flush removes every entry of this cache's key_prefix and nobody else's.
func (cache *Cache) Flush(ctx context.Context) error {
	_, err := cache.remove(ctx, &operation{kind: C.YC_OP_FLUSH}, true)
	return err
}

// CountFlush is Flush that tells how many entries went.
func (cache *Cache) CountFlush(ctx context.Context) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_FLUSH, flags: C.YC_OP_COUNT}, true)
}

// What may go through the whole cache runs on the library's thread, also in memory.
func (cache *Cache) remove(ctx context.Context, op *operation, long bool) (Count, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer user.leave()
	run := cache.outcome
	if long {
		run = cache.queue.outcome
	}
	outcome, err := run(ctx, op)
	if err != nil {
		return 0, err
	}
	return countOf(outcome.removed), nil
}
