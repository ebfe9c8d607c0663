package yokedcache

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// A Cache is an open cache. Any goroutine may call any method at any time, also while another closes it.
// Close it when it is not needed any more: its memory and its connections are not the garbage collector's.
type Cache struct {
	handle *C.yc_cache
	queue  *queue
	// Whether calls on a few keys are answered on the spot: what no other process sees is in this one.
	atOnce atomic.Bool
	// A switch may change both.
	capabilities atomic.Uint64
	describing   sync.Mutex

	users  users
	closed atomic.Bool
	close  sync.Mutex
	freed  bool
}

// Open opens a cache from a configuration: a URL such as "memory://?max_size=1000&key_prefix=app" or
// "redis://localhost:6379/0", or a YAML or JSON document. A document with environments takes that of the
// variable ENVIRONMENT, "development" if unset.
//
// It fails with [ErrConfig], with [ErrUnsupported] for a backend the library was built without, and, unless the
// configuration says "connect: lazy", with what is wrong with the server.
func Open(config string) (*Cache, error) {
	text, err := newCString(config, "config")
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(text))
	return open(func(handle **C.yc_cache, described **C.yc_error) C.yc_status {
		return C.yc_open(text, handle, described)
	})
}

// OpenFile opens a cache from a YAML or JSON file with environments, or with the body of one. With environment ""
// it is that of the variable ENVIRONMENT, "development" if unset. It fails as [Open] does.
func OpenFile(path, environment string) (cache *Cache, err error) {
	failed := withFile(path, environment, func(file, name *C.char) {
		cache, err = open(func(handle **C.yc_cache, described **C.yc_error) C.yc_status {
			return C.yc_open_file(file, name, handle, described)
		})
	})
	if failed != nil {
		return nil, failed
	}
	return cache, err
}

// OpenEnv opens a cache from the environment variables: YOKEDCACHE_URL, else YOKEDCACHE_CONFIG (the path of a
// file), else REDIS_URL. It fails as [Open] does, with [ErrConfig] when none is set.
func OpenEnv() (*Cache, error) {
	return open(func(handle **C.yc_cache, described **C.yc_error) C.yc_status {
		return C.yc_open_env(handle, described)
	})
}

// Version is the version of the library that is linked, such as "0.1.0".
func Version() string {
	return C.GoString(C.yc_version())
}

func open(open func(**C.yc_cache, **C.yc_error) C.yc_status) (*Cache, error) {
	var described *C.yc_error
	if status := C.yc_check_abi(C.YC_VERSION_NUMBER, &described); status != C.YC_OK {
		return nil, failure(status, described)
	}
	var handle *C.yc_cache
	if status := open(&handle, &described); status != C.YC_OK {
		return nil, failure(status, described)
	}
	cache := &Cache{handle: handle}
	if err := cache.start(); err != nil {
		C.yc_close(handle, 0, nil)
		C.yc_cache_free(handle)
		return nil, err
	}
	return cache, nil
}

// Asks what the cache can do and opens its queue.
func (cache *Cache) start() error {
	if err := cache.describe(); err != nil {
		return err
	}
	queue, err := newQueue(cache.handle, &cache.users)
	cache.queue = queue
	return err
}

// Asks what the backend that serves now can do.
func (cache *Cache) describe() error {
	cache.describing.Lock()
	defer cache.describing.Unlock()
	var described *C.yc_error
	var flags C.uint64_t
	if status := C.yc_capabilities(cache.handle, &flags, &described); status != C.YC_OK {
		return failure(status, described)
	}
	cache.capabilities.Store(uint64(flags))
	cache.atOnce.Store(Capabilities(flags)&CanShare == 0)
	return nil
}

// Capabilities are what a backend can do beyond the basics; a sum of the constants.
type Capabilities uint64

