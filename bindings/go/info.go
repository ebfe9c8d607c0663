package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"time"
)

// An EntryInfo is a value with the properties of its entry. [Cache.GetInfo] returns it.
type EntryInfo struct {
	// Value is as that of [Cache.Get].
	Value []byte
	// Version is for [IfVersion] and [Cache.DeleteIf]; see [Cache.GetVersioned].
	Version uint64
	// Age is the time since the entry was set: never too short, and up to 2.2 s too long. It is [AgeUnknown] if the
	// time of the set is not stored: in memory with an entry that was set without a time to live, on Redis with a
	// counter.
	Age time.Duration
	// TTL is the remaining time to live, or [NoExpiry].
	TTL time.Duration
	// TagCount is the number of tags.
	TagCount int
	// Tags are the names of the tags in the order of the set, each once, and without the namespace of a view. It is nil
	// without tags, and for an entry that stores only hashes of them: it was set without the option tag_names, or the
	// names take more than 2 KiB (two bytes more each, with their namespaces).
	Tags []string
}

// AgeUnknown is the Age of an entry of which the time of the set is not stored.
const AgeUnknown time.Duration = -1

// An InfoOption is an optional parameter of [Cache.GetInfo]. [WithMaxAge] returns one.
type InfoOption func(*operation) error

// WithMaxAge makes an entry that is older than a time a miss for this read. The entry stays. The age may be up to 2.2 s
// too long, so that an entry which is younger by less than that may be a miss too; an older one is never returned. An
// entry of unknown age is a miss. The read fails with [ErrInvalid] if age is less than a millisecond.
func WithMaxAge(age time.Duration) InfoOption {
	return func(op *operation) error {
		if age < time.Millisecond {
			return invalid("the maximum age is %v: it must be 1ms or more", age)
		}
		op.number = C.int64_t(age.Milliseconds())
		return nil
	}
}

// GetInfo returns the value of a key with its version, its age, its remaining time to live and its tags, in as many round trips as [Cache.Get]. It reads from the servers, also if the near cache has a copy.
//
// Errors: [ErrMiss] if the key does not exist, or if its entry is older than [WithMaxAge] allows.
func (cache *Cache) GetInfo(ctx context.Context, key string, options ...InfoOption) (EntryInfo, error) {
	op := operation{kind: C.YC_OP_GET_INFO, key: key}
	for _, option := range options {
		if option == nil {
			return EntryInfo{}, invalid("an option of GetInfo is nil: omit it")
		}
		if err := option(&op); err != nil {
			return EntryInfo{}, err
		}
	}
	outcome, err := cache.run(ctx, &op)
	if err != nil {
		return EntryInfo{}, err
	}
	if outcome.status == C.YC_MISS {
		return EntryInfo{}, ErrMiss
	}
	info := EntryInfo{
		Value: outcome.value, Version: outcome.version, Age: AgeUnknown, TTL: NoExpiry,
		TagCount: int(outcome.tagCount), Tags: outcome.tags,
	}
	if outcome.number != C.YC_AGE_UNKNOWN {
		info.Age = time.Duration(outcome.number) * time.Millisecond
	}
	if outcome.remaining >= 0 {
		info.TTL = time.Duration(outcome.remaining) * time.Millisecond
	}
	return info, nil
}
