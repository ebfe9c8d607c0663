package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"runtime"
	"unsafe"
)

// A KeyIterator lists keys page by page. It may be used by one goroutine at a time. The context that [Cache.Keys]
// received ends it.
//
//	keys := cache.Keys(ctx, "user:*")
//	defer keys.Close()
//	for keys.Next() {
//		fmt.Println(keys.Key())
//	}
//	return keys.Err()
type KeyIterator struct {
	cache  *Cache
	ctx    context.Context
	cursor *C.yc_cursor
	limit  int
	page   []string
	key    string
	err    error
}

// A KeysOption is an optional parameter of [Cache.Keys] and [Cache.AllKeys]. [WithAnyTag] returns one.
type KeysOption interface {
	setKeys(*operation)
}

// Keys returns an iterator over the keys that match a glob (see [Cache.InvalidatePattern]; "*" matches every key).
// With [WithAnyTag] it returns only the keys of entries that have any of the tags.
// A key that exists during the whole listing is returned at least once. It is returned more than once only if
// servers changed and were listed again. A key that is added or removed during the listing may be returned.
// Writers are not blocked.
//
// Keys itself returns no error: Next returns false and Err returns the reason. It is [ErrUnsupported] if the
// backend cannot list keys, [ErrInvalid] for an empty tag, and [ErrTooLarge] for a pattern over 64 KiB.
func (cache *Cache) Keys(ctx context.Context, pattern string, options ...KeysOption) *KeyIterator {
	keys := &KeyIterator{cache: cache, ctx: ctx}
	user, err := cache.enter(ctx)
	if err != nil {
		keys.err = err
		return keys
	}
	defer user.leave()
	var op operation
	for _, option := range options {
		if option == nil {
			keys.err = invalid("an option of Keys is nil: omit it")
			return keys
		}
		option.setKeys(&op)
	}
	tags := op.appendPayload(nil)
	var described *C.yc_error
	status := C.yoked_go_keys_open(cache.handle, bytesOf(pattern), C.size_t(len(pattern)),
		(*C.uint8_t)(unsafe.SliceData(tags)), C.size_t(len(op.tags)), &keys.cursor, &described)
	keys.err = failure(status, described)
	// Releases the cursor of an iterator that is dropped before its end.
	runtime.SetFinalizer(keys, (*KeyIterator).Close)
	return keys
}

// PageSize sets the maximum number of keys that are requested at a time and returns the iterator. 0 selects the
// default of the library, 512. It may be called between two calls of Next. Next fails with [ErrInvalid] if limit
// is negative.
func (keys *KeyIterator) PageSize(limit int) *KeyIterator {
	keys.limit = limit
	return keys
}

// Next advances to the next key. It returns false at the end and after an error; Err distinguishes the two.
func (keys *KeyIterator) Next() bool {
	if keys.cache == nil && keys.err == nil {
		keys.err = invalid("the iterator was not created by Keys")
	}
	for len(keys.page) == 0 {
		if keys.cursor == nil || keys.err != nil || !keys.readPage() {
			keys.Close()
			return false
		}
	}
	keys.key, keys.page = keys.page[0], keys.page[1:]
	return true
}

// Reads the next page; returns false at the end.
func (keys *KeyIterator) readPage() bool {
	if keys.limit < 0 {
		keys.err = invalid("the page size is %d: it must be 0 or more", keys.limit)
		return false
	}
	user, err := keys.cache.enter(keys.ctx)
	if err != nil {
		keys.err = err
		return false
	}
	defer user.leave()
	op := operation{kind: C.YC_OP_KEYS_NEXT, handle: unsafe.Pointer(keys.cursor), limit: uint64(keys.limit)}
	call, err := keys.cache.queue.run(keys.ctx, &op)
	runtime.KeepAlive(keys)
	if err != nil {
		keys.err = err
		return false
	}
	defer call.release()
	if call.handle == nil {
		return false
	}
	keys.page = takePage((*C.yc_keys)(call.handle))
	return true
}

func takePage(page *C.yc_keys) []string {
	defer C.yc_keys_free(page)
	var count C.size_t
	data := C.yc_keys_data(page, &count)
	keys := make([]string, 0, int(count))
	for _, key := range unsafe.Slice(data, int(count)) {
		keys = append(keys, C.GoStringN((*C.char)(key.data), C.int(key.len)))
	}
	return keys
}

// Key returns the key that Next advanced to.
func (keys *KeyIterator) Key() string {
	return keys.key
}

// Err returns the error that ended the listing early, or nil.
func (keys *KeyIterator) Err() error {
	return keys.err
}

// Close ends the listing and releases its cursor. The end of a listing closes it too. Further calls have no
// effect.
func (keys *KeyIterator) Close() {
	runtime.SetFinalizer(keys, nil)
	C.yc_cursor_free(keys.cursor)
	keys.cursor, keys.page = nil, nil
}
