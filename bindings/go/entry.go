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
	// DefaultTTL selects the default_ttl of the configuration, spread by its ttl_jitter.
	DefaultTTL time.Duration = -1
	// NoExpiry selects that an entry never expires. [Cache.TTL] returns it for such an entry.
	NoExpiry time.Duration = 0
)

// A SetOption is an optional property of the entries that a call stores. [WithTTL] and [WithTags] return one.
type SetOption struct {
	hasTTL bool
	ttl    time.Duration
	tags   []string
}

// WithTTL sets the time to live of an entry, rounded up to whole milliseconds: at most 100 years, [NoExpiry] or
// [DefaultTTL]. Without this option an entry has [DefaultTTL]. The last WithTTL of a call applies.
func WithTTL(ttl time.Duration) SetOption {
	return SetOption{hasTTL: true, ttl: ttl}
}

// WithTags sets the tags of an entry, up to 128, by which it can be invalidated. They replace the previous tags of
// the entry. The tags of several WithTags of a call are combined.
func WithTags(tags ...string) SetOption {
	return SetOption{tags: tags}
}

// Combines all options.
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

// Converts a time to live for the library. A negative one becomes a number that the library refuses.
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

// A GetOption is an optional property of a call that reads. [WithFresh] returns one, which is a [LoadOption] too.
type GetOption struct {
	flags C.uint32_t
}

// WithFresh selects that a call reads from the servers, also if the near cache has a copy. A change that another process
// made before the call is then seen. Without the option near of the configuration, WithFresh has no effect.
func WithFresh() GetOption {
	return GetOption{C.YC_OP_FRESH}
}

// Combines all options to the flags of an operation.
func getFlags(options []GetOption) (flags C.uint32_t) {
	for at := range options {
		flags |= options[at].flags
	}
	return flags
}

// Get returns the value of a key. The caller owns the returned slice. A stored empty value is returned as an empty
// slice, not nil. With the option near of the configuration, Get returns a copy in the memory of this process if there is
// one: a change that another process made may be seen up to max_staleness later. [WithFresh] reads from the servers.
//
// Errors: [ErrMiss] if the key does not exist, has expired, or was invalidated by one of its tags.
func (cache *Cache) Get(ctx context.Context, key string, options ...GetOption) ([]byte, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer user.leave()
	if cache.fastPath.Load() {
		if cache.tracing.Load() != nil {
			return cache.getTraced(ctx, key)
		}
		return cache.getOnThread(key, false)
	}
	flags := getFlags(options)
	if flags == 0 && cache.hasNear.Load() && cache.tracing.Load() == nil {
		if value, err := cache.getOnThread(key, true); err != ErrMiss {
			return value, err
		}
	}
	return cache.queue.get(ctx, &operation{kind: C.YC_OP_GET, key: key, flags: flags})
}

// GetNear returns the value of a key if it is in the memory of this process, and reports whether it is: on the memory
// backend, and as a copy with the option near of the configuration. It sends no request and never waits. If it finds
// nothing on Redis or Memcached, the key may exist nevertheless: call [Cache.Get]. The value is as that of Get.
//
// Errors: [ErrInvalid], [ErrTooLarge], [ErrClosed] and [ErrForked]. A key that is not found is no error.
func (cache *Cache) GetNear(key string) (value []byte, found bool, err error) {
	user, err := cache.enter(context.Background())
	if err != nil {
		return nil, false, err
	}
	defer user.leave()
	value, err = cache.getOnThread(key, true)
	if err == ErrMiss {
		return nil, false, nil
	}
	return value, err == nil, err
}

// Reads a key on this thread as one call of the library, which has one span.
func (cache *Cache) getTraced(ctx context.Context, key string) ([]byte, error) {
	outcome, err := cache.runFastPath(ctx, &operation{kind: C.YC_OP_GET, key: key})
	if err != nil {
		return nil, err
	}
	return outcome.value, statusError(outcome.status)
}

// Buffers for values of unknown length. Results are copied to memory of their size.
var buffers = sync.Pool{New: func() any { return new([4096]byte) }}

