package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"time"
)

// A Condition decides whether [Cache.SetIf] stores. [IfAbsent], [IfPresent] and [IfVersion] return one.
type Condition struct {
	kind    C.int32_t
	version uint64
}

// IfAbsent returns the condition that the key does not exist: that Get would return [ErrMiss].
func IfAbsent() Condition {
	return Condition{kind: C.YC_IF_ABSENT}
}

// IfPresent returns the condition that the key exists.
func IfPresent() Condition {
	return Condition{kind: C.YC_IF_PRESENT}
}

// IfVersion returns the condition that the key exists and has a version that [Cache.GetVersioned] or [Cache.SetIf]
// returned.
func IfVersion(version uint64) Condition {
	return Condition{kind: C.YC_IF_VERSION, version: version}
}

// GetVersioned returns the value of a key as [Cache.Get] does, and its version, for [IfVersion] and [Cache.DeleteIf].
// Each call that stores a value, also an equal one, gives the entry a version that it had never before. Versions have
// no order. Expire and GetAndExpire keep the version; after a switch or a migration the entry has another one.
//
// Errors: [ErrMiss] if the key does not exist.
func (cache *Cache) GetVersioned(ctx context.Context, key string) (value []byte, version uint64, err error) {
	outcome, err := cache.run(ctx, &operation{kind: C.YC_OP_GET_VERSIONED, key: key})
	if err != nil {
		return nil, 0, err
	}
	return outcome.value, outcome.version, statusError(outcome.status)
}

// SetIf stores a value as [Cache.Set] does, if a condition holds. The test and the write are one atomic step. SetIf
// reports whether it stored the value, and the version of the new entry. A condition that does not hold is no
// error: nothing changes.
//
// Errors: those of [Cache.Set]; [ErrInvalid] for a zero [Condition]; [ErrTimeout] also if the reply was lost: the
// value may have been stored; [ErrBusy] if other writers changed the key again and again; [ErrUnsupported] if the
// server denies what the operation needs. The message names it.
func (cache *Cache) SetIf(ctx context.Context, key string, value []byte, condition Condition, options ...SetOption) (stored bool, version uint64, err error) {
	ttl, tags := settings(options)
	outcome, err := cache.run(ctx, &operation{
		kind: C.YC_OP_SET_IF, key: key, value: value, ttl: ttl, tags: tags, condition: condition,
	})
	if err != nil || outcome.status != C.YC_OK {
		return false, 0, err
	}
	return true, outcome.version, nil
}

// DeleteIf removes a key if it has a version, and reports whether it did. The test and the removal are one atomic
// step. The result is false if the key does not exist or has another version.
//
// Errors: [ErrTimeout] also if the reply was lost: the key may have been removed; [ErrBusy] and [ErrUnsupported] as
// [Cache.SetIf].
func (cache *Cache) DeleteIf(ctx context.Context, key string, version uint64) (bool, error) {
	return cache.hit(ctx, &operation{kind: C.YC_OP_DELETE_IF, key: key, condition: IfVersion(version)})
}

// GetAndExpire returns the value of a key and sets its time to live, counted from now, in one atomic step. The
// tags and the version stay. The argument ttl is as in [Cache.Expire], the value as in [Cache.Get].
//
// Errors: [ErrMiss] if the key does not exist; [ErrInvalid] for a time to live that is negative or over 100 years.
func (cache *Cache) GetAndExpire(ctx context.Context, key string, ttl time.Duration) ([]byte, error) {
	outcome, err := cache.run(ctx, &operation{kind: C.YC_OP_GET_AND_EXPIRE, key: key, ttl: millis(ttl)})
	if err != nil {
		return nil, err
	}
	return outcome.value, statusError(outcome.status)
}

// A CounterOption is an optional property of a counter that [Cache.CounterAdd] creates. [WithTTL] and [WithInitial]
// return one.
type CounterOption interface {
	apply(op *operation) error
}

type initial int64

func (value initial) apply(op *operation) error {
	op.initial = C.int64_t(value)
	return nil
}

func (option SetOption) apply(op *operation) error {
	if len(option.tags) > 0 {
		return invalid("a counter has no tags: omit WithTags")
	}
	if option.hasTTL {
		op.ttl = millis(option.ttl)
	}
	return nil
}

// WithInitial sets the value that a counter is created with, before the addition. The default is 0.
func WithInitial(value int64) CounterOption {
	return initial(value)
}

// CounterAdd adds delta, which may be negative, to a counter and returns the new value, in one atomic step. A key
// that does not exist becomes a counter with the value of [WithInitial], to which delta is added. Its time to live,
// that of [WithTTL] or else [DefaultTTL], counts from this creation: an addition to an existing counter does not
// change it. A counter is an entry whose value is a decimal number: Get returns the digits, and Set can replace
// them.
//
// Errors: [ErrInvalid] if the value of the key is not a decimal number and if the sum does not fit in an int64: the
// entry stays; [ErrTimeout] also if the reply was lost: delta may have been added; [ErrBusy] and [ErrUnsupported] as
// [Cache.SetIf].
func (cache *Cache) CounterAdd(ctx context.Context, key string, delta int64, options ...CounterOption) (int64, error) {
	op := operation{kind: C.YC_OP_COUNTER_ADD, key: key, number: C.int64_t(delta), ttl: C.YC_TTL_DEFAULT}
	for _, option := range options {
		if option == nil {
			return 0, invalid("a counter option is nil: omit it")
		}
		if err := option.apply(&op); err != nil {
			return 0, err
		}
	}
	outcome, err := cache.run(ctx, &op)
	return outcome.number, err
}
