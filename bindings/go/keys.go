package yokedcache

// #include "bridge.h"
import "C"

import (
	"context"
	"runtime"
	"unsafe"
)

// A KeyIterator is a listing of keys that is under way, page by page. One goroutine at a time uses it.
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

// Keys lists the keys that match a glob (see [Cache.InvalidatePattern]; "*" is all). A key that is there from
// beginning to end is listed at least once. It is listed more than once only if servers changed and were listed again.
// A key that is added or removed meanwhile may be listed. Writers are not blocked. If the backend cannot list keys, Err
// is [ErrUnsupported].
func (cache *Cache) Keys(ctx context.Context, pattern string) *KeyIterator {
	keys := &KeyIterator{cache: cache, ctx: ctx}
	user, err := cache.enter(ctx)
	if err != nil {
		keys.err = err
		return keys
	}
	defer user.leave()
	var described *C.yc_error
	status := C.yoked_go_keys_open(cache.handle, bytesOf(pattern), C.size_t(len(pattern)), &keys.cursor, &described)
	keys.err = failure(status, described)
	// For a listing that is dropped in its midst.
	runtime.SetFinalizer(keys, (*KeyIterator).Close)
	return keys
}

// PageSize sets how many keys are asked for at a time, at most; it returns the iterator. It may be called at any
// time; 0 is the library's own choice.
func (keys *KeyIterator) PageSize(limit int) *KeyIterator {
	keys.limit = limit
	return keys
}

// Next moves to the next key; false at the end and when it failed, which Err tells apart.
func (keys *KeyIterator) Next() bool {
	if keys.cache == nil && keys.err == nil {
		keys.err = invalid("the listing was not begun: Keys begins one")
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

// Reads the next page; false at the end.
func (keys *KeyIterator) readPage() bool {
	if keys.limit < 0 {
		keys.err = invalid("the page size is %d; it takes 0 or more", keys.limit)
		return false
	}
	user, err := keys.cache.enter(keys.ctx)
	if err != nil {
		keys.err = err
		return false
	}
	defer user.leave()
	op := operation{kind: C.YC_OP_KEYS_NEXT, cursor: keys.cursor, limit: uint64(keys.limit)}
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

// Key is the key that Next moved to.
func (keys *KeyIterator) Key() string {
	return keys.key
}

// Err is why the listing ended early, or nil.
func (keys *KeyIterator) Err() error {
	return keys.err
}

// Close ends the listing; one that came to its end is closed already. Closing again does nothing.
func (keys *KeyIterator) Close() {
	runtime.SetFinalizer(keys, nil)
	C.yc_cursor_free(keys.cursor)
	keys.cursor, keys.page = nil, nil
}