// Reads a key on this thread; if near is true, what is in the memory of this process only.
func (cache *Cache) getOnThread(key string, near bool) ([]byte, error) {
	buffer := buffers.Get().(*[4096]byte)
	defer buffers.Put(buffer)
	into := buffer[:]
	for {
		answer := C.yoked_go_get(cache.handle, C.bool(near), bytesOf(key), C.size_t(len(key)), (*C.uint8_t)(&into[0]), C.size_t(len(into)))
		switch {
		case answer.status == C.YC_OK && len(into) == len(buffer):
			return cloned(into[:answer.len]), nil
		case answer.status == C.YC_OK:
			return into[:answer.len:answer.len], nil
		case answer.status != C.YC_E_BUFFER_TOO_SMALL:
			return nil, failure(answer.status, answer.error)
		}
		C.yc_error_free(answer.error)
		into = make([]byte, answer.len)
	}
}

// Returns the value of a get, or the JSON of a report.
func (queue *queue) get(ctx context.Context, op *operation) ([]byte, error) {
	call, err := queue.run(ctx, op)
	if err != nil {
		return nil, err
	}
	defer call.release()
	return call.takeValue(), statusError(call.status)
}

// Returns the value of a call, nil without one. A long value is copied, and its handle is released.
func (call *call) takeValue() []byte {
	if call.handle != nil {
		return takeValue((*C.yc_value)(call.handle))
	}
	return call.value
}

// Returns the names of the tags of an entry that was read with its properties, nil if the entry does not store them.
func (call *call) tags() []string {
	if call.handle == nil || call.tagCount == 0 {
		return nil
	}
	return tagsOf((*C.yc_value)(call.handle), call.tagCount)
}

func tagsOf(value *C.yc_value, count uint64) []string {
	var tags []string
	for at := uint64(0); at < count; at++ {
		var length C.size_t
		name := C.yc_value_tag(value, C.size_t(at), &length)
		if name == nil {
			break
		}
		tags = append(tags, C.GoStringN((*C.char)(name), C.int(length)))
	}
	return tags
}

func takeValue(value *C.yc_value) []byte {
	var length C.size_t
	data := (*C.uint8_t)(C.yc_value_data(value, &length))
	defer C.yc_value_free(value)
	return copied(data, length)
}

// Returns a copy, which is not nil.
func cloned(data []byte) []byte {
	copied := make([]byte, len(data))
	copy(copied, data)
	return copied
}

// Returns the bytes of a text, for a call that reads them before it returns.
func bytesOf(text string) *C.uint8_t {
	return (*C.uint8_t)(unsafe.StringData(text))
}

// Set stores a value and replaces an existing entry of the key, with its time to live and tags. Without options
// the entry has [DefaultTTL] and no tags. An empty value is a value. The arguments may be changed after Set has
// returned.
//
// Errors: [ErrInvalid] for an empty key or tag and for a time to live that is negative or over 100 years;
// [ErrTooLarge] for a key or tag over 64 KiB, more than 128 tags, or a value over max_value_bytes;
// [ErrServerMemory] if the server is full. If the library refuses the arguments, an existing entry stays.
func (cache *Cache) Set(ctx context.Context, key string, value []byte, options ...SetOption) error {
	user, err := cache.enter(ctx)
	if err != nil {
		return err
	}
	defer user.leave()
	ttl, tags := settings(options)
	if cache.fastPath.Load() && len(tags) == 0 {
		if tracing := cache.tracing.Load(); tracing != nil {
			defer tracing.beginCall(ctx).end()
		}
		answer := C.yoked_go_set(cache.handle, bytesOf(key), C.size_t(len(key)),
			(*C.uint8_t)(unsafe.SliceData(value)), C.size_t(len(value)), ttl)
		return failure(answer.status, answer.error)
	}
	_, err = cache.outcome(ctx, &operation{kind: C.YC_OP_SET, key: key, value: value, ttl: ttl, tags: tags})
	return err
}

// Delete removes a key and reports whether it existed.
func (cache *Cache) Delete(ctx context.Context, key string) (bool, error) {
	return cache.hit(ctx, &operation{kind: C.YC_OP_DELETE, key: key})
}

// Exists reports whether a key exists. The call does not count as a use of the entry for eviction, nor as a hit or
// a miss.
func (cache *Cache) Exists(ctx context.Context, key string) (bool, error) {
	return cache.hit(ctx, &operation{kind: C.YC_OP_EXISTS, key: key})
}

