package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"math"
	"sync"
	"time"
	"unsafe"
)

const (
	// DefaultTTL is the cache's default_ttl, spread by its ttl_jitter.
	DefaultTTL time.Duration = -1
	// NoExpiry is an entry that never expires.
	NoExpiry time.Duration = 0
)

// A SetOption says how an entry is stored: [WithTTL], [WithTags].
type SetOption struct {
	hasTTL bool
	ttl    time.Duration
	tags   []string
}

// WithTTL gives an entry a time to live, in whole milliseconds; a part of one counts as one. Without it an entry
// has [DefaultTTL].
func WithTTL(ttl time.Duration) SetOption {
	return SetOption{hasTTL: true, ttl: ttl}
}

// WithTags gives an entry up to 64 tags, by which it can be invalidated; they replace those it had.
func WithTags(tags ...string) SetOption {
	return SetOption{tags: tags}
}

// What all options say together.
func settings(options []SetOption) (ttl C.int64_t, tags []string) {
	ttl = C.YC_TTL_DEFAULT
	for at := range options {
		if options[at].hasTTL {
			ttl = millis(options[at].ttl)
		}
		if tags == nil {
			tags = options[at].tags
		} else if len(options[at].tags) > 0 {
			tags = append(tags[:len(tags):len(tags)], options[at].tags...)
		}
	}
	return ttl, tags
}

// A time to live as the library writes it. It refuses the number that a negative one becomes.
func millis(ttl time.Duration) C.int64_t {
	switch {
	case ttl == DefaultTTL:
		return C.YC_TTL_DEFAULT
	case ttl < 0:
		return math.MinInt64
	}
	whole := ttl / time.Millisecond
	if ttl%time.Millisecond != 0 {
		whole++
	}
	return C.int64_t(whole)
}

// Get reads a value; it is the caller's. It fails with [ErrMiss] when the key is not there.
func (cache *Cache) Get(ctx context.Context, key string) ([]byte, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer user.leave()
	if cache.atOnce.Load() {
		return cache.getAtOnce(key)
	}
	return cache.queue.get(ctx, &operation{kind: C.YC_OP_GET, key: key})
}

// Buffers that values are read into, to be copied to memory of their size.
var buffers = sync.Pool{New: func() any { return new([4096]byte) }}

func (cache *Cache) getAtOnce(key string) ([]byte, error) {
	buffer := buffers.Get().(*[4096]byte)
	defer buffers.Put(buffer)
	into := buffer[:]
	for {
		answer := C.yoked_go_get(cache.handle, bytesOf(key), C.size_t(len(key)), (*C.uint8_t)(&into[0]), C.size_t(len(into)))
		switch {
		case answer.status == C.YC_OK && len(into) == len(buffer):
			return append([]byte{}, into[:answer.len]...), nil
		case answer.status == C.YC_OK:
			return into[:answer.len:answer.len], nil
		case answer.status != C.YC_E_BUFFER_TOO_SMALL:
			return nil, failure(answer.status, answer.error)
		}
		C.yc_error_free(answer.error)
		into = make([]byte, answer.len)
	}
}

// The value of a get, or the JSON of a report.
func (queue *queue) get(ctx context.Context, op *operation) ([]byte, error) {
	call, err := queue.run(ctx, op)
	if err != nil {
		return nil, err
	}
	defer call.release()
	if call.handle != nil {
		return takeValue((*C.yc_value)(call.handle)), nil
	}
	return call.value, statusError(call.status)
}

func takeValue(value *C.yc_value) []byte {
	var length C.size_t
	data := (*C.uint8_t)(C.yc_value_data(value, &length))
	defer C.yc_value_free(value)
	return copied(data, length)
}

// The bytes of a text, for a call that reads them before it returns.
func bytesOf(text string) *C.uint8_t {
	return (*C.uint8_t)(unsafe.StringData(text))
}

// Set stores a value, in place of any other under its key. Without options it has the [DefaultTTL] and no tags.
// An empty value is a value.
//
// It fails with [ErrInvalid] (an empty key or tag, a time to live below 0 or over 100 years) or [ErrTooLarge]; an older
// entry stays then.
func (cache *Cache) Set(ctx context.Context, key string, value []byte, options ...SetOption) error {
	user, err := cache.enter(ctx)
	if err != nil {
		return err
	}
	defer user.leave()
	ttl, tags := settings(options)
	if cache.atOnce.Load() && len(tags) == 0 {
		answer := C.yoked_go_set(cache.handle, bytesOf(key), C.size_t(len(key)),
			(*C.uint8_t)(unsafe.SliceData(value)), C.size_t(len(value)), ttl)
		return failure(answer.status, answer.error)
	}
	_, err = cache.outcome(ctx, &operation{kind: C.YC_OP_SET, key: key, value: value, ttl: ttl, tags: tags})
	return err
}

// Delete removes a key; whether it was there.
func (cache *Cache) Delete(ctx context.Context, key string) (bool, error) {
	return cache.hit(ctx, &operation{kind: C.YC_OP_DELETE, key: key})
}

// Exists tells whether a key is there. It counts neither as a use of the entry nor as a hit or a miss.
func (cache *Cache) Exists(ctx context.Context, key string) (bool, error) {
	return cache.hit(ctx, &operation{kind: C.YC_OP_EXISTS, key: key})
}

// Expire gives a key another time to live, counted from now; its value and tags stay. Whether it was there.
func (cache *Cache) Expire(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	return cache.hit(ctx, &operation{kind: C.YC_OP_EXPIRE, key: key, ttl: millis(ttl)})
}

// TTL tells what is left to a key, in whole milliseconds, or [NoExpiry]. It fails with [ErrMiss] when the key is
// not there.
func (cache *Cache) TTL(ctx context.Context, key string) (time.Duration, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer user.leave()
	outcome, err := cache.outcome(ctx, &operation{kind: C.YC_OP_TTL, key: key})
	if err != nil {
		return 0, err
	}
	if outcome.status == C.YC_MISS {
		return 0, ErrMiss
	}
	if outcome.remaining < 0 {
		return NoExpiry, nil
	}
	return time.Duration(outcome.remaining) * time.Millisecond, nil
}

// What an operation came to that has no value.
type outcome struct {
	status    C.yc_status
	remaining int64
	removed   uint64
}

func (cache *Cache) hit(ctx context.Context, op *operation) (bool, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return false, err
	}
	defer user.leave()
	outcome, err := cache.outcome(ctx, op)
	return outcome.status == C.YC_OK && err == nil, err
}

// Runs an operation that has no value and is short: on the spot where that is the backend's way.
func (cache *Cache) outcome(ctx context.Context, op *operation) (outcome, error) {
	if cache.atOnce.Load() {
		return cache.runAtOnce(op)
	}
	return cache.queue.outcome(ctx, op)
}

func (queue *queue) outcome(ctx context.Context, op *operation) (outcome, error) {
	call, err := queue.run(ctx, op)
	if err != nil {
		return outcome{}, err
	}
	defer call.release()
	return outcome{call.status, call.remaining, call.removed}, nil
}

// Blocks that records are written into.
var blocks = sync.Pool{New: func() any { return new([]byte) }}

func (cache *Cache) runAtOnce(op *operation) (outcome, error) {
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	*block = op.appendRecord((*block)[:0], op.outside(), 0)
	var done C.yoked_go_done
	var described *C.yc_error
	C.yoked_go_run(cache.handle, (*C.uint8_t)(&(*block)[0]), &done, &described)
	if done.status < 0 {
		return outcome{}, failure(done.status, described)
	}
	return outcome{done.status, int64(done.remaining_ms), uint64(done.removed)}, nil
}
