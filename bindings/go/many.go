package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"unsafe"
)

// A Result is the result of one key of [Cache.GetMany].
type Result struct {
	// The value; nil unless Err is nil.
	Value []byte
	// Nil, [ErrMiss], or the error of this key.
	Err error
}

// An Entry is a key with the value that [Cache.SetMany] stores under it.
type Entry struct {
	Key   string
	Value []byte
}

// GetMany reads many keys with one round trip per server. It returns one result for each key, in the order of the
// keys. The error is that of the first key that failed; the results of the other keys are valid nevertheless. A
// miss is no failure: its result has the error [ErrMiss]. With the option near of the configuration, GetMany returns
// copies as [Cache.Get] does; [WithFresh] reads all keys from the servers.
//
// Errors: as [Cache.Get]. If an argument is refused ([ErrInvalid], [ErrTooLarge]), the results are nil.
func (cache *Cache) GetMany(ctx context.Context, keys []string, options ...GetOption) ([]Result, error) {
	op := &operation{kind: C.YC_OP_GET_MANY, keys: keys, flags: getFlags(options)}
	if results, err := cache.readDirect(ctx, op); results != nil || err != nil {
		return results, err
	}
	if op.flags != 0 {
		return cache.readEach(ctx, op)
	}
	statuses, values, err := cache.many(ctx, op)
	if statuses == nil {
		return nil, err
	}
	results := make([]Result, len(statuses))
	for at, status := range statuses {
		results[at] = Result{values[at], perKey(status, err)}
	}
	return results, err
}

// Reads many keys by an operation for each, together: the queue's operation for many keys has no flags.
func (cache *Cache) readEach(ctx context.Context, op *operation) ([]Result, error) {
	ops := make([]operation, len(op.keys))
	for at, key := range op.keys {
		ops[at] = operation{kind: C.YC_OP_GET, key: key, flags: op.flags}
	}
	results := make([]Result, len(ops))
	var first error
	for at, result := range cache.outcomes(ctx, ops) {
		switch err := result.err; {
		case err == nil:
			results[at] = Result{result.outcome.value, statusError(result.outcome.status)}
		case errors.Is(err, ErrInvalid) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrClosed) || errors.Is(err, ErrForked):
			return nil, err
		default:
			results[at].Err = err
			if first == nil {
				first = err
			}
		}
	}
	return results, first
}

// SetMany stores many entries, all with the same time to live and tags, with one round trip per server. The error
// is that of the first entry that failed. The first result then has the error of each entry, nil for one that was
// stored. It is nil if all entries were stored, and if nothing was attempted.
//
// Errors: as [Cache.Set]. If an entry is refused ([ErrInvalid], [ErrTooLarge]), none is stored.
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

// DeleteMany removes many keys with one round trip per server and reports for each key whether it existed. The
// error is that of the first key that failed. With an error, false can also mean that this key failed.
//
// Errors: as [Cache.Delete]. If a key is refused ([ErrInvalid], [ErrTooLarge]), none is removed and the result is
// nil.
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

// Returns the error of one key. The error of the whole call describes the first key that failed.
func perKey(status C.yc_status, first error) error {
	if described, ok := first.(*Error); ok && described.Code == Code(status) {
		return first
	}
	return statusError(status)
}

// Runs an operation on many keys and returns the result of each; no statuses if nothing was attempted.
func (cache *Cache) many(ctx context.Context, op *operation) ([]C.yc_status, [][]byte, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer user.leave()
	call := calls.Get().(*call)
	defer call.release()
	cache.queue.keepContext(ctx, op)
	cache.queue.add(op, call)
	cache.queue.wait(ctx, call)
	n := len(op.keys) + len(op.entries)
	statuses, values := takeResults((*C.yc_results)(call.handle), n, op.kind == C.YC_OP_GET_MANY)
	return statuses, values, becauseOf(ctx, call.err)
}

// ---- Reading outside the queue ----

// Reads many keys on this thread, if the backend is in this process or the calls of the cache come one after another.
// Returns nothing if the queue is to run the operation.
func (cache *Cache) readDirect(ctx context.Context, op *operation) ([]Result, error) {
	user, err := cache.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer user.leave()
	var found C.yoked_go_reads
	switch {
	case cache.fastPath.Load() && op.isShort():
		cache.queue.withContext(ctx, func() { found = blockReads(cache.handle, nil, op) })
	case cache.queue.beginDirect(op):
		cache.queue.callDirect(ctx, func(token *C.yc_cancel_token) {
			cache.queue.withContext(ctx, func() { found = blockReads(cache.handle, token, op) })
		})
	default:
		return nil, nil
	}
	if found.status != C.YC_OK {
		return nil, becauseOf(ctx, failure(found.status, found.error))
	}
	defer C.yoked_go_free_reads(found.reads, C.size_t(len(op.keys)))
	reads := unsafe.Slice(found.reads, len(op.keys))
	if isRefused(reads) {
		C.yc_error_free(found.error)
		return nil, nil
	}
	err = nil
	if found.error != nil {
		err = failure(C.yc_error_status(found.error), found.error)
	}
	return readResults(reads, err), err
}

// Reads keys on this thread, until the token is cancelled if it is not nil.
func blockReads(cache *C.yc_cache, token *C.yc_cancel_token, op *operation) C.yoked_go_reads {
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	to := (*block)[:0]
	for _, key := range op.keys {
		to = appendLength(to, len(key))
	}
	for _, key := range op.keys {
		to = append(to, key...)
	}
	*block = to
	return C.yoked_go_get_many(cache, token, (*C.uint8_t)(&to[0]), C.size_t(len(op.keys)), op.flags)
}

// Returns true if the library may have refused a key. It has read the others then; the queue refuses the whole call.
func isRefused(reads []C.yoked_go_read) bool {
	for at := range reads {
		switch reads[at].status {
		case C.YC_E_INVALID, C.YC_E_TOO_LARGE, C.YC_E_CLOSED, C.YC_E_FORKED:
			return true
		}
	}
	return false
}

// Copies values, the short ones into memory that they share. The error is that of the first key that failed.
func readResults(reads []C.yoked_go_read, err error) []Result {
	total := 0
	for at := range reads {
		if reads[at].len <= C.YOKED_GO_SHORT {
			total += int(reads[at].len)
		}
	}
	shared, results := make([]byte, 0, total), make([]Result, len(reads))
	for at := range reads {
		read := &reads[at]
		if read.data != nil {
			shared, results[at].Value = appendCopy(shared, unsafe.Slice((*byte)(read.data), int(read.len)))
		}
		if read.status != C.YC_OK {
			results[at].Err = perKey(read.status, err)
		}
	}
	return results
}

// Copies a value, to the end of the shared memory if it is short. Returns that memory and the copy.
func appendCopy(shared, value []byte) (all, copied []byte) {
	if len(value) > C.YOKED_GO_SHORT {
		return shared, cloned(value)
	}
	from := len(shared)
	shared = append(shared, value...)
	return shared, shared[from:len(shared):len(shared)]
}

// ---- Results of the queue ----

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
		if data := (*byte)(found[at].data); data != nil {
			shared, values[at] = appendCopy(shared, unsafe.Slice(data, int(found[at].len)))
		}
	}
	return values
}
