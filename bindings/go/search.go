package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"unsafe"
)

// A Match is a key that a search found, and how like the query it is, from 0 to 100.
type Match struct {
	Key   string
	Score float64
}

// A SearchOption says what a search looks for beside its query: [WithThreshold], [WithLimit], [WithAnyTag].
type SearchOption func(*operation)

// WithThreshold sets the lowest score that counts; without it 80.
func WithThreshold(score float64) SearchOption {
	return func(op *operation) { op.threshold = score }
}

// WithLimit sets the most matches; without it 10.
func WithLimit(matches int) SearchOption {
	// What is below 1 is refused by the library as 0.
	return func(op *operation) { op.limit = uint64(max(matches, 0)) }
}

// WithAnyTag restricts the search to entries that have one of the tags. The tags of several such options are combined.
func WithAnyTag(tags ...string) SearchOption {
	return func(op *operation) { op.tags = append(op.tags[:len(op.tags):len(op.tags)], tags...) }
}

// Search finds the keys most like a query, best first, equal scores by key. The score is the partial ratio of
// rapidfuzz on bytes: the query against the part of the key that suits it best, 100 when the key contains it. It
// looks at every key of the cache. The query has at most 1 KiB; a longer one fails with [ErrTooLarge].
func (cache *Cache) Search(ctx context.Context, query string, options ...SearchOption) ([]Match, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer user.leave()
	op := operation{kind: C.YC_OP_SEARCH, key: query, threshold: C.YC_SEARCH_THRESHOLD, limit: C.YC_SEARCH_LIMIT}
	for _, option := range options {
		if option == nil {
			return nil, invalid("a search option is nil")
		}
		option(&op)
	}
	call, err := cache.queue.run(ctx, &op)
	if err != nil {
		return nil, err
	}
	defer call.release()
	return takeMatches((*C.yc_matches)(call.handle)), nil
}

func takeMatches(found *C.yc_matches) []Match {
	defer C.yc_matches_free(found)
	count := C.yc_matches_count(found)
	matches := make([]Match, 0, int(count))
	for rank := C.size_t(0); rank < count; rank++ {
		match := C.yc_matches_at(found, rank)
		key := unsafe.Slice((*byte)(match.key.data), int(match.key.len))
		matches = append(matches, Match{string(key), float64(match.score)})
	}
	return matches
}
