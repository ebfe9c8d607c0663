package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"unsafe"
)

// A Match is a key that [Cache.Search] found, with its similarity to the query from 0 to 100.
type Match struct {
	Key   string
	Score float64
}

// A SearchOption is an optional parameter of [Cache.Search]. [WithThreshold], [WithLimit] and [WithAnyTag] return
// one.
type SearchOption interface {
	setSearch(*operation)
}

type searchOption func(*operation)

func (option searchOption) setSearch(op *operation) {
	option(op)
}

// A TagOption restricts [Cache.Search], [Cache.Keys] or [Cache.AllKeys] to entries that have any of some tags.
// [WithAnyTag] returns one.
type TagOption struct {
	tags []string
}

func (option TagOption) setSearch(op *operation) {
	op.tags = append(op.tags[:len(op.tags):len(op.tags)], option.tags...)
}

func (option TagOption) setKeys(op *operation) {
	option.setSearch(op)
}

// WithThreshold sets the lowest score of a match, from 0 to 100. The default is 80.
func WithThreshold(score float64) SearchOption {
	return searchOption(func(op *operation) { op.threshold = score })
}

// WithLimit sets the maximum number of matches, at least 1. The default is 10.
func WithLimit(matches int) SearchOption {
	// The library refuses 0.
	return searchOption(func(op *operation) { op.limit = uint64(max(matches, 0)) })
}

// WithAnyTag restricts a search or a listing of keys to entries that have any of the tags. The tags of several
// WithAnyTag of a call are combined. Without tags it restricts nothing.
func WithAnyTag(tags ...string) TagOption {
	return TagOption{tags}
}

// Search returns the keys that are most similar to a query, best first, equal scores ordered by key. The score is
// the partial ratio of rapidfuzz on bytes: the similarity of the query to the best-matching part of the key, 100
// if the key contains the query. Search examines every key of the cache.
//
// Errors: [ErrInvalid] for an empty query, a threshold outside 0 to 100 and a limit below 1; [ErrTooLarge] for a
// query over 1 KiB; [ErrUnsupported] if the backend cannot list keys.
func (cache *Cache) Search(ctx context.Context, query string, options ...SearchOption) ([]Match, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer user.leave()
	op := operation{kind: C.YC_OP_SEARCH, key: query, threshold: C.YC_SEARCH_THRESHOLD, limit: C.YC_SEARCH_LIMIT}
	for _, option := range options {
		if option == nil {
			return nil, invalid("a search option is nil: omit it")
		}
		option.setSearch(&op)
	}
	call, err := cache.queue.run(ctx, &op)
	if err != nil {
		return nil, err
	}
	defer call.release()
	return takeMatches((*C.yc_matches)(call.handle)), nil
}

// Copies the matches and releases them.
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