// Expire sets the time to live of a key, counted from now, and reports whether the key exists. The value and the
// tags stay. The argument ttl is as in [WithTTL]: rounded up to whole milliseconds, [NoExpiry] or [DefaultTTL].
//
// Errors: [ErrInvalid] for a time to live that is negative or over 100 years.
func (cache *Cache) Expire(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	return cache.hit(ctx, &operation{kind: C.YC_OP_EXPIRE, key: key, ttl: millis(ttl)})
}

// TTL returns the remaining time to live of a key in whole milliseconds, or [NoExpiry].
//
// Errors: [ErrMiss] if the key does not exist.
func (cache *Cache) TTL(ctx context.Context, key string) (time.Duration, error) {
	outcome, err := cache.run(ctx, &operation{kind: C.YC_OP_TTL, key: key})
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

// The result of a short operation.
type outcome struct {
	status    C.yc_status
	remaining int64
	removed   uint64
	version   uint64
	number    int64
	tagCount  uint64
	tags      []string
	value     []byte
}

// Runs an operation whose result is whether the key existed.
func (cache *Cache) hit(ctx context.Context, op *operation) (bool, error) {
	outcome, err := cache.run(ctx, op)
	return outcome.status == C.YC_OK && err == nil, err
}

// Runs a short operation as a call of its own.
func (cache *Cache) run(ctx context.Context, op *operation) (outcome, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer user.leave()
	return cache.outcome(ctx, op)
}

// Runs a short operation: on the calling thread if the backend is in this process.
func (cache *Cache) outcome(ctx context.Context, op *operation) (outcome, error) {
	if cache.fastPath.Load() {
		return cache.runFastPath(ctx, op)
	}
	return cache.queue.outcome(ctx, op)
}

func (queue *queue) outcome(ctx context.Context, op *operation) (outcome, error) {
	call, err := queue.run(ctx, op)
	if err != nil {
		return outcome{}, err
	}
	defer call.release()
	return call.outcome(), nil
}

func (call *call) outcome() outcome {
	tags := call.tags()
	return outcome{call.status, call.remaining, call.removed, call.version, call.number, call.tagCount, tags, call.takeValue()}
}

// The result of one of several operations.
type result struct {
	outcome outcome
	err     error
}

// Runs short operations, together.
func (cache *Cache) outcomes(ctx context.Context, ops []operation) []result {
	user, err := cache.enter(ctx)
	if err != nil {
		results := make([]result, len(ops))
		for at := range results {
			results[at].err = err
		}
		return results
	}
	defer user.leave()
	results := make([]result, 0, len(ops))
	for len(ops) > 0 {
		some := ops[:min(len(ops), together)]
		ops = ops[len(some):]
		results = append(results, cache.outcomesOfSome(ctx, some)...)
	}
	return results
}

func (cache *Cache) outcomesOfSome(ctx context.Context, ops []operation) []result {
	if !cache.fastPath.Load() {
		return cache.queue.outcomes(ctx, ops)
	}
	results := make([]result, len(ops))
	for at := range ops {
		results[at].outcome, results[at].err = cache.runFastPath(ctx, &ops[at])
	}
	return results
}

// Blocks for the records of operations.
var blocks = sync.Pool{New: func() any { return new([]byte) }}

// Runs an operation on this thread, until the token is cancelled if it is not nil.
func runOnThread(cache *C.yc_cache, token *C.yc_cancel_token, op *operation) (done C.yoked_go_done, err error) {
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	*block = op.appendRecord((*block)[:0], op.outside(), 0)
	var described *C.yc_error
	C.yoked_go_run(cache, token, (*C.uint8_t)(&(*block)[0]), &done, &described)
	if done.status < 0 {
		err = failure(done.status, described)
	}
	return done, err
}

func (cache *Cache) runFastPath(ctx context.Context, op *operation) (outcome, error) {
	if tracing := cache.tracing.Load(); tracing != nil {
		defer tracing.beginCall(ctx).end()
	}
	done, err := runOnThread(cache.handle, nil, op)
	if err != nil {
		return outcome{}, err
	}
	var value []byte
	var tags []string
	if done.handle != nil {
		tags = tagsOf((*C.yc_value)(done.handle), uint64(done.tag_count))
		value = takeValue((*C.yc_value)(done.handle))
	}
	return outcome{done.status, int64(done.remaining_ms), uint64(done.removed), uint64(done.version), int64(done.number), uint64(done.tag_count), tags, value}, nil
}
