package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"unsafe"
)

// A Result is what one key of many came to.
type Result struct {
	// The value, when Err is nil.
	Value []byte
	// [ErrMiss], or what went wrong with this key.
	Err error
}

// An Entry is a key and the value to store under it.
type Entry struct {
	Key   string
	Value []byte
}

// GetMany reads many keys, in one round trip a server. There is a result for each key, in their order. The error
// is that of the first key that failed; the results of the others are there all the same. When an argument is
// refused nothing is read, and there are no results.
func (cache *Cache) GetMany(ctx context.Context, keys []string) ([]Result, error) {
	statuses, values, err := cache.many(ctx, &operation{kind: C.YC_OP_GET_MANY, keys: keys})
	if statuses == nil {
		return nil, err
	}
	results := make([]Result, len(statuses))
	for at, status := range statuses {
		results[at] = Result{values[at], perKey(status, err)}
	}
	return results, err
}

// SetMany stores many entries, all with one time to live and the same tags, in one round trip a server. When one
// of them is refused ([ErrInvalid], [ErrTooLarge]) none is stored. The error is that of the first entry that failed;
// the first result says for each entry whether it did, and is nil when all were stored or nothing was tried.
func (cache *Cache) SetMany(ctx context.Context, entries []Entry, options ...SetOption) ([]error, error) {
	ttl, tags := settings(options)
	statuses, _, err := cache.many(ctx, &operation{kind: C.YC_OP_SET_MANY, entries: entries, ttl: ttl, tags: tags})
	if err == nil || statuses == nil {
		return nil, err
	}
	failures := make([]error, len(statuses))
	for at, status := range statuses {
		failures[at] = perKey(status, err)
	}
	return failures, err
}

// DeleteMany removes many keys, in one round trip a server. The first result says for each key whether it was there;
// where there is an error, that of the first key that failed, false can also mean that this one failed.
func (cache *Cache) DeleteMany(ctx context.Context, keys []string) ([]bool, error) {
	statuses, _, err := cache.many(ctx, &operation{kind: C.YC_OP_DELETE_MANY, keys: keys})
	if statuses == nil {
		return nil, err
	}
	deleted := make([]bool, len(statuses))
	for at, status := range statuses {
		deleted[at] = status == C.YC_OK
	}
	return deleted, err
}

// The library describes the first key that failed, in the error of all.
func perKey(status C.yc_status, first error) error {
	if described, ok := first.(*Error); ok && described.Code == Code(status) {
		return first
	}
	return statusError(status)
}

// What each key came to; no statuses when nothing was tried.
func (cache *Cache) many(ctx context.Context, op *operation) ([]C.yc_status, [][]byte, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer user.leave()
	call := calls.Get().(*call)
	defer call.release()
	cache.queue.add(op, call)
	cache.queue.wait(ctx, call)
	n := len(op.keys) + len(op.entries)
	statuses, values := takeResults((*C.yc_results)(call.handle), n, op.kind == C.YC_OP_GET_MANY)
	return statuses, values, becauseOf(ctx, call.err)
}

// Copies the results and releases them.
func takeResults(results *C.yc_results, n int, withValues bool) ([]C.yc_status, [][]byte) {
	if results == nil {
		return nil, nil
	}
	defer C.yc_results_free(results)
	statuses := make([]C.yc_status, n)
	if n == 0 {
		return statuses, nil
	}
	if !withValues {
		C.yoked_go_values(results, nil, &statuses[0], C.size_t(n))
		return statuses, nil
	}
	found := make([]C.yc_slice, n)
	C.yoked_go_values(results, &found[0], &statuses[0], C.size_t(n))
	return statuses, copiedAll(found)
}

// Copies byte strings, the short ones into memory that they share. One without data stays nil.
func copiedAll(found []C.yc_slice) [][]byte {
	total := 0
	for at := range found {
		if found[at].len <= C.YOKED_GO_SHORT {
			total += int(found[at].len)
		}
	}
	shared, values := make([]byte, 0, total), make([][]byte, len(found))
	for at := range found {
		data, length := (*C.uint8_t)(found[at].data), found[at].len
		switch {
		case data == nil:
		case length > C.YOKED_GO_SHORT:
			values[at] = copied(data, length)
		default:
			from := len(shared)
			shared = append(shared, unsafe.Slice((*byte)(data), int(length))...)
			values[at] = shared[from:len(shared):len(shared)]
		}
	}
	return values
}
