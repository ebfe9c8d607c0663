package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"math"
	"strconv"
)

// A Count is a number of removed entries, or [CountUnknown].
type Count int64

// CountUnknown is returned by a backend that cannot know how many entries it removed. See [CanCount].
const CountUnknown Count = -1

// String returns the number, or "unknown".
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

// InvalidateTag turns every entry that was set with the tag into a miss. After it has returned, no process reads
// an entry that was set with the tag before. On memory it takes the same time for any number of entries. A tag
// that no entry has is no error.
//
// Errors: [ErrInvalid] for an empty tag; [ErrTimeout] if the option invalidation_replicas is set and too few
// replicas received the invalidation.
func (cache *Cache) InvalidateTag(ctx context.Context, tag string) error {
	return cache.InvalidateTags(ctx, tag)
}

// InvalidateTags invalidates the entries that have any of the tags, as [Cache.InvalidateTag] does. Without tags it
// removes nothing.
func (cache *Cache) InvalidateTags(ctx context.Context, tags ...string) error {
	_, err := cache.remove(ctx, &operation{kind: C.YC_OP_INVALIDATE_TAGS, tags: tags}, false)
	return err
}

// CountInvalidateTags invalidates as [Cache.InvalidateTags] does and returns the number of entries that could be
// read until then, or [CountUnknown]. An entry with several of the tags is counted once. On memory the count takes
// time in proportion to the number of entries.
func (cache *Cache) CountInvalidateTags(ctx context.Context, tags ...string) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_INVALIDATE_TAGS, flags: C.YC_OP_COUNT, tags: tags}, false)
}

// InvalidatePattern removes every key that matches a glob and returns the number of removed entries, or
// [CountUnknown]. The pattern is matched with the whole key and is case-sensitive: "*" matches any bytes, "?" any
// byte, "[a-z]" a byte of the range, "[^a]" and "[!a]" any other byte, and "\x" the byte x itself. Entries that
// are set during the call may stay.
//
// Errors: [ErrUnsupported] if the backend cannot list keys; [ErrTooLarge] for a pattern over 64 KiB.
func (cache *Cache) InvalidatePattern(ctx context.Context, pattern string) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_INVALIDATE_PATTERN, flags: C.YC_OP_COUNT, key: pattern}, true)
}

// Clear makes misses of all entries of a view with a namespace, or of a cache with the option generations, in one write
// for any number of entries, also where a server cannot list keys. After it has returned, no process reads an entry that
// was set before, and a load that began before is not stored. Other namespaces stay. The memory of the entries is freed
// by their times to live and by eviction.
//
// Errors: [ErrUnsupported] if the entries have no generations.
func (cache *Cache) Clear(ctx context.Context) error {
	_, err := cache.remove(ctx, &operation{kind: C.YC_OP_CLEAR}, false)
	return err
}

// CountClear clears as [Cache.Clear] does and returns the number of entries that could be read until then, or
// [CountUnknown] on servers.
func (cache *Cache) CountClear(ctx context.Context) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_CLEAR, flags: C.YC_OP_COUNT}, false)
}

// DryRunClear returns the number of entries that [Cache.Clear] would remove now, and removes nothing. Otherwise as
// [Cache.DryRunInvalidateTags].
func (cache *Cache) DryRunClear(ctx context.Context) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_CLEAR, flags: C.YC_OP_DRY_RUN}, true)
}

// Flush removes every entry under the key_prefix of this cache, and no other entries.
func (cache *Cache) Flush(ctx context.Context) error {
	_, err := cache.remove(ctx, &operation{kind: C.YC_OP_FLUSH}, true)
	return err
}

// CountFlush flushes as [Cache.Flush] does and returns the number of entries that could be read until then, or
// [CountUnknown].
func (cache *Cache) CountFlush(ctx context.Context) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_FLUSH, flags: C.YC_OP_COUNT}, true)
}

// DryRunInvalidateTags returns the number of entries that [Cache.InvalidateTags] would invalidate now, and removes
// nothing. It lists all keys of the cache. An entry that is set or removed meanwhile may be counted. The number is
// [CountUnknown] if a fallback serves.
//
// Errors: [ErrInvalid] for an empty tag; [ErrUnsupported] if the backend cannot list keys.
func (cache *Cache) DryRunInvalidateTags(ctx context.Context, tags ...string) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_INVALIDATE_TAGS, flags: C.YC_OP_DRY_RUN, tags: tags}, true)
}

// DryRunInvalidatePattern returns the number of entries that [Cache.InvalidatePattern] would remove now, and removes
// nothing. Otherwise as [Cache.DryRunInvalidateTags].
func (cache *Cache) DryRunInvalidatePattern(ctx context.Context, pattern string) (Count, error) {
	op := operation{kind: C.YC_OP_INVALIDATE_PATTERN, flags: C.YC_OP_DRY_RUN, key: pattern}
	return cache.remove(ctx, &op, true)
}

// DryRunFlush returns the number of entries that [Cache.Flush] would remove now, and removes nothing. Otherwise as
// [Cache.DryRunInvalidateTags].
func (cache *Cache) DryRunFlush(ctx context.Context) (Count, error) {
	return cache.remove(ctx, &operation{kind: C.YC_OP_FLUSH, flags: C.YC_OP_DRY_RUN}, true)
}

// Runs a removal. A long one, which may walk the whole cache, runs on a thread of the library, also on memory.
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