// What a backend may be able to do; an operation that it cannot do answers [ErrUnsupported].
const (
	// CanList: Keys, InvalidatePattern and Search work.
	CanList Capabilities = C.YC_CAN_LIST
	// CanCount: invalidations know how many entries they removed.
	CanCount Capabilities = C.YC_CAN_COUNT
	// CanShare: other processes see the same entries.
	CanShare Capabilities = C.YC_CAN_SHARE
	// CanSize: the number of keys in Stats is exact, no estimate.
	CanSize Capabilities = C.YC_CAN_SIZE
)

// Capabilities tells what the backend can do; after a [Cache.Switch], the new one.
func (cache *Cache) Capabilities() Capabilities {
	if cache == nil {
		return 0
	}
	return Capabilities(cache.capabilities.Load())
}

// Close closes the cache: calls in flight finish, or fail with [ErrClosed] after five seconds; later ones fail
// with it. When it returns, every thread and connection of the cache is gone, and its memory too. Closing again
// does nothing.
//
// It fails with [ErrTimeout] when calls were cut short; the cache is closed all the same.
func (cache *Cache) Close() error {
	return cache.shut(-1)
}

// Shutdown closes the cache as Close does; calls in flight may finish until the context's deadline, if it has
// one, and are cut short when the context is cancelled.
func (cache *Cache) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return invalid("ctx is nil")
	}
	if cache == nil {
		return invalid("the cache is nil")
	}
	if ctx.Done() == nil || cache.queue == nil {
		return cache.shut(-1)
	}
	cache.closed.Store(true)
	for cache.users.any() {
		select {
		case <-ctx.Done():
			return cache.shut(0)
		case <-time.After(time.Millisecond):
		}
	}
	return cache.shut(-1)
}

// Closes and releases everything, once.
func (cache *Cache) shut(timeoutMillis C.int64_t) error {
	if cache == nil {
		return invalid("the cache is nil")
	}
	if cache.queue == nil {
		return invalid("the cache was not opened: Open, OpenFile and OpenEnv make one")
	}
	cache.closed.Store(true)
	cache.close.Lock()
	defer cache.close.Unlock()
	if cache.freed {
		return nil
	}
	var described *C.yc_error
	err := failure(C.yc_close(cache.handle, timeoutMillis, &described), described)
	// Each call in flight has its completion now, and ends.
	for cache.users.any() {
		time.Sleep(50 * time.Microsecond)
	}
	cache.queue.free()
	C.yc_cache_free(cache.handle)
	cache.freed = true
	return err
}

// Begins a call: the handles stay until its leave.
func (cache *Cache) enter(ctx context.Context) (user, error) {
	if cache == nil {
		return user{}, invalid("the cache is nil")
	}
	if cache.queue == nil {
		return user{}, invalid("the cache was not opened: Open, OpenFile and OpenEnv make one")
	}
	if ctx == nil {
		return user{}, invalid("ctx is nil")
	}
	if ctx.Done() != nil && ctx.Err() != nil {
		return user{}, ended(ctx)
	}
	user := cache.users.enter()
	if cache.closed.Load() {
		user.leave()
		return user, ErrClosed
	}
	return user, nil
}

// Who is inside a call. Spread over several counters, so that processors do not take one from each other.
type users [16]struct {
	count atomic.Int64
	_     [56]byte
}

// One that is inside, by its counter.
type user struct{ count *atomic.Int64 }

// Goroutines have different stacks, so the address of a local variable spreads them.
func (users *users) enter() user {
	var local byte
	address := uintptr(unsafe.Pointer(&local))
	place := &users[(address>>11^address>>15)%uintptr(len(users))]
	place.count.Add(1)
	return user{&place.count}
}

func (user user) leave() {
	user.count.Add(-1)
}

func (users *users) any() bool {
	for at := range users {
		if users[at].count.Load() != 0 {
			return true
		}
	}
	return false
}

// A text for C, to be released by C.free.
func newCString(text, name string) (*C.char, error) {
	for at := 0; at < len(text); at++ {
		if text[at] == 0 {
			return nil, &Error{Code: CodeConfig, Message: name + " has a NUL byte"}
		}
	}
	return C.CString(text), nil
}
