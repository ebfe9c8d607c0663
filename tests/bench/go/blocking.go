package main

// #cgo pkg-config: yokedcache
// #include <stdlib.h>
// #include <yokedcache.h>
//
// static yc_status get(yc_cache *cache, const uint8_t *key, size_t key_len, uint8_t *value, size_t cap, size_t *len) {
//     return yc_get_into(cache, key, key_len, value, cap, len, NULL);
// }
//
// static yc_status set(yc_cache *cache, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len, int64_t ttl) {
//     return yc_set(cache, key, key_len, value, len, ttl, NULL, 0, NULL);
// }
import "C"

import (
	"context"
	"fmt"
	"unsafe"
)

// The same library, each call in a cgo call of its own that blocks a thread: what the queue is there to beat.
func blockingCgo(url string) *contender {
	text := C.CString(url)
	defer C.free(unsafe.Pointer(text))
	var cache *C.yc_cache
	if status := C.yc_open(text, &cache, nil); status != 0 {
		panic(fmt.Sprintf("yc_open answered %d", status))
	}
	bytes := func(text string) *C.uint8_t { return (*C.uint8_t)(unsafe.StringData(text)) }
	return &contender{
		name: "blocking cgo",
		get: func(_ context.Context, key string) ([]byte, error) {
			var value [256]byte
			var length C.size_t
			if status := C.get(cache, bytes(key), C.size_t(len(key)), (*C.uint8_t)(&value[0]), 256, &length); status != 0 {
				return nil, fmt.Errorf("yc_get_into answered %d", status)
			}
			return append([]byte{}, value[:length]...), nil
		},
		set: func(_ context.Context, key string, value []byte) error {
			status := C.set(cache, bytes(key), C.size_t(len(key)), (*C.uint8_t)(&value[0]), C.size_t(len(value)), C.int64_t(ttl.Milliseconds()))
			if status != 0 {
				return fmt.Errorf("yc_set answered %d", status)
			}
			return nil
		},
		close: func() {
			C.yc_close(cache, -1, nil)
			C.yc_cache_free(cache)
		},
	}
}
